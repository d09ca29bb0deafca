"""What a store holds besides trials: latencies measured and predicted, and who was promoted."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import BeforeValidator, Field, PlainSerializer

from nasbench.study.predicted import Predicted
from nasbench.values import Value


def _predicted(content: object) -> object:
    return Predicted.from_dict(content) if isinstance(content, dict) else content


StoredPrediction = Annotated[Predicted, BeforeValidator(_predicted), PlainSerializer(Predicted.to_dict)]


class LatencyNote(Value):
    """Latencies by architecture id: measured in ms, predicted before that, and measured memory and energy."""

    name: ClassVar[str] = "latency"
    measured_ms: dict[str, float] = Field(default_factory=dict)
    predicted: dict[str, StoredPrediction] = Field(default_factory=dict)
    taken: dict[str, dict[str, float]] = Field(default_factory=dict)


class PromotionNote(Value):
    """Who went on to a level, by the trials' keys, when so many trials of the one below were complete."""

    name: ClassVar[str] = "promotion"
    level: str
    of: int
    chosen: tuple[str, ...]
