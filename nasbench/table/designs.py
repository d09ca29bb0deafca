"""The designs of a table: stratified by cost and kind of block, half of them children of published networks.

Random members of a space are mostly poor (at a first rung 32 had a mean accuracy of 25 %, 88 children of published
networks 38 %), and a table of children alone covers little of the space. So every other design is drawn at random.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from nasbench.arch.architecture import Architecture
from nasbench.costs.analytic import cost
from nasbench.costs.budget import COST_METRICS, Budget
from nasbench.errors import UserError
from nasbench.space import RejectionCounter, SearchSpace
from nasbench.strategies.relatives import child_of
from nasbench.table.rows import Origin

OCTAVES = 4  # of cost below the budget; the last one holds all that is smaller
CANDIDATES = 8  # for a place, of which one of the rarest kind takes it; the others are kept for later ones
ENOUGH = 24  # draws for one place, after which a single candidate is enough
ATTEMPTS = 300  # draws for one place, after which an octave counts as exhausted
ORIGINS: tuple[Origin, ...] = ("random", "bred")


def kind_of(arch: Architecture) -> str:
    """The most frequent block of a design, by depth."""
    layers: Counter[str] = Counter()
    for stage in arch.stages:
        layers[stage.block] += stage.depth
    return layers.most_common(1)[0][0]


@dataclass(frozen=True)
class Octaves:
    """Cost below a budget in octaves: 0 is the upper half, the last one includes all smaller costs."""

    budget: Budget
    classes: int

    def __post_init__(self) -> None:
        if self.budget.metric not in COST_METRICS:
            raise UserError(
                f"budget {self.budget.text!r}: designs of a table are spread over what arithmetic gives; write it in "
                "FLOP, MAC, params, B or activations, for example 2GFLOP"
            )

    def of(self, arch: Architecture) -> int | None:
        """The octave of a design; None where it exceeds the budget."""
        value = cost(arch, self.classes).to_dict()[self.budget.metric]
        if value > self.budget.limit:
            return None
        return min(OCTAVES - 1, int(math.log2(self.budget.limit / max(1, value))))

    def upper(self, octave: int) -> Budget:
        """The budget for a draw of this octave."""
        limit = self.budget.limit / 2**octave
        return replace(self.budget, limit=limit, text=self.budget.show(limit))


@dataclass
class Stratified:
    """Draws designs with equal shares of the octaves of cost and, as far as possible, of the kinds within them.

    `known` designs are never drawn; `counts` holds the number of designs in each cell (octave, kind).
    """

    space: SearchSpace
    octaves: Octaves
    members: Sequence[Architecture]  # published ones, whose children are drawn
    rng: np.random.Generator
    known: set[str] = field(default_factory=set)
    counts: Counter[tuple[int, str]] = field(default_factory=Counter)
    rejections: dict[int, RejectionCounter] = field(default_factory=lambda: defaultdict(RejectionCounter))
    waiting: dict[tuple[int, Origin], dict[str, Architecture]] = field(default_factory=lambda: defaultdict(dict))

    def hold(self, designs: Iterable[Architecture]) -> None:
        """Count designs that are there already."""
        for arch in designs:
            self.known.add(arch.id)
            octave = self.octaves.of(arch)
            if octave is not None:
                self.counts[octave, kind_of(arch)] += 1

    def draw(self) -> Iterator[tuple[Architecture, Origin]]:
        """New designs, until all octaves are exhausted."""
        left = list(range(OCTAVES))
        while left:
            octave = min(left, key=lambda each: (self._filled(each), each))
            origin = self._origin(octave)
            if origin is None:
                left.remove(octave)
                continue
            candidates = self.waiting[octave, origin].values()
            arch = min(candidates, key=lambda each: self.counts[octave, kind_of(each)])
            self.counts[octave, kind_of(arch)] += 1
            self.known.add(arch.id)
            for each in ORIGINS:
                self.waiting[octave, each].pop(arch.id, None)
            yield arch, origin

    def _origin(self, octave: int) -> Origin | None:
        """The origin of the octave's next design: random and bred in turn, as far as there are any; else None."""
        turn = self._filled(octave) % len(ORIGINS)
        return next((each for each in ORIGINS[turn:] + ORIGINS[:turn] if self._fill(octave, each)), None)

    def _filled(self, octave: int) -> int:
        return sum(count for (place, _), count in self.counts.items() if place == octave)

    def _fill(self, octave: int, origin: Origin) -> bool:
        """Draw candidates for a place in this octave -> whether there are any. Those of other octaves are kept."""
        own = self.waiting[octave, origin]
        for attempt in range(ATTEMPTS):
            if len(own) >= CANDIDATES or (own and attempt >= ENOUGH):
                break
            arch = self._child(octave) if origin == "bred" else self._random(octave)
            if arch is None:
                break
            place = self.octaves.of(arch)
            if place is not None and arch.id not in self.known:
                self.waiting[place, origin][arch.id] = arch
        return bool(own)

    def _random(self, octave: int) -> Architecture | None:
        """None where the space has no design so small."""
        limits = (self.octaves.upper(octave),)
        try:
            return self.space.sample(self.rng, limits, self.octaves.classes, self.rejections[octave])
        except UserError:
            return None

    def _child(self, octave: int) -> Architecture | None:
        """None where the space has no published member within the budget."""
        if not self.members:
            return None
        near = [arch for arch in self.members if abs((self.octaves.of(arch) or 0) - octave) <= 1]
        return child_of(near or self.members, self.space, self.rng)


def spread(
    accuracies: Mapping[str, float], places: Mapping[str, int], count: int, first: Iterable[str] = ()
) -> list[str]:
    """Ids of `count` designs, spread over accuracy and cost; those of `first` that have an accuracy come first.

    Designs are ranked by accuracy and cut into `count` groups, and of each group one of the octave (`places`) with the
    fewest chosen so far is taken.
    """
    chosen = [key for key in first if key in accuracies][:count]
    taken = Counter(places[key] for key in chosen)
    ranked = sorted((key for key in accuracies if key not in set(chosen)), key=lambda key: (accuracies[key], key))
    groups = np.array_split(np.array(ranked, dtype=object), max(1, min(count - len(chosen), len(ranked))))
    for group in groups[: count - len(chosen)]:
        if len(group):
            key = min(group, key=lambda each: taken[places[each]])
            taken[places[key]] += 1
            chosen.append(str(key))
    return chosen
