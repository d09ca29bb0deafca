"""Runs as curves over evaluations: regret of one loss, or the share of the hypervolume of two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from nasbench.bench.problem import Scale
from nasbench.bench.replay import PICKS, Run
from nasbench.pareto import hypervolume, is_dominated

TINY = 1e-9


@dataclass(frozen=True, eq=False)
class Curves:
    """What each strategy reached: `values[strategy]` is (seeds, evaluations).

    Of one loss it is the regret, lower is better; of two the share of the whole volume, higher is better. `reached`
    says how many evaluations met the best design, infinite where none did; empty where the best is not known.
    """

    values: dict[str, np.ndarray]
    seeds: dict[str, tuple[int, ...]]
    reached: dict[str, np.ndarray]
    is_regret: bool

    @property
    def strategies(self) -> tuple[str, ...]:
        return tuple(self.values)

    @cached_property
    def evaluations(self) -> int:
        return max(each.shape[1] for each in self.values.values())

    def quartiles(self, strategy: str) -> np.ndarray:
        """(3, evaluations) lower quartile, median, upper quartile over seeds."""
        return np.asarray(np.quantile(self.values[strategy], [0.25, 0.5, 0.75], axis=0))


def curves_of(runs: Sequence[Run], scale: Scale, evaluations: int, noisy: bool) -> Curves:
    """Of runs of one problem, strategies in the order of their names."""
    known = not np.isnan(scale.best)
    scale = scale if known else _best_of(runs, scale)
    one = len(scale.reference) == 1
    values, seeds, reached = {}, {}, {}
    for strategy in sorted({run.strategy for run in runs}):
        own = sorted((run for run in runs if run.strategy == strategy), key=lambda run: run.seed)
        curve = [_regret(run, scale, noisy) if one else _share(run, scale, noisy) for run in own]
        values[strategy] = np.array([_filled(each, evaluations) for each in curve])
        seeds[strategy] = tuple(run.seed for run in own)
        if one and known:
            reached[strategy] = np.array([_reached(run, scale) for run in own])
    return Curves(values, seeds, reached, one)


def _best_of(runs: Sequence[Run], scale: Scale) -> Scale:
    """The scale by the best loss and the hypervolume of all runs together."""
    truth = np.array([losses for run in runs for losses in run.truth])
    reference = np.array(scale.reference)
    whole = hypervolume(np.unique(truth, axis=0), reference) if truth.shape[1] > 1 else float("nan")
    return Scale(float(truth[:, 0].min()), scale.reference, whole)


def _regret(run: Run, scale: Scale, noisy: bool) -> np.ndarray:
    """(evaluations,) true loss of the design recommended by then, minus the best."""
    truth = np.array(run.truth)[:, 0]
    if not noisy:
        return np.asarray(np.minimum.accumulate(truth) - scale.best)
    seen = np.array(run.seen)[:, 0]
    first = np.array([int(seen[: n + 1].argmin()) for n in range(len(seen))])  # before the first recommendation
    for place, picked in enumerate(run.picks, 1):
        first[place * PICKS - 1 :] = picked
    return np.asarray(truth[first] - scale.best)


def _share(run: Run, scale: Scale, noisy: bool) -> np.ndarray:
    """(evaluations,) true hypervolume, as a share of the whole, of the front by then, taken by the losses seen."""
    truth, seen, reference = np.array(run.truth), np.array(run.seen), np.array(scale.reference)
    found, kept = [], np.empty(0, int)
    for n in range(len(truth)):
        kept = np.append(kept, n)
        kept = kept[~is_dominated(seen[kept] if noisy else truth[kept])]  # a dominated one stays dominated
        found.append(hypervolume(truth[kept], reference))
    return np.array(found) / max(scale.whole, TINY)


def _filled(curve: np.ndarray, evaluations: int) -> np.ndarray:
    """The curve with its last value repeated up to `evaluations`."""
    return np.asarray(np.pad(curve, (0, max(0, evaluations - len(curve))), mode="edge")[:evaluations])


def _reached(run: Run, scale: Scale) -> float:
    hits = np.flatnonzero(np.array(run.truth)[:, 0] <= scale.best + TINY)
    return float(hits[0] + 1) if len(hits) else float("inf")
