"""A study whose device is not this machine: which of its designs to measure there.

They travel in a pack; what comes back joins the device's profile, where the study reads it
(`StudyResult.with_measurements`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from nasbench.arch.architecture import Architecture
from nasbench.costs.budget import Budget, total_violation
from nasbench.errors import UserError
from nasbench.latency.names import THIS_MACHINE
from nasbench.pareto import best_first
from nasbench.report.results import StudyResult, architecture_of, level
from nasbench.space import SearchSpace

if TYPE_CHECKING:
    from nasbench.latency.profile import DeviceProfile

BUDGET_SHARE = 4  # of what is not on the front every fourth design lies at the budget, if it is in milliseconds
DRAWS = 200  # mutations that are looked at for designs which a budget turned away


def designs_to_measure(result: StudyResult, profile: DeviceProfile, count: int, seed: int = 0) -> list[Architecture]:
    """Up to `count` designs of the study whose latency on `profile`'s device matters: first those not measured there.

    The front, then by Pareto rank from the highest rung down; among them designs that a budget in milliseconds turns
    away for the width of their interval alone. UserError where nothing is trained yet, or not for that device.
    """
    _require_device(result, profile)
    result = result.with_measurements(profile).with_predictions(profile)
    front = [row.arch for row in result.front()]
    near_front = _by_rank(result)
    if not near_front:
        raise UserError(f"{result.folder}: none of its trials is complete yet; go on with `nasbench resume` first")
    others = [arch for arch in near_front if arch.id not in {member.id for member in front}]
    wanted = -(-max(count - len(front), 0) // BUDGET_SHARE)
    at_budget = _turned_away(result, profile, near_front, wanted, np.random.default_rng(seed))
    for place, arch in enumerate(at_budget, 1):
        others.insert(BUDGET_SHARE * place - 1, arch)
    return sorted([*front, *others], key=lambda arch: arch.id in result.measured_ms)[:count]


def advice(result: StudyResult) -> list[str]:
    """One line, where latencies on the front are predictions that this machine cannot check."""
    device, front = result.study.device, result.front()
    guessed = [row for row in front if row.latency_measured is None]
    if device == THIS_MACHINE or not guessed:
        return []
    share = "the latencies" if len(guessed) == len(front) else f"{len(guessed)} of the {len(front)} latencies"
    return [
        f"On the front {share} are predictions for {device}; measure there: "
        f"`nasbench latency pack {device} --study {result.folder}`"
    ]


def _require_device(result: StudyResult, profile: DeviceProfile) -> None:
    study = result.study
    if profile.name != study.device:
        raise UserError(
            f"{result.folder}: a study for {study.device!r}, not for {profile.name!r}; its report would not show what "
            "is measured there: give its own device, or search again with --device"
        )
    if study.device == THIS_MACHINE:
        raise UserError(f"{result.folder}: a study for this machine measures its designs itself; `nasbench resume` it")
    if profile.num_classes != study.classes:
        raise UserError(
            f"{result.folder}: its networks have {study.classes} classes, those measured on {study.device!r} "
            f"{profile.num_classes}; the two have no common profile: search with --classes {profile.num_classes}"
        )


def _by_rank(result: StudyResult) -> list[Architecture]:
    """Every trained design once: those of higher rungs first, within a rung by Pareto rank."""
    metric = result.study.objective.metric
    complete = [trial for trial in result.trials if trial.state == "complete" and level(trial)[0] >= 0]
    found: dict[str, Architecture] = {}
    for at in sorted({level(trial) for trial in complete}, reverse=True):
        trials = [trial for trial in complete if level(trial) == at]
        losses = [(1 - float(trial.metrics[metric]), _latency_ms(result, trial.architecture_id)) for trial in trials]
        for index in best_first(losses):
            found.setdefault(trials[index].architecture_id, architecture_of(trials[index]))
    return list(found.values())


def _latency_ms(result: StudyResult, key: str) -> float:
    measured = result.measured_ms.get(key)
    return float(result.predictions[key]["latency_ms"]) if measured is None else measured


def _turned_away(
    result: StudyResult, profile: DeviceProfile, near: Sequence[Architecture], count: int, rng: np.random.Generator
) -> Iterator[Architecture]:
    """Designs beside `near` that are predicted within the budget in milliseconds, with an interval that ends beyond."""
    study = result.study
    limit = min((b.limit for b in study.parsed_budgets if b.metric == "latency_ms"), default=None)
    if limit is None:
        return
    space = SearchSpace.from_dict(study.space.content, study.space.name)
    seen = {trial.architecture_id for trial in result.trials}
    for draw in range(DRAWS):
        if count == 0:
            return
        parent = near[draw % len(near)]
        arch = space.mutate(parent, rng) if space.contains(parent) else space.sample(rng)
        if arch.id in seen or not _fits(arch, study.parsed_budgets, study.classes):
            continue
        seen.add(arch.id)
        predicted = profile.predict([arch], study.classes)
        if predicted.latency_ms[0] <= limit < predicted.high_ms[0]:
            count -= 1
            yield arch


def _fits(arch: Architecture, budgets: Sequence[Budget], classes: int) -> bool:
    """Whether it meets the budgets that arithmetic alone can tell."""
    from nasbench.costs.analytic import cost

    known = cost(arch, classes).to_dict()
    return total_violation([budget for budget in budgets if budget.metric in known], known) == 0
