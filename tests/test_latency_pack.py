"""A pack: written, measured by its own script in another process, read back; and what is refused."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nasbench.arch.architecture import Architecture
from nasbench.errors import UserError
from nasbench.latency import standalone
from nasbench.latency.device import Settings
from nasbench.latency.lowering import architecture_features
from nasbench.latency.pack import add_results, read_results, write_pack
from nasbench.latency.profile import DeviceProfile, load_device
from nasbench.latency.selection import covering_set


def small(channels: int, depth: int, block: str) -> Architecture:
    stage = {"block": block, "channels": channels, "depth": depth, "stride": 2}
    stage |= {"head_dim": 16} if block == "transformer" else {}
    content = {"name": f"{block}-{channels}-{depth}", "resolution": 64, "stem": {"kind": "conv", "channels": 16}}
    return Architecture.from_dict(content | {"stages": [stage, stage], "head": {"kind": "linear"}})


class SmallSpace:
    """Networks of 16 to 64 channels; one in twenty attends."""

    def sample(self, rng: np.random.Generator) -> Architecture:
        block = "transformer" if rng.random() < 0.05 else ("mbconv", "repmixer")[int(rng.integers(2))]
        return small(16 * int(rng.integers(1, 5)), int(rng.integers(1, 4)), block)


def networks(n: int = 8) -> list[Architecture]:
    return covering_set(SmallSpace(), n, np.random.default_rng(0), num_classes=10)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results file of a pack, measured in a process that cannot import nasbench."""
    folder = write_pack("shed-pi", networks(), tmp_path_factory.mktemp("packs") / "pack", Settings(), num_classes=10)
    clean = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    code = (
        "import sys, runpy; sys.modules['nasbench'] = None; sys.modules['torch'] = None; sys.argv = ['standalone.py']; "
    )
    code += f"runpy.run_path({str(folder / 'standalone.py')!r}, run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=clean, capture_output=True, text=True, check=True
    )
    assert "8 networks measured by thread time; passes deviate by" in done.stdout
    return folder / "results.json"


@pytest.mark.exhaustive
def test_what_is_measured_elsewhere_comes_back_as_a_profile(measured: Path) -> None:
    profile = read_results(measured, accept_noise=True)
    assert profile.name == "shed-pi"
    assert {r.id for r in profile.records} == {a.id for a in networks()}
    assert all(len(r.passes) >= standalone.PASSES for r in profile.records)
    assert all(r.memory_bytes is None or 1e6 < r.memory_bytes < 1e9 for r in profile.records)
    tiny, large = small(16, 1, "mbconv"), small(64, 3, "mbconv")
    low, high = profile.predict([tiny, large]).latency_ms
    assert 0 < low < high
    assert read_results(measured, "renamed", accept_noise=True).name == "renamed"


@pytest.fixture
def kept(measured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DeviceProfile:
    """The device's profile in the cache: without the last two networks, made while the device ran at half the clock."""
    monkeypatch.setenv("NASBENCH_CACHE", str(tmp_path))
    profile = read_results(measured, accept_noise=True)
    slower = profile.reference.model_copy(update={"quiet_ms": 2 * profile.reference_ms})
    profile = profile.model_copy(update={"records": profile.records[:-2], "reference": slower})
    profile.save()
    return profile


def test_more_measurements_join_the_profile_that_is_there(measured: Path, kept: DeviceProfile) -> None:
    joined = add_results(measured, accept_noise=True)
    assert {r.id for r in joined.records} == {a.id for a in networks()}
    assert joined.reference == kept.reference
    for record in joined.records:  # newer figures in the older ones' place, in the profile's own milliseconds
        assert record.measurement.latency_ms == pytest.approx(record.measurement.ratio * kept.reference_ms)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda c: c["device"].update(threads=2), "cannot be added to 'shed-pi', measured with threads 1, not 2"),
        (lambda c: c["device"].update(options={"optimise": False}), "options {}, not {'optimise': False}"),
        (lambda c: c["protocol"].update(clock="wall"), "thread time, not wall: leave --add away"),
        (lambda c: c["networks"][0]["passes"][0].update(cpu_us=[1]), "the passes over the same networks deviate by"),
    ],
)
def test_what_was_measured_otherwise_does_not_join(
    measured: Path, kept: DeviceProfile, tmp_path: Path, change, text: str
) -> None:  # type: ignore[no-untyped-def]
    content = json.loads(measured.read_text())
    for network in content["networks"]:  # three passes that agree
        network["passes"] = [network["passes"][0]] * 3
    content = json.loads(json.dumps(content))
    change(content)
    path = tmp_path / "results.json"
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=text):
        add_results(path)
    assert load_device("shed-pi") == kept


def test_nothing_to_join(measured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NASBENCH_CACHE", str(tmp_path))
    with pytest.raises(UserError, match=r"no profile of 'shed-pi' that .* could be added to; leave --add away"):
        add_results(measured)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda c: c["manifest"]["networks"].pop(), "its networks are not those of the pack"),
        (lambda c: c["protocol"].update(version=0), "measured by another version of the script"),
        (lambda c: c["networks"][0]["passes"].pop(), "has 2 passes, not 3"),
        (lambda c: c.pop("device"), "not the results of a pack: key 'device' is missing"),
    ],
)
def test_results_that_cannot_be_trusted(measured: Path, tmp_path: Path, change, text: str) -> None:  # type: ignore[no-untyped-def]
    content = json.loads(measured.read_text())
    for network in content["networks"]:
        network["passes"] = network["passes"][:3]
    change(content)
    path = tmp_path / "results.json"
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=text):
        read_results(path, accept_noise=True)


def test_a_file_that_changed_on_the_way_is_not_measured(measured: Path) -> None:
    model = measured.parent / "000.onnx"
    content = model.read_bytes()
    try:
        model.write_bytes(content[:-1] + b"x")
        done = subprocess.run(
            [sys.executable, measured.parent / "standalone.py"], capture_output=True, text=True, check=False
        )
    finally:
        model.write_bytes(content)
    assert done.returncode != 0
    assert "000.onnx: its content has changed since the pack was made" in done.stderr


def test_nothing_is_overwritten_or_left_half_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is there already; give another folder with --out"):
        write_pack("x", networks(), tmp_path, Settings())
    with pytest.raises(UserError, match="torch runs no files that could be carried"):
        write_pack("x", networks(), tmp_path / "new", Settings("torch"))
    with pytest.raises(UserError, match="is no architecture"):
        write_pack("x", [None], tmp_path / "new", Settings())  # type: ignore[list-item]
    assert list(tmp_path.iterdir()) == []


def test_a_covering_set_holds_every_kind_and_both_extremes() -> None:
    chosen = networks()
    kinds = set().union(*(architecture_features(a, 10) for a in chosen))
    assert "matmul.macs" in kinds
    assert len({a.id for a in chosen}) == 8
    again = covering_set(SmallSpace(), 8, np.random.default_rng(0), num_classes=10)
    assert [a.id for a in again] == [a.id for a in chosen]
