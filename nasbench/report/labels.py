"""Direct labels beside the points of a plot, placed so that they hide neither points nor each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

# Offsets in points, in the order they are tried at each distance: right, left, above, below, then the diagonals.
DIRECTIONS = ((1, 0), (-1, 0), (0, 1), (0, -1), (0.8, 0.7), (-0.8, 0.7), (0.8, -0.7), (-0.8, -0.7))
DISTANCES = (8, 14, 22, 32, 44)


def _overlap(box: np.ndarray, others: np.ndarray) -> float:
    """Area that `box` (x0, y0, x1, y1) shares with the boxes of `others` (n, 4), in square pixels."""
    width = np.minimum(box[2], others[:, 2]) - np.maximum(box[0], others[:, 0])
    height = np.minimum(box[3], others[:, 3]) - np.maximum(box[1], others[:, 1])
    return float((width.clip(0) * height.clip(0)).sum())


def _candidates(anchor: np.ndarray, size: np.ndarray, bar: float, scale: float) -> list[tuple[np.ndarray, int]]:
    """Boxes (x0, y0, x1, y1) in pixels round `anchor`, with their distance from it in points; nearest first.

    Those right above and below stand clear of an error bar of `bar` pixels up and down.
    """
    found = []
    for distance in DISTANCES:
        for dx, dy in DIRECTIONS:
            away = np.array([dx, dy]) * distance * scale + np.array([0, np.sign(dy) * bar * (dx == 0)])
            centre = anchor + away + np.array([np.sign(dx), np.sign(dy)]) * size / 2
            found.append((np.concatenate([centre - size / 2, centre + size / 2]), distance))
    return found


def place_labels(
    axes: Any, points: np.ndarray, texts: Sequence[str], obstacles: np.ndarray, **style: Any
) -> np.ndarray:
    """Write each of `texts` beside its point, clear of `obstacles` (n, 4, boxes in pixels).

    `points` (k, 3) holds x, y and the half-length of the error bar, in data coordinates.

    Returns the obstacles with the labels' boxes added. Greedy: each label takes the place that hides least, nearer
    places first; a label that had to move away gets a thin line to its point.
    """
    renderer = axes.figure.canvas.get_renderer()
    scale = axes.figure.dpi / 72
    extent = axes.get_window_extent(renderer)
    frame = np.array([[extent.x0, extent.y0, extent.x1, extent.y1]])
    taken = obstacles.reshape(-1, 4)
    for (x, y, spread), text in zip(points, texts):
        label = axes.annotate(
            text, (x, y), xytext=(0, 0), textcoords="offset points", ha="center", va="center", **style
        )
        extent = label.get_window_extent(renderer)
        size = np.array([extent.width, extent.height]) + 2 * scale
        anchor = axes.transData.transform((x, y))
        bar = axes.transData.transform((x, y + spread))[1] - anchor[1]
        box, distance = _best_place(_candidates(anchor, size, bar, scale), size.prod(), taken, frame)
        offset = ((box[:2] + box[2:]) / 2 - anchor) / scale
        label.set_position((float(offset[0]), float(offset[1])))
        if distance > DISTANCES[1]:
            _draw_leader(axes, anchor, box)
        taken = np.concatenate([taken, box[None]])
    return taken


def _best_place(
    candidates: Sequence[tuple[np.ndarray, int]], area: float, taken: np.ndarray, frame: np.ndarray
) -> tuple[np.ndarray, int]:
    """The box, with its distance, that hides least of what is `taken`, leaves the `frame` least and stays nearest.

    `area` is each box's own.
    """
    costs = []
    for box, distance in candidates:
        outside = area - _overlap(box, frame)
        costs.append(_overlap(box, taken) + 10 * outside + 0.02 * area * distance / DISTANCES[0])
    return candidates[int(np.argmin(costs))]


def _draw_leader(axes: Any, anchor: np.ndarray, box: np.ndarray) -> None:
    """A thin line from the point to the nearest edge of its label."""
    edge = np.clip(anchor, box[:2], box[2:])
    ends = axes.transData.inverted().transform(np.stack([anchor, edge]))
    axes.plot(ends[:, 0], ends[:, 1], color="0.6", linewidth=0.6, zorder=1)
