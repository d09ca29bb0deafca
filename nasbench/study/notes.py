"""What a store holds besides trials: measured and predicted latencies, promotions, rejections, the end of a search."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import BeforeValidator, Field, PlainSerializer

from nasbench.errors import UserError
from nasbench.study.predicted import Predicted
from nasbench.study.trial_records import Key
from nasbench.values import Value

Figure = Annotated[float, Field(gt=0, le=1e18)]  # ms, bytes or joules
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0, le=10**12)]


def _predicted(content: object) -> object:
    return Predicted.from_dict(content) if isinstance(content, dict) else content


StoredPrediction = Annotated[Predicted, BeforeValidator(_predicted), PlainSerializer(Predicted.to_dict)]


class LatencyNote(Value):
    """By architecture id: measured latency in ms, what was predicted before, measured memory and energy (`taken`)."""

    name: ClassVar[str] = "latency"
    measured_ms: dict[str, Figure] = Field(default_factory=dict)
    predicted: dict[str, StoredPrediction] = Field(default_factory=dict)
    taken: dict[str, dict[str, Figure]] = Field(default_factory=dict)


class PromotionNote(Value):
    """The keys of the trials promoted to a level when `of` trials of the one below were complete."""

    name: ClassVar[str] = "promotion"
    level: str
    of: int = Field(ge=0, le=10**9)
    chosen: tuple[Key, ...]


class RejectionNote(Value):
    """Of one run of a search: random draws, those within every budget, and rejected candidates by rule."""

    name: ClassVar[str] = "rejection"
    drawn: Count
    accepted: Count
    rejected: dict[str, Count] = Field(default_factory=dict)


class LongNote(Value):
    """What a table of trained designs expects after `times` times the training that decided: by architecture id, mean
    and standard deviation of the accuracy."""

    name: ClassVar[str] = "long"
    table: str
    times: int = Field(ge=2, le=10**6)
    expected: dict[str, tuple[Share, Share]]


class EndNote(Value):
    """The search had nothing left to train with this number of trials."""

    name: ClassVar[str] = "end"
    trials: int = Field(ge=0, le=10**9)


Note = LatencyNote | PromotionNote | RejectionNote | LongNote | EndNote
KINDS: tuple[type[Note], ...] = (LatencyNote, PromotionNote, RejectionNote, LongNote, EndNote)


def note_of(record: Mapping[str, object]) -> list[Note]:
    """The note of a stored line, as a list; empty where its name is unknown. UserError for invalid content."""
    content = record.get("content")
    if not isinstance(content, dict):
        raise UserError("a note without content")
    return [kind.from_dict(content) for kind in KINDS if kind.name == record.get("name")]
