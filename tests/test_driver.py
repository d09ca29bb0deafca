"""A search run by a driver with a stand-in for training: what it trains, and what a killed one leaves behind."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from pathlib import Path

import pytest
from search_toys import EVALUATE, SERIAL, SPACE, run_search, search_parts, study_of

from nasbench.engine.phases import Phases
from nasbench.engine.run import fixed_points_within
from nasbench.errors import UserError
from nasbench.report.results import StudyResult
from nasbench.running import Job, Outcome, run
from nasbench.running.serial import run_serial
from nasbench.space import SearchSpace
from nasbench.study.runner import RunnerSpec
from nasbench.study.store import TrialStore
from nasbench.study.study import Study
from nasbench.study.task import DataSplit, Task
from nasbench.study.trials import Kind, Level, State, Trial

LADDER = ({"trials": 14, "samples": 100}, {"name": "top", "trials": 6, "samples": 1000})


@pytest.fixture(scope="module")
def study() -> Study:
    return study_of(ladder=LADDER, budgets=("600MFLOP",), final_seeds=(1, 2, 3), finalists=3, device="by-formula")


@pytest.fixture(scope="module")
def finished(study: Study, tmp_path_factory: pytest.TempPathFactory) -> StudyResult:
    return run_search(study, tmp_path_factory.mktemp("study"))


def of_level(result: StudyResult, rung: int, final: bool = False) -> list[Trial]:
    return [trial for trial in result.trials if trial.level == Level(rung, final)]


def test_every_level_has_its_trials(finished: StudyResult) -> None:
    assert len(of_level(finished, 0)) == 14
    complete = [trial for trial in of_level(finished, 0) if trial.complete]
    assert len(of_level(finished, 1)) == min(6, math.ceil(len(complete) / 2))
    finals = of_level(finished, 1, final=True)
    assert len(finals) == 3 * 3
    assert {trial.split for trial in finals} == {"test"}
    assert {trial.seed for trial in finals} == {1, 2, 3}  # not the seed that the search chose by


def test_nothing_is_trained_twice_and_the_test_split_waits_for_the_end(finished: StudyResult) -> None:
    keys = [trial.key for trial in finished.trials]
    assert len(set(keys)) == len(keys)
    splits = [trial.split for trial in finished.trials]
    assert splits.index("test") == splits.count("validation")


def test_fixed_points_that_fit_come_first(finished: StudyResult, study: Study) -> None:
    names = {arch.name for arch in fixed_points_within(study, SPACE).values()}
    # FastViT-T8 is beyond 600 MFLOP.
    assert names == {"emo_1m", "emo_2m", "mobileone_s0", "mobilevit_xxs", "mobilevitv2_050"}
    first = of_level(finished, 0)[: len(names)]
    assert {trial.label for trial in first} == names
    assert {trial.origin.kind for trial in first} == {Kind.FIXED_POINT}


def test_failures_are_kept_with_their_reason_and_not_promoted(finished: StudyResult) -> None:
    failed = [trial for trial in finished.trials if trial.state == State.FAILED]
    assert failed
    assert all("out of order" in (trial.reason or "") for trial in failed)
    assert not {t.architecture_id for t in failed} & {t.architecture_id for t in of_level(finished, 1)}


def test_the_most_accurate_design_and_a_fixed_point_go_on(finished: StudyResult) -> None:
    below = {trial.architecture_id: trial.metric("accuracy") for trial in of_level(finished, 0) if trial.complete}
    promoted = of_level(finished, 1)
    assert max(below, key=lambda key: below[key]) in {trial.architecture_id for trial in promoted}
    assert any(trial.origin.kind == Kind.FIXED_POINT for trial in promoted)


def test_rows_are_of_the_highest_rung_and_the_front_of_the_test_split(finished: StudyResult) -> None:
    timed = replace(finished, measured_ms={trial.architecture_id: 10.0 for trial in finished.trials})
    assert {row.rung for row in timed.rows()} == {1}
    front = timed.front()
    assert front
    assert all(row.split == "test" and row.seeds == 3 for row in front)
    assert len(timed.to_pandas()) == len(timed.trials)


class Killed(BaseException):
    pass


class Mortal:
    """A source whose driver dies at a given call."""

    def __init__(self, source, calls: int) -> None:
        self.source, self.calls = source, calls

    def _live(self) -> None:
        self.calls -= 1
        if self.calls < 0:
            raise Killed

    def ask(self) -> Job | None:
        job = self.source.ask()
        self._live()
        return job

    def tell(self, job: Job, outcome: Outcome) -> None:
        self._live()
        self.source.tell(job, outcome)


@pytest.mark.exhaustive
def test_a_driver_killed_anywhere_goes_on_and_ends_with_the_same_trials(
    study: Study, finished: StudyResult, tmp_path: Path
) -> None:
    """In serial order a resumed search must propose, promote and finish exactly what an unbroken one does."""
    rng, lives = random.Random(0), 0
    while True:
        lives += 1
        with TrialStore(tmp_path) as store:
            store.drain_spool()
            try:
                mortal = Mortal(search_parts(study, store).driver, rng.randint(1, 9))
                run_serial(mortal, EVALUATE, SERIAL, tmp_path / "spool")
                break
            except Killed:
                continue
    assert lives > 5
    with TrialStore(tmp_path, read_only=True) as store:
        assert [(t.key, t.state, t.metrics) for t in store.trials] == [
            (t.key, t.state, t.metrics) for t in finished.trials
        ]


def test_no_trial_starts_after_the_deadline(study: Study, tmp_path: Path) -> None:
    with TrialStore(tmp_path) as store:
        assert search_parts(study, store, phases=Phases(limit=0.0)).driver.ask() is None
        assert not store.trials


def test_a_space_that_runs_out_ends_the_rung(tmp_path: Path) -> None:
    content = {"name": "tiny", "resolution": 64, "stages": [{"channels": [16, 24], "depth": [1, 2]}]}
    space = SearchSpace.from_dict(content)
    tiny = study_of(space, LADDER, trials=50)
    result = run_search(tiny, tmp_path, space=space, fixed={})
    assert len(of_level(result, 0)) == space.size() < 50
    assert of_level(result, 1, final=True)


def test_a_job_is_the_trial_that_was_stored_and_how_to_train_it(study: Study, tmp_path: Path) -> None:
    runner = RunnerSpec(kind="serial", channels_last=False, precision="bf16")
    changed = study.replace(runner=runner, trial_limit_s=90.0, data_seed=5, seed=7)
    with TrialStore(tmp_path) as store:
        job = search_parts(changed, store).driver.ask()
        (trial,) = store.trials
    assert job is not None
    data = DataSplit("fashion-on-earth", 5, "validation")
    assert job.task == Task(trial.design, study.ladder.rungs[0].fidelity, 7, data, runner, "supervised", 90.0)
    assert (job.id, job.limit_s) == (trial.key, 90.0)


def test_what_was_running_when_the_driver_died_is_run_first(study: Study, tmp_path: Path) -> None:
    with TrialStore(tmp_path) as store:
        driver = search_parts(study, store).driver
        first, second = driver.ask(), driver.ask()
        assert first is not None
        assert second is not None
        driver.tell(second, Outcome("complete", {"accuracy": 0.5}))
    with TrialStore(tmp_path) as store:
        again = search_parts(study, store).driver.ask()
        assert again == first
        assert len(store.trials) == 2


def test_a_search_of_the_other_objective_is_ranked_by_its_score(study: Study, tmp_path: Path) -> None:
    masked = study.replace(objectives=("masked_error", "latency_ms"))
    with TrialStore(tmp_path) as store:
        run(search_parts(masked, store).driver, "search_toys:evaluate_masked", SERIAL)
        promoted = {trial.architecture_id for trial in store.trials if trial.level == Level(1)}
        below = {t.architecture_id: t.metric("masked_r2") for t in store.trials if t.level == Level(0) and t.complete}
    assert max(below, key=lambda key: below[key]) in promoted


def test_a_race_goes_on_with_more_final_trainings(study: Study, tmp_path: Path) -> None:
    raced = study.replace(final_seeds=(1, 2, 3), race=7)
    first = of_level(run_search(raced, tmp_path), 1, final=True)
    again = of_level(run_search(raced.with_more_finals(3), tmp_path), 1, final=True)
    assert (len(first), len(again)) == (7, 9)  # no contest: three trainings each
    assert {trial.key for trial in first} < {trial.key for trial in again}
    assert {trial.seed for trial in again} <= set(raced.with_more_finals(3).final_seeds) == {1, 2, 3, 4, 5, 6}
    with pytest.raises(UserError, match="do not race"):
        study.with_more_finals(3)
    with pytest.raises(UserError, match="finals = 0: must be at least 1"):
        raced.with_more_finals(0)
