"""How a search with a time limit shares its time out, by a clock that the tests move."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from search_toys import SPACE, NoDevice, study_of
from test_schedule import ended

from nasbench.arch.architecture import Architecture
from nasbench.arch.library import load
from nasbench.engine.levels import at_level
from nasbench.engine.phases import Phases, pace_of, seconds_busy
from nasbench.engine.predictions import Predictions
from nasbench.engine.promotion import Promotions
from nasbench.engine.schedule import Schedule
from nasbench.study.study import Study
from nasbench.study.trials import Kind, Level, Trial

LADDER = ({"trials": 30, "samples": 100}, {"trials": 8, "samples": 400})
RACED = {"finalists": 3, "final_seeds": tuple(range(1, 13)), "race": 40}
STUDY = study_of(SPACE, LADDER, strategy={"name": "random"}, **RACED)


def run(
    study: Study, limit: float, seconds_a_trial: float, fixed: Mapping[str, Architecture] | None = None
) -> tuple[Schedule, list[Trial], float]:
    """One trial after another on a clock of its own -> the schedule, the trials, and when the last one ended."""
    now = 0.0
    phases = Phases(study.ladder.top, limit, clock=lambda: now)
    promotions = Promotions([], lambda note: None)
    schedule = Schedule(study, SPACE, fixed or {}, Predictions(study, NoDevice()), promotions, phases=phases)
    trials: list[Trial] = []
    while phases.leaves_time_for(seconds_a_trial):
        following = schedule.next_trial(trials)
        if following is None:
            break
        trials.append(replace(ended(following), submitted_at=now, finished_at=now + seconds_a_trial))
        now += seconds_a_trial
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
    assert len(finals) >= min(3 * STUDY.finalists, (900 - 72) * 0.38 / seconds - 2)  # nobody to race: three each
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


def test_an_open_ended_search_uses_its_time_whatever_the_machine_gives() -> None:
    """The ladder's counts are where it starts: a machine four times faster trains four times as many designs."""
    study = STUDY.replace(open_ended=True, race=40)
    for seconds in (5.0, 20.0):
        schedule, trials, _ = run(study, 900.0, seconds)
        lowest, second, finals = (at_level(trials, level) for level in schedule.levels)
        assert len(lowest) == pytest.approx(0.4 * 900 / seconds, abs=2)
        assert 2 <= len(second) <= -(-len(lowest) // 2)
        assert len({trial.architecture_id for trial in finals}) >= 3


def test_without_time_left_an_open_ended_search_goes_by_its_plan() -> None:
    """Resumed without a limit it must end at some time."""
    _, trials, _ = run(STUDY.replace(open_ended=True), float("inf"), 1.0)
    assert len(at_level(trials, Level(0))) == STUDY.trials


def test_what_is_planned_follows_the_pace() -> None:
    study = STUDY.replace(open_ended=True)
    schedule, trials, _ = run(study, 900.0, 10.0)
    halfway = [trial for trial in trials if trial.finished_at <= 100.0]
    clock = replace(schedule.phases, clock=lambda: 100.0)
    schedule.places.phases = clock
    planned = dict(schedule.planned(halfway))
    assert planned[Level(0)] == pytest.approx(36, abs=2)
    low, high = (rung.fidelity.work for rung in study.ladder.rungs)
    assert planned[Level(1)] == pytest.approx(0.22 * 900 / 10 * low / high, abs=1)


def test_time_counts_while_a_trial_runs() -> None:
    """Two at a time count once, and a pause between two runs of a search not at all."""
    _, trials, _ = run(STUDY, 900.0, 30.0)
    three = trials[:3]
    times = [(0.0, 10.0), (5.0, 12.0), (100.0, 107.0)]
    placed = [replace(trial, submitted_at=start, finished_at=end) for trial, (start, end) in zip(three, times)]
    assert seconds_busy(placed) == 19.0
    assert pace_of(placed) == pytest.approx(sum(trial.fidelity.work for trial in placed) / 19.0)
    assert pace_of(placed[:1]) is None


def test_published_networks_leave_half_of_what_time_allows_to_the_search() -> None:
    """Ten of them fit the budget; in a time for eight trainings no more than four are trained."""
    names = ("emo_1m", "emo_2m", "emo_5m", "emo_6m", "mobileone_s0", "mobileone_s1", "repvgg_a0", "mobilevit_xxs")
    study = STUDY.replace(open_ended=True)
    _, trials, _ = run(study, 900.0, 45.0, {arch.id: arch for arch in map(load, names)})
    lowest = at_level(trials, Level(0))
    assert 1 <= sum(trial.origin.kind == Kind.FIXED_POINT for trial in lowest) <= -(-len(lowest) // 2)
