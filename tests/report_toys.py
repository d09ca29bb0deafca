"""Rows of a report, made by hand."""

from __future__ import annotations

from nasbench.arch.library import load
from nasbench.report.rows import ReportRow
from nasbench.study.trials import Kind

ARCHS = {name: load(name) for name in ("emo_1m", "emo_2m", "fastvit_t8", "mobilevit_xxs")}


def row(name: str = "emo_1m", kind: Kind = Kind.SEARCHED, accuracies=(0.8,), latency=5.0, **changes) -> ReportRow:
    arch = ARCHS.get(name, ARCHS["emo_1m"])
    values = {
        "id": f"{name:>016}"[:16], "name": name, "kind": kind, "arch": arch, "rung": 2, "split": "test",
        "accuracies": dict(enumerate(accuracies)), "cost": {"macs": 250e6, "params": 1_361_168},
        "latency_predicted": None if latency is None else 1.1 * latency, "latency_measured": latency,
    }  # fmt: skip
    return ReportRow(**(values | changes))
