"""A study as its folder holds it: trials and notes read as report rows, the front among them, the report written."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from nasbench.arch.architecture import Architecture
from nasbench.costs.budget import RESOURCES
from nasbench.errors import UserError
from nasbench.files import write_atomic
from nasbench.latency.names import THIS_MACHINE
from nasbench.latency.profile import DeviceProfile, load_study_device
from nasbench.pareto import Front
from nasbench.report.front import FrontRows
from nasbench.report.interruption import Promoted, ended_at, is_interrupted, promoted_by
from nasbench.report.rows import Figure, LongTraining, ReportRow
from nasbench.study.notes import EndNote, LatencyNote, LongNote, PromotionNote, RejectionNote
from nasbench.study.objective import SUPERVISED
from nasbench.study.predicted import Predicted, predict
from nasbench.study.standing import Standing, ladder_lines, ladder_standings
from nasbench.study.store import TrialStore
from nasbench.study.study import Study
from nasbench.study.trials import Kind, Level, Split, Trial

if TYPE_CHECKING:
    import pandas as pd

LADDER_FILE = "ladder.json"


def check_scores(study: Study, store: TrialStore) -> None:
    """Pass over trials that cannot be of this study: without the objective's score, or of a rung that it lacks.

    UserError where no trial has the score, since study.toml was changed to another objective.
    """
    objective, complete = study.objective, [trial for trial in store.trials if trial.complete]
    odd = [trial for trial in complete if not _is_score(trial.metrics.get(objective.metric))]
    if odd and len(odd) == len(complete):
        raise UserError(
            f"{store.folder}: {len(odd)} of its trials have no {objective.metric}, the score of the objective "
            f"{objective.name}; put the objectives in study.toml back, or start a new study with --out"
        )
    for trial in odd:
        store.pass_over(trial, f"its outcome has no {objective.metric} of at most 1")
    for trial in store.trials:
        if trial.origin.rung > study.ladder.top:
            store.pass_over(trial, f"rung {trial.origin.rung} of a study whose highest is {study.ladder.top}")
        elif trial.complete and trial.origin.cost is None:
            store.pass_over(trial, "its record has no cost")


def _is_score(value: object) -> bool:
    return isinstance(value, (int, float)) and value <= 1


@dataclass(frozen=True)
class StudyResult:
    """What a study's folder holds. Reading it trains and measures nothing.

    By architecture id: measured latency in ms, what the device's profile predicted, and measured memory and energy.
    `promoted`: by level, the keys of the trials promoted to it. `rejections`: of each run, by rule. `ended_with`: how
    many trials there were when nothing was left to train. `expected_long`: by architecture id, what a table
    expects after long training.
    """

    folder: Path
    study: Study
    trials: tuple[Trial, ...]
    measured_ms: Mapping[str, float]
    predictions: Mapping[str, Predicted]
    measured_resources: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    promoted: Promoted = field(default_factory=dict)
    rejections: tuple[RejectionNote, ...] = ()
    ended_with: int | None = None
    expected_long: Mapping[str, LongTraining] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path | str) -> StudyResult:
        """The study stored in `folder`."""
        study = Study.open(folder)
        with TrialStore(folder, read_only=True) as store:
            check_scores(study, store)
            return cls.from_store(study, store)

    @classmethod
    def from_store(cls, study: Study, store: TrialStore) -> StudyResult:
        notes = store.notes(LatencyNote)
        measured = {key: value for note in notes for key, value in note.measured_ms.items()}
        predicted = {key: value for note in notes for key, value in note.predicted.items()}
        taken = {key: value for note in notes for key, value in note.taken.items()}
        promoted = promoted_by(store.notes(PromotionNote))
        ended = [note.trials for note in store.notes(EndNote)]
        expected = [
            {key: LongTraining(mean, std, note.times) for key, (mean, std) in note.expected.items()}
            for note in store.notes(LongNote)
        ]
        return cls(
            store.folder, study, store.trials, measured, predicted, taken, promoted, store.notes(RejectionNote),
            ended[-1] if ended else None, expected[-1] if expected else {},
        )  # fmt: skip

    @property
    def unpredicted(self) -> list[Architecture]:
        """The designs that no latency is known for."""
        known = self.predictions.keys() | self.measured_ms.keys()
        missing = {t.architecture_id: t for t in self.trials if t.architecture_id not in known}
        return [trial.design for trial in missing.values()]

    def latency_ms(self, key: str) -> float:
        """Of one architecture: measured where it was, else predicted."""
        return self.measured_ms[key] if key in self.measured_ms else self.predictions[key].latency.value

    def with_measurements(self, profile: DeviceProfile | None) -> StudyResult:
        """With the latencies that `profile` has measured; on this machine a study measures its designs itself."""
        if profile is None or self.study.device == THIS_MACHINE or profile.num_classes != self.study.classes:
            return self
        measured_ms = {record.id: record.measurement.latency_ms for record in profile.records}
        return replace(self, measured_ms={**self.measured_ms, **measured_ms})

    def with_predictions(self, profile: DeviceProfile | None) -> StudyResult:
        """Latencies predicted by `profile` for what has none known yet."""
        designs = self.unpredicted
        if profile is None or not designs:
            return self
        found = predict(profile, designs, self.study.classes, self.study.device_metrics)
        return replace(self, predictions={**self.predictions, **found})

    def rows(self) -> list[ReportRow]:
        """One row an architecture, from its best supported trials: the final ones, else those of the highest rung that
        any trial reached. The front is taken among the rows of the highest level alone, where all are comparable; where
        that level was interrupted, the rest of the front of the level below is kept and marked."""
        complete = [trial for trial in self.trials if trial.complete]
        if not complete:
            return []
        top = max(trial.level for trial in complete)
        rows = self._front_at(top, [trial for trial in complete if trial.level.rung == top.rung])
        interrupted = is_interrupted(top, self.trials, self.promoted, self.study)
        return self._with_rest_of_front(rows, top) if interrupted else rows

    def _front_at(self, level: Level, trials: Sequence[Trial]) -> list[ReportRow]:
        """The rows of `trials`, all of one rung, with the front of `level`."""
        grouped: dict[str, list[Trial]] = {}
        for trial in trials:
            grouped.setdefault(trial.architecture_id, []).append(trial)
        return _with_front([self._row(of_one) for of_one in grouped.values()], "test" if level.final else "validation")

    def _with_rest_of_front(self, rows: list[ReportRow], top: Level) -> list[ReportRow]:
        """`rows`; the front of the level below of designs without a finished training at `top`, marked by `lacks`; and
        the fixed points scored at that level alone."""
        assert top.below is not None  # a level is interrupted only above another
        below = [trial for trial in self.trials if trial.complete and trial.level == top.below]
        lower, ended = self._front_at(top.below, below), ended_at(top, self.trials)
        training = "final training" if top.final else f"training at rung {top.rung}"
        rest = [replace(row, lacks=training) for row in lower if row.on_front and row.id not in ended]
        kept = [row for row in rows if row.id not in {row.id for row in rest}]
        known = {row.id for row in (*kept, *rest)}
        fixed = [row for row in lower if row.kind == Kind.FIXED_POINT and row.id not in known]
        return [*kept, *rest, *(replace(row, on_front=False) for row in fixed)]

    def _row(self, trials: Sequence[Trial]) -> ReportRow:
        best = max(trial.level for trial in trials)
        chosen = [trial for trial in trials if trial.level == best]
        first, predicted = chosen[0], self.predictions.get(chosen[0].architecture_id)
        return ReportRow(
            id=first.architecture_id,
            name=first.label,
            kind=first.origin.kind,
            arch=first.design,
            rung=best.rung,
            split=first.split,
            accuracies={trial.seed: trial.metric(self.study.objective.metric) for trial in chosen},
            objective=self.study.objective,
            cost=first.cost.to_dict(),
            latency_predicted=predicted.latency.value if predicted else None,
            latency_low=predicted.latency.low if predicted else None,
            latency_high=predicted.latency.high if predicted else None,
            latency_measured=self.measured_ms.get(first.architecture_id),
            extrapolating=predicted.extrapolating if predicted else False,
            resources=self.resources(first.architecture_id),
            majority_share=first.metric("majority_share") if "majority_share" in first.metrics else None,
            balanced=first.balanced,
            raced=best.final and self.study.race is not None,
            expected_long=self.expected_long.get(first.architecture_id),
        )

    def resources(self, key: str) -> dict[str, Figure]:
        """Memory and energy of one architecture, where budgets ask for them."""
        predicted, measured = self.predictions.get(key), self.measured_resources.get(key, {})
        figures = {}
        for metric in self.study.device_metrics:
            if metric in RESOURCES:
                found = predicted.resources.get(metric) if predicted else None
                figures[metric] = Figure(
                    predicted=found.value if found else None,
                    low=found.low if found else None,
                    high=found.high if found else None,
                    measured=measured.get(metric),
                )
        return figures

    def front(self) -> FrontRows:
        """The non-dominated networks in accuracy (or the objective's score) and latency, fastest first; `lacks` marks
        those that an interrupted study has only scored at the level below. `front().plot()` draws it."""
        rows = self.rows()
        members = sorted((row for row in rows if row.on_front), key=lambda row: row.latency or 0.0)
        return FrontRows(members, rows, self.title(), self.study.device.replace("-", " "))

    def to_pandas(self) -> pd.DataFrame:
        """One line a trial: architecture, rung, seed, split, state, metrics, latencies."""
        import pandas as pd

        return pd.DataFrame([self._record(trial) for trial in self.trials])

    def _record(self, trial: Trial) -> dict[str, object]:
        predicted = self.predictions.get(trial.architecture_id)
        return {
            "key": trial.key,
            "architecture": trial.architecture_id,
            "name": trial.architecture.get("name", ""),
            "kind": trial.origin.kind.value,
            "rung": trial.origin.rung,
            "seed": trial.seed,
            "split": trial.split,
            "state": trial.state.value,
            "reason": trial.reason,
            "seconds": trial.seconds,
            "latency_ms_predicted": predicted.latency.value if predicted else None,
            "latency_ms_measured": self.measured_ms.get(trial.architecture_id),
            **{
                f"{metric}_{kind}": figure
                for metric, found in self.resources(trial.architecture_id).items()
                for kind, figure in (("predicted", found.predicted), ("measured", found.measured))
            },
            **trial.metrics,
        }

    @cached_property
    def standings(self) -> list[tuple[str, Standing]]:
        """The study's rungs and how far the ranking of each can be trusted, where there is an audit of it."""
        if self.study.objective != SUPERVISED:
            return []
        return ladder_standings(self.study.ladder, self.study.data_id)

    def standing_lines(self) -> list[str]:
        """The same in plain words."""
        return ladder_lines(self.standings, self.study.data_id)

    def report(self) -> list[ReportRow]:
        """Write front.csv, front.png, .svg and .pdf, and designs/; ladder.json where there are audits of its rungs, and
        crossing.png where errors are extrapolated -> the rows."""
        from nasbench.report.folder import write_report
        from nasbench.scaling.crossing import write_crossing

        rows, target = self.rows(), self.study.extrapolated_to
        if rows:
            write_report(self.folder, rows, title=self.title(), device=self._measured_on())
        if target is not None:
            write_crossing(self.folder, self.trials, target)
        if self.standings:
            content = {"verdict": self.standing_lines(), "audits": [each.to_dict() for _, each in self.standings]}
            write_atomic(self.folder / LADDER_FILE, json.dumps(content, indent=1) + "\n")
        return rows

    def _measured_on(self) -> str:
        """The device, with its runtime and threads where its profile is at hand."""
        name = self.study.device.replace("-", " ")
        try:
            settings = load_study_device(self.folder, self.study.device).device.settings
        except UserError:
            return name
        threads = "one thread" if settings.threads == 1 else f"{settings.threads} threads"
        where = threads if settings.accelerator == "cpu" else settings.accelerator
        return f"{name}, {settings.runtime}, {where}"

    def title(self) -> str:
        budgets, data = " and ".join(map(str, self.study.budgets)) or "no budget", self.study.data
        return f"{self.study.space.name}, {budgets}, {Path(data).name if Path(data).is_absolute() else data}"


def _with_front(rows: list[ReportRow], split: Split) -> list[ReportRow]:
    chief = [(row, row.latency) for row in rows if row.split == split and row.latency is not None]
    if not chief:
        return rows
    front = Front.of([(1 - row.accuracy, latency) for row, latency in chief])
    members = {chief[index][0].id for index in front.indices}
    return [replace(row, on_front=row.id in members) for row in rows]


def open_study(folder: Path | str) -> StudyResult:
    """The study in `folder`, with latencies measured since on another device than this machine, and predictions of
    unknown ones where the device's profile is at hand. UserError where there is no study."""
    result = StudyResult.read(folder)
    if result.study.device == THIS_MACHINE and not result.unpredicted:
        return result
    try:
        profile = load_study_device(folder, result.study.device)
    except UserError:  # the profile was made on another machine: the stored figures stand
        return result
    return result.with_measurements(profile).with_predictions(profile)
