"""Where the scores come from: a study's trials, a table's trainings, or designs drawn from the space."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from nasbench.arch.architecture import Architecture
from nasbench.costs.analytic import cost
from nasbench.errors import UserError
from nasbench.importance.estimate import Importances, importances
from nasbench.importance.levers import By, code_of, levers_of
from nasbench.latency.profile import DeviceProfile
from nasbench.report.results import StudyResult
from nasbench.space import SearchSpace
from nasbench.space.genotype import Genotype
from nasbench.study.objective import SUPERVISED
from nasbench.study.trials import Level
from nasbench.table.table import VALIDATION, Table, Training


@dataclass(frozen=True)
class Scored:
    """Designs with one figure each. `score` says what it is and how it came about."""

    score: str
    designs: tuple[Architecture, ...]
    values: tuple[float, ...]


def importances_of(space: SearchSpace, scored: Scored, by: By = "field", draws: int | None = None) -> Importances:
    """What matters for a score in a space; designs outside it do not count."""
    located = [(space.locate(arch), value) for arch, value in zip(scored.designs, scored.values)]
    inside: list[tuple[Genotype, float]] = [(found, value) for found, value in located if not isinstance(found, str)]
    if not inside:
        raise UserError(f"{scored.score}: none of {len(located)} designs lies in {space.label}; name their own space")
    genotypes = [genotype for genotype, _ in inside]
    code, values = code_of(space, genotypes), np.array([value for _, value in inside])
    return importances(code, values, levers_of(space, genotypes, by), scored.score, draws)


def of_study(result: StudyResult, table: Table | None = None) -> Scored:
    """The objective's score at the lowest rung, where every design was trained; seeds averaged. With the designs of a
    table that were trained just so, on the same images."""
    metric = result.study.objective.metric
    found: dict[str, list[float]] = defaultdict(list)
    designs: dict[str, Architecture] = {}
    for trial in result.trials:
        if trial.complete and trial.level == Level(0):
            found[trial.architecture_id].append(trial.metric(metric))
            designs[trial.architecture_id] = trial.design
    known = len(found)
    for each in _alike(result, table) if table is not None and known else ():
        found[each.architecture.id].append(each.accuracy)
        designs[each.architecture.id] = each.architecture
    added = f", with {len(found) - known} designs of the table {table.source}" if table and len(found) > known else ""
    return _scored(f"{result.study.objective.noun} at rung 0, measured{added}", designs, found)


def _alike(result: StudyResult, table: Table) -> list[Training]:
    """The trainings of a table that are done and scored as the study's lowest rung is."""
    if result.study.objective != SUPERVISED:
        return []
    first = next(trial for trial in result.trials if trial.complete and trial.level == Level(0))
    rows = table.trainings(split=VALIDATION)
    return [each for each in rows if (each.row.fidelity, each.row.data_id) == (first.fidelity.id, first.data)]


def latency_of_study(result: StudyResult) -> Scored:
    """The logarithm of the latency of every design that it is known of, measured or predicted."""
    known = result.predictions.keys() | result.measured_ms.keys()
    designs = {trial.architecture_id: trial.design for trial in result.trials if trial.architecture_id in known}
    found = {key: [float(np.log(result.latency_ms(key)))] for key in designs}
    return _scored("log latency, measured or predicted", designs, found)


def of_table(table: Table) -> Scored:
    """The validation accuracy at the rung, images and numerics that most trainings share; seeds averaged."""
    groups: dict[tuple[str, ...], list[Training]] = defaultdict(list)
    for each in table.trainings(split=VALIDATION):
        groups[(each.row.fidelity, each.row.data_id, each.row.numerics)].append(each)
    if not groups:
        raise UserError(f"{table.source}: no training that counts is scored on validation images; collect some")
    largest = max(groups.values(), key=len)
    found: dict[str, list[float]] = defaultdict(list)
    for each in largest:
        found[each.architecture.id].append(each.accuracy)
    designs = {each.architecture.id: each.architecture for each in largest}
    first = largest[0].row
    return _scored(f"accuracy after {first.samples:,} samples of {first.data}, measured", designs, found)


def drawn_designs(space: SearchSpace, count: int, seed: int = 0) -> list[Architecture]:
    """Random members, whatever they cost."""
    rng = np.random.default_rng(seed)
    return [space.draw(rng) for _ in range(count)]


def macs_of(designs: Iterable[Architecture]) -> Scored:
    """The logarithm of the multiply-adds of the deploy form, exact."""
    archs = tuple(designs)
    return Scored("log MACs, analytic", archs, tuple(float(np.log(cost(arch).macs)) for arch in archs))


def latency_of(designs: Sequence[Architecture], profile: DeviceProfile) -> Scored:
    """The logarithm of the latency that a profile predicts."""
    found = profile.predict(list(designs), profile.num_classes).latency_ms
    told = f"log latency on {profile.name}, predicted"
    return Scored(told, tuple(designs), tuple(float(np.log(value)) for value in found))


def _scored(score: str, designs: Mapping[str, Architecture], found: Mapping[str, Sequence[float]]) -> Scored:
    return Scored(score, tuple(designs[key] for key in found), tuple(fmean(values) for values in found.values()))
