"""Who goes on to the next rung: the best by Pareto rank, and fixed points to compare them with."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from nasbench.pareto import best_first
from nasbench.report.rows import FIXED_POINT, SEARCHED
from nasbench.study.trials import Trial

FIXED_SHARE = 0.45  # of a rung's places that fixed points take at most: of seven, one for each of three families
Losses = Mapping[str, tuple[float, float]]  # trial's key -> (error, speed), lower is better
Scores = Mapping[str, float]  # trial's key -> accuracy or what stands for it, higher is better


def useful(trials: Sequence[Trial], scores: Scores) -> list[Trial]:
    """Those that score at least as well as the worst fixed point: a faster network that has learnt nothing would sit on
    every front. All of them where there is no fixed point."""
    floor = min((scores[t.key] for t in trials if t.origin["kind"] == FIXED_POINT), default=-math.inf)
    return [trial for trial in trials if scores[trial.key] >= floor]


def selected(trials: Sequence[Trial], losses: Losses, scores: Scores, places: int) -> list[Trial]:
    """The `places` most promising: the best fixed points of different families, the best searched design that is no
    slower than the first of them, then searched designs by Pareto rank and crowding, then what is left."""
    if not trials or places < 1:
        return []
    able = useful(trials, scores)
    ordered = [able[i] for i in best_first([losses[trial.key] for trial in able])]
    ordered += sorted((t for t in trials if t not in able), key=lambda t: losses[t.key])
    fixed = _family_leaders(trials, losses)[: max(1, int(places * FIXED_SHARE))]
    searched = [trial for trial in ordered if trial.origin["kind"] == SEARCHED]
    chosen = {trial.key: trial for trial in (*fixed, *_challenger(searched, fixed, losses), *searched, *ordered)}
    return list(chosen.values())[:places]


def _family_leaders(trials: Sequence[Trial], losses: Losses) -> list[Trial]:
    """The most accurate fixed point of each family (the name up to the underscore), best first."""
    leaders: dict[str, Trial] = {}
    for trial in sorted(trials, key=lambda t: losses[t.key]):
        if trial.origin["kind"] == FIXED_POINT:
            leaders.setdefault(trial.architecture["name"].partition("_")[0], trial)
    return list(leaders.values())


def _challenger(searched: Sequence[Trial], fixed: Sequence[Trial], losses: Losses) -> list[Trial]:
    """The most accurate searched design that is predicted no slower than the best fixed point."""
    if not fixed:
        return []
    able = [trial for trial in searched if losses[trial.key][1] <= losses[fixed[0].key][1]]
    return sorted(able, key=lambda t: losses[t.key])[:1]
