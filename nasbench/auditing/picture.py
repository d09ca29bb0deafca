"""The picture of an audit: accuracy at the rung against the truth, a colour a family, the misjudged named."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from nasbench.auditing.agreement import LEAST
from nasbench.pictures import COLOURS, INCHES, INK, KINDS, LAID_OUT, MARKERS, empty_axes, save
from nasbench.report.labels import place_labels

SIZE = 6.5  # points


class Point(NamedTuple):
    """A network in the picture: the truth and its accuracy at the rung, in %, and whether its name is written."""

    name: str
    family: str
    truth: float
    accuracy: float
    named: bool


def write_picture(points: Sequence[Point], title: str, truth: str, path: Path) -> list[Path]:
    """PNG, SVG and PDF beside each other, the same bytes for the same points. `truth` labels the horizontal axis."""
    name = path.stem if path.suffix[1:] in KINDS else path.name
    narrow = draw(points, "", truth, (LAID_OUT, 4.2))
    return save(draw(points, title, truth), path.parent, name, narrow)


def draw(known: Sequence[Point], title: str, truth: str, inches: tuple[float, float] = INCHES) -> Figure:
    """The figure, with the straight line through all points that residuals are taken from."""
    axes = empty_axes(title, truth, "accuracy at this rung, % (measured)", inches)
    if len(known) < LEAST:
        axes.text(0.5, 0.5, "too few networks to compare", transform=axes.transAxes, ha="center", color=INK)
        return axes.figure
    points = np.array([(point.truth, point.accuracy) for point in known])
    _draw_families(axes, known, points)
    _draw_line(axes, points)
    axes.margins(0.06, 0.08)
    axes.figure.legend(loc="outside right upper", frameon=False, fontsize=8, labelcolor=INK)
    _name(axes, known, points)
    return axes.figure


def _draw_families(axes: Any, known: Sequence[Point], points: np.ndarray) -> None:
    for index, family in enumerate(dict.fromkeys(sorted(point.family for point in known))):
        members = np.array([point.family == family for point in known])
        colour, marker = COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]
        axes.plot(
            *points[members].T, linestyle="none", marker=marker, markersize=SIZE, color=colour, label=family,
            markeredgecolor="white", markeredgewidth=0.6, zorder=3,
        )  # fmt: skip


def _draw_line(axes: Any, points: np.ndarray) -> None:
    """The straight line through all, which residuals are taken from."""
    slope, level = np.polyfit(points[:, 0], points[:, 1], 1)
    ends = np.array([points[:, 0].min(), points[:, 0].max()])
    axes.plot(ends, level + slope * ends, color="0.6", linewidth=1, linestyle="--", zorder=1, label="line through all")


def _name(axes: Any, known: Sequence[Point], points: np.ndarray) -> None:
    axes.figure.draw_without_rendering()  # settles the layout, so that pixel positions hold
    axes.figure.set_layout_engine("none")
    reach = axes.figure.dpi / 72 * SIZE / 2
    obstacles = np.array([[x - reach, y - reach, x + reach, y + reach] for x, y in axes.transData.transform(points)])
    chosen = [index for index, point in enumerate(known) if point.named]
    anchors = np.column_stack([points[chosen], np.zeros(len(chosen))])
    place_labels(axes, anchors, [known[i].name for i in chosen], obstacles, fontsize=8, color=INK, zorder=5)
