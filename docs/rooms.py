"""Which room of the code imports which, read off the code itself, and the picture of it in docs/design.md.

    python docs/rooms.py        # draws docs/rooms.svg anew

A room is a folder of `nasbench/`, or a module that stands beside the folders. A room stands one floor above the highest
room that it imports, wherever in a file the import stands. tests/test_rooms.py holds that there is no circle.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "nasbench"
PICTURE = Path(__file__).with_name("rooms.svg")
SPACING = 1.1  # between the middles of neighbouring rooms, whose width is 0.84
FACE = "nasbench"  # the package's own __init__: every room may read its version
Graph = Mapping[str, set[str]]


def modules() -> dict[str, Path]:
    """Dotted name -> file of every module of the package."""
    files = {".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts): path for path in PACKAGE.rglob("*.py")}
    return {name.removesuffix(".__init__"): path for name, path in files.items()}


@cache
def module_imports() -> dict[str, set[str]]:
    """Module -> the modules of the package that it imports, at its top, in functions, and for types alone."""
    known = modules()
    found: dict[str, set[str]] = {}
    for name, path in known.items():
        nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        found[name] = {target for node in nodes for target in _targets(node, known)} - {name, FACE}
    return found


def _targets(node: ast.AST, known: Mapping[str, Path]) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if alias.name in known)
    elif isinstance(node, ast.ImportFrom) and node.module in known:
        for alias in node.names:
            submodule = f"{node.module}.{alias.name}"
            yield submodule if submodule in known else str(node.module)


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else module


def room_imports() -> dict[str, set[str]]:
    """Room -> the other rooms that it imports."""
    rooms: dict[str, set[str]] = defaultdict(set)
    for module, targets in module_imports().items():
        if module != FACE:
            rooms[room_of(module)] |= {room_of(target) for target in targets} - {room_of(module)}
    return dict(rooms)


def circle(graph: Graph) -> list[str]:
    """Nodes that import each other in a loop, in order; empty where there is none."""
    done: set[str] = set()

    def visit(node: str, path: list[str]) -> list[str]:
        if node in path:
            return path[path.index(node) :]
        if node in done:
            return []
        for target in sorted(graph.get(node, ())):
            loop = visit(target, [*path, node])
            if loop:
                return loop
        done.add(node)
        return []

    return next((loop for node in sorted(graph) if (loop := visit(node, []))), [])


def floors(graph: Graph) -> list[list[str]]:
    """Rooms by floor, the ground first; the graph must have no circle."""
    heights: dict[str, int] = {}

    def height(room: str) -> int:
        if room not in heights:
            heights[room] = 1 + max((height(below) for below in graph.get(room, ())), default=-1)
        return heights[room]

    for room in graph:
        height(room)
    return [sorted(room for room in heights if heights[room] == floor) for floor in range(max(heights.values()) + 1)]


def needed(graph: Graph) -> list[tuple[str, str]]:
    """The arrows that no longer way down replaces: those worth drawing."""

    def reach(room: str) -> set[str]:
        return set().union(*({below} | reach(below) for below in graph.get(room, ())), set())

    return [
        (room, below)
        for room, targets in graph.items()
        for below in targets
        if not any(below in reach(other) for other in targets - {below})
    ]


def lines_of(rooms: Iterable[str]) -> dict[str, int]:
    """Room -> lines of code."""
    counts = dict.fromkeys(rooms, 0)
    for module, path in modules().items():
        if room_of(module) in counts:
            counts[room_of(module)] += len(path.read_text(encoding="utf-8").splitlines())
    return counts


def draw(path: Path = PICTURE) -> None:
    """Rooms by floor, the command line above and the ground below; a darker room has more lines."""
    import matplotlib.pyplot as plt
    from matplotlib.patches import FancyBboxPatch

    plt.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "rooms"}
    graph = room_imports()
    levels, lines = floors(graph), lines_of(graph)
    width = max(len(level) for level in levels)
    figure, axes = plt.subplots(figsize=(1.55 * width, 0.78 * len(levels)))
    places = {
        room: (width / 2 + SPACING * (index - (len(level) - 1) / 2), float(floor))
        for floor, level in enumerate(levels)
        for index, room in enumerate(level)
    }
    for room, below in sorted(needed(graph)):
        (x0, y0), (x1, y1) = places[room], places[below]
        bend = 0.25 if x0 == x1 and y0 - y1 > 1 else 0.0  # around what stands between
        style = {"arrowstyle": "-|>", "color": "0.6", "linewidth": 0.8, "shrinkA": 9, "shrinkB": 9}
        style["connectionstyle"] = f"arc3,rad={bend}"
        axes.annotate("", (x1, y1), (x0, y0), arrowprops=style, zorder=1)
    for room, (x, y) in places.items():
        shade = 0.97 - 0.25 * min(1.0, lines[room] / 4000)
        box = FancyBboxPatch(
            (x - 0.42, y - 0.22), 0.84, 0.44, boxstyle="round,pad=0.02", facecolor=(shade, shade, 1.0), edgecolor="0.3"
        )
        axes.add_patch(box)
        axes.text(x, y + 0.05, room, ha="center", va="center", fontsize=9, zorder=3)
        axes.text(x, y - 0.13, f"{lines[room]:,} lines", ha="center", va="center", fontsize=6, color="0.35", zorder=3)
    axes.set(xlim=(-0.3, width + 0.3), ylim=(-0.5, len(levels) - 0.5))
    axes.axis("off")
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)


if __name__ == "__main__":
    draw()
