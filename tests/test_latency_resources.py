"""Memory and energy: fitted to networks whose figures are a known function, kept in profiles, bound on by budgets."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from nasbench.arch.architecture import Architecture
from nasbench.errors import UserError
from nasbench.latency import pack, standalone
from nasbench.latency.device import Measurement, this_device
from nasbench.latency.lowering import architecture_features
from nasbench.latency.names import profile_path
from nasbench.latency.profile import DeviceProfile, load_device, new_profile
from nasbench.latency.records import Protocol, Record, Reference
from nasbench.latency.reference import REFERENCE_NAME, reference_hash
from nasbench.latency.resources import memory_features
from nasbench.latency.standalone import Pass
from nasbench.latency.tables import prediction_table, profile_summary

NOISE = 0.03
NETWORKS = 40
DRAWN = 41  # of seed 0 two are the same


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NASBENCH_CACHE", str(tmp_path))
    return tmp_path


def network(rng: np.random.Generator) -> Architecture:
    """Two stages of 8 to 128 channels at 64 to 128 px."""

    def stage(least: int) -> dict[str, object]:
        block = ("mbconv", "repmixer", "repvgg")[int(rng.integers(3))]
        return {
            "block": block,
            "channels": 8 * int(rng.integers(least, 17)),
            "depth": int(rng.integers(1, 5)),
            "stride": 2,
        }

    content = {"resolution": 32 * int(rng.integers(2, 5)), "stem": {"kind": "conv", "channels": 16}}
    return Architecture.from_dict(content | {"stages": [stage(1), stage(1)], "head": {"kind": "linear"}})


def memory_mb(architecture: Architecture) -> float:
    """The runtime's 12 MB, every weight once, a convolution's twice and a half, the largest kernel twice."""
    features = memory_features(architecture, 10)
    return 12 + features["weights.held"] + 1.5 * features["convolutions.held"] + 2 * features["largest kernel"]


def energy_mj(architecture: Architecture) -> float:
    """5 mJ a 100 MMACs and 20 uJ a kernel."""
    features = architecture_features(architecture, 10)
    macs = sum(amount for name, amount in features.items() if name.endswith(".macs"))
    return 5e-8 * macs + 0.02 * sum(amount for name, amount in features.items() if name.endswith(".launches"))


def drawn(seed: int, n: int = NETWORKS) -> list[Architecture]:
    rng = np.random.default_rng(seed)
    return [network(rng) for _ in range(n)]


def record(architecture: Architecture, rng: np.random.Generator, memory: bool = True, energy: bool = True) -> Record:
    """1 ms and 1 ms a mJ; memory and energy by formula, with noise."""
    us = round(1e3 * (1 + energy_mj(architecture)))
    passes = tuple(Pass(float(at), (2000,) * 5, (2000,) * 5, (us,) * 5, (us,) * 5) for at in range(3))
    return Record(
        id=architecture.id,
        architecture=architecture.to_dict(),
        measurement=Measurement.of(passes, "thread", 2.0),
        passes=passes,
        memory_bytes=1e6 * memory_mb(architecture) * np.exp(NOISE * rng.standard_normal()) if memory else None,
        energy_j=1e-3 * energy_mj(architecture) * np.exp(NOISE * rng.standard_normal()) if energy else None,
    )


def made(records: list[Record], name: str = "shed-pi") -> DeviceProfile:
    reference = Reference(name="a", sha256="b", quiet_ms=2.0)
    return new_profile(name, records, this_device(), Protocol(), reference, num_classes=10)


@pytest.fixture(scope="module")
def profile() -> DeviceProfile:
    rng = np.random.default_rng(1)
    return made([record(a, rng) for a in drawn(0, DRAWN)])


@pytest.mark.parametrize(("metric", "truth", "unit"), [("memory_bytes", memory_mb, 1e6), ("energy_j", energy_mj, 1e-3)])
def test_a_known_function_is_recovered_and_the_interval_covers(
    profile: DeviceProfile, metric: str, truth: Callable[[Architecture], float], unit: float
) -> None:
    """On networks that the fit has not seen, with figures as noisy as those that it was fitted to."""
    rng, unseen = np.random.default_rng(2), drawn(3, 60)
    exact = np.array([unit * truth(a) for a in unseen])
    measured = exact * np.exp(NOISE * rng.standard_normal(len(exact)))
    found = profile.predict_resource(metric, unseen)
    assert np.abs(found.value / exact - 1).mean() < NOISE
    inside = ~found.extrapolating
    assert inside.mean() > 0.8
    assert ((found.low <= measured) & (measured <= found.high))[inside].mean() >= 0.8
    assert (found.high / found.low < 1.4)[inside].all()


def test_what_memory_is_made_of_is_found(profile: DeviceProfile) -> None:
    weights = profile.resources["memory_bytes"].weights
    assert weights["process"] == pytest.approx(12, rel=0.1)
    assert weights["weights.held"] + weights["convolutions.held"] == pytest.approx(2.5, rel=0.15)
    assert weights["weights.held"] > 0.5  # though hardly a network here has others than convolutions'
    assert 1 < weights["largest kernel"] < 3  # it goes along with all activations, which take a part of it


def test_a_network_beyond_what_was_measured_says_so_in_its_unit(profile: DeviceProfile) -> None:
    stage = {"block": "repvgg", "channels": 1024, "depth": 4, "stride": 2}
    content = {"resolution": 128, "stem": {"kind": "conv", "channels": 16}, "head": {"kind": "linear"}}
    found = profile.predict_resource("memory_bytes", [Architecture.from_dict(content | {"stages": [stage, stage]})])
    assert found.extrapolating[0]
    assert " MB lies outside the measured range of " in found.reasons[0]
    assert found.high[0] / found.value[0] > 1.1


def test_budgets_bind_on_the_upper_ends(profile: DeviceProfile) -> None:
    (design,) = drawn(9, 1)
    bounds = profile.bounds(design, ["latency_ms", "memory_bytes", "energy_j"])
    assert bounds["latency_ms"] == profile.predict([design]).high_ms[0]
    assert bounds["memory_bytes"] == profile.predict_resource("memory_bytes", [design]).high[0] > 1e6
    assert list(profile.bounds(design, ["energy_j"])) == ["energy_j"]


def test_a_profile_without_the_figures_says_how_to_get_them() -> None:
    rng, designs = np.random.default_rng(1), drawn(0, 12)
    bare = made([record(a, rng, memory=index < 7, energy=False) for index, a in enumerate(designs)])
    assert bare.resources == {}
    with pytest.raises(UserError) as error:
        bare.predict_resource("memory_bytes", designs[:1])
    assert str(error.value) == (
        "device profile 'shed-pi' holds the memory of 7 networks, predicting it takes 8: "
        "measure it with `nasbench latency fit --device shed-pi --memory`"
    )
    with pytest.raises(
        UserError, match=r"energy of 0 networks.* --energy` on a device that reports it, see docs/latency"
    ):
        bare.bounds(designs[0], ["energy_j"])


def test_the_fits_are_kept_and_older_files_get_them(profile: DeviceProfile) -> None:
    path = profile.save()
    assert load_device("shed-pi").resources == profile.resources
    content = json.loads(path.read_text())
    del content["resources"]
    del content["protocol"]["energy_meter"]
    path.write_text(json.dumps(content))
    older = load_device("shed-pi")
    assert older.resources.keys() == {"memory_bytes", "energy_j"}
    (design,) = drawn(9, 1)
    assert older.bounds(design, ["memory_bytes"]) == pytest.approx(profile.bounds(design, ["memory_bytes"]))


def test_tables_label_and_carry_the_figures(profile: DeviceProfile) -> None:
    profile.save()
    (design,) = drawn(9, 1)
    (row,) = prediction_table([design], profile)
    assert row["source"] == "predicted"
    assert row["memory_low_mb"] < row["memory_mb"] < row["memory_high_mb"]
    assert row["memory_mb"] == pytest.approx(memory_mb(design), rel=0.1)
    assert row["energy_mj"] == pytest.approx(energy_mj(design), rel=0.2)
    summary = profile_summary("shed-pi")
    assert summary["memory_mb"].endswith("measured on 40 networks")
    assert summary["energy_held_out_mape"] < 0.1
    assert "energy_meter" not in summary  # nobody said what measured it


def results(tmp_path: Path, energies: list[object], meter: str | None = None) -> Path:
    """What a pack's script would write, with these energies."""
    rng = np.random.default_rng(0)
    records = [record(a, rng) for a in drawn(5, len(energies))]
    device = asdict(this_device())
    manifest = {"device": "shed-pi", "num_classes": 10}
    manifest["reference"] = {"name": REFERENCE_NAME, "sha256": reference_hash()}
    manifest["networks"] = [{"id": r.id, "architecture": r.architecture} for r in records]
    protocol = {"version": standalone.PROTOCOL_VERSION, "clock": "thread"} | (
        {} if meter is None else {"energy_meter": meter}
    )
    networks = [
        {"id": r.id, "passes": [asdict(p) for p in r.passes], "energy_j": energy}
        for r, energy in zip(records, energies, strict=True)
    ]
    content = {"manifest": manifest | {"pack": pack.pack_id(manifest)}, "device": device, "protocol": protocol}
    path = tmp_path / "results.json"
    path.write_text(json.dumps(content | {"networks": networks}))
    return path


def test_energy_measured_on_the_device_comes_back(tmp_path: Path) -> None:
    energies: list[object] = [1e-3 * energy_mj(a) for a in drawn(5, 12)]
    profile = pack.read_results(results(tmp_path, energies, "battery (power_supply/battery)"))
    profile.save()
    assert profile_path("shed-pi").is_file()
    assert [r.energy_j for r in profile.records] == energies
    assert profile.predict_resource("energy_j", drawn(5, 12)).value == pytest.approx(energies, rel=0.15)
    assert profile_summary("shed-pi")["energy_meter"] == "battery (power_supply/battery)"
    assert "memory_bytes" not in profile.resources


def test_energy_measured_by_hand_is_taken_for_the_networks_that_have_it(tmp_path: Path) -> None:
    energies: list[object] = [1e-3 * energy_mj(a) for a in drawn(5, 9)] + [None, None]
    assert pack.read_results(results(tmp_path, energies)).resources.keys() == {"energy_j"}


@pytest.mark.parametrize("wrong", [-0.01, 0, "0.01 J"])
def test_an_energy_that_cannot_be_is_refused(tmp_path: Path, wrong: object) -> None:
    with pytest.raises(UserError, match=r"not the results of a pack: energy_j = .*: (input should|must) be "):
        pack.read_results(results(tmp_path, [0.01] * 11 + [wrong]))
