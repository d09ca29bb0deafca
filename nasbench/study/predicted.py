"""Predictions of a device's profile for designs, for the metrics that a study needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from nasbench.arch.architecture import Architecture
from nasbench.costs.budget import RESOURCES
from nasbench.errors import UserError, shown

if TYPE_CHECKING:
    from nasbench.latency.profile import DeviceProfile

LARGEST = 1e18


class Interval(NamedTuple):
    """A prediction with the ends of its 90 % interval, in the metric's own unit."""

    value: float
    low: float
    high: float


def _figure(content: Mapping[str, float], key: str) -> float:
    """Of a stored prediction: milliseconds, bytes or joules."""
    value = content.get(key)
    if not isinstance(value, (int, float)) or not 0 <= value <= LARGEST:
        raise UserError(f"{key} = {shown(value)}: a predicted figure is a number from 0 to {LARGEST:g}")
    return float(value)


class Predicted(NamedTuple):
    """The prediction for one design: latency in ms, and the other metrics with budgets."""

    latency: Interval
    extrapolating: bool  # unlike the networks that the predictor was fitted to
    resources: Mapping[str, Interval] = MappingProxyType({})

    @classmethod
    def from_dict(cls, content: Mapping[str, float]) -> Predicted:
        """From the flat form in which it is stored: latency_ms, low_ms, high_ms, memory_bytes, memory_bytes_low ...

        UserError names a key that is missing or has an invalid value.
        """
        latency = Interval(*(_figure(content, key) for key in ("latency_ms", "low_ms", "high_ms")))
        resources = {
            metric: Interval(*(_figure(content, metric + end) for end in ("", "_low", "_high")))
            for metric in RESOURCES
            if metric in content
        }
        extrapolating = content.get("extrapolating")
        if extrapolating not in (False, True):  # stored as 0.0 and 1.0 too
            raise UserError(f"extrapolating = {shown(extrapolating)}: must be true or false")
        return cls(latency, bool(extrapolating), resources)

    def to_dict(self) -> dict[str, float]:
        figures = {"latency_ms": self.latency.value, "low_ms": self.latency.low, "high_ms": self.latency.high}
        figures["extrapolating"] = self.extrapolating
        for metric, found in self.resources.items():
            figures |= {metric: found.value, f"{metric}_low": found.low, f"{metric}_high": found.high}
        return figures

    @property
    def upper(self) -> dict[str, float]:
        """By metric, the upper ends of the intervals, on which budgets bind."""
        return {"latency_ms": self.latency.high, **{metric: found.high for metric, found in self.resources.items()}}


def predict(
    profile: DeviceProfile, designs: Sequence[Architecture], classes: int, metrics: Sequence[str] = ()
) -> dict[str, Predicted]:
    """Architecture id -> prediction; `metrics`: those with budgets, beside latency."""
    if not designs:
        return {}
    found = profile.predict(designs, classes)
    resources = {
        metric: profile.predict_resource(metric, designs, classes) for metric in metrics if metric in RESOURCES
    }
    return {
        design.id: Predicted(
            Interval(float(found.latency_ms[i]), float(found.low_ms[i]), float(found.high_ms[i])),
            bool(found.extrapolating[i]),
            {m: Interval(float(e.value[i]), float(e.low[i]), float(e.high[i])) for m, e in resources.items()},
        )
        for i, design in enumerate(designs)
    }
