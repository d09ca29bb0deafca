"""How a search with a time limit shares its time out, by a clock that the tests move."""

from __future__ import annotations

import pytest
from search_toys import SPACE, NoDevice, study_of
from test_schedule import ended

from nasbench.engine.phases import Phases
from nasbench.engine.predictions import Predictions
from nasbench.engine.promotion import Promotions
from nasbench.engine.schedule import Schedule, at_level
from nasbench.study.study import Study
from nasbench.study.trials import Level, Trial

LADDER = ({"trials": 30, "samples": 100}, {"trials": 8, "samples": 400})
RACED = {"finalists": 3, "final_seeds": tuple(range(1, 13)), "race": 40}
STUDY = study_of(SPACE, LADDER, **RACED)


def run(study: Study, limit: float, seconds_a_trial: float) -> tuple[Schedule, list[Trial], float]:
    """One trial after another on a clock of its own -> the schedule, the trials, and when the last one ended."""
    now = 0.0
    phases = Phases(study.ladder.top, limit, clock=lambda: now)
    promotions = Promotions([], lambda note: None)
    schedule = Schedule(study, SPACE, {}, Predictions(study, NoDevice()), promotions, phases=phases)
    trials: list[Trial] = []
    while phases.leaves_time_for(seconds_a_trial):
        following = schedule.next_trial(trials)
        if following is None:
            break
        now += seconds_a_trial
        trials.append(ended(following))
    return schedule, trials, now


def test_without_a_limit_every_level_trains_what_was_planned() -> None:
    schedule, trials, _ = run(STUDY, float("inf"), 10.0)
    counts = [len(at_level(trials, level)) for level in schedule.levels]
    assert counts[:2] == [30, 8]
    assert counts[2] <= 40


@pytest.mark.parametrize("seconds", [10.0, 30.0, 60.0])
def test_a_limited_search_ends_in_time_and_its_finalists_have_seeds_of_their_own(seconds: float) -> None:
    """At 900 s the plan of 30, 8 and 40 trainings doesn't fit; each level is cut, and none is left out."""
    schedule, trials, now = run(STUDY, 900.0, seconds)
    assert now <= 900.0
    lowest, second, finals = (at_level(trials, level) for level in schedule.levels)
    assert lowest[-1].seed == second[-1].seed == STUDY.seed
    assert len(lowest) <= 900 * 0.4 / seconds + 1
    assert len(second) >= 2
    assert len(finals) >= (900 - 30) * 0.38 / seconds - 2
    assert len({trial.seed for trial in finals}) >= 2


def test_a_machine_on_which_the_plan_fits_is_not_cut() -> None:
    schedule, trials, _ = run(STUDY, 900.0, 2.0)
    assert [len(at_level(trials, level)) for level in schedule.levels[:2]] == [30, 8]


def test_a_cut_level_counts_as_complete() -> None:
    schedule, trials, _ = run(STUDY, 900.0, 30.0)
    assert len(at_level(trials, Level(0))) < STUDY.trials
    assert schedule.is_complete(Level(0), trials)
    assert schedule.is_complete(Level(1), trials)


def test_a_level_is_not_over_before_it_has_something_to_go_on_with() -> None:
    """The first trials take longer than the lowest rung's share of the time; two are waited for."""
    _, trials, _ = run(STUDY, 900.0, 200.0)
    assert len(at_level(trials, Level(0))) == 2
    assert at_level(trials, Level(1))
