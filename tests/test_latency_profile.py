"""Device profiles: round trip, refusals, calibration sets; and one real fit of a few small networks."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from nasbench.arch.architecture import Architecture
from nasbench.errors import UserError
from nasbench.latency import calibrate, export, features
from nasbench.latency.background import fit_in_background
from nasbench.latency.device import Measurement, this_device
from nasbench.latency.kernels import MIN_KERNELS, fit_kernels
from nasbench.latency.launches import Kernel
from nasbench.latency.lowering import architecture_features
from nasbench.latency.names import profile_path
from nasbench.latency.profile import DeviceProfile, load_device, new_profile
from nasbench.latency.records import Protocol, Record, Reference
from nasbench.latency.selection import calibration_set
from nasbench.latency.standalone import Pass
from nasbench.latency.tables import comparison, devices_table, prediction_table, profile_summary


def small(channels: int, depth: int = 1, block: str = "mbconv") -> Architecture:
    stage = {"block": block, "channels": channels, "depth": depth, "stride": 2}
    content = {"name": f"{block}-{channels}-{depth}", "resolution": 64, "stem": {"kind": "conv", "channels": 16}}
    return Architecture.from_dict(content | {"stages": [stage, stage], "head": {"kind": "linear"}})


@dataclass(frozen=True)
class SmallSpace:
    """mbconv and repmixer networks of 8 to 64 channels."""

    def sample(self, rng: np.random.Generator) -> Architecture:
        block = ("mbconv", "repmixer")[int(rng.integers(2))]
        return small(8 * int(rng.integers(1, 9)), int(rng.integers(1, 4)), block)


def record(architecture: Architecture, noise: float = 0.01) -> Record:
    """A measurement by formula: 1 ms a 20 MMACs, 10 us a kernel, 0.1 ms a call; passes apart by `noise`."""
    amounts = architecture_features(architecture, 10)
    macs = sum(v for k, v in amounts.items() if k.endswith(".macs"))
    latency_ms = 5e-8 * macs + 0.01 * sum(v for k, v in amounts.items() if k.endswith(".launches")) + 0.1
    passes = tuple(
        Pass(at, (2000,) * 5, (2000,) * 5, (us,) * 5, (us,) * 5)
        for at, us in enumerate(round(1e3 * latency_ms * (1 + change)) for change in (0, noise, -noise))
    )
    return Record(
        id=architecture.id,
        architecture=architecture.to_dict(),
        measurement=Measurement.of(passes, "thread", 2.0),
        passes=passes,
    )


def made(name: str, records: list[Record]) -> DeviceProfile:
    reference = Reference(name="a", sha256="b", quiet_ms=2.0)
    return new_profile(name, records, this_device(), Protocol(), reference, num_classes=10)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NASBENCH_CACHE", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="module")
def profile() -> DeviceProfile:
    """Frozen, so fitted once for all tests here."""
    chosen = calibration_set(SmallSpace(), 20, np.random.default_rng(0), num_classes=10)
    return made("this-machine", [record(a) for a in chosen])


def test_round_trip_and_prediction(profile: DeviceProfile) -> None:
    assert profile.save() == profile_path("this-machine")
    loaded = load_device()
    assert loaded == profile
    new = [small(24, 2), small(40, 1, "repmixer")]
    predicted = loaded.predict(new)
    assert len(predicted) == 2
    assert predicted.latency_ms == pytest.approx([record(a).measurement.latency_ms for a in new], rel=0.05)
    assert (predicted.low_ms <= predicted.latency_ms).all()
    assert (predicted.latency_ms <= predicted.high_ms).all()


def test_a_network_of_unseen_operators_extrapolates(profile: DeviceProfile) -> None:
    predicted = profile.predict([small(32, 1, "mobilevit"), small(32, 1)])
    assert predicted.extrapolating.tolist() == [True, False]
    assert "layer_norm" in predicted.reasons[0]


def test_unknown_device_lists_the_known_ones(profile: DeviceProfile) -> None:
    with pytest.raises(UserError, match="known: none yet; make it with `nasbench latency fit`"):
        load_device()
    profile.save()
    with pytest.raises(UserError, match=r"unknown device 'pixel'; known: this-machine; .* --device pixel"):
        load_device("pixel")
    with pytest.raises(UserError, match="device name 'a b' must be letters"):
        load_device("a b")


def test_another_machine_is_refused_by_name_but_predicts_as_another_device(profile: DeviceProfile) -> None:
    there = profile.model_copy(update={"device": replace(profile.device, cpu="Z80", runtime_version="0.1")})
    there.save()
    with pytest.raises(
        UserError, match=r"was measured on cpu 'Z80', not .*runtime_version '0.1'.*`nasbench latency fit`"
    ):
        load_device()
    renamed = there.model_copy(update={"name": "z80"})
    renamed.save()
    assert len(load_device("z80").predict([small(16)])) == 1
    with pytest.raises(UserError, match="its figures don't hold here: run `nasbench latency fit --device z80`"):
        calibrate.measure_records([small(16)], load_device("z80"))


def test_a_profile_by_its_path(profile: DeviceProfile, tmp_path: Path) -> None:
    text = profile.save(tmp_path / "own.json").read_text()
    for encoding in ("utf-8-sig", "utf-16"):  # as editors on Windows save it
        (tmp_path / "own.json").write_text(text, encoding=encoding)
        assert load_device(tmp_path / "own.json").made == profile.made
    assert profile_summary(str(tmp_path / "own.json"))["path"] == str(tmp_path / "own.json")
    with pytest.raises(UserError, match=r"none\.json: cannot be read: No such file or directory; give the path of a"):
        load_device(tmp_path / "none.json")
    with pytest.raises(UserError, match=r"device name 'own\.json' must be letters, .* and not end in \.json"):
        made("own.json", [])  # no name: it would be looked for as a file, and never found again


def test_two_profiles_of_one_name_are_compared_under_two(profile: DeviceProfile) -> None:
    slower = profile.model_copy(update={"records": []})
    (row,) = comparison(profile, slower, [small(16)])
    assert {"first_ms", "second_ms", "first_source", "second_source"} < set(row)


def test_a_runtime_whose_kernels_are_not_known_is_fitted_by_its_latencies(profile: DeviceProfile) -> None:
    times = [(Kernel("conv", 10, 10, 10 + i, 1), 3.0) for i in range(MIN_KERNELS)]
    assert fit_kernels(times, "onnxruntime", trees=1) is not None
    assert fit_kernels(times, "tensorrt", trees=1) is None


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"name": "../own"}, "not a device profile: name: device name '../own' must be"),
        ({"features_version": 0, "records": []}, "this-machine.json: 0 measured networks"),
        ({"version": 99}, "profile version 99, this nasbench reads versions 1 to 2"),
        ({"surprise": 1}, "not a device profile: unknown key 'surprise'; known keys: deviation, device"),
        ({"records": 3}, "not a device profile: records"),
    ],
)
def test_files_that_cannot_be_used(profile: DeviceProfile, change: dict[str, object], text: str) -> None:
    path = profile.save()
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError, match=text):
        load_device(str(path))
    assert text.split(":")[0] in devices_table()[0]["problem"]


def test_other_features_fit_again_from_the_raw_measurements(
    profile: DeviceProfile, monkeypatch: pytest.MonkeyPatch
) -> None:
    stale = profile.model_copy(update={"features_version": 0, "predictor": replace(profile.predictor, weights={})})
    stale.save()
    assert load_device().predictor == profile.predictor
    assert load_device().features_version == features.VERSION


def test_a_profile_of_protocol_2_takes_its_figures_anew(profile: DeviceProfile) -> None:
    """It had the same runs, and the ratio alone for a figure."""
    content = profile.model_dump(mode="json")
    content["protocol"] |= {"version": 2, "estimator": "median of paired ratios"}
    for kept in content["records"]:
        kept["measurement"]["latency_ms"] *= 1.3
    path = profile.save()
    path.write_text(json.dumps(content))
    loaded = load_device(profile.name)
    assert [r.measurement for r in loaded.records] == [r.measurement for r in profile.records]
    assert loaded.protocol == profile.protocol
    assert loaded.deviation == pytest.approx(profile.deviation)
    content["records"][0].pop("passes")
    del content["reference"]["quiet_ms"]
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"not a device profile: key 'reference.quiet_ms' is missing; add it; make one"):
        load_device(profile.name)


def test_a_profile_of_version_1_is_fitted_again_from_its_measurements(profile: DeviceProfile) -> None:
    """It kept figures, not runs; its predictor was of other features and is not read at all."""
    content = json.loads(profile.save().read_text())
    for row in content["records"]:
        for new in ("passes", "kernels", "memory_bytes", "energy_j"):
            row.pop(new)
    for new in ("protocol", "deviation"):
        content.pop(new)
    for new in ("batch", "dtype", "accelerator", "options"):
        content["device"].pop(new)
    content |= {"version": 1, "reference": "a", "reference_ms": 2.0, "predictor": {"weights": "of another time"}}
    profile_path("this-machine").write_text(json.dumps(content))
    loaded = load_device()
    assert loaded.version == 2
    assert loaded.reference_ms == 2.0
    assert loaded.predictor == profile.predictor
    assert loaded.deviation is None
    content["records"] = content["records"][:3]
    profile_path("this-machine").write_text(json.dumps(content))
    with pytest.raises(UserError, match="3 measured networks; a predictor needs at least 8"):
        load_device()


def test_a_profile_whose_passes_disagree_is_refused() -> None:
    chosen = calibration_set(SmallSpace(), 12, np.random.default_rng(0), num_classes=10)
    assert made("steady", [record(a, noise=0.02) for a in chosen]).deviation == pytest.approx(0.02, rel=0.1)
    with pytest.raises(UserError, match=r"deviate by 5.0% .*, more than 3% makes no profile: .*--device x"):
        made("x", [record(a, noise=0.05) for a in chosen])


def test_numbers_lie_on_one_line_and_nothing_is_pickled(profile: DeviceProfile) -> None:
    text = profile.save().read_text()
    assert json.loads(text) == profile.model_dump(mode="json")
    assert '"cpu_us": [' in text
    assert len(text.splitlines()) < 3000


def test_calibration_set_is_unique_reproducible_and_bounded() -> None:
    fixed = [small(64, 3), small(8, 1), small(16, 2)]
    first, second = (calibration_set(SmallSpace(), 12, np.random.default_rng(4), fixed) for _ in range(2))
    assert [a.id for a in first] == [a.id for a in second]
    assert len({a.id for a in first}) == 12
    assert {a.id for a in fixed} <= {a.id for a in first}
    with pytest.raises(ValueError, match="samples stay below 1 MACs"):
        calibration_set(SmallSpace(), 12, np.random.default_rng(4), max_macs=1)


@pytest.mark.exhaustive
def test_fit_in_the_background_measures_this_machine() -> None:
    """The whole chain on real networks: build, export, measure, fit, save, load, predict."""
    chosen = calibration_set(SmallSpace(), 8, np.random.default_rng(1), num_classes=10)
    started = fit_in_background(chosen, seconds=1, num_classes=10)  # no more passes than all get
    profile = started.result(timeout=120)
    assert started.done()
    assert started.progress == (8, 8)
    assert len(profile.records) == 8
    assert profile.device == this_device()
    tiny, big = small(8, 1), small(64, 3)
    measured = [record.measurement for record in calibrate.measure_records([tiny, big], profile, num_classes=10)]
    assert measured[1].latency_ms > 1.5 * measured[0].latency_ms
    assert measured[0].reference_ms == profile.reference_ms
    rows = prediction_table([tiny, big], profile)
    assert rows[0]["latency_ms"] < rows[1]["latency_ms"]
    assert {r["source"] for r in rows} == {"predicted"}
    assert profile_summary()["networks"] == 8


@pytest.mark.exhaustive
def test_a_background_fit_reports_what_went_wrong() -> None:
    with pytest.raises(UserError, match=r"device name '\.\./x' must be letters"):
        fit_in_background([small(8)], name="../x").result(timeout=60)


def test_a_file_that_computes_something_else_is_refused() -> None:
    model, other = export.deploy_form(small(16), 10), export.deploy_form(small(24), 10)
    export.require_same_logits(model, export.export_onnx(model, 64), 64)
    with pytest.raises(RuntimeError, match="its ONNX file differs from torch by"):
        export.require_same_logits(model, export.export_onnx(other, 64), 64)


@pytest.mark.parametrize(
    "stage", [{"block": "mobilevit", "patch": 2, "width": 16}, {"block": "irmb", "attention": True, "window": 7}]
)
def test_maps_that_the_partition_does_not_divide_export_right(stage: dict[str, object]) -> None:
    """A 5 x 5 map: sizes are rounded up while tracing, and ONNX divides integers otherwise than Python."""
    stages = [{"block": "mbconv", "channels": 16, "depth": 1, "stride": 2}, {"channels": 32, "depth": 2} | stage]
    content = {"name": "odd", "resolution": 40, "stem": {"kind": "conv", "channels": 16}, "head": {"kind": "linear"}}
    odd = Architecture.from_dict(content | {"stages": stages})
    deploy = export.deploy_form(odd, 10)
    assert export.onnx_difference(deploy, export.export_onnx(deploy, 40), 40) < 1e-5
