"""The front as a CSV file, as plain records and as the closing table in the terminal."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nasbench.files import write_atomic
from nasbench.report.designs import design_files
from nasbench.report.noise import verdict
from nasbench.report.rows import ReportRow, in_reading_order

if TYPE_CHECKING:
    from rich.table import Table

COSTS = ("macs", "flops", "params", "weight_bytes", "activations", "peak_activation_bytes")


def _round(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def records(rows: Sequence[ReportRow]) -> list[dict[str, Any]]:
    """The front and the fixed points as flat dicts; each figure's name says measured, predicted or analytic."""
    files = design_files(rows)
    return [
        {
            "id": row.id,
            "name": row.name,
            "kind": row.kind,
            "on_front": row.on_front,
            "file": files.get(row.id, ""),
            "split": row.split,
            "rung": row.rung,
            "seeds": row.seeds,
            "accuracy_measured_mean": _round(row.accuracy, 6),
            "accuracy_measured_std": _round(row.accuracy_std, 6),
            "latency_ms_measured": _round(row.latency_measured, 5),
            "latency_ms_predicted": _round(row.latency_predicted, 5),
            "latency_ms_predicted_low": _round(row.latency_low, 5),
            "latency_ms_predicted_high": _round(row.latency_high, 5),
            "latency_prediction_extrapolates": row.extrapolating,
            **{f"{name}_analytic": row.cost.get(name) for name in COSTS},
        }
        for row in in_reading_order(rows)
    ]


def write_front_csv(path: Path, rows: Sequence[ReportRow]) -> None:
    """Write `front.csv`; an empty cell is a figure that was not taken."""
    lines = records(rows)
    text = io.StringIO()
    if lines:
        writer = csv.DictWriter(text, fieldnames=list(lines[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
    write_atomic(path, text.getvalue())


def _millions(value: float | None) -> str:
    return "" if value is None else f"{value / 1e6:,.1f}" if value < 1e8 else f"{value / 1e6:,.0f}"


def _accuracy(row: ReportRow) -> str:
    spread = "" if row.accuracy_std is None else f" ± {100 * row.accuracy_std:.2f}"
    return f"{100 * row.accuracy:.2f}{spread} ({row.seeds})"


def _prediction(row: ReportRow) -> str:
    if row.latency_predicted is None:
        return "-"
    text = f"{row.latency_predicted:.2f}"
    if row.latency_low is not None and row.latency_high is not None:
        text += f" [{row.latency_low:.2f}, {row.latency_high:.2f}]"
    return text + (" !" if row.extrapolating else "")


def front_table(rows: Sequence[ReportRow], title: str = "Front") -> Table:
    """The closing table: the front first, the other fixed points below it."""
    from rich.table import Table

    shown = in_reading_order(rows)
    splits = sorted({row.split for row in shown})
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("network", no_wrap=True)
    table.add_column("")
    table.add_column(f"accuracy % {'/'.join(splits)}\nmeasured ± std (seeds)", justify="right")
    table.add_column("latency ms\nmeasured", justify="right")
    table.add_column("latency ms\npredicted [90 %]", justify="right")
    table.add_column("MMACs", justify="right")
    table.add_column("Mparams", justify="right")
    for index, row in enumerate(shown):
        last_of_front = row.on_front and (index + 1 == len(shown) or not shown[index + 1].on_front)
        measured = "-" if row.latency_measured is None else f"{row.latency_measured:.2f}"
        mark = "front" if row.on_front else ""
        figures = [measured, _prediction(row), _millions(row.cost.get("macs")), f"{row.cost.get('params', 0) / 1e6:.2f}"]
        style = "" if row.on_front else "dim"
        kind = f"{mark}, {row.kind}" if mark else row.kind
        table.add_row(row.name, kind, _accuracy(row), *figures, style=style, end_section=last_of_front)
    return table


def closing_text(rows: Sequence[ReportRow]) -> list[str]:
    """What stands under the table: how good the predictions were, and whether differences exceed seed noise."""
    lines = []
    pairs = [row for row in rows if row.latency_measured is not None and row.latency_predicted is not None]
    if pairs:
        errors = sorted(abs(row.latency_predicted / row.latency_measured - 1) for row in pairs)  # type: ignore[operator]
        worst = f", worst {errors[-1]:.0%}" if len(errors) > 1 else ""
        lines.append(
            f"Latency: measured for {len(pairs)} networks; the predictions were off by {errors[len(errors) // 2]:.0%} "
            f"(median){worst}."
        )
    if any(row.extrapolating for row in in_reading_order(rows)):
        lines.append("!: unlike the networks that the predictor was fitted to, so the interval may not hold.")
    return lines + verdict(rows)
