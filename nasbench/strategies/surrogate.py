"""Which of several untrained designs to train, by predicted error and the gain in hypervolume of the front."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from nasbench.arch.architecture import Architecture
from nasbench.pareto import hypervolume
from nasbench.strategies.context import Candidate, Searchable, Speed
from nasbench.strategies.gaussian import Regression

MIN_TRIALS = 8  # finished ones, for a prediction
MAX_TRIALS = 300  # the latest ones, so that a prediction stays quick in a long search
DROPPED = 60  # oldest trials dropped at a time: cached hyperparameters hold while the first trials stay the same
OPTIMISM = 1.0  # standard deviations subtracted from a predicted error
MARGIN = 1.05  # the reference point lies this far beyond the worst losses


def guessed_errors(space: Searchable, designs: Sequence[Architecture], trials: Sequence[Candidate]) -> np.ndarray:
    """(designs,) lower confidence bounds of the first loss, by a Gaussian process fitted to the latest `trials`."""
    known = _latest(trials)
    errors = np.array([trial.losses[0] for trial in known if trial.losses])
    process = Regression.fit(np.stack([space.describe(trial.architecture) for trial in known]), errors)
    mean, std = process.predict(np.stack([space.describe(design) for design in designs]))
    return mean - OPTIMISM * std


def most_promising(
    space: Searchable, designs: Sequence[Architecture], trials: Sequence[Candidate], speed: Speed
) -> Architecture:
    """The one of `designs` that should add most to the front of (error, speed), by a process fitted to `trials`.

    `trials` have losses (error, speed); the reference point of the front's hypervolume lies just beyond the parents
    among them. Where no design is expected to add anything, the one of lowest predicted error.
    """
    known = _latest(trials)
    losses, errors = np.array([trial.losses for trial in known], float), guessed_errors(space, designs, known)
    speeds = np.array([speed(design) for design in designs])
    reference = np.array([trial.losses for trial in known if trial.parent] or losses).max(0) * MARGIN
    now = hypervolume(losses, reference)
    gains = [hypervolume(np.vstack([losses, point]), reference) - now for point in zip(errors, speeds)]
    return designs[int(np.lexsort((errors, -np.array(gains)))[0])]


def _latest(trials: Sequence[Candidate]) -> Sequence[Candidate]:
    too_many = max(0, len(trials) - MAX_TRIALS)
    return trials[math.ceil(too_many / DROPPED) * DROPPED :]
