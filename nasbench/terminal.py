"""A scatter plot in characters, for terminals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

DotKind = Literal["other", "published", "front"]  # in this order they are drawn, the last above the others
KINDS: tuple[DotKind, ...] = ("other", "published", "front")
MARKS: dict[DotKind, str] = {"other": "·", "published": "◆", "front": "●"}
ASCII_MARKS: dict[DotKind, str] = {"other": ".", "published": "x", "front": "o"}
LABEL = 6  # characters before the axis
LEAST_WIDTH, LEAST_HEIGHT = 30, 5  # below which there is no plot
TICKS = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)
FINE_TICKS = (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0)
FINE_BELOW = 5.0  # from the fastest to the slowest
MARGIN = 1.08  # of the axis of latencies, beyond the outermost


class Dot(NamedTuple):
    """One network: latency in ms and score in %."""

    ms: float
    score: float
    kind: DotKind


def scatter(dots: Sequence[Dot], width: int, height: int, ascii_only: bool = False) -> list[str]:
    """The dots over a logarithmic axis of latencies, in `height` lines of `width` characters at most.

    Empty where there is nothing to draw or too little room. What scores far below the front and the published networks
    is left out, so that it does not press them into one line.
    """
    shown = _worth_showing([dot for dot in dots if dot.ms > 0])
    if not shown or width < LEAST_WIDTH or height < LEAST_HEIGHT:
        return []
    columns, rows = width - LABEL - 1, height - 2
    low, high = min(dot.score for dot in shown), max(dot.score for dot in shown)
    left, right = (change(dot.ms for dot in shown) for change in (min, max))
    span = math.log(right * MARGIN) - math.log(left / MARGIN)
    cells = [[" "] * columns for _ in range(rows)]
    marks = ASCII_MARKS if ascii_only else MARKS
    for dot in sorted(shown, key=lambda dot: KINDS.index(dot.kind)):
        column = round((math.log(dot.ms) - math.log(left / MARGIN)) / span * (columns - 1))
        row = round((high - dot.score) / (high - low) * (rows - 1)) if high > low else rows // 2
        cells[row][column] = marks[dot.kind]
    side, corner, line = ("|", "+", "-") if ascii_only else ("┤", "└", "─")
    lines = [f"{_score(row, rows, low, high)}{side}{''.join(cells[row]).rstrip()}" for row in range(rows)]
    return [*lines, " " * LABEL + corner + line * columns, _latencies(left / MARGIN, span, columns)]


def _worth_showing(dots: Sequence[Dot]) -> list[Dot]:
    named = [dot.score for dot in dots if dot.kind != "other"]
    if not named:
        return list(dots)
    floor = min(named) - max(1.5 * (max(named) - min(named)), 5.0)
    return [dot for dot in dots if dot.score >= floor]


def _score(row: int, rows: int, low: float, high: float) -> str:
    """The score at the first, the middle and the last line, else nothing."""
    if row not in (0, rows // 2, rows - 1) or (high == low and row != rows // 2):
        return " " * LABEL
    value = high - (high - low) * row / max(1, rows - 1)
    return f"{value:{LABEL - 1}.1f} "


def _latencies(left: float, span: float, columns: int) -> str:
    """Round numbers below the axis, as many as stand clear of each other, and the unit."""
    text = [" "] * (LABEL + 1 + columns)
    free, steps = 0, FINE_TICKS if span < math.log(FINE_BELOW) else TICKS
    for power in range(-3, 7):
        for step in steps:
            value = step * 10.0**power
            place = LABEL + 1 + round((math.log(value) - math.log(left)) / span * (columns - 1))
            label = f"{value:g}"
            start = place - len(label) // 2
            if place > LABEL and start >= free and start + len(label) <= len(text) - 3:
                text[start : start + len(label)] = label
                free = start + len(label) + 2
    return "".join(text[:-2]) + "ms"
