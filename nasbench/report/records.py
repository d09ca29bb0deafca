"""A study's designs as other programs keep experiments: parameters, a score for each level, and what else is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

from nasbench.errors import UserError
from nasbench.report.results import StudyResult
from nasbench.space import SearchSpace
from nasbench.space.encoding import place_of
from nasbench.study.trials import Level, Trial


@dataclass(frozen=True)
class DesignRecord:
    """All finished trials of one design, and the mean score of each level that it was scored at."""

    result: StudyResult
    space: SearchSpace
    trials: tuple[Trial, ...]
    scores: Mapping[Level, float]

    @property
    def first(self) -> Trial:
        return self.trials[0]

    @property
    def rungs(self) -> dict[int, float]:
        """By rung, without the finals."""
        return {level.rung: score for level, score in self.scores.items() if not level.final and level.rung >= 0}

    @property
    def final(self) -> float | None:
        """Mean score of its final trainings, on test images."""
        return next((score for level, score in self.scores.items() if level.final), None)

    @property
    def latency_ms(self) -> float | None:
        key = self.first.architecture_id
        known = key in self.result.predictions.keys() | self.result.measured_ms.keys()
        return self.result.latency_ms(key) if known else None

    @cached_property
    def fields(self) -> dict[str, tuple[object, tuple[object, ...]]]:
        """The fields of the space that take effect in this design, with what the space offers for each, where that is
        a choice; none of a design outside the space."""
        genotype = self.space.locate(self.first.design)
        if isinstance(genotype, str):
            return {}
        return {
            place_of(part, len(genotype)) + field: (value, tuple(choices[field]))
            for part, (values, choices) in enumerate(zip(genotype, self.space.structure.choices))
            for field, value in values.items()
            if len(choices.get(field, ())) > 1
        }

    @property
    def attributes(self) -> dict[str, object]:
        """What is known besides; nothing that is not."""
        first, result = self.first, self.result
        key = first.architecture_id
        found = {
            "design": key,
            "name": first.label,
            "kind": first.origin.kind.value,
            "proposed by": first.origin.how,
            "latency is": "measured"
            if key in result.measured_ms
            else "predicted"
            if key in result.predictions
            else None,
            "MACs": first.origin.cost.macs if first.origin.cost else None,
            "params": first.origin.cost.params if first.origin.cost else None,
            "final score, test images": self.final,
            "failed": "; ".join(sorted({trial.reason for trial in self.trials if trial.reason})) or None,
            "nasbench seeds": ", ".join(f"{trial.level.name}: {trial.seed}" for trial in self.trials),
        }
        return {name: value for name, value in found.items() if value is not None}

    @property
    def seconds(self) -> tuple[float, float]:
        """When the first of its trials began and the last ended, since 1970."""
        return min(each.submitted_at for each in self.trials), max(each.finished_at for each in self.trials)


def design_records(result: StudyResult) -> list[DesignRecord]:
    """In the order in which the designs were first submitted. UserError where no trial has ended."""
    metric = result.study.objective.metric
    grouped: dict[str, list[Trial]] = {}
    for trial in result.trials:
        if trial.finished:
            grouped.setdefault(trial.architecture_id, []).append(trial)
    if not grouped:
        raise UserError(f"{result.folder}: no trial has ended yet, so there is nothing to export")
    space = SearchSpace.from_dict(result.study.space.content, str(result.folder))
    found = []
    for trials in grouped.values():
        scores: dict[Level, list[float]] = {}
        for trial in trials:
            if trial.complete:
                scores.setdefault(trial.level, []).append(trial.metric(metric))
        means = {level: fmean(values) for level, values in scores.items()}
        found.append(DesignRecord(result, space, tuple(trials), means))
    return found


def about(result: StudyResult) -> dict[str, str]:
    """The study itself, for those who look at it elsewhere."""
    study = result.study
    rungs = (f"{rung.name or at}: {rung.fidelity.samples} samples" for at, rung in enumerate(study.ladder.rungs))
    return {
        "study": result.title(),
        "images": study.data_name,
        "latency on": study.device,
        "strategy": study.strategy.name,
        "rungs": ", ".join(rungs),
        "nasbench": study.version,
    }
