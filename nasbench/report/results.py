"""A stored study, read: its trials as report rows, the front among them, tables and plots."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nasbench.arch.architecture import Architecture
from nasbench.costs.budget import RESOURCES
from nasbench.errors import UserError
from nasbench.latency.names import THIS_MACHINE
from nasbench.pareto import Front
from nasbench.report.rows import FIXED_POINT, SEARCHED, Figure, ReportRow
from nasbench.study.study import Study
from nasbench.study.trials import Trial, TrialStore

if TYPE_CHECKING:
    import pandas as pd

    from nasbench.latency.profile import DeviceProfile

LATENCY_NOTE = "latency"  # the store's notes of measured latencies, and of those predicted before they were measured
Level = tuple[int, bool]  # rung, and whether on the test split with the final seeds


def level(trial: Trial) -> Level:
    return int(trial.origin["rung"]), trial.split == "test"


def architecture_of(trial: Trial) -> Architecture:
    return Architecture.from_dict(trial.architecture, source=f"trial {trial.key}")


def check_scores(study: Study, store: TrialStore) -> None:
    """Raise UserError where study.toml was changed to another objective than its trials have."""
    objective = study.objective
    odd = sum(trial.state == "complete" and objective.metric not in trial.metrics for trial in store.trials)
    if odd:
        raise UserError(
            f"{store.folder}: {odd} of its trials have no {objective.metric}, the score of the objective "
            f"{objective.name}; put the objectives in study.toml back, or start a new study with --out"
        )


@dataclass(frozen=True)
class StudyResult:
    """What a study's folder holds. Reading it trains and measures nothing."""

    folder: Path
    study: Study
    trials: tuple[Trial, ...]
    measured_ms: dict[str, float]  # architecture id -> latency
    predictions: dict[str, dict[str, Any]]  # architecture id -> see `predictions`
    taken: dict[str, dict[str, float]] = field(default_factory=dict)  # architecture id -> measured memory and energy

    @classmethod
    def read(cls, folder: Path | str) -> StudyResult:
        """The study stored in `folder`."""
        study = Study.open(folder)
        with TrialStore(folder, read_only=True) as store:
            check_scores(study, store)
            return cls.from_store(study, store)

    @classmethod
    def from_store(cls, study: Study, store: TrialStore) -> StudyResult:
        notes = store.notes(LATENCY_NOTE)
        measured = {key: value for note in notes for key, value in note.get("measured_ms", {}).items()}
        predicted = {key: value for note in notes for key, value in note.get("predicted", {}).items()}
        taken = {key: value for note in notes for key, value in note.get("taken", {}).items()}
        return cls(store.folder, study, store.trials, measured, predicted, taken)

    @property
    def unpredicted(self) -> list[Architecture]:
        """The designs that no latency is known for."""
        known = self.predictions.keys() | self.measured_ms.keys()
        missing = {t.architecture_id: t for t in self.trials if t.architecture_id not in known}
        return [architecture_of(trial) for trial in missing.values()]

    def with_measurements(self, profile: DeviceProfile | None) -> StudyResult:
        """With the latencies that `profile` has measured; on this machine a study measures its designs itself."""
        if profile is None or self.study.device == THIS_MACHINE or profile.num_classes != self.study.classes:
            return self
        measured_ms = {record.id: record.measurement.latency_ms for record in profile.records}
        return replace(self, measured_ms=self.measured_ms | measured_ms)

    def with_predictions(self, profile: DeviceProfile | None) -> StudyResult:
        """Latencies predicted by `profile` for what has none known yet."""
        designs = self.unpredicted
        if profile is None or not designs:
            return self
        return replace(self, predictions=self.predictions | predictions(profile, designs, self.study))

    def rows(self) -> list[ReportRow]:
        """One row an architecture, from its best supported trials: the final ones, else those of the highest rung that
        any trial reached. The front is taken among the rows of the highest level alone, where all are comparable."""
        complete = [trial for trial in self.trials if trial.state == "complete"]
        if not complete:
            return []
        top = max(level(trial) for trial in complete)
        shown = [trial for trial in complete if level(trial)[0] == top[0]]
        grouped: dict[str, list[Trial]] = {}
        for trial in shown:
            grouped.setdefault(trial.architecture_id, []).append(trial)
        rows = [self._row(trials) for trials in grouped.values()]
        return self._with_front(rows, "test" if top[1] else "validation")

    def _row(self, trials: Sequence[Trial]) -> ReportRow:
        best = max(level(trial) for trial in trials)
        chosen = [trial for trial in trials if level(trial) == best]
        arch, first = architecture_of(chosen[0]), chosen[0]
        predicted = self.predictions.get(arch.id, {})
        return ReportRow(
            id=arch.id,
            name=arch.label,
            kind=FIXED_POINT if first.origin.get("kind") == FIXED_POINT else SEARCHED,
            arch=arch,
            rung=best[0],
            split=first.split,
            accuracies={trial.seed: self._score(trial) for trial in chosen},
            objective=self.study.objective,
            cost=first.origin["cost"],
            latency_predicted=predicted.get("latency_ms"),
            latency_low=predicted.get("low_ms"),
            latency_high=predicted.get("high_ms"),
            latency_measured=self.measured_ms.get(arch.id),
            extrapolating=bool(predicted.get("extrapolating", False)),
            resources=self._resources(arch.id),
        )

    def _resources(self, key: str) -> dict[str, Figure]:
        """Memory and energy, where budgets ask for them."""
        predicted, measured = self.predictions.get(key, {}), self.taken.get(key, {})
        return {
            metric: Figure(
                predicted=predicted.get(metric),
                low=predicted.get(f"{metric}_low"),
                high=predicted.get(f"{metric}_high"),
                measured=measured.get(metric),
            )
            for metric in self.study.device_metrics
            if metric in RESOURCES
        }

    def _with_front(self, rows: list[ReportRow], split: str) -> list[ReportRow]:
        chief = [row for row in rows if row.split == split and row.latency is not None]
        if not chief:
            return rows
        front = Front.of([(1 - row.accuracy, row.latency) for row in chief])
        members = {chief[index].id for index in front.indices}
        return [replace(row, on_front=row.id in members) for row in rows]

    def front(self) -> list[ReportRow]:
        """The non-dominated networks in accuracy (or the objective's score) and latency, fastest first."""
        members = [row for row in self.rows() if row.on_front]
        return sorted(members, key=lambda row: row.latency or 0.0)

    def to_pandas(self) -> pd.DataFrame:
        """One line a trial: architecture, rung, seed, split, state, metrics, latencies."""
        import pandas as pd

        return pd.DataFrame([self._record(trial) for trial in self.trials])

    def _record(self, trial: Trial) -> dict[str, Any]:
        predicted = self.predictions.get(trial.architecture_id, {})
        return {
            "key": trial.key,
            "architecture": trial.architecture_id,
            "name": trial.architecture.get("name", ""),
            "kind": trial.origin.get("kind"),
            "rung": trial.origin.get("rung"),
            "seed": trial.seed,
            "split": trial.split,
            "state": trial.state,
            "reason": trial.reason,
            "seconds": trial.seconds,
            "latency_ms_predicted": predicted.get("latency_ms"),
            "latency_ms_measured": self.measured_ms.get(trial.architecture_id),
            **{
                f"{metric}_{kind}": figure
                for metric, found in self._resources(trial.architecture_id).items()
                for kind, figure in (("predicted", found.predicted), ("measured", found.measured))
            },
            **trial.metrics,
        }

    def report(self) -> list[ReportRow]:
        """Write front.csv, front.png, front.svg and designs/; and crossing.png where designs are extrapolated."""
        from nasbench.report.folder import write_report
        from nasbench.scaling.objective import Reach

        rows = self.rows()
        if rows:
            write_report(self.folder, rows, title=self.title(), device=self.study.device)
        reach = Reach.of(self.study.objectives)
        if reach is not None:
            from nasbench.scaling.crossing import write_crossing

            write_crossing(self.folder, self.trials, reach)
        return rows

    def title(self) -> str:
        return f"{self.study.space.name}, {' and '.join(self.study.budgets) or 'no budget'}, {self.study.data}"

    def _score(self, trial: Trial) -> float:
        return float(trial.metrics[self.study.objective.metric])

    def best_score(self) -> tuple[float, str] | None:
        """The best validation score of the highest rung so far, and whose it is."""
        scored = [t for t in self.trials if t.state == "complete" and t.split == "validation"]
        if not scored:
            return None
        best = max(scored, key=lambda t: (level(t), self._score(t)))
        return self._score(best), best.architecture.get("name") or best.architecture_id[:8]


def open_study(folder: Path | str) -> StudyResult:
    """The study in `folder` as it is stored, with what its device has measured since, where that is not this machine;
    latencies that are not known are predicted, if the profile is here."""
    result = StudyResult.read(folder)
    if result.study.device == THIS_MACHINE and not result.unpredicted:
        return result
    from nasbench.latency.profile import load_study_device

    try:
        profile = load_study_device(folder, result.study.device)
    except UserError:  # the profile was made on another machine: the stored figures stand
        return result
    return result.with_measurements(profile).with_predictions(profile)


def predictions(profile: DeviceProfile, designs: Sequence[Architecture], study: Study) -> dict[str, dict[str, Any]]:
    """Architecture id -> latency_ms, low_ms, high_ms, extrapolating, and what the study's budgets ask for besides:
    memory_bytes, memory_bytes_low, memory_bytes_high, likewise energy_j."""
    if not designs:
        return {}
    predicted = profile.predict(designs, study.classes)
    asked = [metric for metric in study.device_metrics if metric in RESOURCES]
    found = {metric: profile.predict_resource(metric, designs, study.classes) for metric in asked}
    return {
        design.id: {
            "latency_ms": float(predicted.latency_ms[index]),
            "low_ms": float(predicted.low_ms[index]),
            "high_ms": float(predicted.high_ms[index]),
            "extrapolating": bool(predicted.extrapolating[index]),
            **{
                metric + end: float(figures[index])
                for metric, estimate in found.items()
                for end, figures in (("", estimate.value), ("_low", estimate.low), ("_high", estimate.high))
            },
        }
        for index, design in enumerate(designs)
    }


def binding(prediction: Mapping[str, Any]) -> dict[str, float]:
    """What budgets on a device are held against: the upper ends of the predicted intervals."""
    ends = {metric: prediction[f"{metric}_high"] for metric in RESOURCES if f"{metric}_high" in prediction}
    return {"latency_ms": float(prediction["high_ms"]), **ends}


def mean_seconds(trials: Sequence[Trial]) -> float | None:
    finished = [trial.seconds for trial in trials if trial.state == "complete"]
    return statistics.fmean(finished) if finished else None
