"""Compare designs by their laws extrapolated to a size: probabilities of being best there, and where laws cross."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nasbench.scaling.intervals import LawFit, quantiles


@dataclass(frozen=True)
class Standing:
    """One design at one size: the error that its law predicts, with a 90 % interval."""

    name: str
    predicted: float
    low: float
    high: float
    wins: float  # probability of the lowest error of those compared
    identified: bool  # whether the data identify the law's exponent

    def row(self, loss: str = "error") -> dict[str, str]:
        return {
            "design": self.name,
            f"{loss} (predicted)": f"{self.predicted:.4f}",
            "90 % interval": f"{self.low:.4f} to {self.high:.4f}",
            "wins with probability": f"{self.wins:.2f}",
            "exponent": "identified" if self.identified else "not identified",
        }


@dataclass(frozen=True)
class Crossing:
    """Two laws that cross: the size, with a 90 % interval, and the share of bootstrap draws that cross in range."""

    first: str
    second: str
    at: float  # of the two fitted laws
    low: float
    high: float
    probability: float


def win_probabilities(fits: Mapping[str, LawFit], x: float) -> dict[str, float]:
    """The share of bootstrap draws in which each law is the lowest at `x`. They add up to 1."""
    draws = _aligned([fit.curve_draws(x)[:, 0] for fit in fits.values()])
    winners = np.argmin(draws, axis=0)
    return {name: float(np.mean(winners == index)) for index, name in enumerate(fits)}


def standings(fits: Mapping[str, LawFit], x: float) -> list[Standing]:
    """Every design at `x`, the likeliest winner first."""
    chances, found = win_probabilities(fits, x), []
    for name, fit in fits.items():
        low, high = quantiles(fit.curve_draws(x)[:, 0])
        found.append(Standing(name, float(fit.law.predict(x)[0]), low, high, chances[name], fit.identified))
    return sorted(found, key=lambda standing: (-standing.wins, standing.predicted))


def crossings(fits: Mapping[str, LawFit], low: float, high: float) -> list[Crossing]:
    """Each pair of laws that cross between sizes `low` and `high`, with its first crossing."""
    grid, found = np.geomspace(low, high, 200), []
    for (a, fit_a), (b, fit_b) in itertools.combinations(fits.items(), 2):
        one, two = _aligned([fit_a.curve_draws(grid), fit_b.curve_draws(grid)])
        places = np.array([_first_change(row, grid) for row in one - two])
        fitted = _first_change(fit_a.law.predict(grid) - fit_b.law.predict(grid), grid)
        crossing = places[np.isfinite(places)]
        if np.isfinite(fitted) and len(crossing):
            ends = quantiles(crossing)
            found.append(Crossing(a, b, float(fitted), float(ends[0]), float(ends[1]), len(crossing) / len(places)))
    return found


def _first_change(difference: np.ndarray, grid: np.ndarray) -> float:
    """Where the sign of `difference` first changes along `grid`; NaN where it does not."""
    changes = np.flatnonzero(np.sign(difference[1:]) != np.sign(difference[:-1]))
    return float(grid[changes[0] + 1]) if len(changes) else float("nan")


def _aligned(draws: Sequence[np.ndarray]) -> np.ndarray:
    """(laws, b, ...) equally many draws of each law, each in an order of its own, so that pairs are independent."""
    count, rng = min(len(d) for d in draws), np.random.default_rng(0)
    return np.stack([d[rng.permutation(len(d))[:count]] for d in draws])
