"""The page as a file: the template filled in, with its style, its code, the plotting library and its figures inside."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nasbench.files import write_atomic
from nasbench.page.content import page_content
from nasbench.report.results import StudyResult
from nasbench.report.wording import three_digits

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATE = Path(__file__).with_name("template")
FILE = "report.html"
# What each place of the template is filled with.
PARTS = {
    "style": "page.css",
    "library": "plotly-basic.min.js",
    "figures": "figures.js",
    "plots": "plots.js",
    "front": "front.js",
    "page": "page.js",
    "live": "live.js",
}


def write_page(path: Path, results: Sequence[StudyResult]) -> None:
    """Write the page of one study or several to `path`."""
    write_atomic(path, page_text(page_content(results)))


def page_text(content: Mapping[str, Any], live: str | None = None) -> str:
    """The whole page. `live`: its version, of a page that is served and loads itself again when it has another."""
    parts = {name: (TEMPLATE / file).read_text(encoding="utf-8") for name, file in PARTS.items()}
    return (
        _environment()
        .get_template("page.html")
        .render(**content, parts=parts, live=live, data=embedded(_for_code(content)))
    )


@cache
def _environment() -> Environment:
    """Keeps the template compiled: a page that is served is filled in again and again."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATE), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"percent": percent, "ms": milliseconds, "millions": millions, "points": points_text}
    return environment


def _for_code(content: Mapping[str, Any]) -> dict[str, Any]:
    """What the page's code reads: the cards and the fields that matter stand in the page itself."""
    static = ("cards", "fields")
    studies = [{key: value for key, value in study.items() if key not in static} for study in content["studies"]]
    return {**content, "studies": studies}


def embedded(value: Any) -> str:
    """JSON that can stand inside a script element: no name in it ends the element or begins a comment."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def percent(share: float, digits: int = 1) -> str:
    return f"{round(100 * share, digits) + 0.0:.{digits}f}"  # no -0.0


def milliseconds(value: float | None) -> str:
    return "–" if value is None else three_digits(value)


def millions(value: float) -> str:
    digits = 3 if value < 1e5 else 1 if value < 1e8 else 0
    return f"{value / 1e6:,.{digits}f}"


def points_text(share: float) -> str:
    return f"{100 * share:+.1f}"
