"""How far a search has come: figures worked out by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
from search_toys import Search, search_parts, study_of

from nasbench.engine.time_left import Pace, progress_state, seconds_left
from nasbench.study.store import TrialStore
from nasbench.study.trials import Kind, Level, Origin, Outcome, State, Trial, failed

# 4 trials of 100 samples, 2 of 300, and 1 finalist with 2 seeds of 300.
LADDER = ({"name": "screen", "trials": 4, "samples": 100}, {"trials": 2, "samples": 300})


@pytest.fixture
def search(tmp_path: Path) -> Search:
    study = study_of(ladder=LADDER, finalists=1, final_seeds=(1, 2))
    with TrialStore(tmp_path) as store:
        return search_parts(study, store)


def trial(search: Search, n: int, rung: int = 0, seconds: float | None = 10.0, final: bool = False) -> Trial:
    """Complete after so many seconds; without any it still runs."""
    arch, fidelity = search.schedule.space.sample(n), search.schedule.study.ladder.rungs[rung].fidelity
    made = Trial.new(arch, fidelity, n, "toy", "test" if final else "validation", Origin(Kind.SEARCHED, rung))
    return (
        made if seconds is None else made.with_outcome(Outcome(State.COMPLETE, {"accuracy": 0.1 * n}, None, seconds), 0)
    )


def test_nothing_is_said_before_a_trial_has_ended(search: Search) -> None:
    assert seconds_left(search.schedule, [], 1) is None
    assert seconds_left(search.schedule, [trial(search, 0, seconds=None)], 1) is None


def test_a_level_that_was_not_reached_counts_by_its_samples(search: Search) -> None:
    trials = [trial(search, 0, seconds=8.0), trial(search, 1, seconds=12.0), trial(search, 2, seconds=None)]
    # 10 s a trial of 100 samples: 2 more of them, then 2 and 2 of 300 samples at 30 s each.
    assert seconds_left(search.schedule, trials, 1) == pytest.approx(2 * 10 + 2 * 30 + 2 * 30)
    assert seconds_left(search.schedule, trials, 4) == pytest.approx(140 / 4)
    assert seconds_left(search.schedule, trials, 0) == pytest.approx(140)  # nothing ran in this process yet


def test_a_level_that_was_reached_counts_by_its_own_mean(search: Search) -> None:
    trials = [*(trial(search, n) for n in range(4)), trial(search, 0, 1, 40.0)]
    assert seconds_left(search.schedule, trials, 1) == pytest.approx(1 * 40 + 2 * 40)
    trials += [trial(search, 1, 1, 60.0), trial(search, 1, 1, 20.0, final=True)]
    assert seconds_left(search.schedule, trials, 1) == pytest.approx(1 * 20)


def test_a_failed_trial_is_done_and_says_nothing_of_how_long_one_takes(search: Search) -> None:
    broken = trial(search, 1, seconds=None).with_outcome(failed("broken: twice", 500.0), 0)
    assert seconds_left(search.schedule, [broken], 1) is None
    assert seconds_left(search.schedule, [broken, trial(search, 0)], 1) == pytest.approx(2 * 10 + 4 * 30)


def test_the_state_says_where_the_search_stands(search: Search) -> None:
    broken = trial(search, 3, seconds=None).with_outcome(failed("broken: twice", 500.0), 0)
    trials = [*(trial(search, n) for n in range(3)), broken, trial(search, 1, 1, None)]
    state = progress_state(search.schedule, trials, Pace(1, 2, 61.0), {"budget 1GFLOP": 7})
    assert (state.phase, state.rung) == ("search", "rung 1")
    assert (state.done, state.total, state.running) == (4, 4 + 2 + 2, 1)
    assert (state.best, state.best_name) == (pytest.approx(0.2), trials[2].label)
    assert state.seconds_left == pytest.approx(4 * 30 / 2)
    assert (state.seconds_spent, state.rejected, state.failed) == (61.0, {"budget 1GFLOP": 7}, {"broken": 1})
    assert progress_state(search.schedule, [], Pace(0, 0, 0.0), {}).rung == "screen"
    done = [*trials[:4], trial(search, 0, 1), trial(search, 1, 1)]
    assert progress_state(search.schedule, done, Pace(0, 2, 0.0), {}).phase == "final training, test split"


def test_probes_are_part_of_the_plan(tmp_path: Path) -> None:
    objectives = ("error", "latency_ms", "predicted@4GFLOP")
    study = study_of(ladder=LADDER, finalists=1, final_seeds=(1, 2), objectives=objectives)
    with TrialStore(tmp_path) as store:
        probed = search_parts(study, store).schedule
    assert probed.planned() == [(Level(-1), 8), (Level(0), 4), (Level(1), 2), (Level(1, True), 2)]
