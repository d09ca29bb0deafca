"""The front as a picture: accuracy against latency, with fixed points named and seed noise shown."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from nasbench.pictures import COLOURS, FAINT, INCHES, INK, LAID_OUT, empty_axes, save
from nasbench.report.labels import place_labels
from nasbench.report.rows import ReportRow
from nasbench.study.objective import SUPERVISED
from nasbench.study.trials import Kind

# Blue and vermilion, which also differ in grey; shapes say the same again.
SEARCHED_COLOUR, FIXED_COLOUR = COLOURS[:2]
ASIDE_COLOUR = "#E9A27A"  # a paler vermilion: not scored as the front was
LACKING_COLOUR = "#7FB8D8"  # a paler blue: on the front of the level below


@dataclass(frozen=True)
class _Groups:
    """The rows that can be drawn. `split` is the one that the front was taken on, at `rung`; `aside` are fixed points
    that were only scored elsewhere; `lacking` is the rest of the front of the level below, where a search was stopped.
    """

    split: str
    rung: int
    front: list[ReportRow]
    lacking: list[ReportRow]
    fixed: list[ReportRow]
    aside: list[ReportRow]
    dominated: list[ReportRow]

    @classmethod
    def of(cls, rows: Sequence[ReportRow]) -> _Groups:
        rows = [row for row in rows if row.latency is not None]
        leading = (
            [row for row in rows if row.on_front and not row.lacks]
            or [row for row in rows if row.on_front or row.kind == Kind.FIXED_POINT]
            or rows
        )
        split, rung = (leading[0].split, leading[0].rung) if leading else ("no", 0)
        fixed = [row for row in rows if row.kind == Kind.FIXED_POINT]
        alike = [row for row in fixed if (row.split, row.rung) == (split, rung)]
        searched = [row for row in rows if row.kind != Kind.FIXED_POINT]
        return cls(
            split,
            rung,
            [row for row in searched if row.on_front and not row.lacks],
            [row for row in searched if row.lacks],
            alike,
            [row for row in fixed if row not in alike],
            [row for row in searched if not row.on_front],
        )

    @property
    def named(self) -> list[ReportRow]:
        return [*self.front, *self.lacking, *self.fixed, *self.aside]

    def images(self, rows: Sequence[ReportRow]) -> str:
        """What `rows` were scored on, and their rung where it is another than the front's."""
        rungs = sorted({f"rung {row.rung}, " for row in rows if row.rung != self.rung})
        return f"{''.join(rungs)}{'/'.join(sorted({row.split for row in rows}))} images"


def _draw(axes: Any, rows: Sequence[ReportRow], colour: str, marker: str, size: float = 7) -> None:
    """Points with one standard deviation over seeds; hollow where the latency is only predicted."""
    for row in rows:
        filled = row.latency_kind == "measured"
        axes.errorbar(
            row.latency, 100 * row.accuracy, yerr=None if row.accuracy_std is None else 100 * row.accuracy_std,
            marker=marker, markersize=size, color=colour, markerfacecolor=colour if filled else "white",
            markeredgecolor=colour, markeredgewidth=size / 5, elinewidth=1, capsize=2.5, linestyle="none", zorder=4,
        )  # fmt: skip


def _staircase(axes: Any, rows: Sequence[ReportRow]) -> np.ndarray:
    """Corners (n, 2) of the line under which every network is dominated, in data coordinates; n = 0 without a front."""
    front = sorted((row.latency, 100 * row.accuracy) for row in rows if row.on_front and row.latency is not None)
    corners: list[tuple[float, float]] = []
    for latency, accuracy in front:
        if not corners or accuracy > corners[-1][1]:
            corners += [(latency, corners[-1][1])] if corners else []
            corners.append((latency, accuracy))
    if corners:
        corners.append((axes.get_xlim()[1], corners[-1][1]))
    return np.array(corners, dtype=float).reshape(-1, 2)


def _floor(named: Sequence[ReportRow], faint: Sequence[ReportRow]) -> float:
    """The lowest accuracy shown: a trial that hardly learnt must not squeeze the front into a line."""
    if not named:
        return min(row.accuracy for row in faint)
    accuracies = [row.accuracy for row in named]
    low, span = min(accuracies), max(accuracies) - min(accuracies)
    return max(low - max(1.5 * span, 0.05), min([low, *(row.accuracy for row in faint)]))


def _scale(axes: Any, rows: Sequence[ReportRow], floor: float) -> None:
    """A logarithmic latency axis with plain numbers on it, and room for the labels."""
    latencies = np.array([row.latency for row in rows], dtype=float)
    low, high = latencies.min() / 1.25, latencies.max() * 1.35
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    coarse = [1, 2, 5] if high / low > 30 else [1, 1.5, 2, 3, 5, 7]
    steps = np.array([1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9] if high / low < 5 else coarse)
    ticks = (10.0 ** np.arange(-3, 6)[:, None] * steps).ravel()
    axes.xaxis.set_major_locator(FixedLocator([tick for tick in ticks if low <= tick <= high]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    top = max(row.accuracy + (row.accuracy_std or 0) for row in rows)
    margin = max(0.5, 6 * (top - floor))
    axes.set_ylim(100 * floor - margin, 100 * top + margin)


def _obstacles(axes: Any, named: Sequence[ReportRow], faint: Sequence[ReportRow], line: np.ndarray) -> np.ndarray:
    """Pixel boxes (n, 4) of markers, error bars and the front's line, which labels must stay clear of."""
    pixels = axes.transData.transform
    reach = axes.figure.dpi / 72 * np.array([-1, -1, 1, 1])
    boxes = []
    for row in named:
        accuracy, spread = 100 * row.accuracy, 100 * (row.accuracy_std or 0)
        ends = pixels([(row.latency, accuracy - spread), (row.latency, accuracy + spread)])
        boxes.append(ends.ravel() + 5 * reach)
    boxes += [np.tile(pixels((row.latency, 100 * row.accuracy)), 2) + 2 * reach for row in faint]
    for ends in itertools.pairwise(line):
        corners = pixels(np.stack(ends))
        boxes.append(np.concatenate([corners.min(0), corners.max(0)]) + 2 * reach)
    return np.array(boxes, dtype=float)


def _legend(figure: Figure, groups: _Groups, hidden: int) -> None:
    def mark(label: str, marker: str, size: float, colour: str, **style: Any) -> Line2D:
        return Line2D([], [], linestyle="none", label=label, marker=marker, markersize=size, color=colour, **style)

    handles = []
    if groups.front:
        handles.append(mark("searched, on the front", "o", 7, SEARCHED_COLOUR))
    if groups.lacking:
        label = f"without the {groups.lacking[0].lacks} so far ({groups.images(groups.lacking)})"
        handles.append(mark(label, "o", 5.5, LACKING_COLOUR))
    if groups.fixed:
        handles.append(mark("published network, same training", "D", 6, FIXED_COLOUR))
    if groups.aside:
        handles.append(mark(f"the same on {groups.images(groups.aside)}", "D", 4, ASIDE_COLOUR))
    if groups.dominated:
        below = f"; {hidden} lie below" if hidden else ""
        handles.append(mark(f"dominated trial ({groups.images(groups.dominated)}{below})", "o", 3.5, FAINT))
    if any(row.latency_kind == "predicted" for row in groups.named):
        handles.append(mark("hollow: latency predicted", "o", 6, INK, markerfacecolor="white"))
    if any(row.seeds > 1 for row in groups.named):
        handles.append(mark("bar: ± 1 std over seeds", "|", 10, INK))
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=3 if figure.get_size_inches()[0] > LAID_OUT else 1,
        frameon=False,
        fontsize=8,
        labelcolor=INK,
    )


def _label(axes: Any, groups: _Groups, line: np.ndarray) -> None:
    axes.figure.draw_without_rendering()  # settles the layout, so that pixel positions hold
    axes.figure.set_layout_engine("none")
    obstacles = _obstacles(axes, groups.named, groups.dominated, line)
    styles = (
        *((groups.front, SEARCHED_COLOUR, 8), (groups.fixed, INK, 8)),
        *((groups.lacking, SEARCHED_COLOUR, 7), (groups.aside, "0.4", 7)),
    )
    for rows, colour, size in styles:
        points = np.array([(row.latency, 100 * row.accuracy, 100 * (row.accuracy_std or 0)) for row in rows])
        names = [row.name for row in rows]
        obstacles = place_labels(axes, points, names, obstacles, fontsize=size, color=colour, zorder=5)


def draw_front(
    rows: Sequence[ReportRow], title: str = "", device: str = "this-machine", inches: tuple[float, float] = INCHES
) -> Figure:
    """The figure: searched front, named fixed points, dominated trials faint."""
    groups = _Groups.of(rows)
    words = rows[0].words if rows else SUPERVISED
    latency = f"latency, ms ({device}; log scale)"
    axes = empty_axes(title, latency, f"{words.axis} ({groups.split} images)", inches)
    shown = [*groups.named, *groups.dominated]
    if not shown:
        axes.text(0.5, 0.5, "no network was trained to the last rung", transform=axes.transAxes, ha="center", color=INK)
        return axes.figure
    floor = _floor(groups.named, groups.dominated)
    _scale(axes, shown, floor)
    line = _staircase(axes, shown)
    dashes = "--" if any(row.lacks for row in shown) else "-"  # through scores of two levels
    axes.plot(line[:, 0], line[:, 1], color=INK, linewidth=1, alpha=0.5, zorder=2, linestyle=dashes)
    points = np.array([(row.latency, 100 * row.accuracy) for row in groups.dominated]).reshape(-1, 2)
    axes.scatter(points[:, 0], points[:, 1], s=12, color=FAINT, zorder=1.5)
    _draw(axes, groups.aside, ASIDE_COLOUR, "D", size=4.5)
    _draw(axes, groups.fixed, FIXED_COLOUR, "D")
    _draw(axes, groups.lacking, LACKING_COLOUR, "o", size=5.5)
    _draw(axes, groups.front, SEARCHED_COLOUR, "o")
    _legend(axes.figure, groups, sum(row.accuracy < floor for row in groups.dominated))
    _label(axes, groups, line)
    return axes.figure


def write_plots(folder: Path, rows: Sequence[ReportRow], title: str = "", device: str = "this-machine") -> None:
    """Write `front.png`, `front.svg`, and `front.pdf` for a column, which has no title."""
    save(draw_front(rows, title, device), folder, "front", draw_front(rows, "", device, (LAID_OUT, 4.8)))
