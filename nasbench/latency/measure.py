"""How long one network takes on this machine, so that the figure survives other load.

A fixed reference network runs before every run of the network under test, and the figure is

    latency_ms = median over runs of (CPU time / CPU time of the reference beside it) x reference_ms

where `reference_ms` is the reference's own quiet time: its lowest pass median in the session, or the one that a device
profile stored. On a loaded shared machine this varied by 1.4 % from block to block, wall medians by 29 %, wall ratios
by 24 %. A pass is one such median; a network gets several passes, and where they disagree, more of them.

CPU time is that of the calling thread. It covers the network because onnxruntime with one intra-op thread computes in
the thread that calls `run` (a test holds that).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import nn

from nasbench.latency.device import Measurement
from nasbench.latency.export import INPUT, export_onnx

REFERENCE_NAME = "inverted-residuals-128-v1"  # change the name whenever the network below changes
WARM_UP_RUNS = 2
MIN_RUNS, MAX_RUNS = 5, 40
PASS_SECONDS = 0.2  # of paired runs a pass: 40 runs of a 2 ms network, 5 of a 40 ms one
PASSES, MAX_PASSES = 3, 6
SPREAD_LIMIT = 0.03  # passes that differ by more from their median are repeated


@dataclass(frozen=True)
class Pass:
    """One block of paired runs; times in ms."""

    ratio: float
    repeats: int
    cpu_min_ms: float
    wall_min_ms: float
    reference_median_ms: float


class ReferenceNet(nn.Module):
    """Six inverted residuals at 128 px, 74 MMACs: the yardstick, about 1.5 ms on one server core. Never change it."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, 32, 3, 2, 1), nn.ReLU6()]
        c_in = 32
        for c_out, stride in [(24, 2), (24, 1), (48, 2), (48, 1), (96, 2), (96, 1)]:
            layers.append(_inverted_residual(c_in, c_out, stride))
            c_in = c_out
        self.features = nn.Sequential(*layers, nn.Conv2d(c_in, 640, 1), nn.ReLU6())
        self.classifier = nn.Linear(640, 1000)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(image).mean((2, 3)))


def _inverted_residual(c_in: int, c_out: int, stride: int) -> nn.Sequential:
    hidden = 6 * c_in
    return nn.Sequential(
        nn.Conv2d(c_in, hidden, 1),
        nn.ReLU6(),
        nn.Conv2d(hidden, hidden, 3, stride, 1, groups=hidden),
        nn.ReLU6(),
        nn.Conv2d(hidden, c_out, 1),
    )


@lru_cache(maxsize=1)
def reference_onnx() -> bytes:
    """The reference network as ONNX, the same bytes on every call and every machine."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return export_onnx(ReferenceNet(), 128)


def open_session(model: bytes | str | Path, threads: int = 1) -> onnxruntime.InferenceSession:
    """An onnxruntime session on the CPU, sequential, with `threads` intra-op threads, from ONNX bytes or a path."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3  # errors only
    source = model if isinstance(model, bytes) else str(model)
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def runner(session: onnxruntime.InferenceSession, seed: int = 0) -> Callable[[], object]:
    """A call without arguments that runs `session` once on a fixed random image."""
    shape = session.get_inputs()[0].shape
    image = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
    return lambda: session.run(None, {INPUT: image})


def cpu_clock_ok() -> bool:
    """Whether this system's per-thread CPU clock resolves a network's run (Windows ticks at 15.6 ms)."""
    return time.get_clock_info("thread_time").resolution <= 1e-4


@contextmanager
def flushed_denormals() -> Iterator[None]:
    """Denormal numbers count as zero in this thread meanwhile.

    Softmax over the wild logits of random weights is full of them, and one attention then took 8 ms, not 0.2: a figure
    about the weights, and about x86, not about the network.
    """
    flushed_before = bool(np.float32(1e-40) * np.float32(1) == 0)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(flushed_before)


class Meter:
    """Measures networks against one reference session; keeps the reference's quiet time, its lowest pass median.

    `reference_ms`: the quiet time to scale ratios by, as stored in a profile; None takes this session's own.
    """

    def __init__(self, reference_ms: float | None = None) -> None:
        if not cpu_clock_ok():
            raise RuntimeError("this system's thread CPU clock is too coarse to measure networks of a few milliseconds")
        self._reference = runner(open_session(reference_onnx()))
        self._fixed_reference_ms = reference_ms
        self._lowest_ms = float(np.median([_timed(self._reference)[0] for _ in range(20)]))

    @property
    def reference_ms(self) -> float:
        return self._lowest_ms if self._fixed_reference_ms is None else self._fixed_reference_ms

    def run_pass(self, target: Callable[[], object], seconds: float = PASS_SECONDS) -> Pass:
        """Paired runs of the reference and `target` for about `seconds`, between MIN_RUNS and MAX_RUNS of them."""
        single = min(_timed(target)[0] for _ in range(WARM_UP_RUNS))
        repeats = int(np.clip(1e3 * seconds / (single + self._lowest_ms), MIN_RUNS, MAX_RUNS))
        times = np.array([(*_timed(self._reference), *_timed(target)) for _ in range(repeats)])  # (repeats, 4) in ms
        reference_cpu, _, cpu, wall = times.T
        reference_median = float(np.median(reference_cpu))
        self._lowest_ms = min(self._lowest_ms, reference_median)
        ratio = float(np.median(cpu / reference_cpu))
        return Pass(ratio, repeats, float(cpu.min()), float(wall.min()), reference_median)

    def measure_all(
        self,
        sessions: Sequence[onnxruntime.InferenceSession],
        passes: int = PASSES,
        seconds: float = PASS_SECONDS,
    ) -> list[Measurement]:
        """`passes` passes of each network, and up to MAX_PASSES while they disagree.

        Pass by pass over all of them, so that a spell of load cannot take one network whole.
        """
        targets = [runner(session) for session in sessions]
        done: list[list[Pass]] = [[] for _ in targets]
        with flushed_denormals():
            for number in range(MAX_PASSES):
                for target, so_far in zip(targets, done, strict=True):
                    if number < passes or _spread(so_far) > SPREAD_LIMIT:
                        so_far.append(self.run_pass(target, seconds))
        return [self.summarise(passes_of_one) for passes_of_one in done]

    def summarise(self, passes: list[Pass]) -> Measurement:
        """All passes of one network as one figure."""
        ratio = float(np.median([p.ratio for p in passes]))
        spread = _spread(passes)
        return Measurement(
            latency_ms=ratio * self.reference_ms,
            ratio=ratio,
            spread=spread,
            cpu_min_ms=min(p.cpu_min_ms for p in passes),
            wall_min_ms=min(p.wall_min_ms for p in passes),
            reference_ms=self.reference_ms,
            repeats=sum(p.repeats for p in passes),
            passes=len(passes),
            noisy=spread > SPREAD_LIMIT,
        )


def _timed(call: Callable[[], object]) -> tuple[float, float]:
    """CPU time of this thread and wall time of one call, in ms."""
    wall, cpu = time.perf_counter(), time.thread_time()
    call()
    return 1e3 * (time.thread_time() - cpu), 1e3 * (time.perf_counter() - wall)


def _spread(passes: list[Pass]) -> float:
    """Largest deviation of a pass from the median after leaving out the worst pass when there are more than three."""
    ratios = np.array([p.ratio for p in passes])
    deviations = np.sort(np.abs(ratios / np.median(ratios) - 1))
    return float(deviations[-1] if len(passes) <= 3 else deviations[: int(np.ceil(0.75 * len(passes)))][-1])
