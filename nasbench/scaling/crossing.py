"""The figure and text of a search by extrapolated error: predicted error of its designs up to the target size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nasbench.costs.budget import Budget
from nasbench.scaling.objective import PredictedError, curve, lines, predict_all
from nasbench.scaling.points import BALANCED_ERROR
from nasbench.study.trials import Trial

SHOWN = 5  # designs
NAME = "crossing"  # of the figure's files


def ranking(trials: Sequence[Trial], target: Budget) -> list[tuple[str, str, PredictedError]]:
    """(architecture id, name, prediction) of every design of the lowest rung, best at the target first."""
    predicted = predict_all(lines(trials), target)
    names = {trial.architecture_id: trial.label for trial in trials}
    return sorted(
        ((key, names[key], value) for key, value in predicted.items()), key=lambda item: (item[2].error, item[0])
    )


def chosen(trials: Sequence[Trial], target: Budget) -> list[tuple[str, str]]:
    """(architecture id, name) of the designs to draw: the SHOWN best at the target.

    If the design with the least error at its own size is not among them, it takes the place of the last.
    """
    ordered = [(key, name) for key, name, _ in ranking(trials, target)]
    points = lines(trials)
    own = min(ordered, key=lambda item: float(points[item[0]][1][int(points[item[0]][0].argmax())]), default=None)
    shown = ordered[:SHOWN]
    return shown if own is None or own in shown else [*shown[:-1], own]


def standing_at_target(target: Budget | None, trials: Sequence[Trial]) -> list[str]:
    """The best designs at the target in words; nothing where none is extrapolated."""
    if target is None:
        return []
    best = [
        f"  {name}: {_error_name(trials)} {value.error:.3f} [{value.low:.3f}, {value.high:.3f}]"
        for _, name, value in ranking(trials, target)[:SHOWN]
    ]
    return [f"Predicted at {target} (90 % interval; {NAME}.png shows the curves):", *best] if best else []


def write_crossing(folder: Path, trials: Sequence[Trial], target: Budget) -> list[Path]:
    """crossing.png, .svg and .pdf: measured points, and each design's predicted curve to the target with its band."""
    from nasbench.pictures import save
    from nasbench.scaling.plots import Band, draw_bands

    points, bands = lines(trials), []
    for key, name in chosen(trials, target):
        x, y = points[key]
        at = np.geomspace(float(np.exp(x.min())), target.limit, 60)
        bands.append(Band(name, np.exp(x), np.exp(y), at, curve(x, y, at, points)))
    if not bands:
        return []
    title = f"Error on the way to {target}"
    return save(draw_bands(bands, title, target.limit, _error_name(trials)), folder, NAME)


def _error_name(trials: Sequence[Trial]) -> str:
    return BALANCED_ERROR if any(trial.balanced for trial in trials) else "error"
