"""The picture of what matters: one panel a score, a lever a line, its figure with the 90 % interval."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from nasbench.importance.estimate import Importance, Importances
from nasbench.pictures import COLOURS, FAINT, INK, KINDS, empty_figure, save

SHOWN = 10  # levers a panel


def draw_importances(found: Sequence[Importances], title: str) -> Figure:
    """The panels below one another; grey where a figure is not told apart from nothing."""
    figure = empty_figure((6.4, 0.9 + 3.1 * len(found)))
    for place, each in enumerate(found):
        _panel(figure.add_subplot(len(found), 1, place + 1), each)
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, color=INK)
    figure.supxlabel("share of the variance that is lost to prediction when the field is exchanged", fontsize=9)
    return figure


def _panel(axes: Any, found: Importances) -> None:
    shown = found.levers[:SHOWN][::-1]
    for place, each in enumerate(shown):
        colour = COLOURS[0] if found.tells_apart(each) else FAINT
        axes.plot([each.low, each.high], [place, place], color=colour, linewidth=1.5)
        axes.plot([each.share], [place], "o", color=colour, markersize=5)
    axes.axvline(0, color="0.5", linewidth=0.8)
    axes.set_yticks(range(len(shown)), [_label(each, found) for each in shown], fontsize=8, color=INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", color="0.92", linewidth=0.8)
    axes.set_title(f"{found.score}\n{found.told}", loc="left", fontsize=9, color=INK)


def _label(each: Importance, found: Importances) -> str:
    return each.name if each.designs == found.designs else f"{each.name} (in {each.designs})"


def write_importances(found: Sequence[Importances], title: str, path: Path) -> list[Path]:
    """PNG, SVG and PDF beside each other, the same bytes for the same figures."""
    name = path.stem if path.suffix[1:] in KINDS else path.name
    return save(draw_importances(found, title), path.parent, name)
