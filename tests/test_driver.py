"""What a search trains next, run with a stand-in for training."""

from __future__ import annotations

import math
import random

import pytest

from nasbench.arch.library import fixed_points
from nasbench.engine.driver import Driver
from nasbench.engine.start import fitting_fixed_points
from nasbench.progress import Silent
from nasbench.report.results import StudyResult, level
from nasbench.report.rows import FIXED_POINT
from nasbench.running import run
from nasbench.running.serial import run_serial
from nasbench.space.shipped import load_space
from nasbench.study.runner import RunnerSpec
from nasbench.study.store import TrialStore
from nasbench.study.study import SpaceRecord, Study

EVALUATE = "search_toys:evaluate"
SPACE = load_space("metablock")
LADDER = ({"trials": 14, "samples": 100}, {"name": "top", "trials": 6, "samples": 1000})


@pytest.fixture(scope="module")
def study() -> Study:
    return Study(
        space=SpaceRecord(name="metablock", content=SPACE.to_dict()),
        budgets=("600MFLOP",),
        ladder=LADDER,
        strategy={"name": "evolution"},
        trials=14,
        final_seeds=(1, 2, 3),
        finalists=3,
        runner={"kind": "serial"},
    )


def driver(study, store, deadline=math.inf):
    fixed = fitting_fixed_points(study, SPACE)
    return Driver(study, store, SPACE, fixed, lambda: None, Silent(), deadline)


def run_all(study, folder):
    with TrialStore(folder) as store:
        run(driver(study, store), EVALUATE, RunnerSpec(kind="serial"))
        return StudyResult.from_store(study, store)


@pytest.fixture(scope="module")
def finished(study, tmp_path_factory) -> StudyResult:
    return run_all(study, tmp_path_factory.mktemp("study"))


def of_level(result, rung, final):
    return [trial for trial in result.trials if level(trial) == (rung, final)]


def test_every_level_has_its_trials(finished, study):
    assert len(of_level(finished, 0, False)) == 14
    complete = [trial for trial in of_level(finished, 0, False) if trial.state == "complete"]
    assert len(of_level(finished, 1, False)) == min(6, math.ceil(len(complete) / 2))
    finals = of_level(finished, 1, True)
    assert len(finals) == 3 * 3
    assert {trial.split for trial in finals} == {"test"}
    assert {trial.seed for trial in finals} == {1, 2, 3}  # not the seed that the search chose by


def test_nothing_is_trained_twice_and_the_test_split_waits_for_the_end(finished):
    keys = [trial.key for trial in finished.trials]
    assert len(set(keys)) == len(keys)
    splits = [trial.split for trial in finished.trials]
    assert splits.index("test") == splits.count("validation")


def test_fixed_points_that_fit_come_first(finished, study):
    fitting = fitting_fixed_points(study, SPACE)
    names = {arch.name for arch in fitting.values()}
    # FastViT-T8 is beyond 600 MFLOP.
    assert names == {"emo_1m", "emo_2m", "mobileone_s0", "mobilevit_xxs", "mobilevitv2_050"}
    first = [trial.architecture["name"] for trial in of_level(finished, 0, False)[: len(names)]]
    assert set(first) == names


def test_failures_are_kept_with_their_reason_and_not_promoted(finished):
    failed = [trial for trial in finished.trials if trial.state == "failed"]
    assert failed
    assert all("out of order" in (trial.reason or "") for trial in failed)
    assert not {t.architecture_id for t in failed} & {t.architecture_id for t in of_level(finished, 1, False)}


def test_promotion_takes_the_better_half_and_a_fixed_point(finished):
    below = {t.architecture_id: t.metrics["accuracy"] for t in of_level(finished, 0, False) if t.state == "complete"}
    promoted = of_level(finished, 1, False)
    best = max(below, key=lambda key: below[key])
    assert best in {trial.architecture_id for trial in promoted}
    assert any(trial.origin["kind"] == FIXED_POINT for trial in promoted)


def test_rows_are_of_the_highest_rung_and_the_front_of_the_test_split(finished):
    from dataclasses import replace

    timed = replace(finished, measured_ms={t.architecture_id: 10.0 for t in finished.trials})
    rows = timed.rows()
    assert {row.rung for row in rows} == {1}
    front = timed.front()
    assert front
    assert all(row.split == "test" and row.seeds == 3 for row in front)
    assert len(timed.to_pandas()) == len(timed.trials)


class Killed(BaseException):
    pass


class Mortal:
    """A source whose driver dies at a given call."""

    def __init__(self, source, calls):
        self.source, self.calls = source, calls

    def _live(self):
        self.calls -= 1
        if self.calls < 0:
            raise Killed

    def ask(self):
        job = self.source.ask()
        self._live()
        return job

    def tell(self, job, outcome):
        self._live()
        self.source.tell(job, outcome)


def test_a_driver_killed_anywhere_goes_on_and_ends_with_the_same_trials(study, finished, tmp_path):
    """In serial order a resumed search must propose, promote and finish exactly what an unbroken one does."""
    rng = random.Random(0)
    for _ in range(200):
        with TrialStore(tmp_path) as store:
            store.drain_spool()
            try:
                mortal = Mortal(driver(study, store), rng.randint(1, 9))
                run_serial(mortal, EVALUATE, RunnerSpec(kind="serial"), tmp_path / "spool")
                break
            except Killed:
                continue
    with TrialStore(tmp_path, read_only=True) as store:
        trials = {trial.key: trial.metrics for trial in store.trials}
        assert all(trial.state != "submitted" for trial in store.trials)
    assert trials == {trial.key: trial.metrics for trial in finished.trials}


def test_no_trial_starts_after_the_deadline(study, tmp_path):
    with TrialStore(tmp_path) as store:
        assert driver(study, store, deadline=0.0).ask() is None
        assert not store.trials


def test_a_space_that_runs_out_ends_the_rung(tmp_path, study):
    content = {"name": "tiny", "resolution": 64, "stages": [{"channels": [16, 24], "depth": [1, 2]}]}
    tiny = study.replace(space={"name": "tiny", "content": content}, budgets=(), trials=50)
    from nasbench.space import SearchSpace

    space = SearchSpace.from_dict(content)
    with TrialStore(tmp_path) as store:
        run(Driver(tiny, store, space, {}, lambda: None, Silent()), EVALUATE, RunnerSpec(kind="serial"))
        lowest = [trial for trial in store.trials if level(trial) == (0, False)]
        assert len(lowest) == space.size()
        assert any(trial.split == "test" for trial in store.trials)


def test_fixed_points_take_turns_by_family(study):
    fitting = [arch.name for arch in fitting_fixed_points(study.replace(budgets=("3GFLOP",)), SPACE).values()]
    families = [name.partition("_")[0] for name in fitting]
    assert sorted(families[: len(set(families))]) == sorted(set(families)) != sorted(families)
    assert {"emo", "fastvit", "mobilevit", "mobilevitv2", "mobileone", "repvgg"} == set(families)
    assert set(fitting) <= set(fixed_points())


def test_the_runner_s_training_settings_reach_every_task(study, tmp_path):
    changed = study.replace(runner={"kind": "serial", "channels_last": False, "precision": "bf16"})
    with TrialStore(tmp_path) as store:
        job = driver(changed, store).ask()
    assert job is not None
    assert job.task["channels_last"] is False
    assert job.task["precision"] == "bf16"


def test_budgets_in_ms_bind_on_the_upper_end_of_the_interval(study, tmp_path):
    """A design predicted at 9 to 11 ms breaks a budget of 10.5 ms, though its middle meets it."""
    import numpy as np

    from nasbench.latency.prediction import Prediction

    class Profile:
        def predict(self, designs, classes):
            ones = np.ones(len(designs))
            return Prediction(10 * ones, 9 * ones, 11 * ones, ones > 1, ("",) * len(designs))

    for limit, met in (("10.5ms", False), ("11.5ms", True)):
        with TrialStore(tmp_path / limit) as store:
            tight = study.replace(budgets=(limit,))
            told = Driver(tight, store, SPACE, {}, Profile, Silent())._context(np.random.default_rng(0))
        assert (told.limits.violation(SPACE.sample(0)) == 0) is met
        assert told.speed(fixed_points()["emo_1m"]) == 10.0
