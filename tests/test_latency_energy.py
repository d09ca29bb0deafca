"""Energy: meters on a tree of files whose counters move as a device's would, and machines that tell none."""

from __future__ import annotations

import json
import os
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from nasbench.errors import UserError
from nasbench.latency import standalone
from nasbench.latency.device import Settings
from nasbench.latency.energy import required_meter, why_none

WATTS = 10.0
LOOP = 0.2


def run() -> None:
    time.sleep(0.01)


def write(path: Path, value: object) -> None:
    """Whole at once: the kernel shows no half of a number either."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}")
    new.write_text(f"{value}\n")
    os.replace(new, path)


@contextmanager
def moving(path: Path, figure: Callable[[float], object]) -> Iterator[None]:
    """`path` holds `figure` of the seconds since the beginning, renewed every millisecond."""
    over, began = threading.Event(), time.perf_counter()

    def move() -> None:
        while not over.is_set():
            write(path, figure(time.perf_counter() - began))
            over.wait(0.001)

    write(path, figure(0.0))
    mover = threading.Thread(target=move, daemon=True)
    mover.start()
    try:
        yield
    finally:
        over.set()
        mover.join()


def watts_of(meter: standalone.Meter | None) -> float:
    """The energy of a run over the time of one, both as they came out: sleeping takes longer on a busy machine."""
    assert meter is not None
    took: list[float] = []

    def timed() -> None:
        began = time.perf_counter()
        run()
        took.append(time.perf_counter() - began)

    found = standalone.energy_j(timed, meter, LOOP)
    assert found is not None
    return found / statistics.fmean(took)


def zone(root: Path, name: str, kind: str, range_uj: int = 262_143_328_850) -> Path:
    folder = root / "class" / "powercap" / name
    write(folder / "name", kind)
    write(folder / "max_energy_range_uj", range_uj)
    write(folder / "energy_uj", 1_000_000)
    return folder / "energy_uj"


def test_packages_are_summed_and_their_parts_are_not(tmp_path: Path) -> None:
    first, second = zone(tmp_path, "intel-rapl:0", "package-0"), zone(tmp_path, "intel-rapl:1", "package-1")
    for name, kind in (("intel-rapl:0:0", "core"), ("intel-rapl:2", "psys"), ("intel-rapl-mmio:0", "package-0")):
        zone(tmp_path, name, kind)
    meter = standalone.find_meter(tmp_path)
    assert meter is not None
    assert meter.files == (first, second)
    assert str(meter) == "RAPL packages (intel-rapl:0/energy_uj, intel-rapl:1/energy_uj)"
    with moving(first, lambda t: int(1e6 * WATTS * t)), moving(second, lambda t: int(2e6 * WATTS * t)):
        assert watts_of(meter) == pytest.approx(3 * WATTS, rel=0.1)


def test_a_counter_that_starts_again_from_zero_loses_nothing(tmp_path: Path) -> None:
    """3 J at 10 W: it starts again every 0.3 s, within nearly every loop of 0.2 s."""
    counter = zone(tmp_path, "intel-rapl:0", "package-0", range_uj=3_000_000)
    with moving(counter, lambda t: int(1e6 * WATTS * t) % 3_000_000):
        assert watts_of(standalone.find_meter(tmp_path)) == pytest.approx(WATTS, rel=0.1)


def test_sockets_are_counted_and_their_cores_are_not(tmp_path: Path) -> None:
    chip = tmp_path / "class" / "hwmon" / "hwmon3"
    for number, label in ((1, "Ecore000"), (2, "Ecore001"), (3, "Esocket0")):
        write(chip / f"energy{number}_label", label)
        write(chip / f"energy{number}_input", 5)
    meter = standalone.find_meter(tmp_path)
    assert meter is not None
    assert meter.kind == standalone.COUNTER
    assert [path.name for path in meter.files] == ["energy3_input"]


def test_power_is_integrated_over_time(tmp_path: Path) -> None:
    """Between 5 and 15 W, up and down ten times a second: 10 W on average. The chip's rails are in its first sensor."""
    chip = tmp_path / "class" / "hwmon" / "hwmon0"
    write(chip / "power2_input", 999_000_000)
    with moving(chip / "power1_average", lambda t: 5_000_000 if int(20 * t) % 2 else 15_000_000):
        meter = standalone.find_meter(tmp_path)
        assert meter is not None
        assert [path.name for path in meter.files] == ["power1_average"]
        assert watts_of(meter) == pytest.approx(WATTS, rel=0.2)


def test_the_machine_s_own_sensor_comes_before_its_parts(tmp_path: Path) -> None:
    for number, name in enumerate(("amdgpu", "power_meter", "ina226")):
        write(tmp_path / "class" / "hwmon" / f"hwmon{number}" / "name", name)
        write(tmp_path / "class" / "hwmon" / f"hwmon{number}" / "power1_input", 7_000_000)
    meter = standalone.find_meter(tmp_path)
    assert meter is not None
    assert [path.parent.name for path in meter.files] == ["hwmon1"]


def battery(root: Path, **figures: object) -> Path:
    folder = root / "class" / "power_supply" / "battery"
    for name, value in ({"type": "Battery", "status": "Discharging"} | figures).items():
        write(folder / name, value)
    write(root / "class" / "power_supply" / "usb" / "type", "USB")
    return folder


@pytest.mark.parametrize(
    "figures",
    [{"current_now": -2_500_000, "voltage_now": 4_000_000}, {"power_now": 10_000_000}],
    ids=["phone", "laptop"],
)
def test_a_battery_tells_while_it_discharges(tmp_path: Path, figures: dict[str, int]) -> None:
    folder = battery(tmp_path, **figures)
    meter = standalone.find_meter(tmp_path)
    assert meter is not None
    assert meter.kind == standalone.BATTERY
    found = statistics.median(watts_of(meter) for _ in range(3))  # a stall of the machine spoils a single one
    assert found == pytest.approx(WATTS, rel=0.1)
    write(folder / "status", "Charging")
    assert standalone.energy_j(run, meter, LOOP) is None
    assert standalone.find_meter(tmp_path) is None
    with pytest.raises(UserError, match=r"battery \(power_supply/battery\) cannot be read; .*unplug the charger"):
        required_meter(root=tmp_path)


def test_a_charger_put_in_meanwhile_spoils_the_figure(tmp_path: Path) -> None:
    folder = battery(tmp_path, power_now=10_000_000)
    meter = standalone.find_meter(tmp_path)
    assert meter is not None
    with moving(folder / "status", lambda t: "Discharging" if t < 0.3 else "Charging"):
        assert standalone.energy_j(run, meter, LOOP) is None


def test_a_counter_that_stands_still_is_no_figure(tmp_path: Path) -> None:
    """As on a virtual machine that shows its host's files."""
    zone(tmp_path, "intel-rapl:0", "package-0")
    meter = standalone.find_meter(tmp_path)
    assert meter is not None
    assert standalone.energy_j(run, meter, 0.02) is None


def test_machines_that_tell_none_say_why(tmp_path: Path) -> None:
    assert standalone.find_meter(tmp_path) is None
    with pytest.raises(UserError, match=r"this machine reports no energy .*see docs/latency.md, or measure without"):
        required_meter(root=tmp_path)
    counter = zone(tmp_path, "intel-rapl:0", "package-0")
    counter.unlink()
    counter.mkdir()  # cannot be read, whoever asks; as a file that only root may read
    assert standalone.find_meter(tmp_path) is None
    problem, remedy = why_none(tmp_path)
    assert problem == "RAPL packages (intel-rapl:0/energy_uj) cannot be read"
    assert "sudo chmod a+r" in remedy
    battery(tmp_path, power_now=10_000_000)  # the next best is taken
    assert required_meter(root=tmp_path).kind == standalone.BATTERY
    with pytest.raises(UserError, match="energy on 'cuda': the machine's meters leave a GPU out"):
        required_meter(Settings("torch", accelerator="cuda"), tmp_path)


def test_a_pack_s_script_measures_energy_where_it_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a runtime that sleeps: what takes longer takes more energy, and the results name the meter."""
    milliseconds = {"a.onnx": 5, "b.onnx": 30, "reference.onnx": 5}
    for name in milliseconds:
        (tmp_path / name).write_bytes(b"")
    manifest = {
        "runtime": "onnxruntime", "options": {}, "dtype": "fp32", "batch": 1, "accelerator": "cpu", "threads": 1,
        "reference": {"file": "reference.onnx"}, "files": {},
        "networks": [{"id": "a", "file": "a.onnx"}, {"id": "b", "file": "b.onnx"}],
    }  # fmt: skip
    write(tmp_path / "manifest.json", json.dumps(manifest))
    sleeper = lambda path, threads, options: lambda: time.sleep(milliseconds[Path(path).name] / 1e3)  # noqa: E731
    monkeypatch.setitem(standalone.LOADERS, "onnxruntime", sleeper)
    monkeypatch.setattr(standalone, "MIN_RUNS", 2)
    monkeypatch.setattr(standalone, "MAX_RUNS", 2)
    counter = zone(tmp_path / "sys", "intel-rapl:0", "package-0")
    with moving(counter, lambda t: int(1e6 * WATTS * t)):
        meter = standalone.find_meter(tmp_path / "sys")
        assert meter is not None
        results = standalone.measure_pack(tmp_path, 1, 1, memory=False, meter=replace(meter, seconds=0.2))
    assert results["protocol"]["energy_meter"] == "RAPL packages (intel-rapl:0/energy_uj)"
    small, large = (network["energy_j"] for network in results["networks"])
    assert large > 2 * small > 0
    still = standalone.measure_pack(tmp_path, 1, 1, memory=False, meter=replace(meter, seconds=0.02))
    assert [network["energy_j"] for network in still["networks"]] == [None, None]
    assert still["protocol"]["energy_meter"] == ""
