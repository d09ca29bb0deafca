"""A study on a device that is not this machine: what it asks to have measured there, and what it shows afterwards."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from search_toys import SPACE, study_of

from nasbench.arch.architecture import Architecture
from nasbench.cli import main
from nasbench.costs.analytic import cost
from nasbench.engine.worth_measuring import advice, designs_for_pack, turned_away
from nasbench.errors import UserError
from nasbench.latency import standalone
from nasbench.latency.device import Measurement, Settings, this_device
from nasbench.latency.profile import DeviceProfile, new_profile
from nasbench.latency.records import Protocol, Record, Reference
from nasbench.report.results import StudyResult, open_study
from nasbench.study.store import TrialStore
from nasbench.study.trials import Origin, Outcome, Trial

DEVICE = "shed-pi"


def true_ms(arch: Architecture) -> float:
    return 2e-8 * cost(arch).macs


def record(arch: Architecture, ms: float | None = None) -> Record:
    us = round(1e3 * (true_ms(arch) if ms is None else ms))
    block = standalone.Pass(0.0, (1000,) * 5, (1000,) * 5, (us,) * 5, (us,) * 5)
    return Record(
        id=arch.id,
        architecture=arch.to_dict(),
        measurement=Measurement.of([block] * 3, standalone.THREAD, 1.0),
        passes=(block,) * 3,
    )


def fitted(designs: list[Architecture], classes: int = 1000) -> DeviceProfile:
    reference = Reference(name="toy", sha256="", quiet_ms=1.0)
    records, device = [record(design) for design in designs], this_device(Settings())
    return new_profile(DEVICE, records, device, Protocol(), reference, classes)


@pytest.fixture(scope="module")
def designs() -> list[Architecture]:
    return [SPACE.sample(np.random.default_rng(seed)) for seed in range(36)]


@pytest.fixture(scope="module")
def profile(designs: list[Architecture]) -> DeviceProfile:
    return fitted(designs[:16])


@pytest.fixture
def folder(
    tmp_path: Path, designs: list[Architecture], profile: DeviceProfile, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A study of 16 designs none of which the device has seen; every second one went on to the second rung."""
    monkeypatch.setenv("NASBENCH_CACHE", str(tmp_path / "cache"))
    profile.save()
    folder, mine = tmp_path / "study", designs[16:32]
    high = profile.predict(mine).high_ms
    study = study_of(
        ladder=({"trials": 16, "samples": 100}, {"trials": 8, "samples": 200}),
        budgets=(f"{high.max():.0f}ms",),
        strategy={"name": "random"},
        device=DEVICE,
    )
    study.create(folder)
    with TrialStore(folder) as store:
        for number, arch in enumerate(mine):
            for rung in (0, 1)[: 1 + number % 2]:
                fidelity = study.ladder.rungs[rung].fidelity
                trial = Trial.new(arch, fidelity, seed=0, data="toy", origin=Origin(rung=rung, cost=cost(arch)))
                store.submit(trial)
                accuracy = 0.3 + 0.1 * np.tanh(cost(arch).macs / 1e9) + 0.01 * (number % 3)
                store.finish(trial.key, Outcome("complete", {"accuracy": float(accuracy)}))
    return folder


def test_the_front_comes_first_then_what_is_near_it_and_at_the_budget(folder: Path, profile: DeviceProfile) -> None:
    result = open_study(folder)
    front = {row.id for row in result.front()}
    chosen = designs_for_pack(result, profile, 14)
    ids = [arch.id for arch in chosen]
    assert len(set(ids)) == 14
    assert set(ids[: len(front)]) == front
    rungs = {trial.architecture_id: trial.level.rung for trial in result.trials}  # the later record is higher
    beside = [key for key in ids[len(front) :] if key in rungs]
    assert [rungs[key] for key in beside] == sorted((rungs[key] for key in beside), reverse=True)
    foreign = [arch for arch in chosen if arch.id not in rungs]
    limit = result.study.budgets[0].limit
    predicted = profile.predict(foreign)
    assert foreign
    assert (predicted.latency_ms <= limit).all()
    assert (predicted.high_ms > limit).all()
    assert designs_for_pack(result, profile, 3) == chosen[:3]


def test_what_came_back_is_shown_as_measured_and_not_asked_for_again(folder: Path, profile: DeviceProfile) -> None:
    before = open_study(folder)
    assert all(row.latency_kind == "predicted" for row in before.front())
    (line,) = advice(before)
    assert line.startswith("On the front the latencies are predictions for shed-pi; measure there: `nasbench latency")
    asked = designs_for_pack(before, profile, 6)
    profile.with_records([record(arch, 1.1 * true_ms(arch)) for arch in asked]).save()

    after = open_study(folder)
    rows = {row.id: row for row in after.rows()}
    shown = [arch for arch in asked if arch.id in rows]
    assert shown
    for arch in shown:
        assert rows[arch.id].latency_measured == pytest.approx(1.1 * true_ms(arch), rel=1e-3)
    assert {arch.id for arch in asked}.isdisjoint(a.id for a in designs_for_pack(after, profile, 6))
    everything = [arch.id for arch in designs_for_pack(after, profile, 20)]
    assert {arch.id for arch in asked if arch.id in rows} <= set(everything[-len(asked) :])  # measured: last
    assert not advice(after) or "of the" in advice(after)[0]


def test_a_pack_of_a_study_carries_its_designs_with_the_settings_of_the_profile(
    folder: Path, designs: list[Architecture], profile: DeviceProfile, monkeypatch, capsys
) -> None:
    import json

    monkeypatch.chdir(folder.parent)
    assert main(["latency", "pack", DEVICE, "--study", str(folder), "--count", "1", "--json"]) == 0
    manifest = json.loads((folder.parent / "latency-pack-shed-pi-study" / "manifest.json").read_text())
    expected = designs_for_pack(StudyResult.read(folder), profile, 1)
    assert [network["id"] for network in manifest["networks"]] == [arch.id for arch in expected]
    assert {network["id"] for network in manifest["networks"]} <= {arch.id for arch in designs[16:32]}
    assert manifest["runtime"] == "onnxruntime"
    assert "import results.json --add" in (folder.parent / "latency-pack-shed-pi-study" / "README.txt").read_text()


def test_what_cannot_be_asked_for(folder: Path, designs: list[Architecture], profile: DeviceProfile) -> None:
    result = StudyResult.read(folder)
    with pytest.raises(UserError, match="a study for 'shed-pi', not for 'other'"):
        designs_for_pack(result, profile.model_copy(update={"name": "other"}), 3)
    with pytest.raises(UserError, match="its networks have 1000 classes, those measured on 'shed-pi' 10"):
        designs_for_pack(result, fitted(designs[:8], classes=10), 3)
    with TrialStore(folder.parent / "empty") as store:
        empty = StudyResult.from_store(result.study, store)
    with pytest.raises(UserError, match="none of its trials is complete yet"):
        designs_for_pack(empty, profile, 3)


def test_only_designs_with_an_interval_across_the_budget_count_as_turned_away(
    folder: Path, profile: DeviceProfile
) -> None:
    result, rng = StudyResult.read(folder), np.random.default_rng(0)
    near = [row.arch for row in result.with_predictions(profile).rows()]
    found = list(turned_away(result, profile, near, 4, rng))
    assert len({arch.id for arch in found}) == 4
    assert not {arch.id for arch in found} & {trial.architecture_id for trial in result.trials}
    limit = result.study.budgets[0].limit
    for arch in found:
        assert profile.predict([arch]).latency_ms[0] <= limit < profile.predict([arch]).high_ms[0]
    free = StudyResult(folder, result.study.replace(budgets=()), result.trials, {}, {})
    assert not list(turned_away(free, profile, near, 4, rng))  # no budget in milliseconds turns anyone away
