"""Which of several untrained designs to train: a guess at their error, and what that would add to the front."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nasbench.arch.architecture import Architecture
from nasbench.costs.analytic import operators, total
from nasbench.pareto import hypervolume
from nasbench.strategies.context import Candidate, Speed

MIN_TRIALS = 8  # finished; fewer say nothing about the rest of the space
MAX_TRIALS = 300  # the latest ones, so that a guess stays quick in a long search
TREES = 64
OPTIMISM = 1.0  # standard deviations between trees that a guess is improved by: a forest's mean never beats its data
MARGIN = 1.05  # the reference point lies this far beyond the worst losses


def descriptors(arch: Architecture) -> np.ndarray:
    """(12,) what short schedules were seen to depend on: sizes, depth, blocks without a skip, mix of operators."""
    ops = operators(arch, deploy=True)
    cost = total(ops)
    blocks = [block for stage in arch.network.stages for block in stage]
    shares = [sum(op.macs for op in ops if op.kind == kind) / cost.macs for kind in ("depthwise", "conv", "matmul")]
    sizes = [cost.macs, cost.params, cost.activations, sum(op.macs > 0 for op in ops), blocks[-1].c_out]
    stems = sum(op.macs for op in ops if op.stage == "stem") / cost.macs
    without_skip = sum(block.skip is None for block in blocks)
    return np.array([*np.log(sizes), arch.resolution, *shares, stems, without_skip, len(blocks)], float)


def guessed_errors(designs: Sequence[Architecture], trials: Sequence[Candidate]) -> np.ndarray:
    """(designs,) the first loss of each, on the hopeful side, by a forest fitted to the latest of `trials`."""
    from sklearn.ensemble import RandomForestRegressor

    known = list(trials)[-MAX_TRIALS:]
    forest = RandomForestRegressor(TREES, min_samples_leaf=2, random_state=0)
    forest.fit(np.stack([descriptors(t.architecture) for t in known]), [t.losses[0] for t in known if t.losses])
    untried = np.stack([descriptors(design) for design in designs])
    guesses = np.stack([tree.predict(untried) for tree in forest.estimators_])  # (trees, designs)
    return guesses.mean(0) - OPTIMISM * guesses.std(0)


def most_promising(designs: Sequence[Architecture], trials: Sequence[Candidate], speed: Speed) -> Architecture:
    """The one of `designs` that should add most to the front of (error, speed), by a forest fitted to `trials`.

    `trials` have losses (error, speed); the reference point of the front's hypervolume lies just beyond the parents
    among them. Where no design is thought to add anything, the one thought most accurate.
    """
    known = list(trials)[-MAX_TRIALS:]
    losses, errors = np.array([trial.losses for trial in known], float), guessed_errors(designs, known)
    speeds = np.array([speed(design) for design in designs])
    reference = np.array([trial.losses for trial in known if trial.parent] or losses).max(0) * MARGIN
    now = hypervolume(losses, reference)
    gains = [hypervolume(np.vstack([losses, point]), reference) - now for point in zip(errors, speeds)]
    return designs[int(np.lexsort((errors, -np.array(gains)))[0])]
