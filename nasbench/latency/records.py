"""The parts of a profile that hold measurements: the protocol, the reference, and each network's raw runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, TypeAdapter

from nasbench.costs.budget import RESOURCES
from nasbench.latency import standalone
from nasbench.latency.device import KernelTime, Measurement
from nasbench.latency.ranges import LARGEST, Positive, PositiveCount
from nasbench.latency.standalone import Pass
from nasbench.values import Value

MAX_RUN_US = 10**12  # eleven days
PAIRED = "median of paired ratios x sqrt(slowing of the reference)"


def _checked_pass(taken: Pass) -> Pass:
    """The pass itself; ValueError where runs are missing or a time is out of range."""
    runs = (taken.reference_cpu_us, taken.reference_wall_us, taken.cpu_us, taken.wall_us)
    if not all(runs):
        raise ValueError("a pass must hold runs of the network and of the reference")
    if not all(1 <= us <= MAX_RUN_US for each in runs for us in each):
        raise ValueError(f"a run must take 1 to {MAX_RUN_US:.0e} us")
    if not 0 <= taken.at <= LARGEST:
        raise ValueError(f"at = {taken.at}: a pass begins 0 to {LARGEST:g} seconds after the session")
    return taken


StoredPass = Annotated[Pass, AfterValidator(_checked_pass)]
PASS_ADAPTER = TypeAdapter[Pass](StoredPass)  # reads a pass from a file; raises ValidationError


class Protocol(Value):
    """How the measurements were taken.

    clock: `thread` or `process` for processor time, or `wall`. energy_meter: where energy was read from, "" if nowhere
    or unknown.
    """

    version: PositiveCount = standalone.PROTOCOL_VERSION
    clock: Literal["thread", "process", "wall"] = "thread"
    estimator: str = PAIRED
    energy_meter: str = ""

    @classmethod
    def of(cls, clock: str, energy_meter: str = "") -> Protocol:
        estimator = "ratio of minima" if clock == standalone.WALL else PAIRED
        return cls.from_dict({"clock": clock, "estimator": estimator, "energy_meter": energy_meter}, "protocol")


class Reference(Value):
    """The network that all others are measured against; `quiet_ms` is its own time on the device without other load."""

    name: str
    sha256: str  # of its operators and weights, see reference.py; "" where an old profile did not keep it
    quiet_ms: Positive


def distinct(records: Sequence[Record]) -> list[Record]:
    """Each network once, by its last record: a repeated one would weigh more in a fit and make it slower."""
    return list({record.id: record for record in records}.values())


class Record(Value):
    """One measured network. `architecture` is its content, so that it can be built and measured again anywhere.

    passes: the raw runs; empty in a profile of version 1, which kept only the measurement computed from them.
    """

    id: str
    architecture: dict[str, Any]
    measurement: Measurement
    passes: tuple[StoredPass, ...] = ()
    kernels: tuple[KernelTime, ...] = ()  # where the runtime tells
    memory_bytes: Positive | None = None  # the peak that running it adds to a process
    energy_j: Positive | None = None  # of the whole device during one run

    def with_resources_of(self, older: Record | None) -> Record:
        """Memory and energy of an earlier measurement, where this one has none."""
        kept = {m: getattr(older, m, None) for m in RESOURCES if getattr(self, m) is None}
        return self.model_copy(update=kept) if any(kept.values()) else self


Records = Annotated[list[Record], AfterValidator(distinct)]
