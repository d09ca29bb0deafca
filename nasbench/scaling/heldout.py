"""The test of a law: fit it without the largest size, and check whether that size's error lies in its interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nasbench.scaling.intervals import DRAWS, LawFit, analyse
from nasbench.scaling.points import SIZE, Point, data_of, largest, most_sampled


@dataclass(frozen=True)
class HeldOutSize:
    """The largest size at one sample count: the measured mean of `seeds` trainings, and the prediction held out."""

    family: str
    variables: tuple[str, ...]
    design: str
    samples: float
    measured: float
    seeds: int
    predicted: float
    low: float
    high: float
    fit: LawFit  # without the largest size

    @property
    def inside(self) -> bool:
        return self.low <= self.measured <= self.high

    def row(self) -> dict[str, object]:
        return {
            "law of": self.family,
            "over": " and ".join(self.variables),
            "held out": self.design,
            "samples": int(self.samples),
            "measured": f"{self.measured:.4f}",
            "predicted": f"{self.predicted:.4f}",
            "90 % interval": f"{self.low:.4f} to {self.high:.4f}",
            "inside": "yes" if self.inside else "no",
            "exponent": "identified" if self.fit.identified else "not identified",
        }


def hold_out_largest(
    points: Sequence[Point], variables: tuple[str, ...] = SIZE, loss: str = "error", draws: int = DRAWS
) -> list[HeldOutSize]:
    """Fit one family's law without its largest design and predict that design, at each sample count that it has.

    A law of size alone uses the largest sample count that all sizes share.
    """
    used = most_sampled(points) if variables == SIZE else list(points)
    top = largest(used)
    seen = [point for point in used if point.flops < top]
    fit = analyse(data_of(seen, variables, loss), draws, name=points[0].family)
    found = []
    for samples in sorted({point.samples for point in used if point.flops == top}):
        group = [point for point in used if point.flops == top and point.samples == samples]
        place = np.array([[getattr(group[0], name) for name in variables]])
        low, high = fit.outcome_interval(place, seeds=len(group))
        found.append(
            HeldOutSize(
                family=points[0].family,
                variables=variables,
                design=group[0].design,
                samples=samples,
                measured=float(np.mean([getattr(point, loss) for point in group])),
                seeds=len(group),
                predicted=float(fit.law.predict(place)[0]),
                low=float(low[0]),
                high=float(high[0]),
                fit=fit,
            )
        )
    return found
