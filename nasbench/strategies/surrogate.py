"""Which of several untrained designs to train: a guess at their error, and what that would add to the front."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nasbench.arch.architecture import Architecture
from nasbench.pareto import hypervolume
from nasbench.strategies.context import Candidate, Searchable, Speed

MIN_TRIALS = 8  # finished; fewer say nothing about the rest of the space
MAX_TRIALS = 300  # the latest ones, so that a guess stays quick in a long search
TREES = 64
OPTIMISM = 1.0  # standard deviations between trees that a guess is improved by: a forest's mean never beats its data
MARGIN = 1.05  # the reference point lies this far beyond the worst losses


def guessed_errors(space: Searchable, designs: Sequence[Architecture], trials: Sequence[Candidate]) -> np.ndarray:
    """(designs,) the first loss of each, on the hopeful side, by a forest fitted to the latest of `trials`."""
    from sklearn.ensemble import RandomForestRegressor

    known = list(trials)[-MAX_TRIALS:]
    forest = RandomForestRegressor(TREES, min_samples_leaf=2, random_state=0)
    forest.fit(np.stack([space.describe(t.architecture) for t in known]), [t.losses[0] for t in known if t.losses])
    untried = np.stack([space.describe(design) for design in designs])
    guesses = np.stack([tree.predict(untried) for tree in forest.estimators_])  # (trees, designs)
    return guesses.mean(0) - OPTIMISM * guesses.std(0)


def most_promising(
    space: Searchable, designs: Sequence[Architecture], trials: Sequence[Candidate], speed: Speed
) -> Architecture:
    """The one of `designs` that should add most to the front of (error, speed), by a forest fitted to `trials`.

    `trials` have losses (error, speed); the reference point of the front's hypervolume lies just beyond the parents
    among them. Where no design is thought to add anything, the one thought most accurate.
    """
    known = list(trials)[-MAX_TRIALS:]
    losses, errors = np.array([trial.losses for trial in known], float), guessed_errors(space, designs, known)
    speeds = np.array([speed(design) for design in designs])
    reference = np.array([trial.losses for trial in known if trial.parent] or losses).max(0) * MARGIN
    now = hypervolume(losses, reference)
    gains = [hypervolume(np.vstack([losses, point]), reference) - now for point in zip(errors, speeds)]
    return designs[int(np.lexsort((errors, -np.array(gains)))[0])]
