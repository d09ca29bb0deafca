"""Measure networks on a device that has Python and a runtime (and numpy, which runtimes bring along).

    python standalone.py                 # in a folder made by `nasbench latency pack`; writes results.json there
    python standalone.py --passes 5 --threads 2

The protocol: a fixed reference network runs before every run of the network under test, and both processor time and
wall time are recorded. One block of such pairs is a pass. The passes of all networks are interleaved, so that a spell
of other load cannot fall on all passes of one network; a network whose passes disagree gets more of them. The ratio is

    single-threaded, processor time:  median over runs of (time / time of the reference beside it)
                                      x sqrt(the reference's time in the pass / its quiet time)
    elsewhere, wall time:             least time / least time of the reference

and the latency is the ratio times the reference's own quiet time. The square root corrects for other load, which slows
the small reference by more than it slows most networks, so that the ratio alone would fall. This file imports nothing
of nasbench, as a pack contains it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

PROTOCOL_VERSION = 3
SAME_RUNS = (2, 3)  # versions that record the same runs; 2 computed the ratio without the square root
WARM_UP_RUNS = 2
MIN_RUNS, MAX_RUNS = 5, 100
PASS_SECONDS = 0.2  # of paired runs in a pass: 60 runs of a 2 ms network, 5 of a 40 ms one
PASSES, MAX_PASSES = 3, 6
SPREAD_LIMIT = 0.03  # passes that deviate by more from their median are repeated
DEVIATION_LIMIT = 0.03  # pooled standard deviation of passes above which no profile is made
PEAK_REPEATS = 3
MAX_COUNT = 4096  # of threads and of passes
THREAD, PROCESS, WALL = "thread", "process", "wall"  # clocks
# Exponent of the correction for load. When load makes the reference take 1 % longer, networks take about 0.5 % longer:
# between passes over the same network, log ratio falls with the log of the reference's time by 0.37 to 0.58, in four
# sets of measurements on two runtimes (benchmarks/latency_repeatability.py). It lowers the deviation of passes from
# 2.0 % to 1.6 %.
LOAD_EXPONENT = 0.5
Run = Callable[[], object]


@dataclass(frozen=True)
class Pass:
    """One block of paired runs, raw: microseconds of each run; `at` is seconds since the session began."""

    at: float
    reference_cpu_us: tuple[int, ...]
    reference_wall_us: tuple[int, ...]
    cpu_us: tuple[int, ...]
    wall_us: tuple[int, ...]

    def ratio(self, clock: str, quiet_ms: float = 1.0) -> float:
        """The network's time over the reference's, corrected for other load; of wall time the ratio of the minima.

        `quiet_ms` is the reference's quiet time; where passes are only compared, any constant does.
        """
        if clock == WALL:
            return min(self.wall_us) / min(self.reference_wall_us)
        paired = statistics.median(a / b for a, b in zip(self.cpu_us, self.reference_cpu_us))
        return paired * (self.reference_ms(clock) / quiet_ms) ** LOAD_EXPONENT

    def reference_ms(self, clock: str) -> float:
        """The reference's time in this pass by the same estimator."""
        if clock == WALL:
            return min(self.reference_wall_us) / 1e3
        return statistics.median(self.reference_cpu_us) / 1e3


def figure(passes: Sequence[Pass], clock: str, quiet_ms: float) -> float:
    """The network's time in units of the reference's quiet time, over all its passes."""
    if clock == WALL:
        return min(min(p.wall_us) for p in passes) / min(min(p.reference_wall_us) for p in passes)
    return statistics.median(p.ratio(clock, quiet_ms) for p in passes)


def spread(ratios: Sequence[float]) -> float:
    """Largest relative deviation of a pass from the median; of more than three passes the worst quarter is left out."""
    middle = statistics.median(ratios)
    deviations = sorted(abs(ratio / middle - 1) for ratio in ratios)
    return deviations[-1] if len(ratios) <= 3 else deviations[-(-3 * len(ratios) // 4) - 1]


def deviation(groups: Iterable[Sequence[float]]) -> float:
    """Standard deviation of a pass about its network's mean, relative, pooled over networks.

    Of more than three passes of a network the one farthest from the median is left out, as in its figure, which is a
    median.
    """
    squares, freedom = 0.0, 0
    for ratios in groups:
        if not ratios:  # an old profile kept no passes
            continue
        middle = statistics.median(ratios)
        kept = sorted((ratio / middle for ratio in ratios), key=lambda r: abs(r - 1))
        kept = kept[:-1] if len(kept) > 3 else kept
        if len(kept) > 1:
            squares += (len(kept) - 1) * statistics.variance(kept)
            freedom += len(kept) - 1
    return (squares / freedom) ** 0.5 if freedom else 0.0


def choose_clock(reference: Run, threads: int) -> str:
    """The clock to time with: processor time, of the thread if `reference` runs in this thread alone, else the process.

    Wall time where several threads wait for one another, and where processor clocks are coarse (15.6 ms on Windows).
    """
    if threads > 1 or time.get_clock_info("thread_time").resolution > 1e-4:
        return WALL
    reference()
    wall, process, thread = time.perf_counter(), time.process_time(), time.thread_time()
    for _ in range(5):
        reference()
    thread, process = time.thread_time() - thread, time.process_time() - process
    wall = time.perf_counter() - wall
    if process > 1.2 * wall:  # more than one core works after all
        return WALL
    return THREAD if thread > 0.9 * process else PROCESS


def timed_us(run: Run, clock: str) -> tuple[int, int]:
    """Processor time and wall time of one call, in microseconds; both the accelerator's own time where it has one."""
    if own := getattr(run, "device_us", None):
        return (max(round(own()), 1),) * 2
    now = time.thread_time_ns if clock == THREAD else time.process_time_ns
    wall, cpu = time.perf_counter_ns(), now()
    run()
    cpu = now() - cpu
    return max(round(cpu / 1e3), 1), max(round((time.perf_counter_ns() - wall) / 1e3), 1)


def run_pass(reference: Run, target: Run, clock: str, began: float, seconds: float = PASS_SECONDS) -> Pass:
    """Paired runs for about `seconds`, between MIN_RUNS and MAX_RUNS of them; `began` is the session's perf_counter."""
    at = time.perf_counter() - began
    pair = min(timed_us(target, clock)[1] for _ in range(WARM_UP_RUNS)) + timed_us(reference, clock)[1]
    count = min(max(int(1e6 * seconds / pair), MIN_RUNS), MAX_RUNS)
    runs = [(*timed_us(reference, clock), *timed_us(target, clock)) for _ in range(count)]
    reference_cpu, reference_wall, cpu, wall = (tuple(column) for column in zip(*runs))
    return Pass(round(at, 3), reference_cpu, reference_wall, cpu, wall)


def rounds(
    run_one: Callable[[int], Pass], count: int, clock: str, passes: int = PASSES, most: int = MAX_PASSES
) -> list[list[Pass]]:
    """`passes` passes of each of `count` networks in turn, then up to `most` of those whose passes disagree."""
    done: list[list[Pass]] = [[] for _ in range(count)]
    for number in range(max(passes, most)):
        for index, so_far in enumerate(done):
            if number < passes or spread([p.ratio(clock) for p in so_far]) > SPREAD_LIMIT:
                so_far.append(run_one(index))
    return done


# --- runtimes that run a file


def open_onnxruntime(path: str, threads: int, options: dict[str, Any]) -> Run:
    import numpy
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads, settings.inter_op_num_threads = threads, 1
    settings.log_severity_level = 3  # errors only
    # Softmax over the large logits of random weights yields many denormals: 8 ms for one attention instead of 0.2.
    settings.add_session_config_entry("session.set_denormal_as_zero", "1")
    if options.get("optimise") is False:
        settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    providers = options.get("providers", ["CPUExecutionProvider"])
    session = onnxruntime.InferenceSession(path, settings, providers=providers)
    given = session.get_inputs()[0]
    image = numpy.random.default_rng(0).standard_normal(given.shape, dtype=numpy.float32)
    feed = {given.name: image.astype(numpy.float16) if "float16" in given.type else image}
    return lambda: session.run(None, feed)


def open_openvino(path: str, threads: int, options: dict[str, Any]) -> Run:
    import numpy
    import openvino

    precision = {"fp32": "f32", "fp16": "f16", "bf16": "bf16"}[options.get("dtype", "fp32")]
    settings = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": precision}
    compiled = openvino.Core().compile_model(path, options.get("device", "CPU"), settings)
    request, shape = compiled.create_infer_request(), list(compiled.input(0).shape)
    image = numpy.random.default_rng(0).standard_normal(shape, dtype=numpy.float32)
    return lambda: request.infer([image], share_inputs=True)


def open_ncnn(path: str, threads: int, options: dict[str, Any]) -> Run:
    """`path` is the .param file; its .bin lies beside it, and its name ends in -SIDE, the input's side, or
    -CHANNELSxSIDE where the channels are not three."""
    import ncnn
    import numpy

    net = ncnn.Net()
    net.opt.num_threads = threads
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = options.get("dtype") == "fp16"
    if net.load_param(path) or net.load_model(str(Path(path).with_suffix(".bin"))):
        raise RuntimeError(f"{Path(path).name}: ncnn does not know one of its layers")
    channels, _, side = Path(path).stem.rpartition("-")[2].rpartition("x")
    shape = (int(channels or 3), int(side), int(side))
    image = ncnn.Mat(numpy.random.default_rng(0).standard_normal(shape, dtype=numpy.float32)).clone()

    def run() -> tuple[int, Any]:
        extractor = net.create_extractor()
        extractor.input(net.input_names()[0], image)
        return extractor.extract(net.output_names()[0])

    failed, _ = run()
    if failed:
        raise RuntimeError(f"{Path(path).name}: ncnn cannot run it (code {failed})")
    return run


LOADERS: dict[str, Callable[[str, int, dict[str, Any]], Run]] = {
    "onnxruntime": open_onnxruntime,
    "openvino": open_openvino,
    "ncnn": open_ncnn,
}


def peak_bytes(path: str, runtime: str, threads: int, options: dict[str, Any]) -> int:
    """Peak memory that opening and running the file adds to a process that has the runtime loaded.

    The largest of PEAK_REPEATS runs, each in a new process since runtimes do not free memory: depending on how the
    allocator places a file's copies, DeiT-Ti takes 52 or 66 MB. Needs Linux; 0 elsewhere.
    """
    request = json.dumps([path, runtime, threads, options])
    command = [sys.executable, str(Path(__file__).resolve()), "--peak", request]
    largest = 0
    for _ in range(PEAK_REPEATS):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0 or not done.stdout.split():
            return 0
        largest = max(largest, int(done.stdout.split()[-1]))
    return largest


def _print_peak(request: str) -> None:
    path, runtime, threads, options = json.loads(request)
    __import__(runtime)
    __import__("numpy")
    before = _memory_bytes("VmRSS")
    run = LOADERS[runtime](path, threads, options)
    run()
    run()
    print(_memory_bytes("VmHWM") - before)


def tells_memory() -> bool:
    return Path("/proc/self/status").is_file()


def _memory_bytes(field: str) -> int:
    """Of this process. Linux only: elsewhere the peak that can be read is a parent's too."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith(field + ":")))


# --- energy

SYSFS = Path("/sys")
SAMPLE_SECONDS = 0.02  # between two readings of a power sensor
ENERGY_REPEATS = 3


@dataclass(frozen=True)
class Meter:
    """Where the energy or power of this device is read from.

    kind: RAPL or COUNTER (files count uJ), POWER (files give uW), or BATTERY (one folder with uA, uV and whether it
    discharges). seconds: length of a loop of runs, long enough for the device to update its figure many times.
    """

    kind: str
    files: tuple[Path, ...]
    seconds: float = 1.0

    def __str__(self) -> str:
        return f"{self.kind} ({', '.join('/'.join(path.parts[-2:]) for path in self.files)})"


RAPL, COUNTER, POWER, BATTERY = "RAPL packages", "hwmon energy counters", "hwmon power sensors", "battery"


def energy_sources(root: Path = SYSFS) -> list[Meter]:
    """The meters that Linux lists under `root`, best first, whether or not they can be read."""
    packages = [z for z in sorted(root.glob("class/powercap/intel-rapl:*")) if _text(z / "name").startswith("package")]
    chips = sorted(root.glob("class/hwmon/hwmon*"))
    counters = [  # without single cores: a chip that lists them counts their sockets too
        path for chip in chips for path in sorted(chip.glob("energy*_input"))
        if not _text(path.with_name(path.name.replace("_input", "_label"))).lower().startswith("ecore")
    ]  # fmt: skip
    whole = [chip for chip in chips if _text(chip / "name") == "power_meter"]  # ACPI's: of the machine
    sensors = [_first_sensor(chip) for chip in whole or chips]
    batteries = [b for b in sorted(root.glob("class/power_supply/*")) if _text(b / "type") == "Battery"]
    meters = [
        Meter(RAPL, tuple(zone / "energy_uj" for zone in packages)),
        Meter(COUNTER, tuple(counters)),
        Meter(POWER, tuple(sensor for sensor in sensors if sensor), 2.0),
        Meter(BATTERY, tuple(batteries[:1]), 5.0),  # gauges tell a mean over a second or more
    ]
    return [meter for meter in meters if meter.files]


def find_meter(root: Path = SYSFS) -> Meter | None:
    """The best meter that this process may read; None where there is none."""
    for meter in energy_sources(root):
        reading = power_uw(meter) if meter.kind in (POWER, BATTERY) else counted_uj(meter)
        if reading is not None:
            return meter
    return None


def energy_j(run: Run, meter: Meter, seconds: float | None = None) -> float | None:
    """Joules of one run: the device's energy during a loop of runs, over their number; the median of three loops.

    The device's total, idle power included: no meter tells the parts, and the idle power to subtract would depend on
    what else the device does. None where the meter cannot be read, does not move, or the battery is being charged.
    """
    figures = []
    for _ in range(ENERGY_REPEATS):
        looped = _counted_loop if meter.kind in (RAPL, COUNTER) else _sampled_loop
        figure = looped(run, meter, meter.seconds if seconds is None else seconds)
        if figure is None or figure <= 0:
            return None
        figures.append(figure)
    return statistics.median(figures)


def _loop(run: Run, seconds: float) -> int:
    """Run for `seconds`, at least once; returns the number of runs."""
    until, count = time.perf_counter() + seconds, 0
    while count == 0 or time.perf_counter() < until:
        run()
        count += 1
    return count


def _counted_loop(run: Run, meter: Meter, seconds: float) -> float | None:
    """Joules of one run by energy counters; RAPL's restart from zero after max_energy_range_uj, at most once a loop."""
    run()
    before = counted_uj(meter)
    count = _loop(run, seconds)
    after = counted_uj(meter)
    if before is None or after is None:
        return None
    spent = 0
    for path, start, end in zip(meter.files, before, after):
        spent += end - start if end >= start else end - start + int(_number(path.with_name("max_energy_range_uj")) or 0)
    return spent / 1e6 / count


def _sampled_loop(run: Run, meter: Meter, seconds: float) -> float | None:
    """Joules of one run by power readings in a thread, integrated over time: each reading holds until the next."""
    readings: list[tuple[float, float | None]] = []  # when, uW
    over = threading.Event()

    def sample() -> None:
        while not over.is_set():
            readings.append((time.perf_counter(), power_uw(meter)))
            over.wait(SAMPLE_SECONDS)

    run()
    sampler = threading.Thread(target=sample, daemon=True)
    sampler.start()
    began = time.perf_counter()
    try:
        count = _loop(run, seconds)
        ended = time.perf_counter()
    finally:
        over.set()
        sampler.join()
    at = [began, *(max(when, began) for when, _ in readings[1:]), ended]
    microjoules = 0.0
    for (_, power), start, end in zip(readings, at, at[1:]):
        if power is None:
            return None
        microjoules += power * max(min(end, ended) - start, 0.0)
    return microjoules / 1e6 / count


def counted_uj(meter: Meter) -> list[int] | None:
    """Each counter of the meter; None where one cannot be read."""
    values = [_number(path) for path in meter.files]
    return None if None in values else [int(value) for value in values if value is not None]


def power_uw(meter: Meter) -> float | None:
    """The power now, over all sensors; None where one cannot be read, or the battery is not what feeds the device."""
    if meter.kind != BATTERY:
        values = [_number(path) for path in meter.files]
        return None if None in values else sum(value for value in values if value is not None)
    (battery,) = meter.files
    if _text(battery / "status") != "Discharging":
        return None
    power, current, voltage = (_number(battery / name) for name in ("power_now", "current_now", "voltage_now"))
    if current is not None and voltage is not None:
        return abs(current) * voltage / 1e6  # uA x uV; whether a current out of it is negative differs by maker
    return None if power is None else abs(power)


def _first_sensor(chip: Path) -> Path | None:
    """The chip's first power sensor: the total, which is listed before the rails."""
    found = sorted([*chip.glob("power*_input"), *chip.glob("power*_average")])
    return found[0] if found else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return ""


def _number(path: Path) -> float | None:
    text = _text(path)
    return float(text) if text.lstrip("-").isdigit() else None


# --- a pack


def cpu_name() -> str:
    """The processor's name with family and model, as the name alone is ambiguous on virtual machines."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    if "model name" not in fields:  # ARM lists part numbers instead
        return " ".join(filter(None, (fields.get("CPU implementer"), fields.get("CPU part")))) or platform.machine()
    return f"{fields['model name']} (family {fields.get('cpu family')} model {fields.get('model')})"


def read_manifest(folder: Path) -> dict[str, Any]:
    """What the pack in `folder` says of itself; SystemExit where that, or one of its files, is damaged."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        named = [manifest["reference"]["file"], *(network["file"] for network in manifest["networks"])]
        digests = {str(name): digest for name, digest in manifest["files"].items()}
        words = [manifest[key] for key in ("runtime", "dtype", "accelerator")]
        counts = [manifest[key] for key in ("threads", "batch")]
        sound = manifest["runtime"] in LOADERS and isinstance(manifest["options"], dict) and len(named) > 1
        words += [*named, *(network["id"] for network in manifest["networks"])]
        sound = sound and all(isinstance(word, str) for word in words)
        if not sound or not all(type(count) is int and 1 <= count <= MAX_COUNT for count in counts):
            raise ValueError("a value that cannot be")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        what = f"{type(error).__name__}: {str(error)[:80]}"
        raise SystemExit(f"manifest.json is damaged ({what!r}); copy the folder again") from None
    for name in {*named, *digests}:
        path = folder / name
        inside = Path(name).name == name and os.path.isfile(path)  # which is false of a name that is too long
        if not inside or digests.get(name, _sha256(path)) != _sha256(path):
            shown = (name if name.isprintable() else ascii(name))[:80]
            raise SystemExit(f"{shown}: its content has changed since the pack was made; copy the folder again")
    return manifest


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _count(text: str) -> int:
    """An argparse type: a whole number of at least one."""
    if not text.isascii() or not text.isdigit() or len(text) > 6 or not 1 <= int(text) <= MAX_COUNT:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a whole number from 1 to {MAX_COUNT}")
    return int(text)


def measure_pack(folder: Path, passes: int, threads: int, memory: bool, meter: Meter | None = None) -> dict[str, Any]:
    """Every network of the pack in `folder` measured, as `nasbench latency import` reads it."""
    from importlib.metadata import version

    manifest = read_manifest(folder)
    runtime, options = manifest["runtime"], {**manifest["options"], "dtype": manifest["dtype"]}
    load = lambda name: LOADERS[runtime](str(folder / name), threads, options)  # noqa: E731
    reference, began, networks = load(manifest["reference"]["file"]), time.perf_counter(), manifest["networks"]
    clock = choose_clock(reference, threads)

    def run_one(index: int) -> Pass:
        print(f"\r{index + 1} of {len(networks)}  ", end="", file=sys.stderr, flush=True)
        return run_pass(reference, load(networks[index]["file"]), clock, began)

    measured = rounds(run_one, len(networks), clock, passes)
    print("\r", end="", file=sys.stderr)
    peaks = [peak_bytes(str(folder / n["file"]), runtime, threads, options) if memory else 0 for n in networks]
    joules = [energy_j(load(n["file"]), meter) if meter else None for n in networks]
    device = {
        "cpu": cpu_name(), "machine": platform.machine(), "system": platform.system(), "cores": os.cpu_count() or 1,
        "runtime": runtime, "runtime_version": version(runtime), "threads": threads, "batch": manifest["batch"],
        "dtype": manifest["dtype"], "accelerator": manifest["accelerator"], "options": manifest["options"],
    }  # fmt: skip
    return {
        "manifest": manifest,
        "protocol": {"version": PROTOCOL_VERSION, "clock": clock, "energy_meter": str(meter) if any(joules) else ""},
        "device": device,
        "networks": [
            {"id": n["id"], "passes": [asdict(p) for p in done], "memory_bytes": peak or None, "energy_j": energy}
            for n, done, peak, energy in zip(networks, measured, peaks, joules)
        ],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the networks of this folder on this device.")
    parser.add_argument("--passes", type=_count, default=PASSES, help=f"of each network (default: {PASSES})")
    parser.add_argument("--threads", type=_count, default=None, help="of the runtime (default: as the pack says)")
    parser.add_argument("--no-memory", action="store_true", help="do not measure peak memory")
    parser.add_argument("--no-energy", action="store_true", help="do not measure energy, where the device tells it")
    parser.add_argument("--sysfs", type=Path, default=SYSFS, help=argparse.SUPPRESS)
    parser.add_argument("--peak", metavar="REQUEST", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.peak:
        return _print_peak(given.peak)
    folder = Path(__file__).resolve().parent
    threads = given.threads or read_manifest(folder)["threads"]
    meter = None if given.no_energy else find_meter(given.sysfs)
    results = measure_pack(folder, given.passes, threads, not given.no_memory, meter)
    clock = results["protocol"]["clock"]
    ratios = [[Pass(**p).ratio(clock) for p in network["passes"]] for network in results["networks"]]
    (folder / "results.json").write_text(json.dumps(results), encoding="utf-8")
    print(
        f"energy by {results['protocol']['energy_meter'] or 'nothing: this device tells none, or its counter stands'}"
    )
    print(f"{len(ratios)} networks measured by {clock} time; passes deviate by {deviation(ratios):.1%}")
    print(f"wrote {folder / 'results.json'}: read it with `nasbench latency import {folder / 'results.json'}`")
    return None


if __name__ == "__main__":
    main()
