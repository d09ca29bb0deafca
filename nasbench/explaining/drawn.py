"""The pictures of an explanation: an image under its heat map and its attentions, and distances by layer."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from nasbench.explaining.explained import Explained
from nasbench.pictures import COLOURS, FAINT, INK, empty_axes, empty_figure

COLUMNS = 4
TILE = 2.1  # inches


def draw_explained(found: Explained) -> Figure:
    """The image, Grad-CAM over it, then one tile an attention."""
    tiles = 2 + len(found.choosing)
    columns = min(COLUMNS, tiles)
    lines = math.ceil(tiles / columns)
    figure = empty_figure((TILE * columns, (TILE + 0.3) * lines), dpi=110)
    axes = [figure.add_subplot(lines, columns, place + 1) for place in range(tiles)]
    _tile(axes[0], found.pixels, None, f"{found.label}, {100 * found.share:.0f} %")
    nothing = "" if found.heat.any() else ": nothing for it"
    high, wide = found.heat.shape
    _tile(axes[1], found.pixels, found.heat, f"Grad-CAM, {high} × {wide}{nothing}")
    for place, layer in zip(axes[2:], found.choosing):
        told = f"\n{layer.distance.mean():.0f} px away" if len(layer.distance) else "\nthe same for all"
        top = max(layer.map.max(), 1e-12)
        _tile(place, found.pixels, layer.map / top, f"{layer.name}{told}")
    return figure


def _tile(axes: Any, pixels: np.ndarray, heat: np.ndarray | None, title: str) -> None:
    side = pixels.shape[0]
    axes.imshow(pixels, extent=(0, side, side, 0))
    if heat is not None:
        axes.imshow(
            heat, extent=(0, side, side, 0), cmap="inferno", alpha=0.6, vmin=0, vmax=1, interpolation="bilinear"
        )
    axes.set_axis_off()
    axes.set_title(title, fontsize=8, color=INK)


def draw_distances(distances: pd.DataFrame, pixels: int) -> Figure:
    """Mean distance of attention by layer: a dot a head, a line through their mean."""
    axes = empty_axes("How far attention looks", "", f"mean distance, pixels of {pixels}")
    names = list(dict.fromkeys(distances["layer"]))
    places = distances["layer"].map(names.index)
    axes.plot(places, distances["distance_px"], "o", color=FAINT, markersize=4, label="a head")
    means = distances.groupby("layer", sort=False)["distance_px"].mean()
    axes.plot(range(len(names)), means, "-o", color=COLOURS[0], markersize=6, label="mean over heads")
    axes.set_xticks(range(len(names)), names, rotation=30, ha="right", fontsize=8)
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize=8, labelcolor=INK)
    return axes.figure
