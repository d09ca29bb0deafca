"""An architecture as an HTML table, which notebooks show in place of its fields."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from nasbench.arch.parts import Head, Stage, Stem, effective_fields

HEADINGS = ("stage", "block", "depth", "channels", "map", "settings")
SAID = {"block", "depth", "channels", "stride", "slots", "entry"}  # in columns of their own, or too long for one


def architecture_html(title: str, resolution: int, stem: Stem, stages: Sequence[Stage], head: Head) -> str:
    """A row for the stem, each stage and the head; maps by the side that their strides leave."""
    stride = stem.total_stride
    rows: list[tuple[str, ...]] = [("stem", stem.kind, "", str(stem.channels), _side(resolution, stride), "")]
    for number, stage in enumerate((stage for stage in stages if stage.depth), 1):
        stride *= stage.stride
        settings = ", ".join(f"{name} {_plain(stage, name)}" for name in effective_fields(stage) if name not in SAID)
        block = f"{stage.block}, attends" if stage.attends else stage.block
        side = _side(resolution, stride)
        rows.append((f"stage {number}", block, str(stage.depth), str(stage.channels), side, settings))
    rows.append(("head", head.kind, "", "", "", ""))
    lines = ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows]
    top = "".join(f"<th>{heading}</th>" for heading in HEADINGS)
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f"<table><caption>{escape(title)}</caption><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def _side(resolution: int, stride: int) -> str:
    return f"{resolution // stride} × {resolution // stride}"


def _plain(stage: Stage, name: str) -> str:
    value = getattr(stage, name)
    return f"{value:g}" if isinstance(value, float) else str(value)
