"""Designs that a table expects most of within budgets, bred by evolution on its surrogate, without any training."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nasbench.arch.architecture import Architecture
from nasbench.costs.budget import Budget, device_metrics, on_cost, parse_budgets
from nasbench.errors import UserError
from nasbench.latency.names import THIS_MACHINE
from nasbench.latency.profile import DeviceProfile, load_device
from nasbench.progress import Progress, ProgressState, Silent
from nasbench.space import SearchSpace
from nasbench.space.fixed import published_members
from nasbench.space.limits import Limits
from nasbench.space.shipped import load_space
from nasbench.strategies.relatives import child_of
from nasbench.study.predicted import Predicted, predict
from nasbench.table.loading import load_table
from nasbench.table.rows import LONG_RUNG
from nasbench.table.table import Table

CLASSES = 1000  # with which costs are counted
BUDGETS = ("1GFLOP",)
LEAST_PARENTS = 20  # below which random members of the space join the table's own designs
PARENTS = 50
GENERATIONS = 6
CHILDREN = 400  # of a generation
CHANGES = 2  # fields changed in a child, at most


class Suggestion(NamedTuple):
    """A design with its expected accuracy in [0, 1], the standard deviation of that, and where there is a profile of
    the device its predictions."""

    arch: Architecture
    accuracy: float
    std: float
    predicted: Predicted | None

    @property
    def blocks(self) -> tuple[tuple[str, bool], ...]:
        """Of each stage, and whether it attends."""
        return tuple((stage.block, stage.attends) for stage in self.arch.stages)


class Suggestions(NamedTuple):
    """`designs`, best first; `published`: the networks of the space within the same budgets, best first; `when`: the
    training after which accuracies are expected; `evaluated`: how many designs were looked at."""

    designs: list[Suggestion]
    published: list[Suggestion]
    table: str
    when: str
    evaluated: int


def suggest(
    budgets: str | Budget | Iterable[str | Budget] = BUDGETS, count: int = 5, *, space: str | Path = "metablock",
    table: str | Path | None = None, device: str = THIS_MACHINE, seed: int = 0, progress: Progress | None = None,
) -> Suggestions:  # fmt: skip
    """`count` designs of `space` within `budgets` of which the table (by default the space's own) expects most after
    long training, or where it has none at its highest rung; no two of them have the same sequence of blocks.

    Evolution starts from the table's designs and maximises the surrogate's mean. Latency, memory and energy are those
    that the profile `device` predicts; budgets on them bind on the upper ends of its intervals, as in a search. Without
    such budgets this machine's profile may be missing. UserError where an argument is invalid or nothing fits.
    """
    found, progress = load_space(space), progress or Silent()
    limits, known = parse_budgets(budgets), load_table(table or found.name)
    rung = LONG_RUNG if LONG_RUNG in known.rungs else max(known.rungs, default=0)
    progress.update(ProgressState("choosing designs"))
    breeding = _Breeding(found, known, rung, limits, _profile(device, limits, progress))
    rng = np.random.default_rng(seed)
    breeding.start(rng)
    for _ in range(GENERATIONS):
        breeding.breed(rng)
    networks = breeding.told(list(published_members(found, on_cost(limits), CLASSES).values()))
    when = "long training" if rung == LONG_RUNG else f"rung {rung}"
    return Suggestions(_unlike(breeding.best, count), _ranked(networks), known.source, when, len(breeding.kept))


def _profile(device: str, budgets: Sequence[Budget], progress: Progress) -> DeviceProfile | None:
    """None where this machine has none that can be read and no budget needs one."""
    try:
        profile = load_device(device)
        profile.require_metrics(device_metrics(budgets))
        return profile
    except UserError as error:
        if device != THIS_MACHINE or device_metrics(budgets):
            raise
        progress.note(f"without latencies: {error}")
        return None


@dataclass
class _Breeding:
    """Evolution on a table's expectations within budgets; `kept`: the designs that meet these, by id."""

    space: SearchSpace
    table: Table
    rung: int
    budgets: tuple[Budget, ...]
    profile: DeviceProfile | None
    kept: dict[str, Suggestion] = field(default_factory=dict)

    def start(self, rng: np.random.Generator) -> None:
        """Keep the table's designs that are in the space and within the budgets; random ones where they are few."""
        self._keep(arch for arch in self.table.current.architectures.values() if self.space.contains(arch))
        while len(self.kept) < LEAST_PARENTS:
            before = len(self.kept)
            self._keep(self.space.sample(rng, self.budgets, CLASSES, predict=self._upper) for _ in range(LEAST_PARENTS))
            if len(self.kept) == before:  # the space has hardly more
                return

    def breed(self, rng: np.random.Generator) -> None:
        """Keep those children of the best that are within the budgets."""
        parents = [each.arch for each in self.best[:PARENTS]]
        self._keep(child_of(parents, self.space, rng, CHANGES) for _ in range(CHILDREN))

    @property
    def best(self) -> list[Suggestion]:
        return _ranked(self.kept.values())

    def told(self, archs: Sequence[Architecture]) -> list[Suggestion]:
        """Those of `archs` within the budgets, with what is expected of them."""
        predicted = {}
        if self.profile is not None:
            predicted = predict(self.profile, archs, CLASSES, device_metrics(self.budgets))
        able = [arch for arch in archs if self._limits(predicted).violation(arch) == 0]
        if not able:
            return []
        mean, std = self.table.predict(able, self.rung)
        return [
            Suggestion(arch, float(mean[place]), float(std[place]), predicted.get(arch.id))
            for place, arch in enumerate(able)
        ]

    def _keep(self, archs: Iterable[Architecture]) -> None:
        new = {arch.id: arch for arch in archs if arch.id not in self.kept}
        self.kept |= {each.arch.id: each for each in self.told(list(new.values()))}

    def _limits(self, predicted: dict[str, Predicted]) -> Limits:
        return Limits(self.budgets, CLASSES, lambda arch: predicted[arch.id].upper)

    def _upper(self, arch: Architecture) -> dict[str, float]:
        assert self.profile is not None  # asked for budgets on the device alone, which need one
        return predict(self.profile, [arch], CLASSES, device_metrics(self.budgets))[arch.id].upper


def _ranked(several: Iterable[Suggestion]) -> list[Suggestion]:
    return sorted(several, key=lambda each: (-each.accuracy, each.arch.id))


def _unlike(ranked: Sequence[Suggestion], count: int) -> list[Suggestion]:
    """The best `count` of different sequences of blocks: children of one design differ by little."""
    first: dict[tuple[tuple[str, bool], ...], Suggestion] = {}
    for each in ranked:
        first.setdefault(each.blocks, each)
    return list(first.values())[:count]
