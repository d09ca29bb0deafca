"""The curves of a comparison: medians over seeds with interquartile bands."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from nasbench.bench.curves import Curves
from nasbench.pictures import COLOURS, DASHES, INK, empty_axes, save

BAND = 0.15  # opacity
MANY = 6  # strategies, beyond which only the best `BANDED` have bands, and the legend lies below
BANDED = 3
FLOOR = 0.02  # of the largest median, below which the scale is linear, to include zero


def write_picture(curves: Curves, title: str, objectives: tuple[str, ...], path: Path) -> list[Path]:
    """`curves.png`, `curves.svg` and `curves.pdf` in a folder, the same bytes for the same curves."""
    return save(draw(curves, title, objectives), path, "curves")


def draw(curves: Curves, title: str, objectives: tuple[str, ...]) -> Figure:
    """The figure; regret on a logarithmic scale that becomes linear near zero."""
    measure = f"regret in {objectives[0].removeprefix('-')}" if curves.is_regret else "share of the whole hypervolume"
    axes = empty_axes(title, "evaluations", measure)
    at = np.arange(1, curves.evaluations + 1)
    many = len(curves.strategies) > MANY
    for index, strategy in enumerate(_best_first(curves)):
        low, middle, high = curves.quartiles(strategy)
        colour, dash = COLOURS[index % len(COLOURS)], DASHES[index % len(DASHES)]
        axes.plot(at, middle, dash, color=colour, linewidth=1.8, label=strategy, zorder=3)
        if not many or index < BANDED:
            axes.fill_between(at, low, high, color=colour, alpha=BAND, linewidth=0)
    if curves.is_regret:
        most = max(float(curves.quartiles(name)[1].max()) for name in curves.strategies)
        axes.set_yscale("symlog", linthresh=max(FLOOR * most, 1e-12), linscale=0.5)
        axes.set_ylim(bottom=0)
    axes.set_xlim(1, curves.evaluations)
    axes.figure.legend(
        loc="outside lower center" if many else "outside right upper", ncols=3 if many else 1, frameon=False,
        fontsize=8, labelcolor=INK, title_fontsize=8,
        title=f"medians, best first; quartiles of the first {BANDED}" if many else "median, quartiles",
    )  # fmt: skip
    return axes.figure


def _best_first(curves: Curves) -> list[str]:
    """By the mean of the median curve."""
    sign = 1.0 if curves.is_regret else -1.0
    return sorted(curves.strategies, key=lambda name: sign * float(curves.quartiles(name)[1].mean()))
