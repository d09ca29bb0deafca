"""What a search measures while it runs, with a device that answers by formula."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest

from nasbench.costs.analytic import cost
from nasbench.engine.driver import Driver
from nasbench.engine.measuring import NEAR_BUDGET, NEAR_FRONT, Measuring
from nasbench.engine.start import fitting_fixed_points
from nasbench.latency.prediction import Prediction
from nasbench.progress import Silent
from nasbench.report.results import StudyResult, level
from nasbench.running import run
from nasbench.space.shipped import load_space
from nasbench.study.runner import RunnerSpec
from nasbench.study.store import TrialStore
from nasbench.study.study import SpaceRecord, Study

SPACE = load_space("metablock")
EVALUATE = "search_toys:evaluate"


def true_ms(arch) -> float:
    """Slower per multiply-add the more activations there are: what the first profile does not know."""
    figures = cost(arch)
    return 1e-8 * figures.macs + 1e-6 * figures.activations


class Profile:
    """Knows what it has measured; guesses the rest from multiply-adds alone, and far off."""

    num_classes = 1000

    def __init__(self, known=()):
        self.records = [
            SimpleNamespace(id=a.id, measurement=SimpleNamespace(latency_ms=true_ms(a)), architecture=a) for a in known
        ]

    def predict(self, designs, classes):
        factor = 1.0 if self.records else 2.0
        guesses = factor * np.array([1e-8 * cost(a).macs for a in designs])
        return Prediction(guesses, 0.9 * guesses, 1.2 * guesses, guesses < 0, ("",) * len(designs))


class Source:
    """Measures at once what it is asked to; the profile that comes of it is there at the next look."""

    def __init__(self):
        self.profile, self.asked, self._next = Profile(), [], None

    def __call__(self):
        return self.profile

    @property
    def can_measure(self):
        return self._next is None

    def measure(self, designs):
        self.asked.append(list(designs))
        self._next = Profile([r.architecture for r in self.profile.records] + list(designs))

    def extended(self, wait=False):
        if self._next is None:
            return None
        self.profile, self._next = self._next, None
        return self.profile


def macs_of(result, key) -> int:
    return next(t.origin["cost"]["macs"] for t in result.trials if t.architecture_id == key)


@pytest.fixture
def study() -> Study:
    return Study(
        space=SpaceRecord(name="metablock", content=SPACE.to_dict()),
        budgets=("600MFLOP",),
        ladder=({"trials": 20, "samples": 100}, {"name": "top", "trials": 6, "samples": 1000}),
        strategy={"name": "evolution"},
        trials=20,
        final_seeds=(1, 2),
        finalists=3,
        runner={"kind": "serial"},
        device="by-formula",
    )


def search(study, folder, source, calls=math.inf):
    with TrialStore(folder) as store:
        driver = Driver(study, store, SPACE, fitting_fixed_points(study, SPACE), source, Silent())
        measuring = Measuring(driver, source, Silent())
        run(measuring, EVALUATE, RunnerSpec(kind="serial"))
        measuring.finish()
        return StudyResult.from_store(study, store), driver


def test_designs_near_the_front_are_measured_and_learnt_from(study, tmp_path):
    source = Source()
    result, driver = search(study, tmp_path, source)
    assert len(source.asked) in (2, 3)  # half of the first rung, all of it, the second if anything is left by then
    assert all(len(designs) <= NEAR_FRONT + NEAR_BUDGET for designs in source.asked)
    asked = [design.id for designs in source.asked for design in designs]
    assert len(asked) == len(set(asked))  # none twice
    assert result.measured_ms == {a.id: true_ms(a) for designs in source.asked for a in designs}
    first = source.asked[0][0]
    # What is stored for a measured design was predicted by a profile that had not seen it.
    assert result.predictions[first.id]["latency_ms"] == pytest.approx(2e-8 * cost(first).macs)
    assert driver._latency(first) == true_ms(first)
    assert not result.unpredicted
    last = next(t.architecture_id for t in result.trials if t.architecture_id not in result.measured_ms)
    assert result.predictions[last]["latency_ms"] == pytest.approx(0.5 * 2e-8 * macs_of(result, last))


def test_who_was_promoted_stays_so_when_latencies_change(study, tmp_path):
    result, _ = search(study, tmp_path, Source())
    trained = [trial.key for trial in result.trials]
    slow_to_fast = Source()
    slow_to_fast.profile.predict = lambda designs, classes: Prediction(
        *(np.array([1e9 / cost(a).macs for a in designs]),) * 3, np.zeros(len(designs), bool), ("",) * len(designs)
    )
    again, _ = search(study, tmp_path, slow_to_fast)
    assert [trial.key for trial in again.trials] == trained
    # More trials are another question: then it is decided anew.
    more, _ = search(study.replace(trials=26), tmp_path, slow_to_fast)
    assert sum(level(trial) == (0, False) for trial in more.trials) == 26
    assert len(more.trials) > len(trained) + 6


def test_designs_that_a_budget_turned_away_by_their_interval_alone_are_measured(study, tmp_path):
    source = Source()
    source.profile.records = [SimpleNamespace(id="", measurement=SimpleNamespace(latency_ms=1.0), architecture=None)]
    with TrialStore(tmp_path) as store:
        driver = Driver(study.replace(budgets=("5ms",)), store, SPACE, {}, source, Silent())
        rng = np.random.default_rng(0)
        designs = [SPACE.sample(rng) for _ in range(60)]
        for design in designs:
            driver._bounds(design)
    between = [a.id for a in designs if 1e-8 * cost(a).macs <= 5 < 1.2e-8 * cost(a).macs]
    assert between
    assert [a.id for a in driver.turned_away(NEAR_BUDGET)] == between[-NEAR_BUDGET:]
