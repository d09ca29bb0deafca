"""What notebooks show: architectures and fronts as tables, the front as a picture."""

from __future__ import annotations

import ast
import json
import re
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from nasbench.arch.library import fixed_points, load
from nasbench.report.results import StudyResult

STUDY = Path(__file__).parent.parent / "results" / "default"


def rows(html: str) -> list[list[str]]:
    """The cells of the table's body; ElementTree is strict about what is well formed."""
    body = ET.fromstring(html).find("tbody")
    assert body is not None
    return [[cell.text or "" for cell in row] for row in body]


@pytest.mark.parametrize("name", fixed_points())
def test_every_shipped_architecture_is_a_table(name: str) -> None:
    arch = load(name)
    found = rows(arch._repr_html_())
    present = [stage for stage in arch.stages if stage.depth]
    assert [row[0] for row in found] == ["stem", *(f"stage {n + 1}" for n in range(len(present))), "head"]
    assert [row[3] for row in found[1:-1]] == [str(stage.channels) for stage in present]
    side = arch.resolution // arch.total_stride
    assert found[-2][4] == f"{side} × {side}"


def test_names_are_escaped() -> None:
    html = load("emo_1m").replace(name="<script>alert(1)</script>&")._repr_html_()
    assert "<script>" not in html
    assert rows(html)


def test_a_front_is_its_rows_a_table_and_a_picture(tmp_path: Path) -> None:
    result = StudyResult.read(STUDY)
    front = result.front()
    assert list(front) == sorted((row for row in result.rows() if row.on_front), key=lambda row: row.latency or 0)
    assert [row[1] for row in rows(front._repr_html_())] == [row.name for row in front]
    plot = front.plot()
    assert plot._repr_png_().startswith(b"\x89PNG")
    names = {text.get_text() for text in plot.figure.axes[0].texts}
    assert {row.name for row in front} <= names
    for kind, start in (("pdf", b"%PDF"), ("svg", b"<?xml")):
        plot.save(tmp_path / f"front.{kind}")
        assert (tmp_path / f"front.{kind}").read_bytes().startswith(start)


def test_a_study_without_a_front_shows_so() -> None:
    front = replace(StudyResult.read(STUDY), trials=()).front()
    assert re.search("no front yet", front._repr_html_())
    assert front.plot()._repr_png_()


# --- the tour


class Display(ModuleType):
    """What the notebook asks of IPython, where it is not installed; `make docs` runs it in a kernel."""

    version_info = (9, 0)  # matplotlib asks for it
    SVG = str


def shown(source: str, namespace: dict[str, Any]) -> object:
    """Run a cell -> its last value, as a notebook shows it."""
    code = ast.parse(source)
    last = code.body.pop() if isinstance(code.body[-1], ast.Expr) else None
    exec(compile(code, "notebook.ipynb", "exec"), namespace)
    if not isinstance(last, ast.Expr):
        return None
    return eval(compile(ast.Expression(last.value), "notebook.ipynb", "eval"), namespace)


def test_the_tour_runs_and_shows_what_it_speaks_of(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("IPython", "IPython.display"):
        monkeypatch.setitem(sys.modules, name, Display(name))
    monkeypatch.chdir(STUDY)
    cells = json.loads((STUDY.parents[1] / "docs" / "notebook.ipynb").read_text(encoding="utf-8"))["cells"]
    codes = [cell for cell in cells if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in codes), "strip the outputs"
    namespace: dict[str, Any] = {}
    found = [shown("".join(cell["source"]), namespace) for cell in codes]
    kinds = [type(value).__name__ for value in found if value is not None]
    assert kinds == ["FrontRows", "Plot", "DataFrame", "Architecture", "str", "Architecture"]
    assert found[2]._repr_png_().startswith(b"\x89PNG")  # type: ignore[attr-defined]
    said = capsys.readouterr().out
    assert "more than seed noise" in said
    assert float(re.findall(r"largest difference: (\S+)", said)[0]) < 1e-3
    assert "EMO-1M is one of them: True" in said
    assert namespace["file"].stat().st_size > 1e6
