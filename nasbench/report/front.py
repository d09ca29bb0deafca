"""The front of a study as Python and notebooks hold it: its rows, a table of them, and the plot."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from nasbench.report.rows import ReportRow
from nasbench.report.tables import records

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class FrontRows(list[ReportRow]):
    """The rows of a front, fastest first; `every` holds all rows of the study, which the plot shows too."""

    def __init__(self, rows: Iterable[ReportRow], every: Sequence[ReportRow], title: str, device: str) -> None:
        super().__init__(rows)
        self.every, self.title, self.device = tuple(every), title, device

    def plot(self) -> Plot:
        """Score against latency, as front.png has it."""
        from nasbench.report.plots import draw_front

        return Plot(draw_front(self.every, self.title, self.device))

    def _repr_html_(self) -> str:
        """What a notebook shows: the columns that are filled, a row for each design."""
        lines = records(self)
        if not lines:
            return "<p>no front yet</p>"
        names = [name for name in lines[0] if any(line[name] not in ("", None) for line in lines)]
        top = "".join(f"<th>{escape(name)}</th>" for name in names)
        rows = ("".join(f"<td>{escape(_cell(line[name]))}</td>" for name in names) for line in lines)
        body = "".join(f"<tr>{row}</tr>" for row in rows)
        return (
            f"<table><caption>{escape(self.title)}</caption><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"
        )


def _cell(value: object) -> str:
    return "" if value is None else f"{value:.5g}" if isinstance(value, float) else str(value)


class Plot:
    """A figure of matplotlib that shows itself in notebooks, whatever backend they have set."""

    def __init__(self, figure: Figure) -> None:
        self.figure = figure

    def save(self, path: Path | str) -> None:
        """Write it; the name's ending says as what: .png, .svg or .pdf."""
        self.figure.savefig(path)

    def _repr_png_(self) -> bytes:
        from nasbench.pictures import picture

        return picture(self.figure, "png")
