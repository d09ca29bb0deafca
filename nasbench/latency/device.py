"""What figures hold for, and what one measured figure is: plain values, without torch or a runtime."""

from __future__ import annotations

import os
import platform
from dataclasses import asdict, dataclass
from importlib.metadata import version as installed_version
from pathlib import Path

RUNTIME = "onnxruntime"


@dataclass(frozen=True)
class Device:
    """What identifies the hardware and runtime of a profile."""

    cpu: str
    machine: str  # instruction set, as platform.machine() says it
    system: str
    cores: int
    runtime: str
    runtime_version: str
    threads: int = 1

    def differences(self, other: Device) -> list[str]:
        """What would change a latency between the two, in words; cores and system don't, at one thread."""
        ours, theirs = asdict(self), asdict(other)
        fields = ("cpu", "machine", "runtime", "runtime_version", "threads")
        return [f"{field} {ours[field]!r}, not {theirs[field]!r}" for field in fields if ours[field] != theirs[field]]


@dataclass(frozen=True)
class Measurement:
    """One network on one machine. `noisy`: its passes still disagreed at the end by more than measure.SPREAD_LIMIT."""

    latency_ms: float  # ratio x reference_ms
    ratio: float  # median of the passes' ratios to the reference network
    spread: float  # largest relative deviation of a pass from the median
    cpu_min_ms: float
    wall_min_ms: float
    reference_ms: float
    repeats: int  # runs in all passes together
    passes: int
    noisy: bool


def this_device() -> Device:
    return Device(
        cpu=_cpu_name(),
        machine=platform.machine(),
        system=platform.system(),
        cores=os.cpu_count() or 1,
        runtime=RUNTIME,
        runtime_version=installed_version(RUNTIME),
    )


def _cpu_name() -> str:
    """The processor's name with what tells generations apart where the name doesn't (virtual machines)."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    if "model name" not in fields:  # ARM lists part numbers instead
        return " ".join(filter(None, (fields.get("CPU implementer"), fields.get("CPU part")))) or platform.machine()
    return f"{fields['model name']} (family {fields.get('cpu family')} model {fields.get('model')})"
