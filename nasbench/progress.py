"""How a running search shows itself: a live display in a terminal, plain lines in a log, or nothing.

The search calls `update(state)` as often as it likes and `note(text)` for an event worth keeping; the display decides
what to draw. `with progress_display() as progress: ...` puts the terminal back however the block ends.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, TextIO

from nasbench.errors import visible
from nasbench.terminal import ASCII_MARKS, MARKS, Dot, scatter

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

LINE_EVERY_SECONDS = 10.0
PLOT_WIDTH, PLOT_HEIGHT = 78, 14  # characters
FOLDED_FROM = 16  # lines of a terminal, so that words beside the bar may take two of them
ENDED_SHOWN = 3  # trials that ended last
WAITING_LINE_EVERY_SECONDS = 60.0  # where nothing but the time has changed


@dataclass(frozen=True)
class ProgressState:
    """Where a search stands. `best` is an accuracy or the like (1 is perfect).

    `rejected` and `failed` count by rule and by reason. `done` of `total` are `unit`; `facts` are further lines;
    `dots` the networks scored so far; `training` what runs now; `ended` the last trials that ended, oldest first.
    """

    phase: str
    done: int = 0
    total: int = 0
    running: int = 0
    rung: str = ""
    best: float | None = None
    best_name: str = ""
    best_unit: str = "%"
    seconds_spent: float = 0.0
    seconds_left: float | None = None
    rejected: Mapping[str, int] = field(default_factory=dict)
    failed: Mapping[str, int] = field(default_factory=dict)
    unit: str = "trials"
    facts: tuple[str, ...] = ()
    dots: tuple[Dot, ...] = ()
    training: tuple[str, ...] = ()
    ended: tuple[str, ...] = ()


class Progress(Protocol):
    """What a search needs of a display."""

    def update(self, state: ProgressState) -> None: ...

    def note(self, text: str) -> None: ...

    def __enter__(self) -> Progress: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def duration(seconds: float) -> str:
    """`42 s`, `3 min 20 s`, `1 h 5 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole < 600 else f"{round(whole / 60)} min"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _counts(counts: Mapping[str, int]) -> str:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{name} {count:,}" for name, count in ordered)


def details(state: ProgressState) -> list[str]:
    """The facts beside the bar, each a short phrase; those that do not apply are left out."""
    parts = list(state.facts)
    if state.best is not None:
        name = f" ({state.best_name})" if state.best_name else ""
        parts.append(f"best {100 * state.best:.2f} {state.best_unit}{name}")
    if state.failed:
        parts.append(f"{sum(state.failed.values())} failed: {_counts(state.failed)}")
    if state.rejected:
        parts.append(f"{sum(state.rejected.values()):,} candidates rejected: {_counts(state.rejected)}")
    return parts


def headline(state: ProgressState) -> str:
    parts = [state.phase + (f", {state.rung}" if state.rung else "")]
    if state.total:
        running = f" ({state.running} running)" if state.running else ""
        parts.append(f"{state.done}/{state.total} {state.unit}{running}")
    if state.seconds_left is not None and state.done < state.total:
        parts.append(f"about {duration(state.seconds_left)} left")
    return " · ".join(parts)


def _timeless(state: ProgressState) -> ProgressState:
    return replace(state, seconds_spent=0.0, seconds_left=None, dots=(), training=(), ended=())


class Silent:
    """Shows nothing."""

    def update(self, state: ProgressState) -> None:
        pass

    def note(self, text: str) -> None:
        pass

    def __enter__(self) -> Silent:
        return self

    def __exit__(self, *ending: object) -> None:
        pass


class Lines(Silent):
    """Plain lines for a log: at a change of phase, every ten seconds if something else changed, and every minute."""

    def __init__(self, stream: TextIO, every: float = LINE_EVERY_SECONDS) -> None:
        self._stream, self._every = stream, every
        self._shown: ProgressState | None = None
        self._due, self._waited = 0.0, math.inf

    def update(self, state: ProgressState) -> None:
        new_phase = self._shown is None or (state.phase, state.rung) != (self._shown.phase, self._shown.rung)
        finished = state.total > 0 and state.done == state.total
        now, changed = time.monotonic(), self._shown is None or _timeless(state) != _timeless(self._shown)
        if (changed and (new_phase or finished or now >= self._due)) or now >= self._waited:
            self._shown, self._due, self._waited = state, now + self._every, now + WAITING_LINE_EVERY_SECONDS
            self.note(" · ".join([f"[{duration(state.seconds_spent)}]", headline(state), *details(state)]))

    def note(self, text: str) -> None:
        print(visible(text), file=self._stream, flush=True)


class Live:
    """A bar, the front so far, what trains, what ended and the facts, redrawn in place; no line is wider or longer than
    the terminal."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.live import Live as RichLive
        from rich.spinner import Spinner

        self._spinner = Spinner("dots")  # one object, so that it goes on turning between redraws
        self._state = ProgressState("starting")
        self._started = time.monotonic()
        self._console = Console(file=stream, highlight=False, markup=False, emoji=False)
        self._live = RichLive(console=self._console, get_renderable=self._render, refresh_per_second=4, transient=True)

    def _render(self) -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        state, size = self._state, self._console.size
        spent = duration(max(state.seconds_spent, time.monotonic() - self._started))
        facts = [f"  {visible(line)}" for line in (*_training(state), *state.ended[-ENDED_SHOWN:], *details(state))]
        plain = self._console.options.ascii_only
        words = visible(f"{headline(state)} · {spent}")
        head = _folded(words, size.width - self._bar_width() - 4) if size.height >= FOLDED_FROM else [words]
        room = size.height - len(facts) - len(head) - 4
        lines = scatter(state.dots, min(size.width - 2, PLOT_WIDTH), min(room, PLOT_HEIGHT), plain)
        key = [_key(plain)] if lines else []
        shown = [Text(line, overflow="ellipsis", no_wrap=True, style="dim") for line in facts]
        return Group(self._bar("\n".join(head)), *map(_coloured, (*lines, *key)), *shown)

    def _bar_width(self) -> int:
        return 24 if self._console.size.width >= 100 else 8

    def _bar(self, text: str) -> RenderableType:
        """The spinner, how far it is, and the words, cut where a line ends."""
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        state = self._state
        top = Table.grid(padding=(0, 1))
        for _ in range(3):
            top.add_column(no_wrap=True, overflow="ellipsis")
        bar = ProgressBar(total=max(state.total, 1), completed=state.done, width=self._bar_width())
        top.add_row(self._spinner, bar, Text(text, no_wrap=True, overflow="ellipsis"))
        return top

    def update(self, state: ProgressState) -> None:
        self._state = state

    def note(self, text: str) -> None:
        self._console.print(visible(text))

    def __enter__(self) -> Live:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, trace)


def _folded(text: str, width: int) -> list[str]:
    """On as many lines as it takes, folded between phrases; one that is longer stays whole, to be cut."""
    lines = [""]
    for phrase in text.split(" · "):
        joined = f"{lines[-1]} · {phrase}" if lines[-1] else phrase
        if lines[-1] and len(joined) > width:
            lines.append(phrase)
        else:
            lines[-1] = joined
    return lines


def _training(state: ProgressState) -> list[str]:
    return [f"training: {', '.join(state.training)}"] if state.training else []


def _key(ascii_only: bool) -> str:
    marks = ASCII_MARKS if ascii_only else MARKS
    return f"       {marks['front']} front  {marks['published']} published  {marks['other']} other, scores in %"


def _coloured(line: str) -> Text:
    """A line of the plot; where the terminal has colours, marks have those of the plots."""
    from rich.text import Text

    text = Text(line, no_wrap=True, overflow="crop")
    text.highlight_regex("●", "bold bright_blue")
    text.highlight_regex("◆", "bold yellow")
    return text


def progress_display(stream: TextIO | None = None, quiet: bool = False) -> Progress:
    """The display that suits `stream` (standard error by default)."""
    stream = sys.stderr if stream is None else stream
    if quiet:
        return Silent()
    dumb = os.environ.get("TERM", "") in ("dumb", "unknown")  # cannot move the cursor
    return Live(stream) if stream.isatty() and not dumb else Lines(stream)
