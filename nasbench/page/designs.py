"""The designs of a study as the page lists them, and the cards of those on its front."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nasbench.arch.library import named_family
from nasbench.drawing.stages import NetworkFacts, network_facts, stages_in_short
from nasbench.drawing.svg import draw, spoken
from nasbench.report.designs import commands, design_files
from nasbench.report.results import StudyResult
from nasbench.report.rows import ReportRow
from nasbench.study.trials import Kind, Trial

WITH_ATTENTION, WITHOUT_ATTENTION = "searched, with attention", "searched, convolutions only"


def family_of(trial: Trial) -> str:
    """The published family, or for a searched design whether it attends anywhere."""
    if trial.origin.kind == Kind.FIXED_POINT:
        return named_family(trial.label)
    return WITH_ATTENTION if any(stage.attends for stage in trial.design.stages) else WITHOUT_ATTENTION


def design_records(result: StudyResult, trials: Mapping[str, Trial], front: set[str]) -> list[dict[str, Any]]:
    """One record a design, in the order of `trials` (architecture id -> any of its trials)."""
    records = []
    for key, trial in trials.items():
        predicted, cost = result.predictions.get(key), trial.cost
        records.append(
            {
                "id": key, "name": trial.label, "published": trial.origin.kind == Kind.FIXED_POINT,
                "family": family_of(trial), "front": key in front, "measured": _rounded(result.measured_ms.get(key)),
                "predicted": _rounded(predicted.latency.value) if predicted else None,
                "low": _rounded(predicted.latency.low) if predicted else None,
                "high": _rounded(predicted.latency.high) if predicted else None,
                "macs": cost.macs, "params": cost.params, "px": trial.design.resolution,
                "stages": stages_in_short(trial.design),
            }
        )  # fmt: skip
    return records


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.5g}")


def cards(result: StudyResult, rows: Sequence[ReportRow]) -> list[dict[str, Any]]:
    """A card for each design of the front, fastest first: drawing, cost by stage, commands, the design's file."""
    files, front = design_files(rows), [row for row in rows if row.on_front]
    front.sort(key=lambda row: row.latency or 0.0)
    return [_card(result, row, result.folder / files[row.id]) for row in front]


def _card(result: StudyResult, row: ReportRow, file: Path) -> dict[str, Any]:
    facts = network_facts(row.arch, result.study.classes)
    return {
        "id": row.id,
        "name": row.name,
        "published": row.kind == Kind.FIXED_POINT,
        "accuracy": row.accuracy,
        "std": row.accuracy_std,
        "seeds": row.seeds,
        "split": row.split,
        "lacks": row.lacks,
        "ms": row.latency,
        "ms_kind": row.latency_kind,
        "low": row.latency_low,
        "high": row.latency_high,
        "macs": facts.cost.macs,
        "params": facts.cost.params,
        "peak_bytes": facts.cost.peak_activation_bytes,
        "drawing": draw([facts]),
        "spoken": spoken(facts),
        "stages": _stages(facts),
        "commands": commands(result.study, file),
        "toml": row.arch.to_toml(),
    }


def _stages(facts: NetworkFacts) -> list[dict[str, Any]]:
    """A line of the card's table for each stage; `share` is that of the multiply-adds."""
    whole = max(1, facts.cost.macs)
    return [
        {
            "name": stage.name, "block": stage.block_label, "map": "" if stage.name == "head" else stage.map_label,
            "channels": stage.channels, "attends": stage.attends, "macs": stage.macs, "params": stage.params,
            "share": stage.macs / whole,
        }
        for stage in facts.stages
    ]  # fmt: skip
