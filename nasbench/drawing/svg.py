"""The drawing itself: one column a network, one row a stage, as an SVG file that needs nothing else.

Every shape has its colour as an attribute, which all readers know, and a class, by which a page gives it another.
"""

from __future__ import annotations

import math
import textwrap
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from typing import NamedTuple

from nasbench.drawing.aligned import Row, aligned
from nasbench.drawing.stages import NetworkFacts, StageFacts, Unit

# Okabe and Ito's blue and vermilion, as in the plots; shapes say the same again.
COLOURS = {
    "paper": "#ffffff", "ink": "#222222", "dim": "#5c5c5c", "rule": "#e3e3e3", "conv": "#0072b2", "attend": "#d55e00",
    "entry": "#8a8a8a", "bar": "#5b9bc8", "track": "#ececec", "differs": "#fff0c2", "inside": "#ffffff",
    "map": "#cfe3f1", "map-edge": "#0072b2",
}  # fmt: skip
FONT = "system-ui, 'Segoe UI', Helvetica, Arial, 'DejaVu Sans', sans-serif"
COLUMN, GAP, MARGIN = 470, 26, 18
MAP_X, MAP_SIDE = 6, 44  # the square that stands for a map, and its largest side
TEXT_X, TEXT_WIDTH = 92, 288
COST_X, COST_WIDTH = 392, 62
HEADER, LEGEND = 54, 34
LINE, TITLE, CHIPS = 15, 20, 20
CHIP, CHIP_STEP, CHIPS_AT_MOST = 13, 16, 14
CHARACTERS = 47  # of a line of text that fits its column
LABEL_CHARACTERS = 40


class _Line(NamedTuple):
    text: str
    aspect: str
    first: bool  # not the continuation of the one above


class Pen:
    """Writes shapes into an SVG element, moved by (x, y)."""

    def __init__(self, root: ET.Element) -> None:
        self.root = root
        self.x = self.y = 0.0

    def rectangle(self, x: float, y: float, width: float, height: float, kind: str, **more: str) -> None:
        place = {"x": self.x + x, "y": self.y + y, "width": max(width, 0), "height": height}
        attributes = {name: f"{value:.5g}" for name, value in place.items()}
        ET.SubElement(self.root, "rect", {**attributes, "class": kind, "fill": COLOURS[kind], **more})

    def text(self, x: float, y: float, text: str, kind: str = "ink", size: float = 11, **more: str) -> None:
        place = {"x": f"{self.x + x:.5g}", "y": f"{self.y + y:.5g}", "font-size": f"{size:g}"}
        written = ET.SubElement(self.root, "text", {**place, "class": kind, "fill": COLOURS[kind], **more})
        written.text = printable(text)


def printable(text: str) -> str:
    """Text as XML can hold it: what is no character of a script becomes `?`."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def draw(networks: Sequence[NetworkFacts]) -> str:
    """One network, or several side by side with their differences marked, as SVG text."""
    rows = aligned(networks)
    heights = [max(_height(stage) for stage in row.stages if stage is not None) for row in rows]
    width = 2 * MARGIN + COLUMN * len(networks) + GAP * (len(networks) - 1)
    height = 2 * MARGIN + HEADER + sum(heights) + LEGEND
    root = _root(networks, width, height)
    pen = Pen(root)
    pen.rectangle(0, 0, width, height, "paper")
    for place, network in enumerate(networks):
        pen.x, pen.y = MARGIN + place * (COLUMN + GAP), MARGIN
        _header(pen, network)
        pen.y += HEADER
        for row, tall in zip(rows, heights):
            _stage(pen, row, row.stages[place], network, tall)
            pen.y += tall
    pen.x, pen.y = MARGIN, height - MARGIN - LEGEND + 20
    _legend(pen, several=len(networks) > 1)
    return ET.tostring(root, encoding="unicode") + "\n"


def _root(networks: Sequence[NetworkFacts], width: float, height: float) -> ET.Element:
    size = {"width": f"{width}", "height": f"{height}", "viewBox": f"0 0 {width} {height}"}
    about = {"role": "img", "font-family": FONT, "class": "architecture"}
    root = ET.Element("svg", {"xmlns": "http://www.w3.org/2000/svg", **size, **about})
    ET.SubElement(root, "title").text = printable(" beside ".join(network.label for network in networks))
    ET.SubElement(root, "desc").text = printable(" ".join(map(spoken, networks)))
    return root


def spoken(network: NetworkFacts) -> str:
    """The drawing in words, for screen readers."""
    told = [
        f"{stage.name}: {stage.block_label}, {stage.channels} channels, {stage.map_label}"
        + (f", attends over {stage.attends}" if stage.attends else "")
        for stage in network.stages
    ]
    return f"{network.label}, {network.size}. {'. '.join(told)}."


def _header(pen: Pen, network: NetworkFacts) -> None:
    label = network.label
    shown = label if len(label) <= LABEL_CHARACTERS else f"{label[: LABEL_CHARACTERS - 1]}…"
    pen.text(0, 16, shown, size=16, **{"font-weight": "600"})
    costs = network.cost
    pen.text(
        0, 34, f"{network.size} · {costs.params / 1e6:.2f} M params · {costs.macs / 1e6:,.0f} M MACs · "
        f"deploy form, {network.classes} classes", "dim",
    )  # fmt: skip
    for x, text in ((MAP_X, "map"), (TEXT_X, "stage and blocks"), (COST_X, "share of cost")):
        pen.text(x, 50, text, "dim", 9.5)


def _lines(stage: StageFacts) -> list[_Line]:
    """What is written below a stage's blocks, folded to the column."""
    told = [
        (" · ".join(stage.settings), "settings"),
        (f"attends: {stage.attends}" if stage.attends else "", "attends"),
        (f"folds: {stage.folds}" if stage.folds else "", "folds"),
    ]
    return [
        _Line(line, aspect, number == 0)
        for text, aspect in told
        for number, line in enumerate(textwrap.wrap(text, CHARACTERS))
    ]


def _height(stage: StageFacts) -> float:
    return max(MAP_SIDE + 28, TITLE + CHIPS * bool(stage.units) + LINE * len(_lines(stage)) + 12)


def _stage(pen: Pen, row: Row, stage: StageFacts | None, network: NetworkFacts, tall: float) -> None:
    pen.rectangle(0, 0, COLUMN, 1, "rule")
    if stage is None:
        pen.text(TEXT_X, tall / 2 + 4, "no stage of this stride", "dim", 11, **{"font-style": "italic"})
        return
    _map(pen, stage, network.resolution, "map" in row.differing)
    _title(pen, row, stage)
    y = 4.0 + TITLE
    if stage.units:
        _chips(pen, stage.units, y)
        y += CHIPS
    for line in _lines(stage):
        _fact(pen, TEXT_X, y + 11, line.text, line.aspect in row.differing, "dim", TEXT_WIDTH, sign=line.first)
        y += LINE
    _shares(pen, stage, network)


def _map(pen: Pen, stage: StageFacts, resolution: int, differs: bool) -> None:
    """A square whose side goes with the root of the map's, so that the smallest can still be seen."""
    if stage.name == "head":
        pen.text(MAP_X, 30, "1 vector", "dim", 10)
        return
    positions = math.sqrt(stage.extent.area)
    side = max(4.0, MAP_SIDE * math.sqrt(min(1.0, positions / resolution)))
    edge = {"stroke": COLOURS["map-edge"], "stroke-width": "1"}
    pen.rectangle(MAP_X, 8 + (MAP_SIDE - side) / 2, side, side, "map", **edge)
    _fact(pen, MAP_X, 22 + MAP_SIDE, stage.map_label, differs, "dim", 70, 10)


def _title(pen: Pen, row: Row, stage: StageFacts) -> None:
    pen.text(TEXT_X, 18, stage.name, size=12, **{"font-weight": "600"})
    _fact(pen, TEXT_X + 66, 18, stage.block_label, "block" in row.differing, "ink", 126, 11.5)
    _fact(pen, TEXT_X + 206, 18, f"{stage.channels:,} channels", "channels" in row.differing, "ink", 84)


def _fact(
    pen: Pen, x: float, y: float, text: str, differs: bool, kind: str, width: float, size: float = 10.5,
    sign: bool = True,
) -> None:  # fmt: skip
    """Text; on a marked ground, with a sign before it, where it is not the same in all networks."""
    if differs:
        pen.rectangle(x - 11, y - size - 0.5, width + 11, size + 5, "differs", rx="2")
        if sign:
            pen.text(x - 9, y, "≠", "ink", size - 1.5)
    pen.text(x, y, text, "ink" if differs else kind, size)


def _chips(pen: Pen, units: Sequence[Unit], y: float) -> None:
    """One square a block: round where it attends, striped where branches fold, a slope where the shape changes."""
    for index, unit in enumerate(units[:CHIPS_AT_MOST]):
        _chip(pen, TEXT_X + CHIP_STEP * index, y, unit)
    if len(units) > CHIPS_AT_MOST:
        pen.text(TEXT_X + CHIP_STEP * CHIPS_AT_MOST + 2, y + 11, f"+ {len(units) - CHIPS_AT_MOST}", "dim", 10)


def _chip(pen: Pen, x: float, y: float, unit: Unit) -> None:
    kind = "attend" if unit.attends else "conv"
    pen.rectangle(x, y, CHIP, CHIP, kind, rx="6.5" if unit.attends else "2")
    if unit.entry:
        pen.rectangle(x, y + CHIP + 2, CHIP, 2, "entry")
    if unit.folds:
        for offset in (3.2, 5.9, 8.6):
            pen.rectangle(x + offset, y + 2.5, 1.3, CHIP - 5, "inside")


def _shares(pen: Pen, stage: StageFacts, network: NetworkFacts) -> None:
    whole = network.cost
    for place, (name, own, every) in enumerate(
        (("MACs", stage.macs, whole.macs), ("params", stage.params, whole.params))
    ):
        share, y = own / every if every else 0.0, 8 + 27 * place
        pen.rectangle(COST_X, y, COST_WIDTH, 6, "track", rx="2")
        pen.rectangle(COST_X, y, COST_WIDTH * share, 6, "bar", rx="2")
        pen.text(COST_X, y + 17, f"{_percent(share)} % {name}", "dim", 10)


def _percent(share: float) -> str:
    return "< 1" if 0 < share < 0.005 else f"{100 * share:.0f}"


def _legend(pen: Pen, several: bool) -> None:
    pen.rectangle(0, -18, COLUMN, 1, "rule")
    x = 0.0
    for unit, text in (
        (Unit(False, False, False), "convolution"),
        (Unit(False, True, False), "attends"),
        (Unit(False, False, True), "branches fold"),
        (Unit(True, False, False), "changes shape"),
    ):
        _chip(pen, x, -9, unit)
        pen.text(x + CHIP + 5, 2, text, "dim", 10)
        x += CHIP + 22 + 5.6 * len(text)
    if several:
        _fact(pen, x + 12, 2, "differs", True, "dim", 42, 10)
