"""Which finalist is trained with a further seed, so that designs and published networks can be told apart.

A published network and the searched designs that are no slower make a contest. First every finalist is trained with a
few seeds; then each training goes to the contest of the most accurate published network until it is decided, to the
side with fewer trainings, then to the next contest. No seed by which a design was selected is among them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from nasbench.report.noise import RACED, choice_factor
from nasbench.study.seed_noise import SeedNoise, pooled, pooled_between

FIRST = 2  # trainings of every finalist before any is trained further
ALIKE = 3  # trainings of each where there is no contest
# A contest is decided from `LEAST` trainings of both sides on, by a lead of `CLEAR` times the report's bound. Testing
# after every training raises the rate of false verdicts above the report's 5 %: of simulated races between equal
# networks 5.0 % end with a winner with these figures and the report's RACED (benchmarks/race_errors.py), 20 % without.
LEAST = 5
CLEAR = 1.3
POWER_80 = 0.84  # the 80 % quantile of the standard normal distribution


@dataclass(frozen=True)
class Racer:
    """A finalist with the scores of its final trainings so far; `tried` also counts those that run or failed."""

    key: str
    slowness: float
    fixed_point: bool
    scores: tuple[float, ...] = ()
    tried: int = 0

    @property
    def mean(self) -> float:
        return fmean(self.scores) if self.scores else -math.inf

    def hope(self, noise: SeedNoise | None) -> float:
        """One standard error above its mean: an optimistic estimate, the more so the fewer its trainings."""
        return self.mean + (noise.std / math.sqrt(len(self.scores)) if noise and self.scores else 0.0)


def next_racer(racers: Sequence[Racer], most: int) -> Racer | None:
    """The finalist to train next, none more than `most` times; None where every contest is decided or at that limit.

    Without any contest (no published network, or no design as fast) all are trained `ALIKE` times.
    """
    able = [each for each in racers if each.tried < most]
    early = [each for each in able if each.tried < FIRST]
    if early or not able:
        return min(early, key=lambda each: each.tried, default=None)
    scored = [each for each in racers if each.scores]
    contests = _contests(scored)
    if not contests:
        return min((each for each in able if each.tried < ALIKE), key=lambda each: each.tried, default=None)
    noise = pooled([each.scores for each in scored])
    for published, designs in contests:
        if not is_decided(published, designs, scored):
            going = _less_trained(published, designs, noise, able)
            if going is not None:
                return going
    return None


def resolved(trainings: int, finalists: int, noise: float) -> float:
    """Roughly the true lead that the report finds significant in 80 % of races with one contest (the power).

    `noise`: standard deviation over seeds. Both sides of the contest share the trainings beyond the others' first ones.
    """
    each = max(FIRST, (trainings - FIRST * max(0, finalists - 2)) // 2)
    factor = RACED * choice_factor(1, 2 * each)
    return (factor + POWER_80) * noise * math.sqrt(2 / each)


def is_decided(published: Racer, designs: Sequence[Racer], racers: Iterable[Racer]) -> bool:
    """Whether the best of the designs, or the published network, leads by more than `CLEAR` times the report's bound.

    The bound allows for the best having been picked from several. `racers`: all finalists, these among them.
    """
    best = max(designs, key=lambda each: each.mean)
    if min(len(best.scores), len(published.scores)) < LEAST:
        return False
    others = [each.scores for each in racers if each is not best and each is not published]
    noise = pooled_between(best.scores, published.scores, others)
    assert noise is not None  # both have several scores
    error = noise.std * math.sqrt(1 / len(best.scores) + 1 / len(published.scores))
    factor = choice_factor(len(designs), noise.degrees_of_freedom)
    return abs(best.mean - published.mean) > CLEAR * factor * error


def _contests(racers: Sequence[Racer]) -> list[tuple[Racer, list[Racer]]]:
    """Each published network, the most accurate first, with the searched designs that are no slower."""
    published = sorted((each for each in racers if each.fixed_point), key=lambda each: (-each.mean, each.slowness))
    searched = [each for each in racers if not each.fixed_point]
    found = [(one, [each for each in searched if each.slowness <= one.slowness]) for one in published]
    return [(one, designs) for one, designs in found if designs]


def _less_trained(
    published: Racer, designs: Sequence[Racer], noise: SeedNoise | None, able: Sequence[Racer]
) -> Racer | None:
    """Of the published network and the most hopeful design, the one with fewer trainings; the design if equal."""
    design = max(designs, key=lambda each: each.hope(noise))
    sides = sorted((design, published), key=lambda each: each.tried)
    return next((side for side in sides if side in able), None)
