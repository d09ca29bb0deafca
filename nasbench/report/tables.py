"""The front as a CSV file, as plain records and as the closing table in the terminal."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nasbench.costs.budget import RESOURCES
from nasbench.files import write_atomic
from nasbench.report.bands import latency_bands
from nasbench.report.designs import design_files
from nasbench.report.noise import challengers
from nasbench.report.rows import Figure, ReportRow, in_reading_order
from nasbench.report.verdict import verdict
from nasbench.report.wording import beside_published, ms
from nasbench.study.trials import Kind, Trial

if TYPE_CHECKING:
    from rich.table import Table

COSTS = ("macs", "flops", "params", "weight_bytes", "activations", "peak_activation_bytes")
SHORT = {"validation": "valid."}


def _round(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def records(rows: Sequence[ReportRow]) -> list[dict[str, Any]]:
    """The front and the fixed points as flat dicts; each figure's name says measured, predicted or analytic.

    Further ones where accuracy is balanced, where a search was stopped within a level, and where a table expects
    accuracies after long training.
    """
    files = design_files(rows)
    marked, balanced = any(row.lacks for row in rows), any(row.balanced for row in rows)
    expected = any(row.expected_long for row in rows)
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
            f"{row.objective.metric}_measured_mean": _round(row.accuracy, 6),
            f"{row.objective.metric}_measured_std": _round(row.accuracy_std, 6),
            **({"accuracy_measured_as": row.words.noun} if balanced else {}),
            **({"measured_at_level_below": bool(row.lacks)} if marked else {}),
            **(_expected_long(row) if expected else {}),
            "latency_ms_measured": _round(row.latency_measured, 5),
            "latency_ms_predicted": _round(row.latency_predicted, 5),
            "latency_ms_predicted_low": _round(row.latency_low, 5),
            "latency_ms_predicted_high": _round(row.latency_high, 5),
            "latency_prediction_extrapolates": row.extrapolating,
            **_resources(row),
            **{f"{name}_analytic": row.cost.get(name) for name in COSTS},
        }
        for row in in_reading_order(rows)
    ]


def _expected_long(row: ReportRow) -> dict[str, float | None]:
    mean, std, _ = row.expected_long or (None, None, None)
    return {"accuracy_long_expected_mean": _round(mean, 6), "accuracy_long_expected_std": _round(std, 6)}


def _resources(row: ReportRow) -> dict[str, float | None]:
    return {
        f"{metric}_{name}": figure
        for metric, found in row.resources.items()
        for name, figure in (
            ("measured", found.measured),
            ("predicted", found.predicted),
            ("predicted_low", found.low),
            ("predicted_high", found.high),
        )
    }


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
    return f"{100 * row.accuracy:.2f}{spread}"


def _prediction(row: ReportRow) -> str:
    if row.latency_predicted is None:
        return "-"
    text = f"{row.latency_predicted:.3g}"
    if row.latency_low is not None and row.latency_high is not None:
        text += f" [{row.latency_low:.3g}, {row.latency_high:.3g}]"
    return text + ("!" if row.extrapolating else "")


def _resource_cell(figure: Figure, scale: float) -> str:
    """Measured where it was; else the prediction's upper end, which a budget binds on."""
    if figure.measured is not None:
        return f"{figure.measured / scale:.3g}"
    return "-" if figure.high is None else f"≤{figure.high / scale:.3g}"


def _cells(row: ReportRow) -> list[str]:
    measured = "-" if row.latency_measured is None else f"{row.latency_measured:.2f}"
    size = f"{row.cost['params'] / 1e6:.2f}" if "params" in row.cost else "-"
    mark = "○" if row.lacks else "●" if row.on_front else " "
    seeds = f"{row.seeds} {SHORT.get(row.split, row.split)}"
    return [
        f"{mark} {row.name}",
        _accuracy(row),
        seeds,
        measured,
        _prediction(row),
        _millions(row.cost.get("macs")),
        size,
        *(_resource_cell(figure, RESOURCES[metric][2]) for metric, figure in row.resources.items()),
    ]


def front_table(rows: Sequence[ReportRow]) -> Table:
    """The closing table, 80 columns wide: the front first, the other fixed points below it."""
    from rich import box
    from rich.table import Table

    shown = in_reading_order(rows)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("● on the front", no_wrap=True, overflow="ellipsis")
    noun = shown[0].words.noun if shown else "accuracy"
    noun = noun.replace("balanced ", "balanced\n")  # else the table is wider than 80 columns
    table.add_column(f"{noun} %\nmeas. ± std", justify="right", no_wrap=True)
    table.add_column("seeds,\nimages", justify="right", no_wrap=True)
    table.add_column("ms\nmeas.", justify="right", no_wrap=True)
    table.add_column("ms predicted\n[90 % interval]", justify="right", no_wrap=True)
    table.add_column("MACs\nM", justify="right", no_wrap=True)
    table.add_column("params\nM", justify="right", no_wrap=True)
    for metric in shown[0].resources if shown else ():
        noun, unit, _ = RESOURCES[metric]
        table.add_column(f"{noun}\n{unit}", justify="right", no_wrap=True)
    for index, row in enumerate(shown):
        last_of_front = row.on_front and (index + 1 == len(shown) or not shown[index + 1].on_front)
        table.add_row(*_cells(row), style="" if row.on_front else "dim", end_section=last_of_front)
    return table


def closing_text(rows: Sequence[ReportRow]) -> list[str]:
    """The lines under the table: how accurate the predictions were, and whether differences exceed seed noise."""
    lines = []
    pairs = [row for row in rows if row.latency_measured is not None and row.latency_predicted is not None]
    if pairs:
        errors = [abs(row.latency_predicted / row.latency_measured - 1) for row in pairs]  # type: ignore[operator]
        worst = f", worst {max(errors):.0%}" if len(errors) > 1 else ""
        lines.append(
            f"Latency: measured for {len(pairs)} networks; the predictions were off by "
            f"{statistics.median(errors):.0%} (median){worst}."
        )
    if any(row.extrapolating for row in in_reading_order(rows)):
        lines.append("!: unlike the networks that the predictor was fitted to, so the interval may not hold.")
    asked = [RESOURCES[metric][0] for metric in (rows[0].resources if rows else ())]
    if asked:
        lines.append(f"{' and '.join(asked).capitalize()}: measured, or ≤ the upper end of the predicted interval.")
    lines += [
        f"○: on the front of the level below, without the {training} so far; `nasbench resume` goes on with a search "
        "that was stopped."
        for training in sorted({row.lacks for row in rows if row.lacks})
    ]
    lines += [*rows[0].objective.notes, *_baseline(rows[0])] if rows else ()
    return [*lines, *verdict(rows), *_of_the_front(rows)]


def _of_the_front(rows: Sequence[ReportRow]) -> list[str]:
    """A line for each other searched design of the front: against the best published network that fits its limits."""
    in_verdict = next(iter(challengers(rows)[1]), None)
    bands = [band for band in latency_bands(rows) if band.row.kind == Kind.SEARCHED and band.row is not in_verdict]
    return [
        f"{band.row.name}, {ms(band.row)}: {beside_published(band)}" for band in bands if band.published is not None
    ]


def memory_text(trials: Sequence[Trial], counted_gib: float) -> list[str]:
    """The most memory that the process of a trial held, beside what the runner counts for one; nothing if unknown."""
    peaks = [(peak, trial.label) for trial in trials if isinstance(peak := trial.worker.get("peak_memory_gib"), float)]
    if not peaks:
        return []
    peak, label = max(peaks)
    line = f"Memory: a trial held at most {peak:.1f} GiB ({label}); the runner counts {counted_gib:g} for each"
    return [f"{line}, too little: raise memory_gib_per_trial in its file." if peak > counted_gib > 0 else f"{line}."]


def _baseline(row: ReportRow) -> list[str]:
    """What a network that has learnt nothing would reach, where the trial stored it."""
    if row.majority_share is None:
        return []
    constant = f"Always answering the most frequent class is right on {row.majority_share:.1%} of the scored images"
    if row.balanced:
        return [f"{constant}; classes are uneven, so accuracy is balanced: the mean of the accuracies on each class."]
    return [f"{constant}."]
