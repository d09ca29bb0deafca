"""Which designs of a study to measure on its device: those where a wrong latency prediction would change a decision.

These are the designs on the front and near it, and those rejected by a latency budget because of the width of their
prediction interval alone. A search measures them on its own machine; a pack takes them to another device, whose profile
is then extended by the measurements.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from nasbench.arch.architecture import Architecture
from nasbench.costs.analytic import cost
from nasbench.costs.budget import Budget, on_cost, total_violation
from nasbench.errors import UserError
from nasbench.latency.names import THIS_MACHINE
from nasbench.latency.profile import DeviceProfile
from nasbench.pareto import best_first
from nasbench.report.results import StudyResult
from nasbench.space import SearchSpace

AT_BUDGET_SHARE = 4  # every fourth design that is not on the front lies at the latency budget, if there is one
DRAWS = 200  # mutations drawn to find designs at the budget


def designs_for_pack(result: StudyResult, profile: DeviceProfile, count: int, seed: int = 0) -> list[Architecture]:
    """Up to `count` designs of the study whose latency on `profile`'s device matters: first those not measured there.

    UserError where nothing is trained yet, or not for that device.
    """
    _require_device(result, profile)
    ordered = in_order_of_interest(result.with_measurements(profile), profile, count, seed)
    if not ordered:
        raise UserError(f"{result.folder}: none of its trials is complete yet; go on with `nasbench resume` first")
    measured = result.with_measurements(profile).measured_ms
    return sorted(ordered, key=lambda arch: arch.id in measured)[:count]


def in_order_of_interest(result: StudyResult, profile: DeviceProfile, count: int, seed: int = 0) -> list[Architecture]:
    """All trained designs: the front, then by Pareto rank from the highest rung down; among the first `count` also
    untrained ones that a latency budget rejects because of the width of their interval alone."""
    result = result.with_predictions(profile)
    front, near_front = [row.arch for row in result.front()], _by_rank(result)
    on_front = {arch.id for arch in front}
    others = [arch for arch in near_front if arch.id not in on_front]
    wanted = -(-max(count - len(front), 0) // AT_BUDGET_SHARE)
    at_budget = turned_away(result, profile, near_front, wanted, np.random.default_rng(seed)) if near_front else ()
    for place, arch in enumerate(at_budget, 1):
        others.insert(AT_BUDGET_SHARE * place - 1, arch)
    return [*front, *others]


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


def turned_away(
    result: StudyResult, profile: DeviceProfile, near: Sequence[Architecture], count: int, rng: np.random.Generator
) -> Iterator[Architecture]:
    """Up to `count` mutations of `near` that are predicted within the latency budget, with intervals ending beyond."""
    study = result.study
    limit = min((b.limit for b in study.budgets if b.metric == "latency_ms"), default=None)
    if limit is None:
        return
    space = SearchSpace.from_dict(study.space.content, study.space.name)
    seen = {trial.architecture_id for trial in result.trials}
    for draw in range(DRAWS):
        if count == 0:
            return
        parent = near[draw % len(near)]
        arch = space.mutate(parent, rng) if space.contains(parent) else space.sample(rng)
        if arch.id in seen or not _fits(arch, study.budgets, study.classes):
            continue
        seen.add(arch.id)
        predicted = profile.predict([arch], study.classes)
        if predicted.latency_ms[0] <= limit < predicted.high_ms[0]:
            count -= 1
            yield arch


def _fits(arch: Architecture, budgets: Sequence[Budget], classes: int) -> bool:
    """Whether it meets the budgets on analytic cost."""
    return total_violation(on_cost(budgets), cost(arch, classes).to_dict()) == 0


def _by_rank(result: StudyResult) -> list[Architecture]:
    """Every trained design once: those of higher rungs first, within a rung by Pareto rank."""
    metric = result.study.objective.metric
    complete = [trial for trial in result.trials if trial.complete and trial.level.rung >= 0]
    found: dict[str, Architecture] = {}
    for level in sorted({trial.level for trial in complete}, reverse=True):
        trials = [trial for trial in complete if trial.level == level]
        losses = [(1 - trial.metric(metric), result.latency_ms(trial.architecture_id)) for trial in trials]
        for index in best_first(losses):
            found.setdefault(trials[index].architecture_id, trials[index].design)
    return list(found.values())


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
