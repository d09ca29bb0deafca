"""The plot in characters, and the live display around it: where dots lie, and that no line leaves the terminal."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest

from nasbench.progress import Lines, Live, ProgressState, progress_display
from nasbench.terminal import ASCII_MARKS, LABEL, MARKS, Dot, scatter


def dots(count: int = 40) -> list[Dot]:
    rng = np.random.default_rng(0)
    found = [Dot(float(np.exp(rng.uniform(1, 4))), float(rng.uniform(40, 60)), "other") for _ in range(count)]
    return [*found, Dot(5.0, 61.0, "front"), Dot(20.0, 55.0, "published")]


@pytest.mark.parametrize("size", [(30, 5), (78, 14), (200, 50)])
def test_the_plot_fills_its_place_and_no_more(size: tuple[int, int]) -> None:
    lines = scatter(dots(), *size)
    assert len(lines) == size[1]
    assert max(map(len, lines)) <= size[0]
    assert lines[-1].endswith("ms")


@pytest.mark.parametrize("size", [(29, 14), (78, 4), (0, 0), (78, -3)])
def test_where_there_is_no_room_there_is_no_plot(size: tuple[int, int]) -> None:
    assert scatter(dots(), *size) == []
    assert scatter([], 78, 14) == []
    assert scatter([Dot(0.0, 50.0, "front")], 78, 14) == []


def place(lines: list[str], mark: str) -> tuple[int, int]:
    """Line and column of the only such mark."""
    found = [(row, line.index(mark)) for row, line in enumerate(lines) if mark in line]
    assert len(found) == 1
    return found[0]


def test_better_is_higher_and_slower_is_further_right() -> None:
    lines = scatter([Dot(5.0, 60.0, "front"), Dot(10.0, 50.0, "published"), Dot(20.0, 55.0, "other")], 78, 14)
    front, published, other = (place(lines, MARKS[kind]) for kind in ("front", "published", "other"))
    assert (front[0], published[0]) == (0, 11)
    assert front[0] < other[0] < published[0]
    assert front[1] < published[1] < other[1]
    assert math.isclose(published[1] - front[1], other[1] - published[1], abs_tol=1), "equal ratios, equal distances"
    assert lines[-1][front[1]] == "5", "its latency stands below it"
    assert lines[0][:LABEL].strip() == "60.0"
    assert lines[11][:LABEL].strip() == "50.0"


def test_the_front_is_drawn_over_the_rest() -> None:
    same = [Dot(5.0, 60.0, "front"), Dot(5.0, 60.0, "published"), Dot(5.0, 60.0, "other"), Dot(9.0, 50.0, "other")]
    text = "".join(scatter(same, 78, 14))
    assert MARKS["front"] in text
    assert MARKS["published"] not in text


def test_one_dot_and_one_that_hardly_learnt() -> None:
    assert MARKS["front"] in "".join(scatter([Dot(5.0, 60.0, "front")], 78, 14))
    lines = scatter([Dot(5.0, 60.0, "front"), Dot(9.0, 58.0, "published"), Dot(9.0, 10.0, "other")], 78, 14)
    assert MARKS["other"] not in "".join(lines), "it would press the others into one line"


@pytest.mark.parametrize(("fastest", "slowest"), [(0.41, 0.62), (10.0, 13.0), (2.0, 9.0), (0.5, 300.0)])
def test_the_axis_has_two_numbers_at_least(fastest: float, slowest: float) -> None:
    numbers = scatter([Dot(fastest, 50.0, "front"), Dot(slowest, 60.0, "front")], 78, 14)[-1].split()
    assert numbers[-1] == "ms"
    assert len(numbers) > 2
    assert [float(number) for number in numbers[:-1]] == sorted(float(number) for number in numbers[:-1])


def test_terminals_without_unicode_get_ascii() -> None:
    text = "\n".join(scatter(dots(), 78, 14, ascii_only=True))
    assert text.isascii()
    assert all(mark in text for mark in ASCII_MARKS.values())


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


LONG = "x" * 300
BUSY = ProgressState(
    "search", done=30, total=48, running=2, rung=LONG, best=0.5, best_name=LONG, seconds_left=1e5,
    rejected={LONG: 10**6}, failed={LONG: 3}, dots=tuple(dots()), training=(LONG, "emo_1m (rung 0, 3 s)"),
    ended=("a: 1 %", "b: failed at rung 0, " + LONG, "c: 2 %", "d: 3 %"),
)  # fmt: skip


@pytest.mark.parametrize("size", [(80, 24), (40, 12), (200, 60), (20, 6)])
def test_no_line_leaves_the_terminal(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console

    width, height = size
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("LINES", str(height))
    live = Live(Terminal())
    live.update(BUSY)
    shown = io.StringIO()
    Console(file=shown, width=width, height=height).print(live._render())
    lines = shown.getvalue().rstrip("\n").split("\n")
    assert max(map(len, lines)) <= width
    assert len(lines) <= max(height - 1, 8), "what cannot be left out is eight lines"
    assert (MARKS["front"] in shown.getvalue()) == (height >= 24)
    if width >= 40:
        assert "training: xxx" in shown.getvalue()
    assert "a: 1 %" not in shown.getvalue(), "only the last few"


def test_time_left_is_not_cut_where_a_line_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console

    monkeypatch.setenv("COLUMNS", "80")
    live = Live(Terminal())
    live.update(ProgressState("final training, test split", 16, 31, 1, "full", seconds_left=106.0))
    shown = io.StringIO()
    Console(file=shown, width=80, height=24).print(live._render())
    assert "16/31 trials (1 running)" in shown.getvalue()
    assert "about 1 min 46 s left" in shown.getvalue()
    assert "…" not in shown.getvalue()


@pytest.mark.parametrize(
    ("terminal", "live"), [("xterm-256color", True), ("dumb", False), ("unknown", False)], ids=lambda value: str(value)
)
def test_a_terminal_that_cannot_move_its_cursor_gets_lines(
    terminal: str, live: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", terminal)
    assert isinstance(progress_display(Terminal()), Live if live else Lines)
    assert isinstance(progress_display(io.StringIO()), Lines)


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    texts = {}
    for wanted in ("colours", "none"):
        if wanted == "none":
            monkeypatch.setenv("NO_COLOR", "1")
        stream = Terminal()
        with Live(stream) as live:
            live.update(BUSY)
            live._live.refresh()
        texts[wanted] = stream.getvalue()
    assert "\x1b[1;94m" in texts["colours"]
    assert "94m" not in texts["none"]
    assert MARKS["front"] in texts["none"]


def test_what_terminals_obey_in_names_is_not_shown_to_them() -> None:
    named = ProgressState(
        "training", best=0.5, best_name="\x1b]0;name\x07", facts=("\x1b[2Jfile",), training=("\x1b[31m[b]",)
    )
    lines, live = io.StringIO(), Terminal()
    Lines(lines).update(named)
    Lines(lines).note("\x1b[31mred [b]:cat:")
    assert "\x1b" not in lines.getvalue()
    assert lines.getvalue().endswith("?[31mred [b]:cat:\n")
    with Live(live) as display:
        display.update(named)
        display.note("\x1b[31mred [b]:cat:")
        display._live.refresh()
    assert "?[31mred [b]:cat:" in live.getvalue()
    assert not any(each in live.getvalue() for each in ("\x1b[31m", "\x1b[2Jfile", "\x1b]0"))
