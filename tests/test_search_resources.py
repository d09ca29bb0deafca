"""Searches bound on memory: what is refused before they start, what they propose, what their reports say."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from search_toys import SPACE, NoDevice, run_search, study_of

import nasbench
from nasbench.costs.budget import parse_budgets
from nasbench.engine.run import fixed_points_within
from nasbench.errors import UserError
from nasbench.latency.device import Measurement, this_device
from nasbench.latency.profile import DeviceProfile, new_profile
from nasbench.latency.records import Protocol, Record, Reference
from nasbench.latency.resources import memory_features
from nasbench.report.results import StudyResult
from nasbench.report.tables import closing_text, front_table
from nasbench.study.trials import Kind

BUDGET = "60MBmem"


def memory_bytes(arch: nasbench.Architecture) -> float:
    features = memory_features(arch, 1000)
    return 1e6 * (16 + 2.5 * features["weights.held"] + 2 * features["largest kernel"])


def made(name: str, memory: bool = True) -> DeviceProfile:
    """A device by formula, 30 networks of the space measured on it."""
    rng, records = np.random.default_rng(0), []
    for arch in (SPACE.sample(rng) for _ in range(30)):
        latency_ms = 0.1 + 2e-8 * nasbench.cost(arch).macs
        measured = Measurement(latency_ms, latency_ms / 2, 0.01, latency_ms, latency_ms, 2.0, 60, 3, False)
        figure = memory_bytes(arch) * float(np.exp(0.03 * rng.standard_normal())) if memory else None
        records.append(Record(id=arch.id, architecture=arch.to_dict(), measurement=measured, memory_bytes=figure))
    return new_profile(name, records, this_device(), Protocol(), Reference(name="by formula", sha256="", quiet_ms=2.0))


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory):
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("NASBENCH_CACHE", str(folder))
        patch.chdir(folder)
        yield


@pytest.fixture(scope="module")
def profile(cache: None) -> DeviceProfile:
    found, bare = made("phone"), made("bare", memory=False)
    for each in (found, bare, bare.model_copy(update={"name": "this-machine"})):
        each.save()
    return found


@pytest.fixture(scope="module")
def finished(profile: DeviceProfile, tmp_path_factory: pytest.TempPathFactory) -> StudyResult:
    study = study_of(
        ladder=({"trials": 10, "samples": 100},),
        budgets=("1GFLOP", BUDGET),
        final_seeds=(1, 2),
        finalists=3,
        device="phone",
    )
    source = NoDevice()
    source.profile = profile
    fixed = fixed_points_within(study, SPACE, profile)
    assert 0 < len(fixed) < len(fixed_points_within(study, SPACE))  # the budget turns some away
    return run_search(study, tmp_path_factory.mktemp("study"), fixed=fixed, source=source).with_predictions(profile)


@pytest.mark.exhaustive
def test_every_design_s_upper_end_meets_the_budget(finished: StudyResult, profile: DeviceProfile) -> None:
    (limit,) = (b.limit for b in parse_budgets([BUDGET]))
    designs = [trial.design for trial in finished.trials]
    assert {trial.origin.kind for trial in finished.trials} == {Kind.FIXED_POINT, Kind.SEARCHED}
    assert profile.predict_resource("memory_bytes", designs).high.max() <= limit
    free = [SPACE.sample(seed, parse_budgets(["1GFLOP"])) for seed in range(8)]
    assert profile.predict_resource("memory_bytes", free).high.max() > limit  # or it would bind nothing


def test_the_report_carries_what_was_predicted_and_says_so(finished: StudyResult) -> None:
    finished.report()
    lines = list(csv.DictReader(io.StringIO((finished.folder / "front.csv").read_text())))
    assert lines
    for line in lines:
        low, value, high = (float(line[f"memory_bytes_predicted{end}"]) for end in ("_low", "", "_high"))
        assert low < value < high <= 60e6
        assert line["memory_bytes_measured"] == ""
        assert "energy_j_predicted" not in line
    rows = finished.rows()
    table = front_table(rows)
    assert table.columns[-1].header == "memory\nMB"
    assert all(str(cell).startswith("≤") for cell in table.columns[-1].cells)
    assert "Memory: measured, or ≤ the upper end of the predicted interval." in closing_text(rows)
    assert finished.to_pandas()["memory_bytes_predicted"].max() < 60e6


def test_measured_memory_stands_alone(finished: StudyResult) -> None:
    first = finished.rows()[0]
    told = replace(finished, measured_resources={first.id: {"memory_bytes": 41.25e6}})
    (row,) = (row for row in told.rows() if row.id == first.id)
    assert row.resources["memory_bytes"].measured == 41.25e6
    (cell,) = list(front_table([replace(row, on_front=True)]).columns[-1].cells)
    assert cell == "41.2"


@pytest.mark.parametrize(
    ("device", "budget", "text"),
    [
        ("bare", BUDGET, "holds the memory of 0 networks.* `nasbench latency fit --device bare --memory`"),
        ("phone", "5mJ", "holds the energy of 0 networks.*on a device that reports it"),
        ("this-machine", BUDGET, "'this-machine' holds the memory of 0 networks.* `nasbench latency fit --memory`"),
        ("nowhere", BUDGET, "unknown device 'nowhere'"),
        ("phone", "5MJ", "may mean milli- or megajoules"),
    ],
)
def test_what_a_device_cannot_tell_is_refused_before_anything_is_written(
    profile: DeviceProfile, device: str, budget: str, text: str
) -> None:
    with pytest.raises(UserError, match=text) as error:
        nasbench.search(budgets=[budget], device=device, out="refused")
    assert "\n" not in str(error.value)
    assert not Path("refused").exists()


def test_energy_of_a_machine_without_a_meter_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NASBENCH_CACHE", str(tmp_path / "empty"))  # no profile yet: it would be measured
    monkeypatch.setattr("nasbench.latency.energy.find_meter", lambda root: None)
    monkeypatch.setattr("nasbench.latency.energy.energy_sources", lambda root: [])
    with pytest.raises(UserError, match="this machine reports no energy"):
        nasbench.search(budgets=["5mJ"], out="refused")
    assert not Path("refused").exists()
