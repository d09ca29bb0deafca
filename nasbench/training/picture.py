"""The curves of several trainings in one picture: accuracy over the epochs, a colour a network, seeds as a band."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from nasbench.pictures import COLOURS, DASHES, INK, empty_axes, save


def write_picture(curves: pd.DataFrame, title: str, noun: str, path: Path, column: str) -> list[Path]:
    """PNG, SVG and PDF beside each other, the same bytes for the same curves; `column` of them is drawn."""
    return save(draw(curves, title, noun, column), path.parent, path.name)


def draw(curves: pd.DataFrame, title: str, noun: str, column: str = "validation_accuracy") -> Figure:
    """One line a network, the mean over its seeds, with a band from the lowest to the highest of them."""
    axes = empty_axes(title, "epoch", f"{noun} on the validation images, % (measured)")
    for index, (name, own) in enumerate(curves.groupby("network", sort=False)):
        _draw_network(axes, str(name), own, index, column)
    axes.figure.legend(loc="outside right upper", frameon=False, fontsize=8, labelcolor=INK)
    axes.margins(x=0.02)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return axes.figure


def _draw_network(axes: Any, name: str, curves: pd.DataFrame, index: int, column: str) -> None:
    by_epoch = 100 * curves.groupby("epoch")[column].agg(["mean", "min", "max"])
    seeds = curves["seed"].nunique()
    colour, dashes = COLOURS[index % len(COLOURS)], DASHES[index // len(COLOURS) % len(DASHES)]
    label = name if seeds == 1 else f"{name} ({seeds} seeds)"
    marker = "o" if len(by_epoch) == 1 else None
    axes.plot(by_epoch.index, by_epoch["mean"], color=colour, linestyle=dashes, marker=marker, label=label)
    if seeds > 1:
        axes.fill_between(by_epoch.index, by_epoch["min"], by_epoch["max"], color=colour, alpha=0.2, linewidth=0)
