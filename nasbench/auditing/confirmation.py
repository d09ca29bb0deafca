"""`confirm`: whether what a search returns still leads after ten times the training, with seeds that chose nothing.

A search decides by short trainings, and what learns fastest is not always best in the end. So the design of its
front and the published networks of which most is expected are trained longer, scored on the test images, and compared
anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from nasbench.auditing.collecting import Wanted, collect
from nasbench.auditing.rows import ScoreRow, read_rows
from nasbench.errors import UserError, require
from nasbench.files import write_atomic
from nasbench.progress import Progress, Silent
from nasbench.proxy.images import images_named
from nasbench.proxy.reduction import reduced
from nasbench.report.bands import Lead, lead
from nasbench.report.noise import latency_pair
from nasbench.report.results import StudyResult
from nasbench.report.rows import ReportRow
from nasbench.study.fidelity import LONG, Fidelity
from nasbench.study.runner import Priority
from nasbench.study.study import Study
from nasbench.study.trials import Kind

FOLDER = "confirmed"  # in the study's own
TABLE = "confirmed.csv"
RIVALS = 3  # published networks that a design is compared with, where none are named
SEEDS = 2


@dataclass(frozen=True)
class Confirmation:
    """Networks of a study after long training, most accurate first; `searched` has them as the search left them."""

    folder: Path
    fidelity: Fidelity
    rows: tuple[ReportRow, ...]
    searched: dict[str, ReportRow]

    @classmethod
    def read(cls, result: StudyResult) -> Confirmation:
        """What a study's folder holds of it, which may be nothing. A row whose reduced network is no longer today's
        does not count."""
        folder, fidelity = result.folder / FOLDER, long_training(result.study)
        by_name: dict[str, list[ScoreRow]] = {}
        for score in read_rows(folder).values():
            if score.fidelity == fidelity.id and score.accuracy is not None:
                by_name.setdefault(score.network, []).append(score)
        if not by_name:
            return cls(folder, fidelity, (), {})
        searched, found = {row.id: row for row in result.rows()}, []
        for row in searched.values():
            own = [score for score in by_name.get(row.name, ()) if score.proxy_id == reduced(row.arch, fidelity).id]
            accuracies = {score.seed: score.accuracy for score in own if score.accuracy is not None}
            if accuracies:
                top = result.study.ladder.top
                found.append(replace(row, accuracies=accuracies, split="test", rung=top, raced=False, lacks=""))
        return cls(folder, fidelity, tuple(sorted(found, key=lambda row: -row.accuracy)), searched)

    def leads(self) -> list[tuple[ReportRow, list[Lead]]]:
        """Each searched design with its leads over the published networks, negative where one is ahead of it."""
        designs = [row for row in self.rows if row.kind == Kind.SEARCHED]
        rivals = [row for row in self.rows if row.kind == Kind.FIXED_POINT]
        return [(design, [lead(design, rival, 1, self.rows) for rival in rivals]) for design in designs]

    def records(self) -> list[dict[str, Any]]:
        """One line a network: accuracies in %, latency in ms."""
        return [
            {
                "network": row.name,
                "kind": row.kind.value,
                "latency_ms": row.latency,
                "latency_is": row.latency_kind,
                "searched": 100 * self.searched[row.id].accuracy,
                "searched_seeds": self.searched[row.id].seeds,
                "long": 100 * row.accuracy,
                "long_std": None if row.accuracy_std is None else 100 * row.accuracy_std,
                "long_seeds": row.seeds,
            }
            for row in self.rows
        ]

    def told(self) -> dict[str, list[str]]:
        """By id of a searched design, how it compares with each published network, in words and figures."""
        return {design.id: [_told(found) for found in leads] for design, leads in self.leads()}

    def verdict(self) -> list[str]:
        """The same of all designs."""
        return [line for lines in self.told().values() for line in lines]


def long_training(study: Study) -> Fidelity:
    """Ten times the training that decided."""
    return study.ladder.rungs[-1].fidelity.longer


def can_be_confirmed(result: StudyResult) -> bool:
    """Whether a search by accuracy has a design on its front, and a published network to compare it with."""
    rows = result.rows()
    found = any(row.kind == Kind.SEARCHED and row.on_front for row in rows)
    return result.study.by_accuracy and found and any(row.kind == Kind.FIXED_POINT for row in rows)


def confirm(
    folder: str | Path, designs: Sequence[str] = (), networks: Sequence[str] = (), seeds: int = SEEDS, *,
    priority: Priority | None = None, progress: Progress | None = None,
) -> Confirmation:  # fmt: skip
    """Train designs of the study in `folder` and published networks ten times as long as its finals, and compare them.

    `designs`: names of searched designs of the study, by default the one expected to be best then (a standard deviation
    below the mean), or the most accurate one where no table says so; `networks`: names of published ones that it has
    trained, by default three, chosen alike. `seeds`: trainings of each, with seeds that the search has not used. What
    is trained lies in `confirmed/` of the study's folder, so that the same command goes on after any
    kill. A UserError says what to change.
    """
    require("whole number", seeds=seeds)
    if seeds < 1:
        raise UserError(f"seeds = {seeds}: must be at least 1")
    result, progress = StudyResult.read(folder), progress or Silent()
    study = result.study
    if not study.by_accuracy:
        raise UserError(f"{folder}: searched by {', '.join(study.objectives)}; only a search by accuracy is confirmed")
    chosen = [*_named(result, Kind.SEARCHED, designs, 1), *_named(result, Kind.FIXED_POINT, networks, RIVALS)]
    images = images_named(study.data)
    if study.data_id not in (None, images.id):
        raise UserError(f"{study.data}: its images have changed since the study began; put those back, or search anew")
    fidelity, first = long_training(study), max(study.seed, *study.final_seeds) + 1
    progress.note(_announced(result, len(chosen) * seeds, fidelity))
    wanted = [Wanted(row.name, row.arch, fidelity, first + turn) for turn in range(seeds) for row in chosen]
    runner = study.runner.with_priority(priority)
    collect(wanted, images, runner, result.folder / FOLDER, progress, doing="confirming")
    found = Confirmation.read(result)
    _write(found)
    return found


def _named(result: StudyResult, kind: Kind, names: Sequence[str], most: int) -> list[ReportRow]:
    """The rows of these networks; without names the `most` that are expected to be best after long training, or where
    no table says so the most accurate ones."""
    rows = sorted((row for row in result.rows() if row.kind == kind), key=lambda row: row.promise, reverse=True)
    what = "searched designs" if kind == Kind.SEARCHED else "published networks"
    if not names:
        best = [row for row in rows if row.on_front] if kind == Kind.SEARCHED else rows
        if not best:
            raise UserError(f"{result.folder}: no {what} to confirm; `nasbench resume {result.folder}` goes on with it")
        return best[:most]
    by_name = {key: row for row in rows for key in (row.name, row.id)}
    for name in names:
        if name not in by_name:
            known = ", ".join(row.name for row in rows) or "none"
            raise UserError(f"{name!r}: not among the {what} of {result.folder}; it has {known}")
    return [by_name[name] for name in dict.fromkeys(names)]


def _announced(result: StudyResult, trainings: int, fidelity: Fidelity) -> str:
    """How much is to be trained, and how long that may take by what the search took."""
    top = result.study.ladder.rungs[-1].fidelity.id
    known = [trial.seconds for trial in result.trials if trial.complete and trial.fidelity.id == top and trial.seconds]
    took = f", about {trainings * LONG * fmean(known) / 60:.0f} min of one worker" if known else ""
    return f"{trainings} trainings of {fidelity.samples:,} samples, {LONG} times those of the finals{took}"


def _told(found: Lead) -> str:
    """One comparison as a sentence."""
    ahead, behind = (found.row, found.rival) if found.gap >= 0 else (found.rival, found.row)
    pair = latency_pair(ahead, behind)
    latency = "" if pair is None else f" at {pair[0] / pair[1] - 1:+.0%} latency ({pair[2]})"
    gap = f"{100 * abs(found.gap):.1f} points{latency}"
    text = f"After {LONG} times the training {_scored(ahead)} leads {_scored(behind)} by {gap}"
    if found.needed is None:
        return f"{text}; one training each says nothing of noise."
    more = "more" if abs(found.gap) > found.needed else "not more"
    return f"{text}, {more} than seed noise ({100 * found.needed:.1f} needed)."


def _scored(row: ReportRow) -> str:
    spread = "" if row.accuracy_std is None else f" ± {100 * row.accuracy_std:.1f}"
    return f"{row.name} ({100 * row.accuracy:.1f}{spread} %)"


def _write(found: Confirmation) -> None:
    import pandas as pd

    table = pd.DataFrame(found.records())
    write_atomic(found.folder / TABLE, table.to_csv(index=False, float_format="%.6g", lineterminator="\n"))
