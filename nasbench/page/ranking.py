"""How far the rankings of this study's rungs can be trusted: against one another, and by what audits found."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean
from typing import Any

import numpy as np

from nasbench.auditing.agreement import DRAWS, agreement
from nasbench.report.results import StudyResult
from nasbench.study.standing import BASELINES, Figure, Standing
from nasbench.study.trials import Level, Trial

# The interval of a tau takes a weight for each pair and draw: 45,000 pairs times 200 draws are 72 MB.
MOST_DESIGNS, DRAWS_OF_MANY, MANY = 300, 200, 60
CEILING = "two seeds of it, the ceiling"


def between_levels(trials: Sequence[Trial], metric: str) -> list[dict[str, Any]]:
    """Kendall's tau of each level with the next, over the designs scored at both. These were picked for the upper one
    by their score at the lower, which lowers the tau. Of more than `MOST_DESIGNS` so many count, taken by their ids."""
    scores: dict[Level, dict[str, list[float]]] = {}
    for trial in trials:
        if trial.complete and trial.level.rung >= 0:
            scores.setdefault(trial.level, {}).setdefault(trial.architecture_id, []).append(trial.metric(metric))
    found = []
    for below, above in pairwise(sorted(scores)):
        both = sorted(scores[below].keys() & scores[above].keys())[:MOST_DESIGNS]
        lower, upper = (np.array([fmean(scores[level][key]) for key in both]) for level in (below, above))
        tau = agreement(lower, upper, draws=DRAWS_OF_MANY if len(both) > MANY else DRAWS)
        told: dict[str, Any] = {"tau": None} if tau is None else tau._asdict()
        found.append({"below": below.name, "above": above.name, "designs": len(both), **told})
    return found


def audits(result: StudyResult) -> list[dict[str, Any]]:
    """Of each audited rung: its tau with the truth, the ceiling, and the tau of baselines that only count sizes."""
    return [
        {"rung": name, "data": standing.data, "same_images": standing.data_id == result.study.data_id,
         "networks": standing.networks, "bars": _bars(standing)}
        for name, standing in result.standings
    ]  # fmt: skip


def _bars(standing: Standing) -> list[dict[str, Any]]:
    truths = {"published": "published accuracy", "long": f"training {standing.times} times as long"}
    bars = [_bar(f"this rung with {text}", standing.figures.get(key), "rung") for key, text in truths.items()]
    bars += [_bar(f"{text} with {truths[standing.truth]}", standing.baselines.get(key), "baseline")
             for key, text in BASELINES.items()]  # fmt: skip
    return [bar for bar in (*bars, _bar(CEILING, standing.figures.get("seed"), "ceiling")) if bar is not None]


def _bar(label: str, figure: Figure | None, kind: str) -> dict[str, Any] | None:
    if figure is None:
        return None
    return {"label": label, "kind": kind, "tau": figure.tau, "low": figure.low, "high": figure.high,
            "pairs": figure.pairs}  # fmt: skip
