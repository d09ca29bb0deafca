"""Everything a report leaves in a study's folder, from the rows alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nasbench.report.designs import write_designs
from nasbench.report.rows import ReportRow
from nasbench.report.tables import write_front_csv


def write_report(folder: Path, rows: Sequence[ReportRow], title: str = "", device: str = "this-machine") -> None:
    """Write front.csv, designs/*.toml, front.png, .svg and .pdf into `folder`, over those of an earlier report."""
    from nasbench.report.plots import write_plots

    write_designs(folder, rows)
    write_front_csv(folder / "front.csv", rows)
    write_plots(folder, rows, title, device)
