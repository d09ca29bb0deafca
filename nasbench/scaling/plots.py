"""Draws scaling laws with matplotlib: log-log curves with bands, IsoFLOP curves and family fronts.

Each series has a colour, a marker and a line style of its own, so that figures can be read without colour. Text states
what is measured, quoted and predicted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from nasbench.pictures import COLOURS, INK, MARKERS, empty_axes
from nasbench.scaling.intervals import LEVEL, LawFit
from nasbench.scaling.isoflop import CostModel, isoflop, split
from nasbench.scaling.points import Point, loss_name

LINES = ("-", "--", "-.", (0, (1, 1.2)), (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)), (0, (3, 3)))
NOTES_PER_LINE = 3
REACH = 4.0  # curves are drawn up to this multiple of the largest point
UNIT = {"flops": (1e9, "GFLOP"), "params": (1e6, "M parameters"), "samples": (1.0, "images"), "compute": (1e12, "TMAC")}


@dataclass(frozen=True)
class Curve:
    """A law in one variable to draw, with the points (n,) that it was fitted to and others (m,) that it was not."""

    name: str
    fit: LawFit
    x: np.ndarray
    y: np.ndarray
    unseen_x: np.ndarray
    unseen_y: np.ndarray
    expected: tuple[float, float, float] | None = None  # (x, low, high): 90 % interval of the mean of the unseen points


@dataclass(frozen=True)
class FamilyFront:
    """One family for `draw_fronts`: sizes (n,), accuracies in per cent (n,), one standard deviation over seeds."""

    name: str
    x: np.ndarray
    y: np.ndarray
    spread: np.ndarray | None = None


@dataclass(frozen=True)
class Band:
    """One design for `draw_bands`: trained points x, y (n,); `ends` (m, 3), error, low, high, at sizes `at` (m,)."""

    name: str
    x: np.ndarray
    y: np.ndarray
    at: np.ndarray
    ends: np.ndarray


def draw_bands(bands: Sequence[Band], title: str, target: float, loss: str = "error") -> Figure:
    """Predicted curves of designs over size with 90 % bands, up to a target that is marked."""
    axes = empty_axes(title, _label("flops"), f"{loss} after proxy training", grid="both")
    for index, band in enumerate(bands):
        style = _style(index)
        axes.plot(band.at / 1e9, band.ends[:, 0], linewidth=1.6, zorder=3, **style)
        axes.fill_between(band.at / 1e9, band.ends[:, 1], band.ends[:, 2], color=style["color"], alpha=0.1, linewidth=0)
        _points(axes, band.x / 1e9, band.y, index)
        _legend_entry(axes, band.name, index)
    axes.axvline(target / 1e9, color="0.4", linewidth=1, linestyle=":")
    _log_axes(axes, [value for band in bands for value in (*band.y, *band.ends.ravel())])
    notes = ["points: trained (measured)", "line and 90 % band: predicted", "dotted: the target"]
    _legend(axes, notes)
    return axes.figure


def draw_laws(
    curves: Sequence[Curve], variable: str, title: str, y_label: str, kind: str = "measured", reach: float = REACH
) -> Figure:
    """Points, laws and their 90 % bands on logarithmic axes; extrapolation is drawn thin, unseen points hollow."""
    axes = empty_axes(title, _label(variable), y_label, grid="both")
    scale = UNIT.get(variable, (1.0, variable))[0]
    everything = [value for curve in curves for value in (*curve.y, *curve.unseen_y)]
    for index, curve in enumerate(curves):
        style = _style(index)
        seen = np.concatenate([curve.x, curve.unseen_x])
        _line(axes, curve.fit, curve.x.min(), curve.x.max(), scale, 2.0, style)
        _line(axes, curve.fit, curve.x.max(), seen.max() * reach, scale, 1.0, style)
        grid = np.geomspace(curve.x.min(), seen.max() * reach, 80)
        low, high = curve.fit.band(grid)
        axes.fill_between(grid / scale, low, high, color=style["color"], alpha=0.13, linewidth=0)
        everything += [float(low.min())]
        _points(axes, curve.x / scale, curve.y, index)
        _legend_entry(axes, curve.name, index)
        _points(axes, curve.unseen_x / scale, curve.unseen_y, index, hollow=True)
        if curve.expected is not None:
            everything += [_expected(axes, curve, index, scale)]
    _log_axes(axes, everything)
    notes = [f"points: {kind}", "line: law, thin beyond the data", f"band: {LEVEL:.0%} of the law (predicted)"]
    if any(len(curve.unseen_x) for curve in curves):
        notes.insert(1, "hollow: not used in the fit")
    if any(curve.expected for curve in curves):
        notes.append("bar: 90% for the mean of the hollow points (predicted), dash: that mean")
    _legend(axes, notes)
    return axes.figure


def _expected(axes: Any, curve: Curve, index: int, scale: float) -> float:
    """The interval of the unseen points' mean as a bar beside them, that mean as a dash on it; returns the low end."""
    assert curve.expected is not None
    x, low, high = curve.expected
    place, colour = x / scale * 1.04 ** (index + 1), COLOURS[index % 7]
    axes.plot([place, place], [low, high], color=colour, linewidth=3, alpha=0.75, solid_capstyle="butt", zorder=3)
    axes.plot(place, curve.unseen_y.mean(), marker="_", markersize=13, markeredgewidth=2.2, color=INK, zorder=5)
    return low


def _style(index: int) -> dict[str, Any]:
    """Colour and line style of a series."""
    return {"color": COLOURS[index % 7], "linestyle": LINES[index % 7]}


def _legend_entry(axes: Any, name: str, index: int) -> None:
    """A legend entry with line and marker for a series whose line and points are drawn separately."""
    axes.plot([], [], marker=MARKERS[index % 7], linewidth=1.6, label=name, markeredgecolor="white", **_style(index))


def _line(axes: Any, fit: LawFit, low: float, high: float, scale: float, width: float, style: dict[str, Any]) -> None:
    grid = np.geomspace(low, high, 60)
    axes.plot(grid / scale, fit.law.predict(grid), linewidth=width, zorder=3, **style)


def _points(axes: Any, x: np.ndarray, y: np.ndarray, index: int, hollow: bool = False) -> None:
    colour = COLOURS[index % 7]
    axes.plot(
        x, y, linestyle="none", marker=MARKERS[index % 7], markersize=6, color=colour, zorder=4,
        markerfacecolor="white" if hollow else colour, markeredgecolor=colour if hollow else "white",
        markeredgewidth=1.3 if hollow else 0.6,
    )  # fmt: skip


def _label(variable: str) -> str:
    """The text of a logarithmic axis of this variable."""
    names = {
        "flops": "FLOPs of the design, 1e9 multiply-adds",
        "params": "parameters, 1e6",
        "samples": "training images seen",
        "compute": "training compute, 1e12 multiply-adds",
    }
    return names.get(variable, variable) + " (log scale)"


def _log_axes(axes: Any, values: Sequence[float]) -> None:
    """Logarithmic axes with plain numbers; the y axis spans `values`."""
    _log_x(axes)
    axes.set_yscale("log")
    low, high = min(values), max(values)
    axes.set_ylim(low * 0.93, high * 1.06)
    axes.yaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 2.5, 5, 10]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _log_x(axes: Any) -> None:
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _legend(axes: Any, notes: Sequence[str]) -> None:
    axes.legend(frameon=False, fontsize=9, labelcolor=INK, handlelength=3.2)
    first = notes[:NOTES_PER_LINE] if len(notes) > NOTES_PER_LINE + 1 else notes
    lines = [first, notes[len(first) :]]
    axes.figure.supxlabel("\n".join("   |   ".join(line) for line in lines if line), fontsize=8, color="0.35")


def draw_isoflop(
    fit: LawFit, cost: CostModel, computes: Sequence[float], points: Sequence[Point], title: str, loss: str = "error"
) -> Figure:
    """One curve over the network's size for each amount of compute, with its best split marked.

    fit: the law of `loss`, which is one of `points.LOSSES`.
    """
    axes = empty_axes(title, _label("params"), f"{loss_name(points, loss)} (predicted; points measured)", grid="both")
    shown = [getattr(point, loss) for point in points]
    for index, compute in enumerate(computes):
        shown += _isoflop_curve(axes, fit, cost, compute, points, index, 1.0 if loss == "error" else np.inf)
    _trained_points(axes, points, loss)
    _log_axes(axes, shown)
    _legend(axes, ["curves: equal training compute (predicted)", "star: best split", "grey: trained (measured)"])
    return axes.figure


def _isoflop_curve(
    axes: Any, fit: LawFit, cost: CostModel, compute: float, points: Sequence[Point], index: int, highest: float
) -> tuple[float, float]:
    """One curve and the star of its best split, near the trained sizes and sample counts and up to the loss `highest`.

    Returns its least and largest loss.
    """
    sizes, counts = [point.params for point in points], [point.samples for point in points]
    grid = np.geomspace(min(sizes) / 2, max(sizes) * 4, 120)
    error, samples = isoflop(fit, cost, compute, grid)
    inside = (error <= highest) & (samples > 0.25 * min(counts)) & (samples < 8 * max(counts))
    axes.plot(grid[inside] / 1e6, error[inside], linewidth=1.8, label=f"{compute / 1e12:.3g} TMAC", **_style(index))
    best = split(fit, cost, compute)
    if grid[inside].min() <= best.params <= grid[inside].max():
        axes.plot(
            best.params / 1e6, best.error, marker="*", markersize=13, color=COLOURS[index % 7],
            markeredgecolor=INK, markeredgewidth=0.6, zorder=5,
        )  # fmt: skip
    return float(error[inside].min()), float(error[inside].max())


def _trained_points(axes: Any, points: Sequence[Point], loss: str) -> None:
    """Every training in grey, a marker for each sample count."""
    counts = sorted({point.samples for point in points})
    for count, marker in zip(counts, MARKERS):
        at = [point for point in points if point.samples == count]
        axes.plot(
            [p.params / 1e6 for p in at], [getattr(p, loss) for p in at], linestyle="none", marker=marker, markersize=4,
            color="0.45", label=f"trained, {count:,.0f} images", zorder=2,
        )  # fmt: skip


def draw_fronts(groups: Sequence[FamilyFront], x_label: str, y_label: str, title: str, note: str) -> Figure:
    """Families side by side: accuracy against size, each with its members joined."""
    axes = empty_axes(title, x_label, y_label, grid="both")
    for index, group in enumerate(groups):
        colour, order = COLOURS[index % 7], np.argsort(group.x)
        axes.errorbar(
            group.x[order], group.y[order], yerr=None if group.spread is None else group.spread[order],
            marker=MARKERS[index % 7], linestyle=LINES[index % 7], color=colour, linewidth=1.5, markersize=6,
            markeredgecolor="white", capsize=2.5, elinewidth=1, label=group.name,
        )  # fmt: skip
    _log_x(axes)
    _legend(axes, [note])
    return axes.figure
