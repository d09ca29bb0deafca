"""The parts of a profile that hold measurements: how they were taken, against what, each network's raw figures."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from nasbench.costs.budget import RESOURCES
from nasbench.latency import standalone
from nasbench.latency.device import KernelTime, Measurement
from nasbench.latency.standalone import Pass
from nasbench.values import Value

PAIRED = "median of paired ratios x sqrt(slowing of the reference)"


class Protocol(Value):
    """How the figures were taken. clock: `thread` or `process` for processor time, `wall`. energy_meter: what told the
    energy, "" where none did or nobody said."""

    version: int = standalone.PROTOCOL_VERSION
    clock: str = standalone.THREAD
    estimator: str = PAIRED
    energy_meter: str = ""

    @classmethod
    def of(cls, clock: str, energy_meter: str = "") -> Protocol:
        estimator = "ratio of minima" if clock == standalone.WALL else PAIRED
        return cls(clock=clock, estimator=estimator, energy_meter=energy_meter)


class Reference(Value):
    """The network that all others are measured against: `quiet_ms` is its own time on the quiet device."""

    name: str
    sha256: str  # of its operators and weights, see reference.py; "" where an old profile did not keep it
    quiet_ms: float


class Record(Value):
    """One measured network. `architecture` is its content, so that it can be built and measured again anywhere.

    passes: the raw runs; a profile of version 1 kept only what they came to.
    """

    id: str
    architecture: dict[str, Any]
    measurement: Measurement
    passes: tuple[Pass, ...] = ()
    kernels: tuple[KernelTime, ...] = ()  # where the runtime tells
    memory_bytes: float | None = Field(None, gt=0)  # the peak that running it adds to a process
    energy_j: float | None = Field(None, gt=0)  # of the whole device during one run

    def with_resources_of(self, older: Record | None) -> Record:
        """Memory and energy of an earlier measurement, where this one has none."""
        kept = {m: getattr(older, m, None) for m in RESOURCES if getattr(self, m) is None}
        return self.model_copy(update=kept) if any(kept.values()) else self
