"""A device, the settings that networks run with on it, and one measured figure: plain values, without torch."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from typing import Any, NamedTuple

from nasbench.errors import UserError, shown
from nasbench.hardware import require_device
from nasbench.latency import standalone
from nasbench.latency.ranges import STRICT, Amount, Count, Positive, PositiveCount
from nasbench.latency.standalone import SPREAD_LIMIT, Pass

RUNTIME = "onnxruntime"
DTYPES = ("fp32", "fp16", "bf16", "int8")


@dataclass(frozen=True)
class Settings:
    """How networks are run: what a latency depends on besides hardware and network. `options` are the runtime's own."""

    runtime: str = RUNTIME
    threads: int = 1
    batch: int = 1
    dtype: str = "fp32"
    accelerator: str = "cpu"
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise UserError(f"unknown number format {shown(self.dtype)}; known: {', '.join(DTYPES)}")

    def __str__(self) -> str:
        threads = "one thread" if self.threads == 1 else f"{self.threads} threads"
        own = "".join(f", {name}={value}" for name, value in sorted(self.options.items()))
        return f"{self.runtime}, {self.dtype}, batch {self.batch}, {threads}, {self.accelerator}{own}"


@dataclass(frozen=True)
class Device:
    """What identifies the hardware, runtime and settings of a profile."""

    __pydantic_config__ = STRICT

    cpu: str
    machine: str  # instruction set, as platform.machine() says it
    system: str
    cores: PositiveCount
    runtime: str
    runtime_version: str
    threads: PositiveCount = 1
    batch: PositiveCount = 1
    dtype: str = "fp32"
    accelerator: str = "cpu"
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def settings(self) -> Settings:
        return Settings(**{f.name: getattr(self, f.name) for f in fields(Settings)})

    def differences(self, other: Device) -> list[str]:
        """What would change a latency between the two, in words; cores and system don't, at one thread."""
        ours, theirs = asdict(self), asdict(other)
        names = [f.name for f in fields(self) if f.name not in ("system", "cores")]
        return [f"{name} {ours[name]!r}, not {theirs[name]!r}" for name in names if ours[name] != theirs[name]]


class KernelTime(NamedTuple):
    """One kernel as a runtime reported it: its operator's name there, the elements it wrote, and microseconds."""

    operator: str
    outputs: Count
    us: Amount


@dataclass(frozen=True)
class Measurement:
    """One network on one machine. `noisy`: its passes still disagreed at the end by more than SPREAD_LIMIT."""

    __pydantic_config__ = STRICT

    latency_ms: Positive  # ratio x reference_ms
    ratio: Positive  # to the reference network, over all passes
    spread: Amount  # largest relative deviation of a pass from the median
    cpu_min_ms: Amount
    wall_min_ms: Amount
    reference_ms: Positive
    repeats: Count  # runs in all passes together
    passes: Count
    noisy: bool

    @classmethod
    def of(cls, passes: Sequence[Pass], clock: str, reference_ms: float) -> Measurement:
        """All passes of one network as one figure; `reference_ms` is the reference's quiet time."""
        ratio = standalone.figure(passes, clock, reference_ms)
        spread = standalone.spread([p.ratio(clock) for p in passes])
        return cls(
            latency_ms=ratio * reference_ms,
            ratio=ratio,
            spread=spread,
            cpu_min_ms=min(min(p.cpu_us) for p in passes) / 1e3,
            wall_min_ms=min(min(p.wall_us) for p in passes) / 1e3,
            reference_ms=reference_ms,
            repeats=sum(len(p.cpu_us) for p in passes),
            passes=len(passes),
            noisy=spread > SPREAD_LIMIT,
        )


def this_device(settings: Settings | None = None) -> Device:
    """This machine with the runtime of `settings` (onnxruntime, one thread, by default)."""
    chosen = settings or Settings()
    return Device(
        cpu=_accelerator_name(chosen.accelerator) or standalone.cpu_name(),
        machine=platform.machine(),
        system=platform.system(),
        cores=os.cpu_count() or 1,
        runtime_version=runtime_version(chosen.runtime),
        **asdict(chosen),
    )


def runtime_version(runtime: str) -> str:
    """The installed version of the package that `runtime` comes in; UserError where it is not installed."""
    package = runtime.partition("-")[0]  # torch-compile is torch
    try:
        return installed_version(package)
    except PackageNotFoundError:
        raise UserError(f"runtime {runtime!r} is not installed; run `pip install 'nasbench[{package}]'`") from None


def _accelerator_name(accelerator: str) -> str:
    if not accelerator.startswith("cuda"):
        return ""
    require_device(accelerator)
    import torch

    return torch.cuda.get_device_name(accelerator)
