"""Schemas of a trial's lines in `trials.jsonl` and of its file in the spool: types and ranges, checked on reading."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from nasbench.values import Value

LARGEST = 1e30  # of a metric or a cost
LATEST = 1e11  # seconds since the epoch
MAX_CLASSES = 10**7
PROBES, MAX_RUNGS = -1, 1000
Key = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]  # also the name of a file in the spool
Count = Annotated[int, Field(ge=0, le=10**30)]
Rung = Annotated[int, Field(ge=PROBES, lt=MAX_RUNGS)]
Seed = Annotated[int, Field(ge=0, le=2**64)]
Seconds = Annotated[float, Field(ge=0, le=1e9)]
Time = Annotated[float, Field(ge=0, le=LATEST)]


def _figure(value: object) -> object:
    number = isinstance(value, (int, float)) and abs(value) <= LARGEST
    if not (number or isinstance(value, (bool, str))):
        raise ValueError(f"must be a number of at most {LARGEST:g}, a word, or true or false")
    return value


class _Finished(Value, strict=True):
    finished_at: Time


def finished_time(record: Mapping[str, object]) -> float:
    """The end of the trial of a "finished" line, in seconds since the epoch; UserError for an invalid time."""
    return _Finished.from_dict({"finished_at": record["finished_at"]}).finished_at


class CostRecord(Value, strict=True):
    params: Count
    macs: Count
    flops: Count
    activations: Count
    weight_bytes: Count
    peak_activation_bytes: Count


class OriginRecord(Value, strict=True):
    kind: Literal["fixed point", "searched", "scaled"] = "searched"
    rung: Rung = 0
    how: str = ""
    cost: CostRecord | None = None
    of: str | None = None
    family: str | None = None
    rule: str | None = None
    target: str | None = None


class SubmittedRecord(Value, strict=True):
    """A submitted trial. Architecture and fidelity are checked by their own classes."""

    key: Key
    architecture_id: Key
    architecture: dict[str, Any]
    fidelity: dict[str, Any]
    seed: Seed
    data: str
    split: Literal["validation", "test"]
    origin: OriginRecord
    submitted_at: Time


class OutcomeRecord(Value, strict=True):
    state: Literal["complete", "failed"]
    metrics: dict[str, Annotated[Any, AfterValidator(_figure)]]
    reason: str | None = None
    seconds: Seconds
    worker: dict[str, Any]
