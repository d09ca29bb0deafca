"""The two drawings of docs/concepts.md: the meta-block, and a search.

python docs/concepts.py        # writes docs/metablock.svg and docs/search.svg
"""

from __future__ import annotations

from html import escape
from pathlib import Path

FOLDER = Path(__file__).parent
BLUE, ORANGE, GREY, INK, DIM = "#0068a3", "#b84f00", "#e8ebee", "#1b1f24", "#555d66"
HEAD = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
    'role="img" '
    'font-family="system-ui, \'Segoe UI\', Helvetica, Arial, sans-serif" font-size="14">'
    "<title>{title}</title>"
    '<defs><marker id="to" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    f'<path d="M0 0L8 4L0 8Z" fill="{DIM}"/></marker></defs>'
    '<rect width="{width}" height="{height}" fill="#ffffff"/>'
)


def text(
    x: float, y: float, words: str, colour: str = INK, size: int = 14, anchor: str = "middle", weight: int = 400
) -> str:
    return (
        f'<text x="{x}" y="{y}" fill="{colour}" font-size="{size}" text-anchor="{anchor}" font-weight="{weight}">'
        f"{escape(words)}</text>"
    )


def box(
    x: float, y: float, width: float, height: float, title: str, lines: tuple[str, ...] = (), colour: str = GREY
) -> str:
    """A box with a title in it and lines below the title; a filled one has white letters."""
    ink, dim = (INK, DIM) if colour == GREY else ("#ffffff", "#ffffff")
    top = y + height / 2 + 5 - 8.5 * len(lines)
    parts = [f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="7" fill="{colour}"/>']
    parts.append(text(x + width / 2, top, title, ink, weight=600))
    parts += [text(x + width / 2, top + 17 * (n + 1), line, dim, 12) for n, line in enumerate(lines)]
    return "".join(parts)


def arrow(*points: tuple[float, float], dashed: bool = False) -> str:
    path = "L".join(f"{x} {y}" for x, y in points)
    dash = ' stroke-dasharray="4 4"' if dashed else ""
    return f'<path d="M{path}" fill="none" stroke="{DIM}" stroke-width="1.5" marker-end="url(#to)"{dash}/>'


def metablock() -> str:
    """Left to right: what the input goes through, its skip above, and what may stand in a mixer's place below."""
    width, height, y, tall = 1000, 328, 92, 58
    parts = [
        HEAD.format(
            width=width,
            height=height,
            title="The meta-block: norm, mixer, expansion, mixer, projection, scale, and a skip",
        )
    ]
    names = (
        ("N", "norm", GREY), ("M0", "mixer", BLUE), ("E", "expand", GREY), ("M1", "mixer", BLUE),
        ("P", "project", GREY), ("γ", "scale", GREY),
    )  # fmt: skip
    step, first, wide = 122, 100, 88
    parts.append(text(40, y + 34, "X", weight=600) + arrow((54, y + 29), (first - 3, y + 29)))
    for at, (sign, name, colour) in enumerate(names):
        x = first + step * at
        parts.append(box(x, y, wide, tall, sign, (name,), colour))
        parts.append(arrow((x + wide, y + 29), (x + step - 3, y + 29)))
    plus = first + step * len(names) + 16
    parts.append(f'<circle cx="{plus}" cy="{y + 29}" r="17" fill="#ffffff" stroke="{DIM}" stroke-width="1.5"/>')
    parts.append(text(plus, y + 35, "+", size=20))
    parts.append(arrow((70, y + 29), (70, 38), (plus, 38), (plus, y + 10)))
    parts.append(f'<rect x="390" y="20" width="200" height="36" rx="7" fill="{GREY}"/>')
    parts.append(text(490, 43, "S: skip, or a convolution"))
    parts.append(text(plus + 68, y + 34, "Post → Y", weight=600) + arrow((plus + 17, y + 29), (plus + 33, y + 29)))
    parts.append(text(100, 196, "A mixer is one of", DIM, anchor="start"))
    kinds = (
        ("convolution", ("branches that fold", "into one kernel"), BLUE),
        ("attention", ("all positions, a grid,", "windows, separable"), ORANGE),
        ("squeeze-excite", ("or pooling",), GREY),
        ("other domain", ("meta-blocks on patches", "or tokens"), GREY),
    )  # fmt: skip
    for at, (name, lines, colour) in enumerate(kinds):
        parts.append(box(100 + 200 * at, 208, 184, 78, name, lines, colour))
    parts.append(
        text(
            100,
            312,
            "Any part may be absent. MobileNetV2's block is E → M1 → P with a skip; a transformer is two such blocks.",
            DIM,
            12,
            "start",
        )
    )
    return "".join(parts) + "</svg>\n"


def search() -> str:
    """The levels of a search as a staircase of fewer designs and longer training."""
    width, height = 980, 360
    parts = [
        HEAD.format(
            width=width, height=height, title="A search: many designs for a short time, few for longer, finalists race"
        )
    ]
    parts.append(
        box(
            20,
            40,
            190,
            92,
            "space and budgets",
            ("published networks first,", "then what the strategy", "proposes"),
            GREY,
        )
    )
    levels = (
        ("rung 0: screening", ("26 designs, short", "training, one seed"), 250),
        ("rung 1: promoted", ("7 designs,", "longer training"), 490),
        ("finals: the race", ("7 designs, fresh seeds,", "test images, 22 trainings"), 730),
    )
    for at, (name, lines, x) in enumerate(levels):
        parts.append(box(x, 40, 200, 92, name, lines, BLUE))
        parts.append(arrow((210 if at == 0 else x - 40, 86), (x - 4, 86)))
    parts.append(arrow((350, 132), (350, 168), (115, 168), (115, 138), dashed=True))
    parts.append(text(232, 186, "scores: the strategy learns from them", DIM, 12))
    parts.append(
        box(250, 212, 440, 58, "latency", ("predicted for every design; measured for those near the front",), ORANGE)
    )
    parts.append(
        arrow((590, 212), (590, 138), dashed=True)
        + text(600, 186, "who goes on, who is on the front", DIM, 12, "start")
    )
    parts.append(
        box(
            730,
            212,
            230,
            92,
            "front and verdict",
            ("accuracy against latency; is", "the lead more than seed noise?"),
            GREY,
        )
    )
    parts.append(arrow((830, 132), (830, 208)) + arrow((690, 241), (726, 241)))
    parts.append(
        text(
            20,
            338,
            "What breaks a budget is rejected before it is built. Every trial is on disk before anyone hears of it, "
            "so a search goes on after any stop.",
            DIM,
            12,
            "start",
        )
    )
    return "".join(parts) + "</svg>\n"


if __name__ == "__main__":
    (FOLDER / "metablock.svg").write_text(metablock(), encoding="utf-8")
    (FOLDER / "search.svg").write_text(search(), encoding="utf-8")
