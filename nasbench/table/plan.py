"""The trainings of a collection, the most valuable rows first.

A part of a plan is a rung, a number of designs and a number of seeds, with the published members of the space first.
The first part draws designs; later ones choose among these, spread over accuracy and cost.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple

from nasbench.arch.architecture import Architecture
from nasbench.errors import UserError
from nasbench.study.trials import Kind, Trial
from nasbench.table.designs import Stratified, spread
from nasbench.table.rows import FOR_TABLE, LONG_RUNG, Origin

FIRST_SEED = 101  # searches and audits use others
# One design in so many is trained: with more seeds, at further rungs, for long.
REPLICATED, SECOND, LONG_SHARE = 10, 8, 10
SECOND_SEEDS = 2
MOST = 10**6  # designs and seeds


class Part(NamedTuple):
    """A rung, and the numbers of designs, beside the published members, and of seeds each."""

    rung: int
    designs: int
    seeds: int


class Wanted(NamedTuple):
    """One training of a plan."""

    arch: Architecture
    rung: int
    seed: int
    origin: Origin


def whole_plan(designs: int, seeds: int, top: int) -> list[Part]:
    """All designs once at the first rung; shares of them with more seeds, at the rungs up to `top`, and for long."""

    def share(one_in: int) -> int:
        return min(designs, max(1, designs // one_in))

    parts = [Part(0, designs, 1), Part(0, share(REPLICATED), seeds)]
    parts += [Part(rung, share(SECOND), min(SECOND_SEEDS, seeds)) for rung in range(1, top + 1)]
    return [*parts, Part(LONG_RUNG, share(LONG_SHARE), 1)]


def check_counts(designs: int, seeds: int) -> None:
    """Raise UserError where a plan cannot have so many designs or seeds."""
    if not 0 <= designs <= MOST:
        raise UserError(f"designs = {designs}: must be from 0 (published members alone) to {MOST:,}")
    if not 1 <= seeds <= MOST:
        raise UserError(f"seeds = {seeds}: must be from 1 to {MOST:,}")


@dataclass(frozen=True)
class Held:
    """The trials of a collection so far."""

    trials: Sequence[Trial]

    def designs(self) -> dict[str, Trial]:
        """Id -> first trial of each design that is no published one."""
        found: dict[str, Trial] = {}
        for trial in self.trials:
            if trial.origin.kind == Kind.SEARCHED:
                found.setdefault(trial.architecture_id, trial)
        return found

    def accuracies(self) -> dict[str, float]:
        """Id -> mean accuracy at the lowest rung at which each of these designs was trained."""
        lowest: dict[str, list[Trial]] = defaultdict(list)
        for trial in self.trials:
            if trial.complete and trial.origin.kind == Kind.SEARCHED:
                lowest[trial.architecture_id].append(trial)
        return {key: _mean_at_the_lowest(trials) for key, trials in lowest.items()}

    def begun(self, fidelity: str, seeds: int) -> list[str]:
        """Ids of the designs with at least so many trainings at a fidelity, those with most first."""
        counts: dict[str, int] = defaultdict(int)
        for trial in self.trials:
            if trial.fidelity.id == fidelity and trial.origin.kind == Kind.SEARCHED:
                counts[trial.architecture_id] += 1
        return sorted((key for key, count in counts.items() if count >= seeds), key=lambda key: -counts[key])


def trainings_of(
    given: Sequence[Architecture], members: Sequence[Architecture], held: Held, part: Part
) -> list[Wanted]:
    """The trainings of designs that a user names, all seeds of one before the next. Published members, and designs that
    are in the collection, keep their origin."""
    published, there = {arch.id: arch for arch in members}, held.designs()

    def known(arch: Architecture) -> tuple[Architecture, Origin]:
        if arch.id in published:
            return published[arch.id], "published"
        if arch.id in there:
            return there[arch.id].design, _origin_of(there[arch.id])
        return arch, "given"

    designs = {arch.id: known(arch) for arch in given}
    seeds = range(FIRST_SEED, FIRST_SEED + part.seeds)
    return [Wanted(arch, part.rung, seed, origin) for arch, origin in designs.values() for seed in seeds]


def _mean_at_the_lowest(trials: Sequence[Trial]) -> float:
    samples = min(trial.fidelity.samples for trial in trials)
    return fmean(trial.metric("accuracy") for trial in trials if trial.fidelity.samples == samples)


class Planner:
    """The trainings of a plan one by one; None where running ones must end before the next can be chosen.

    `held` gives the trials so far, `fidelity` the id of a rung's fidelity. Designs that are in the collection count
    before new ones are drawn, so that a stopped plan is resumed.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        members: Sequence[Architecture],
        drawing: Stratified,
        held: Callable[[], Held],
        fidelity: Callable[[int], str],
    ) -> None:
        self.parts, self.members, self.drawing = parts, members, drawing
        self.held, self.fidelity = held, fidelity
        self._origins: dict[str, Origin] = {}

    def trainings(self) -> Iterator[Wanted | None]:
        for index, part in enumerate(self.parts):
            while index and any(not trial.finished for trial in self.held().trials):
                yield None
            yield from self._of_part(part)

    def _of_part(self, part: Part) -> Iterator[Wanted]:
        seeds = range(FIRST_SEED, FIRST_SEED + part.seeds)
        yield from (Wanted(arch, part.rung, seed, "published") for seed in seeds for arch in self.members)
        designs = []
        for arch, origin in self._designs(part):
            designs.append((arch, origin))
            yield Wanted(arch, part.rung, FIRST_SEED, origin)
        yield from (Wanted(arch, part.rung, seed, origin) for seed in seeds[1:] for arch, origin in designs)

    def _designs(self, part: Part) -> Iterator[tuple[Architecture, Origin]]:
        """The part's designs: those in the collection, then new ones."""
        held = self.held()
        there = held.designs()
        if part.rung == 0 and part.seeds == 1:
            chosen = list(there)[: part.designs]
        else:
            chosen = self._spread(part, held)
        yield from ((there[key].design, _origin_of(there[key])) for key in chosen)
        self.drawing.hold(trial.design for key, trial in there.items() if key not in self.drawing.known)
        lacking = part.designs - len(chosen)
        if lacking > 0:
            for _, made in zip(range(lacking), self.drawing.draw()):
                yield made

    def _spread(self, part: Part, held: Held) -> list[str]:
        """Designs spread over accuracy and cost; those with which the part has begun come first."""
        octaves, there = self.drawing.octaves, held.designs()
        places = {key: place for key in there if (place := octaves.of(there[key].design)) is not None}
        accuracies = {key: value for key, value in held.accuracies().items() if key in places}
        seeds = 2 if part.rung == 0 else 1  # all designs have one training at the first rung
        begun = held.begun(self.fidelity(part.rung), seeds)
        return spread(accuracies, places, part.designs, begun)


def _origin_of(trial: Trial) -> Origin:
    how = trial.origin.how
    return how if how in FOR_TABLE else "searched"  # type: ignore[return-value]
