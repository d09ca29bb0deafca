"""A score with less noise than accuracy: all that one short training shows, regressed on what long training gives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nasbench.errors import UserError

SIGNALS = ("accuracy", "loss", "train_loss_tail")
RIDGE = 1.0  # in trainings: so many that say that no signal matters
LEAST = 8  # trainings


@dataclass(frozen=True)
class DenoisedScore:
    """A linear function of a training's signals, in the order of `SIGNALS`, in the unit of long training's accuracy."""

    mean: np.ndarray
    spread: np.ndarray
    weights: np.ndarray
    centre: float

    @classmethod
    def fit(cls, signals: np.ndarray, long: np.ndarray) -> DenoisedScore:
        """From signals (n, 3) of short trainings to what long training of the same designs gave (n,)."""
        if len(signals) != len(long) or len(long) < LEAST:
            raise UserError(f"{len(signals)} trainings with {len(long)} long ones: give {LEAST} pairs or more")
        mean, spread = signals.mean(0), np.maximum(signals.std(0), 1e-6)
        scaled, centre = (signals - mean) / spread, float(np.mean(long))
        penalty = RIDGE * np.eye(scaled.shape[1])
        weights = np.linalg.solve(scaled.T @ scaled + penalty, scaled.T @ (long - centre))
        return cls(mean, spread, weights, centre)

    def __call__(self, signals: np.ndarray) -> np.ndarray:
        """(n,) scores of trainings with signals (n, 3)."""
        return np.asarray(self.centre + (signals - self.mean) / self.spread @ self.weights)


def held_out_scores(signals: np.ndarray, long: np.ndarray, families: np.ndarray) -> np.ndarray:
    """(n,) each training's score by a fit that saw none of its family's."""
    scores = np.full(len(long), np.nan)
    for family in np.unique(families):
        own = families == family
        scores[own] = DenoisedScore.fit(signals[~own], long[~own])(signals[own])
    return scores
