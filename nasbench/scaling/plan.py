"""What to train next: the sizes, image counts and seeds that narrow the prediction for a budget's target training most.

The target is the single training of least predicted error that the whole budget pays for. The law's uncertainty is the
covariance of its bootstrap draws. A training at some place adds one noisy observation of ln(error) there, which reduces
the variance at the target by a known amount (a linear Gaussian design of experiments). Trainings are chosen greedily by
reduction per square root of cost, until their share of the budget is spent.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from nasbench.errors import UserError
from nasbench.scaling.family_laws import FamilyLaws
from nasbench.scaling.intervals import LawFit, quantiles
from nasbench.scaling.isoflop import ComputeSplit, split
from nasbench.scaling.points import Point

EXPLORE = 0.25  # share of the budget for these trainings; the rest pays for the target
LARGEST_SHARE = 0.05  # of the whole budget, for one of them
SIZES, COUNTS = 7, 6  # candidate sizes and image counts between the smallest trained and the target's
MAX_TRAININGS = 24
LEAST_GAIN = 0.01  # share of the first variance at the target by which a training must reduce it


@dataclass(frozen=True)
class Run:
    """Trainings of one size on one number of images: seeds, device hours of all, and predicted error of their mean."""

    flops: float
    params: float
    samples: int
    seeds: int
    hours: float
    error: float
    low: float
    high: float

    def row(self, loss: str = "error") -> dict[str, str]:
        return {
            "FLOPs M": f"{self.flops / 1e6:,.0f}",
            "params M (trained)": f"{self.params / 1e6:.3g}",
            "images": f"{self.samples:,}",
            "seeds": str(self.seeds),
            "device hours": f"{self.hours:.3g}",
            f"{loss} (predicted)": f"{self.error:.3f}",
            "90 %": f"{self.low:.3f} to {self.high:.3f}",
        }


@dataclass(frozen=True)
class Plan:
    """For one design: trainings to make first, the target, and the 90 % interval of its error now and after them."""

    design: str
    rate: float  # multiply-adds a second of one device
    compute: float  # multiply-adds that the budget pays for
    runs: tuple[Run, ...]
    target: ComputeSplit
    target_flops: float
    now: tuple[float, float]
    then: tuple[float, float]


def measured_rate(points: Sequence[Point]) -> float:
    """Multiply-adds a second of the device that the trainings ran on: the median over the largest size."""
    top = max(point.flops for point in points)
    return float(np.median([point.compute / point.seconds for point in points if point.flops == top]))


def make_plan(laws: FamilyLaws, devices: int, hours: float, rate: float) -> Plan:
    """A plan for `hours` on `devices` of `rate` multiply-adds a second each; UserError without a joint law."""
    fit, cost = laws.joint, laws.cost
    if fit is None:
        raise UserError(
            f"{laws.name}: a plan needs a law in parameters and samples, and so three sizes and three sample counts; "
            "train more with `nasbench scale train --samples`"
        )
    compute = devices * hours * 3600 * rate
    target = split(fit, cost, compute)
    place = np.array([target.params, target.samples])
    covariance = np.cov(fit.draws.T)
    at_target = _gradient(fit, place)
    before = float(at_target @ covariance @ at_target)
    chosen, after = _choose(fit, _candidates(laws, target), at_target, covariance, EXPLORE * compute, laws)
    flops = _flops_of(laws)
    runs = tuple(_run(fit, laws, at, seeds, rate, flops) for at, seeds in sorted(chosen.items()))
    low, high = quantiles(fit.curve_draws(place)[:, 0])
    shrink = np.sqrt(max(after, 0.0) / before) if before > 0 else 1.0
    then = tuple(float(target.error * (end / target.error) ** shrink) for end in (low, high))
    return Plan(
        laws.name, rate, compute, runs, target, flops(target.params), (float(low), float(high)), (then[0], then[1])
    )


def _gradient(fit: LawFit, place: np.ndarray) -> np.ndarray:
    """(1 + 2k,) derivative of ln(error) at `place` with respect to the law's vector."""
    law = fit.law
    z = np.log(place / law.reference)
    terms = law.amplitudes * np.exp(-law.exponents * z)
    return np.concatenate([[1.0], terms, -z * terms]) / (law.floor + terms.sum())


def _candidates(laws: FamilyLaws, target: ComputeSplit) -> list[tuple[float, int]]:
    """(parameters, images) pairs on a grid from the smallest training so far to the target."""
    params, counts = [p.params for p in laws.points], [p.samples for p in laws.points]
    sizes = np.geomspace(min(params), max(target.params, max(params)), SIZES)
    images = np.geomspace(min(counts), max(target.samples, max(counts)), COUNTS)
    return [(float(n), max(100, 100 * round(d / 100))) for n, d in itertools.product(sizes, images)]


def _choose(
    fit: LawFit,
    places: list[tuple[float, int]],
    at_target: np.ndarray,
    covariance: np.ndarray,
    budget: float,
    laws: FamilyLaws,
) -> tuple[Counter[tuple[float, int]], float]:
    """The chosen places with their numbers of seeds, and the variance of ln(error) at the target after them.

    at_target (1 + 2k,): gradient there. budget: multiply-adds for all chosen trainings.
    """
    cost = laws.cost
    gradients = {place: _gradient(fit, np.array(place)) for place in places}
    spent, chosen = 0.0, Counter[tuple[float, int]]()
    noise = fit.noise.seed**2 + fit.noise.scale**2
    variance = float(at_target @ covariance @ at_target)
    for _ in range(MAX_TRAININGS):
        best: tuple[float, tuple[float, int], float] | None = None
        for place, gradient in gradients.items():
            price = float(cost.compute(*place))
            if spent + price > budget or price > LARGEST_SHARE / EXPLORE * budget:
                continue
            gain = float(at_target @ covariance @ gradient) ** 2 / (noise + float(gradient @ covariance @ gradient))
            if gain >= LEAST_GAIN * variance and (best is None or gain / np.sqrt(price) > best[0]):
                best = (gain / np.sqrt(price), place, price)
        if best is None:
            break
        gradient = gradients[best[1]]
        step = covariance @ gradient
        covariance = covariance - np.outer(step, step) / (noise + float(gradient @ step))  # Gaussian conditioning
        chosen[best[1]] += 1
        spent += best[2]
    return chosen, float(at_target @ covariance @ at_target)


def _run(
    fit: LawFit, laws: FamilyLaws, at: tuple[float, int], seeds: int, rate: float, flops: Callable[[float], float]
) -> Run:
    low, high = fit.outcome_interval(at, seeds=seeds)
    hours = seeds * float(laws.cost.compute(*at)) / rate / 3600
    return Run(flops(at[0]), at[0], at[1], seeds, hours, float(fit.law.predict(at)[0]), float(low[0]), float(high[0]))


def _flops_of(laws: FamilyLaws) -> Callable[[float], float]:
    """The design's FLOPs for a number of trained parameters, as a power fitted to the family's own sizes."""
    power, offset = np.polyfit(np.log([p.params for p in laws.points]), np.log([p.flops for p in laws.points]), 1)
    return lambda params: float(np.exp(offset + power * np.log(params)))
