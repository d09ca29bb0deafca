"""The device profile of a study: whether it covers the space that is searched, and what is done where it does not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from search_toys import Notes, ToyProfile, study_of
from shared_spaces import SMALL

from nasbench.arch.architecture import Architecture
from nasbench.costs.analytic import cost
from nasbench.engine import device_source
from nasbench.engine.device_source import MORE_NETWORKS, DeviceSource
from nasbench.latency.prediction import Prediction
from nasbench.latency.selection import calibration_set


class OfAnotherSpace(ToyProfile):
    """Fitted to networks that are unlike a share of what is asked."""

    def __init__(self, outside: float) -> None:
        super().__init__()
        self.outside = outside

    def require_metrics(self, metrics: Sequence[str]) -> None:
        assert not metrics

    def predict(self, designs: Sequence[Architecture], classes: int) -> Prediction:
        flags = np.arange(len(designs)) < self.outside * len(designs)
        return replace(super().predict(designs, classes), extrapolating=flags)


class Measured:
    """Stands for a process that measures; it is done when it is told."""

    def __init__(self, designs: Sequence[Architecture]) -> None:
        self.designs, self.is_done = designs, False

    def done(self) -> bool:
        return self.is_done

    def result(self) -> ToyProfile:
        return ToyProfile(self.designs)

    def stop(self) -> None:
        self.is_done = True


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., tuple[DeviceSource, list[Measured], Notes]]:
    def begin(outside: float, **changes: Any) -> tuple[DeviceSource, list[Measured], Notes]:
        jobs: list[Measured] = []

        def extend(base: str, designs: Sequence[Architecture], *_: object) -> Measured:
            assert base == "this-machine"
            jobs.append(Measured(designs))
            return jobs[-1]

        monkeypatch.setattr(device_source, "load_device", lambda name: OfAnotherSpace(outside))
        monkeypatch.setattr(device_source, "extend_in_background", extend)
        notes = Notes()
        return DeviceSource(study_of(SMALL, **changes), SMALL, tmp_path, notes), jobs, notes

    return begin


def test_a_profile_of_another_space_learns_the_one_that_is_searched(
    begun: Callable[..., tuple[DeviceSource, list[Measured], Notes]],
) -> None:
    source, (job,), notes = begun(0.5)
    assert len(job.designs) == MORE_NETWORKS
    assert all(SMALL.contains(design) for design in job.designs)
    assert "50% of the space small lies outside" in notes.notes[0]
    assert isinstance(source(), OfAnotherSpace)  # which serves until then
    assert source.under_way
    assert not source.can_measure
    job.is_done = True
    assert not source.under_way
    assert source.can_measure
    profile = source()
    assert profile is not None
    assert len(profile.records) == MORE_NETWORKS


def test_a_budget_in_milliseconds_waits_for_it(
    begun: Callable[..., tuple[DeviceSource, list[Measured], Notes]],
) -> None:
    source, _, _ = begun(1.0)
    profile = source.wait()
    assert profile is not None
    assert profile.records


def test_nothing_is_measured_where_the_profile_covers_the_space_or_is_anothers(
    begun: Callable[..., tuple[DeviceSource, list[Measured], Notes]],
) -> None:
    assert begun(0.1)[1] == []
    assert begun(1.0, device="phone")[1] == []


def test_a_calibration_begins_with_the_ends_of_the_space() -> None:
    chosen = calibration_set(SMALL, 12, np.random.default_rng(0))
    macs = [cost(arch).macs for arch in chosen]
    drawn = [cost(SMALL.sample(np.random.default_rng(n))).macs for n in range(50)]
    assert min(macs[:2]) <= np.quantile(drawn, 0.2)
    assert max(macs[:2]) >= np.quantile(drawn, 0.8)
