"""A study as a file that Optuna opens, for its dashboard and its plots: an SQLite storage with two of its studies.

NAME holds every design with its score at the lowest rung, where all compare, and its latency. NAME by rung holds the
score alone as successive halving has it: intermediate values by rung, and a design that went no further is pruned.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from nasbench.errors import UserError
from nasbench.files import write_atomic
from nasbench.report.results import StudyResult
from nasbench.space import SearchSpace
from nasbench.space.encoding import place_of
from nasbench.study.trials import Level, Trial

if TYPE_CHECKING:
    from optuna.distributions import CategoricalDistribution
    from optuna.trial import FrozenTrial


@dataclass(frozen=True)
class _Design:
    """All trials of one design, and the mean score of each level that it was scored at."""

    trials: tuple[Trial, ...]
    scores: Mapping[Level, float]

    @property
    def first(self) -> Trial:
        return self.trials[0]

    @property
    def rungs(self) -> dict[int, float]:
        return {level.rung: score for level, score in self.scores.items() if not level.final and level.rung >= 0}


def write_optuna(result: StudyResult, path: Path) -> int:
    """Write the file -> how many designs are in it. It must not exist yet: a UserError where it does."""
    if path.exists():
        raise UserError(f"{path}: exists already; remove it, or give another file")
    designs = _designs(result)
    if not designs:
        raise UserError(f"{result.folder}: no trial has ended yet, so there is nothing to export")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "study.db"
        _fill(result, designs, f"sqlite:///{file.as_posix()}")
        write_atomic(path, file.read_bytes())
    return len(designs)


def _designs(result: StudyResult) -> list[_Design]:
    """In the order in which they were first submitted."""
    metric = result.study.objective.metric
    grouped: dict[str, list[Trial]] = {}
    for trial in result.trials:
        if trial.finished:
            grouped.setdefault(trial.architecture_id, []).append(trial)
    found = []
    for trials in grouped.values():
        scores: dict[Level, list[float]] = {}
        for trial in trials:
            if trial.complete:
                scores.setdefault(trial.level, []).append(trial.metric(metric))
        found.append(_Design(tuple(trials), {level: fmean(values) for level, values in scores.items()}))
    return found


def _fill(result: StudyResult, designs: Sequence[_Design], url: str) -> None:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = optuna.storages.RDBStorage(url)
    noun, name = result.study.objective.noun, result.folder.resolve().name
    space = SearchSpace.from_dict(result.study.space.content, str(result.folder))
    both = optuna.create_study(storage=storage, study_name=name, directions=["maximize", "minimize"])
    alone = optuna.create_study(storage=storage, study_name=f"{name} by rung", direction="maximize")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # of naming metrics
        both.set_metric_names([f"{noun} at rung 0", "latency, ms"])
        alone.set_metric_names([f"{noun} by rung"])
    for each in (both, alone):
        for key, value in _about(result).items():
            each.set_user_attr(key, value)
    frozen = [_frozen(result, space, design) for design in designs]
    both.add_trials([pair for pair, _ in frozen])
    alone.add_trials([single for _, single in frozen])
    storage.remove_session()
    storage.engine.dispose()


def _about(result: StudyResult) -> dict[str, str]:
    study = result.study
    return {
        "study": result.title(),
        "images": study.data_name,
        "latency on": study.device,
        "strategy": study.strategy.name,
        "rungs": ", ".join(
            f"{rung.name or at}: {rung.fidelity.samples} samples" for at, rung in enumerate(study.ladder.rungs)
        ),
        "nasbench": study.version,
    }


def _frozen(result: StudyResult, space: SearchSpace, design: _Design) -> tuple[FrozenTrial, FrozenTrial]:
    """A design as a trial of either study."""
    from optuna.trial import TrialState, create_trial

    params, distributions = _params(space, design.first)
    attributes, rungs = _attributes(result, design), design.rungs
    common = {"params": params, "distributions": distributions, "user_attrs": attributes}
    known = design.first.architecture_id in result.predictions.keys() | result.measured_ms.keys()
    values = [rungs[0], result.latency_ms(design.first.architecture_id)] if known and 0 in rungs else None
    pair = create_trial(state=TrialState.FAIL if values is None else TrialState.COMPLETE, values=values, **common)
    top = max(rungs, default=-1)
    reached = top == result.study.ladder.top
    state = TrialState.FAIL if top < 0 else TrialState.COMPLETE if reached else TrialState.PRUNED
    single = create_trial(state=state, value=rungs.get(top), intermediate_values=rungs, **common)
    for trial in (pair, single):
        trial.datetime_start = datetime.fromtimestamp(min(each.submitted_at for each in design.trials))
        trial.datetime_complete = datetime.fromtimestamp(max(each.finished_at for each in design.trials))
    return pair, single


def _params(space: SearchSpace, trial: Trial) -> tuple[dict[str, object], dict[str, CategoricalDistribution]]:
    """The fields that the space offers a choice of and that take effect in this design; none of one outside it."""
    from optuna.distributions import CategoricalDistribution

    genotype = space.locate(trial.design)
    if isinstance(genotype, str):
        return {}, {}
    params: dict[str, object] = {}
    distributions = {}
    for part, (values, choices) in enumerate(zip(genotype, space.structure.choices)):
        for field, value in values.items():
            if len(choices.get(field, ())) > 1:
                name = place_of(part, len(genotype)) + field
                params[name], distributions[name] = value, CategoricalDistribution(choices[field])
    return params, distributions


def _attributes(result: StudyResult, design: _Design) -> dict[str, object]:
    """What the trial's page shows besides."""
    first = design.first
    key = first.architecture_id
    return dict(_given({
        "design": key,
        "name": first.label,
        "kind": first.origin.kind.value,
        "proposed by": first.origin.how,
        "latency is": "measured" if key in result.measured_ms else "predicted" if key in result.predictions else None,
        "MACs": first.origin.cost.macs if first.origin.cost else None,
        "params": first.origin.cost.params if first.origin.cost else None,
        "final score, test images": next((score for level, score in design.scores.items() if level.final), None),
        "failed": "; ".join(sorted({trial.reason for trial in design.trials if trial.reason})) or None,
        "nasbench seeds": ", ".join(f"{trial.level.name}: {trial.seed}" for trial in design.trials),
    }))  # fmt: skip


def _given(content: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    return ((key, value) for key, value in content.items() if value is not None)
