"""How the front grew: the volume that it dominates after each trial, of the lowest rung."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nasbench.pareto import hypervolume, is_dominated
from nasbench.study.trials import Kind, Trial

Point = tuple[float, float]  # error and latency


@dataclass(frozen=True)
class Growth:
    """Hours since the first trial was submitted, and the share of the box that is dominated by then.

    The box reaches from (0, 0) to the worst error and the longest latency of all. `published`: the share that
    published networks alone dominate in the end.
    """

    hours: tuple[float, ...]
    share: tuple[float, ...]
    published: float


def growth(trials: Sequence[Trial], latency_ms: Mapping[str, float], metric: str) -> Growth | None:
    """Of the complete trials of the lowest rung whose latency is known; None where there is none."""
    known = [t for t in trials if t.complete and t.level == (0, False) and t.architecture_id in latency_ms]
    if not known:
        return None
    known.sort(key=lambda trial: trial.finished_at)
    points = [(1 - trial.metric(metric), latency_ms[trial.architecture_id]) for trial in known]
    reference = np.max(points, axis=0)
    box, began = float(np.prod(reference)), min(trial.submitted_at for trial in trials)
    hours, share, front = [], [], np.empty((0, 2))
    for trial, point in zip(known, points):
        larger = _with(front, point)
        if larger is not front:
            front = larger
            hours.append(max(0.0, trial.finished_at - began) / 3600)
            share.append(hypervolume(front, reference) / box if box > 0 else 0.0)
    hours.append(max(0.0, known[-1].finished_at - began) / 3600)
    share.append(share[-1])
    fixed = [point for trial, point in zip(known, points) if trial.origin.kind == Kind.FIXED_POINT]
    published = hypervolume(fixed, reference) / box if fixed and box > 0 else 0.0
    return Growth(tuple(hours), tuple(share), published)


def _with(front: np.ndarray, point: Point) -> np.ndarray:
    """The front with `point` on it; the same array where some row is as good or better in both."""
    if (front <= point).all(1).any():
        return front
    joined = np.vstack([front, point])
    return joined[~is_dominated(joined)]
