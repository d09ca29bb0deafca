"""Trials: one architecture trained at one fidelity with one seed, with its origin and outcome."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from enum import Enum
from functools import cached_property
from typing import Literal, NamedTuple

from nasbench.arch.architecture import Architecture
from nasbench.costs.analytic import Cost
from nasbench.errors import UserError
from nasbench.study.fidelity import Fidelity
from nasbench.study.runner import Numerics
from nasbench.study.trial_records import OriginRecord, OutcomeRecord, SubmittedRecord
from nasbench.values import content_hash

REASON_CHARACTERS = 500
FROM_TABLE = "table"  # `Origin.how` of a training taken from a table
Split = Literal["validation", "test"]
SPLITS: tuple[Split, ...] = ("validation", "test")
Metrics = Mapping[str, float | int | str | bool]


class _Word(str, Enum):
    """An enumeration of stored words; members print and compare as these."""

    def __str__(self) -> str:
        return str(self.value)


class State(_Word):
    """The state of a trial."""

    SUBMITTED = "submitted"
    COMPLETE = "complete"
    FAILED = "failed"


class Kind(_Word):
    """The source of a trial's architecture: published, proposed by the search, or scaled from another one."""

    FIXED_POINT = "fixed point"
    SEARCHED = "searched"
    SCALED = "scaled"


class Level(NamedTuple):
    """A step of a search: a rung, and whether it is final (fresh seeds, scored on the test split)."""

    rung: int
    final: bool = False

    @property
    def name(self) -> str:
        """Its name in promotion notes."""
        return "final" if self.final else f"rung {self.rung}"

    @property
    def below(self) -> Level | None:
        """The level from which designs are promoted to this one."""
        if self.final:
            return Level(self.rung)
        return Level(self.rung - 1) if self.rung > 0 else None


@dataclass(frozen=True)
class Origin:
    """How a trial came about.

    `how`: "fixed point", "table", "promoted", "final", "probe", or the name of the strategy that proposed it. `cost`:
    of the design's deploy form, stored so that reading a study computes nothing. `of`: of a probe, the id of the design
    that it is a smaller version of. `family`, `rule`, `target`: of a scaling study's trials.
    """

    kind: Kind = Kind.SEARCHED
    rung: int = 0
    how: str = ""
    cost: Cost | None = None
    of: str | None = None
    family: str | None = None
    rule: str | None = None
    target: str | None = None

    @classmethod
    def from_dict(cls, content: Mapping[str, object]) -> Origin:
        """From its stored form; UserError where that is invalid."""
        return cls._of(OriginRecord.from_dict(content, "origin"))

    @classmethod
    def _of(cls, record: OriginRecord) -> Origin:
        content = {each.name: getattr(record, each.name) for each in fields(cls)}
        cost = None if record.cost is None else Cost(**record.cost.to_dict())
        return cls(**{**content, "kind": Kind(record.kind), "cost": cost})

    def to_dict(self) -> dict[str, object]:
        """The stored form, without unknown and empty fields."""
        content = {each.name: getattr(self, each.name) for each in fields(self)}
        content["cost"] = None if self.cost is None else self.cost.to_dict()
        return {key: value for key, value in content.items() if value not in (None, "")}


@dataclass(frozen=True)
class Outcome:
    """The outcome of a job: complete with finite metrics, or failed with a reason."""

    state: State
    metrics: Metrics = field(default_factory=dict)
    reason: str | None = None
    seconds: float = 0.0
    worker: Mapping[str, object] = field(default_factory=dict)  # host, process, device

    def __post_init__(self) -> None:
        if self.state not in (State.COMPLETE, State.FAILED):
            raise ValueError(f"unknown state {self.state!r}; an outcome is complete or failed")
        object.__setattr__(self, "state", State(self.state))
        if self.state == State.FAILED and not self.reason:
            raise ValueError("a failed outcome needs a reason")

    @classmethod
    def from_record(cls, record: Mapping[str, object]) -> Outcome:
        """From a stored record, which may have other keys; UserError where it is invalid."""
        stored = OutcomeRecord.from_dict(_only(record, OutcomeRecord))
        return cls(**{each.name: getattr(stored, each.name) for each in fields(cls)})

    def to_dict(self) -> dict[str, object]:
        return {**asdict(self), "state": self.state.value}


def failed(reason: str, seconds: float = 0.0, worker: Mapping[str, object] | None = None) -> Outcome:
    """A failed outcome whose reason is the first line of `reason`, at most 500 characters."""
    first = (reason.strip() or "no reason given").splitlines()[0][:REASON_CHARACTERS]
    return Outcome(State.FAILED, {}, first, seconds, dict(worker or {}))


def complete_or_failed(metrics: Metrics, seconds: float, worker: Mapping[str, object]) -> Outcome:
    """A complete outcome, or a failed one where a metric is not finite."""
    for name, value in metrics.items():
        if isinstance(value, float) and not math.isfinite(value):
            return failed(f"diverged: metric {name!r} is {value}", seconds, worker)
    return Outcome(State.COMPLETE, dict(metrics), None, seconds, dict(worker))


@dataclass(frozen=True)
class Trial:
    """An architecture x fidelity x seed x data, and, once it is finished, its metrics or the reason it failed.

    Two trials with the same `key` would give the same result. `architecture` is the stored form, `design` the value.
    """

    key: str
    architecture_id: str
    architecture: Mapping[str, object]
    fidelity: Fidelity
    seed: int
    data: str  # the data set's name and content, as one id
    split: Split  # that it is scored on
    origin: Origin = Origin()
    state: State = State.SUBMITTED
    metrics: Metrics = field(default_factory=dict)
    reason: str | None = None
    seconds: float = 0.0
    worker: Mapping[str, object] = field(default_factory=dict)
    submitted_at: float = 0.0  # seconds since the epoch
    finished_at: float = 0.0

    @classmethod
    def new(
        cls, arch: Architecture, fidelity: Fidelity, seed: int, data: str,
        split: Split = "validation", origin: Origin | None = None, numerics: Numerics | None = None,
    ) -> Trial:  # fmt: skip
        """A trial to be submitted. `numerics` enter its key unless they are None or the default (CPU, float32), so that
        keys of stored studies without numerics stay valid."""
        identity: list[object] = [arch.id, fidelity.to_dict(), seed, data, split]
        if numerics is not None and numerics != Numerics():
            identity.append(numerics._asdict())
        content = (arch.to_dict(), fidelity, seed, data, split, origin or Origin())
        return cls(content_hash(identity, compact=True), arch.id, *content, submitted_at=time.time())

    @cached_property
    def design(self) -> Architecture:
        return Architecture.from_dict(self.architecture, source=f"trial {self.key}")

    @property
    def label(self) -> str:
        """The architecture's name, or the beginning of its id."""
        return str(self.architecture.get("name") or self.architecture_id[:8])

    @cached_property
    def level(self) -> Level:
        return Level(self.origin.rung, self.split == "test")

    @property
    def trained_here(self) -> bool:
        """Whether this study trains it; else it is taken from a table of trained designs."""
        return self.origin.how != FROM_TABLE

    @property
    def complete(self) -> bool:
        return self.state == State.COMPLETE

    @property
    def balanced(self) -> bool:
        """Whether its accuracy is balanced: the mean over classes."""
        return self.metrics.get("accuracy_is") == "balanced"

    @property
    def finished(self) -> bool:
        """Complete or failed: it must not be run again."""
        return self.state != State.SUBMITTED

    @property
    def cost(self) -> Cost:
        """Of the design's deploy form, as stored; UserError where it is not."""
        if self.origin.cost is None:
            raise UserError(f"trial {self.key}: its record has no cost; the study was not written by a search")
        return self.origin.cost

    def metric(self, name: str) -> float:
        """One figure of a complete trial."""
        return float(self.metrics[name])

    def with_outcome(self, outcome: Outcome, finished_at: float) -> Trial:
        own = {each.name: getattr(outcome, each.name) for each in fields(outcome)}
        return replace(self, **own, finished_at=finished_at)

    def to_record(self) -> dict[str, object]:
        """The stored form of a submitted trial."""
        content = {name: getattr(self, name) for name in SUBMITTED_FIELDS}
        return {**content, "fidelity": self.fidelity.to_dict(), "origin": self.origin.to_dict()}

    @classmethod
    def from_record(cls, record: Mapping[str, object]) -> Trial:
        """From the stored form; UserError where it is invalid."""
        stored = SubmittedRecord.from_dict(_only(record, SubmittedRecord))
        content = {name: getattr(stored, name) for name in SUBMITTED_FIELDS}
        fidelity = Fidelity.from_dict(stored.fidelity)
        trial = cls(**{**content, "fidelity": fidelity, "origin": Origin._of(stored.origin)})
        _ = trial.design  # raises where it is invalid
        return trial


def _only(record: Mapping[str, object], kind: type[SubmittedRecord] | type[OutcomeRecord]) -> dict[str, object]:
    """The keys that `kind` reads; a journal's line has others beside them."""
    return {name: record[name] for name in kind.model_fields if name in record}


SUBMITTED_FIELDS = (
    *("key", "architecture_id", "architecture", "fidelity", "seed", "data", "split", "origin", "submitted_at"),
)
