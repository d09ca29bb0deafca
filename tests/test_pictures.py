"""Figures as files: the same bytes again, and a PDF that is as wide as a column with letters that can be read."""

from __future__ import annotations

import re
import zlib
from pathlib import Path

from report_toys import row

from nasbench.pictures import COLUMN, KINDS, empty_axes, save
from nasbench.report.plots import write_plots

ROWS = [row("emo_1m", latency=4.0, on_front=True), row("emo_2m", accuracies=(0.9, 0.88), latency=6.0, on_front=True)]


def width_of(pdf: bytes) -> float:
    """Inches, from the page's box."""
    found = re.search(rb"/MediaBox \[ 0 0 ([\d.]+) [\d.]+ \]", pdf)
    assert found is not None
    return float(found[1]) / 72


def letters_of(pdf: bytes) -> set[float]:
    """Sizes of the letters in points, as the page's content and its scale give them."""
    streams = re.findall(rb"stream\n(.*?)\nendstream", pdf, re.DOTALL)
    page = max((zlib.decompress(each) for each in streams if each[:1] == b"x"), key=lambda text: text.count(b" Tf"))
    scale = re.search(rb"([\d.]+) 0 0 ([\d.]+) 0 0 cm", page)
    assert scale is not None
    assert scale[1] == scale[2]
    return {float(scale[1]) * float(size) for size in re.findall(rb"/F\d+ ([\d.]+) Tf", page)}


def test_a_front_is_a_column_wide_as_pdf_and_its_letters_can_be_read(tmp_path: Path) -> None:
    write_plots(tmp_path, ROWS, "a title that a caption replaces")
    assert {path.name for path in tmp_path.iterdir()} == {f"front.{kind}" for kind in KINDS}
    pdf = (tmp_path / "front.pdf").read_bytes()
    assert abs(width_of(pdf) - COLUMN) < 0.01
    assert 4.8 < min(letters_of(pdf)) <= max(letters_of(pdf)) < 9
    write_plots(tmp_path, ROWS, "a title that a caption replaces")
    assert (tmp_path / "front.pdf").read_bytes() == pdf


def test_a_figure_that_is_laid_out_when_drawn_fits_the_column(tmp_path: Path) -> None:
    axes = empty_axes("title", "x", "y")
    axes.plot([0, 1], [0, 1], label="line")
    paths = save(axes.figure, tmp_path, "plain")
    assert [path.suffix for path in paths] == [".png", ".svg", ".pdf"]
    assert abs(width_of(paths[2].read_bytes()) - COLUMN) < 0.01
    assert max(letters_of(paths[2].read_bytes())) < 9
