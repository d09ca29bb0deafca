"""What a search measures while it runs, with a device that answers by formula."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from search_toys import SERIAL, Notes, ToyDevice, run_search, search_parts, study_of, true_ms

from nasbench.arch.architecture import Architecture
from nasbench.costs.analytic import cost
from nasbench.engine.measuring import AT_A_TIME
from nasbench.latency.prediction import Prediction
from nasbench.report.results import StudyResult
from nasbench.running import run
from nasbench.study.store import TrialStore
from nasbench.study.study import Study
from nasbench.study.trials import Level


@pytest.fixture
def study() -> Study:
    return study_of(
        ladder=({"trials": 20, "samples": 100}, {"name": "top", "trials": 6, "samples": 1000}),
        budgets=("600MFLOP",),
        final_seeds=(1, 2),
        finalists=3,
        device="by-formula",
    )


def test_designs_near_the_front_are_measured_and_learnt_from(study: Study, tmp_path: Path) -> None:
    source, notes = ToyDevice(), Notes()
    with TrialStore(tmp_path) as store:
        search = search_parts(study, store, source=source, progress=notes)
        run(search.driver, "search_toys:evaluate", SERIAL)
        search.measuring.finish()
        result = StudyResult.from_store(study, store)
    assert len(source.asked) in (2, 3)  # half of the first rung, all of it, the second if anything is left by then
    assert all(len(designs) <= AT_A_TIME for designs in source.asked)
    asked = {design.id: design for designs in source.asked for design in designs}
    assert len(asked) == sum(map(len, source.asked))  # none twice
    assert result.measured_ms == {key: true_ms(arch) for key, arch in asked.items()}
    assert all(search.schedule.predictions.latency_ms(arch) == true_ms(arch) for arch in asked.values())
    first = source.asked[0][0]
    # What is stored for a measured design was predicted by a profile that had not seen it.
    assert result.predictions[first.id].latency.value == pytest.approx(2e-8 * cost(first).macs)
    assert not result.unpredicted
    last = next(trial for trial in result.trials if trial.architecture_id not in result.measured_ms)
    assert result.predictions[last.architecture_id].latency.value == pytest.approx(1e-8 * last.cost.macs)
    errors = [abs(2e-8 * cost(arch).macs / true_ms(arch) - 1) for arch in source.asked[0]]
    assert notes.notes.count(f"measuring the latency of {len(errors)} designs near the front meanwhile") >= 1
    assert (
        f"{len(errors)} designs measured: predictions were off by {np.median(errors):.0%} (median), "
        f"worst {max(errors):.0%}; fitted again with them"
    ) in notes.notes


class Upside(ToyDevice):
    """A device whose profile thinks that the expensive designs are the fast ones, and that measures nothing."""

    can_measure = False  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__()
        self.profile.predict = self._predict

    @staticmethod
    def _predict(designs: Sequence[Architecture], classes: int) -> Prediction:
        ms = np.array([1e9 / cost(arch).macs for arch in designs])
        return Prediction(ms, ms, ms, np.zeros(len(designs), bool), ("",) * len(designs))


def test_who_was_promoted_stays_so_when_latencies_change(study: Study, tmp_path: Path) -> None:
    trained = [trial.key for trial in run_search(study, tmp_path, source=ToyDevice()).trials]
    again = run_search(study, tmp_path, source=Upside())
    assert [trial.key for trial in again.trials] == trained
    # More trials are another question: then it is decided anew.
    more = run_search(study.replace(trials=26), tmp_path, source=Upside())
    assert sum(trial.level == Level(0) for trial in more.trials) == 26
    assert len(more.trials) > len(trained) + 6


def test_without_a_profile_nothing_is_measured_and_designs_are_ranked_by_multiply_adds(
    study: Study, tmp_path: Path
) -> None:
    result = run_search(study, tmp_path)
    assert not result.measured_ms
    assert not result.predictions
    assert any(trial.level.final for trial in result.trials)
