"""A session of latency measurements on this machine, relative to a reference network so that other load matters little.

The protocol is in standalone.py. Each network is built, exported and checked once and kept as a file. The passes of the
networks are interleaved: between two passes of a network lies one of every other.
"""

from __future__ import annotations

import json
import math
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from nasbench.latency import runtimes, standalone
from nasbench.latency.device import RUNTIME, KernelTime, Measurement, Settings
from nasbench.latency.export import deploy_form, require_same_logits
from nasbench.latency.onnx_session import open_session, runner
from nasbench.latency.reference import REFERENCE_SIZE, reference_module
from nasbench.latency.standalone import Meter, Pass, Run

if TYPE_CHECKING:
    from nasbench.arch.architecture import Architecture

PROFILE_SECONDS, PROFILE_RUNS = 0.1, 5  # length of a kernel profile: runs for this time, then this many more


@contextmanager
def flushed_denormals() -> Iterator[None]:
    """Denormal numbers count as zero in this thread within the context.

    Softmax over the large logits of random weights yields many of them, which x86 computes slowly: one attention then
    took 8 ms instead of 0.2, due to the weights and not to the network.
    """
    flushed_before = bool(np.float32(1e-40) * np.float32(1) == 0)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(flushed_before)


class Session:
    """Measures networks against one reference; use it as a context, which holds the files.

    reference_ms: the reference's quiet time, which ratios are multiplied by, as stored in a profile; None takes its
    lowest time over all passes.
    """

    def __init__(self, settings: Settings | None = None, reference_ms: float | None = None) -> None:
        self.settings = settings or Settings()
        runtimes.check(self.settings)
        self._fixed_reference_ms = reference_ms
        self._folder = tempfile.TemporaryDirectory(prefix="nasbench-latency-")
        self._networks: list[tuple[Callable[[], Run], Path | None]] = []
        self.passes: list[list[Pass]] = []
        self._reference = self._prepare(reference_module(), REFERENCE_SIZE, "reference")[0]()
        self._began = time.perf_counter()
        with flushed_denormals():
            self.clock = standalone.choose_clock(self._reference, self.settings.threads)

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *error: object) -> None:
        self._networks.clear()
        self._folder.cleanup()

    @property
    def reference_ms(self) -> float:
        """The reference's quiet time in ms, by the session's estimator."""
        if self._fixed_reference_ms is not None:
            return self._fixed_reference_ms
        return min(p.reference_ms(self.clock) for passes in self.passes for p in passes)

    def add(self, architecture: Architecture, num_classes: int = 1000) -> None:
        """Build, export and check the deploy form, and measure its first pass."""
        self.add_module(deploy_form(architecture, num_classes), architecture.resolution)

    def add_module(self, module: nn.Module, resolution: int) -> None:
        """`add` for any torch network on square images."""
        opener, path = self._prepare(module.eval(), resolution, str(len(self._networks)))
        if path is not None and self.settings == Settings():
            require_same_logits(module, path.read_bytes(), resolution)
        with flushed_denormals():
            first = self._pass(opener)
        self._networks.append((opener, path))
        self.passes.append([first])

    def go_round(self, only_noisy: bool = False) -> int:
        """One more pass of each network, or only of those whose passes disagree; returns the number of networks."""
        chosen = [i for i in range(len(self.passes)) if not only_noisy or self._noisy(i)]
        with flushed_denormals():
            for index in chosen:
                self.passes[index].append(self._pass(self._networks[index][0]))
        return len(chosen)

    def finish(self, passes: int = standalone.PASSES, most: int = standalone.MAX_PASSES) -> None:
        """`passes` passes of each network, and up to `most` while they disagree."""
        done = min(map(len, self.passes), default=passes)
        for number in range(done, max(passes, most)):
            self.go_round(only_noisy=number >= passes)

    def measurement(self, index: int) -> Measurement:
        return Measurement.of(self.passes[index], self.clock, self.reference_ms)

    def file(self, index: int) -> Path | None:
        """The file that the runtime runs, for as long as the session lasts; None where it runs none."""
        return self._networks[index][1]

    def peak_bytes(self, index: int) -> int | None:
        """Peak memory of running a network; None where the runtime runs no files or the system does not tell."""
        path, options = self.file(index), {**self.settings.options, "dtype": self.settings.dtype}
        if path is None:
            return None
        return standalone.peak_bytes(str(path), self.settings.runtime, self.settings.threads, options) or None

    def energy_j(self, index: int, meter: Meter) -> float | None:
        """Joules of one run, of the whole device; None where the meter does not move."""
        with flushed_denormals():
            return standalone.energy_j(self._networks[index][0](), meter)

    def kernel_times(self, index: int) -> tuple[KernelTime, ...]:
        """The time of each kernel in order, by onnxruntime's profiler with default options; else empty."""
        path = self.file(index)
        if path is None or self.settings.runtime != RUNTIME or self.settings.options:
            return ()
        with flushed_denormals():
            return profiled_kernels(path, self.settings.threads)

    def _noisy(self, index: int) -> bool:
        return standalone.spread([p.ratio(self.clock) for p in self.passes[index]]) > standalone.SPREAD_LIMIT

    def _pass(self, opener: Callable[[], Run]) -> Pass:
        return standalone.run_pass(self._reference, opener(), self.clock, self._began)

    def _prepare(self, module: nn.Module, resolution: int, name: str) -> tuple[Callable[[], Run], Path | None]:
        """A function that opens the network for a pass, and its file. Torch modules, which compile, are opened once."""
        if runtimes.runs_files(self.settings):
            path = runtimes.write_file(module, resolution, self.settings, Path(self._folder.name) / name)
            return (lambda: runtimes.open_file(path, self.settings)), path
        run = runtimes.open_module(module, resolution, self.settings)
        return (lambda: run), None


def profiled_kernels(path: Path, threads: int = 1) -> tuple[KernelTime, ...]:
    """Each kernel's time by onnxruntime's profiler: the lower quartile over runs, as other load only adds to it."""
    with tempfile.TemporaryDirectory() as folder:
        session = open_session(path, threads, profile=f"{folder}/profile")
        run, began = runner(session), time.perf_counter()
        while time.perf_counter() < began + PROFILE_SECONDS:
            run()
        for _ in range(PROFILE_RUNS):
            run()
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    times: dict[str, list[float]] = {}
    seen: dict[str, tuple[str, int]] = {}
    for event in events:
        name = event["name"]
        if event.get("cat") == "Node" and name.endswith("_kernel_time"):
            times.setdefault(name, []).append(event["dur"])
            shape = next(iter(event["args"]["output_type_shape"][0].values()))
            seen.setdefault(name, (event["args"]["op_name"], math.prod(shape)))
    return tuple(KernelTime(*seen[name], float(np.quantile(us[1:], 0.25))) for name, us in times.items())
