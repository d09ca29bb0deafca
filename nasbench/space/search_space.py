"""A search space: an architecture file in which some values are lists, plus constraints across its stages."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from nasbench.arch.architecture import Architecture
from nasbench.arch.parts import Stem
from nasbench.costs.budget import Budget
from nasbench.errors import UserError
from nasbench.files import read_toml
from nasbench.space.checks import check_stages
from nasbench.space.compose import Composer, Genotype, Pick, first_of, random_pick
from nasbench.space.encoding import Column, columns_of
from nasbench.space.ends import distinct_heads, distinct_stems, express
from nasbench.space.file import Choices, SpaceFile, read_space
from nasbench.space.limits import Limits, Predict, RejectionCounter, draw_within
from nasbench.space.locate import locate
from nasbench.space.members import genotypes
from nasbench.space.paths import Paths, State
from nasbench.space.rules import parse_rules
from nasbench.space.slots import Slot

__all__ = ["RejectionCounter", "SearchSpace"]
Seed = np.random.Generator | int
FUNCTIONLESS = ("pool",)  # fields that change only what fvcore counts: as moves they would train one network twice


class SearchSpace:
    """The architectures that a space's file describes. Equal files give equal answers to equal seeds.

    A field without effect (the patch of a stage that does not attend) is no choice, and settings that build the same
    network count once. `rng` is a numpy Generator or a seed wherever it is asked for.
    """

    def __init__(self, file: SpaceFile, source: str = "search space") -> None:
        self.file, self.source = file, source
        self.rules = parse_rules(file.constraints, source)
        count = len(file.stages)
        self.slots = tuple(Slot(i, count, choices, self.rules) for i, choices in enumerate(file.stages))
        self.stems = distinct_stems(file.stem)
        self.paths = Paths(self.slots, self._endings)
        self._heads: dict[tuple[int, int], list[dict[str, Any]]] = {}
        if not any(self.paths.weight(0, self.start(stem)) for stem in self.stems):
            raise UserError(self._why_empty())

    @classmethod
    def from_file(cls, path: Path | str) -> SearchSpace:
        """Read a .toml file; one without a name gets the file's stem."""
        return cls.from_dict({"name": Path(path).stem, **read_toml(path)}, str(path))

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], source: str = "search space") -> SearchSpace:
        """Validate `content`; an error is a UserError naming `source`, key and value."""
        file = read_space(content, source)
        check_stages(file, source)
        return cls(file, source)

    def to_dict(self) -> dict[str, Any]:
        return self.file.to_dict()

    @property
    def name(self) -> str:
        return self.file.name

    @property
    def id(self) -> str:
        """16 hexadecimal digits of the content, the name excluded."""
        return self.file.id

    @property
    def label(self) -> str:
        return self.name or self.id[:8]

    def __reduce__(self) -> tuple[Any, ...]:
        return SearchSpace, (self.file, self.source)  # a copy in another process starts without what is kept here

    def __repr__(self) -> str:
        return f"SearchSpace({self.label!r}, {len(self.slots)} stages)"

    # What the stages need to know of the rest.

    def start(self, stem: Mapping[str, Any]) -> State:
        return State(stem["channels"], Stem(**stem).total_stride, True)

    def heads(self, channels: int, tokens: int) -> list[dict[str, Any]]:
        """The different heads after this many channels and learned tokens, only with the fields that take effect."""
        key = (channels, tokens)
        if key not in self._heads:
            self._heads[key] = distinct_heads(self.file.head, *key)
        return self._heads[key]

    def resolutions_for(self, stride: int) -> tuple[int, ...]:
        if not all(rule.total_stride(stride) for rule in self.rules):
            return ()
        return tuple(resolution for resolution in self.file.resolution if resolution % stride == 0)

    def _endings(self, state: State) -> int:
        return len(self.resolutions_for(state.stride)) * len(self.heads(state.channels, state.tokens))

    # Members.

    @cached_property
    def _views(self) -> tuple[Paths, ...]:
        """Walks that tell every network apart: one for each resolution where its maps decide which settings differ."""
        if not any(slot.merges for slot in self.slots):
            return (self.paths,)
        return tuple(Paths(self.slots, self._endings_at(side), side) for side in self.file.resolution)

    def _endings_at(self, resolution: int) -> Callable[[State], int]:
        def endings(state: State) -> int:
            fits = resolution in self.resolutions_for(state.stride)
            return len(self.heads(state.channels, state.tokens)) if fits else 0

        return endings

    @cached_property
    def _size(self) -> int:
        return sum(paths.count(self.start(stem)) for paths in self._views for stem in self.stems)

    def size(self) -> int:
        """The number of different networks, exactly: as many as there are different `Architecture.id`s."""
        return self._size

    def __iter__(self) -> Iterator[Architecture]:
        """Every architecture once; meant for small spaces."""
        several_alignments = sum(slot.optional for slot in self.slots) > 1
        seen: set[str] = set()
        for genotype in itertools.chain.from_iterable(genotypes(self, paths) for paths in self._views):
            arch = express(genotype)
            if several_alignments and arch.id in seen:
                continue
            if several_alignments:
                seen.add(arch.id)
            yield arch

    def contains(self, arch: Architecture) -> bool:
        """Whether some setting of this space builds the same network."""
        return self.outside(arch) is None

    def outside(self, arch: Architecture) -> str | None:
        """Which value of `arch` lies outside this space, and what the space offers; None for a member."""
        found = self.locate(arch)
        return found if isinstance(found, str) else None

    def locate(self, arch: Architecture) -> Genotype | str:
        """This space's own settings that build `arch`, or what lies outside."""
        return locate(self, arch)

    def _located(self, arch: Architecture) -> Genotype:
        found = self.locate(arch)
        if isinstance(found, str):
            raise UserError(f"{arch.label} lies outside space {self.label!r}: {found}")
        return found

    # Moves.

    def sample(
        self,
        rng: Seed,
        budgets: Sequence[Budget] = (),
        num_classes: int = 1000,
        counter: RejectionCounter | None = None,
        predict: Predict | None = None,
    ) -> Architecture:
        """A random architecture that meets the budgets; without budgets every draw is valid, and none is rejected.

        Each stage's block is drawn before its details, so that a block with many options is no likelier than one with
        few. Where less than 1 % of the draws meet the budgets, a draw is led there by random moves that reduce the
        excess. Nothing that meets them: UserError with the smallest found. A budget in ms, MBmem or
        mJ needs `predict`: architecture -> those metrics of it by name, such as {"latency_ms": 7.5}.
        """
        rng = np.random.default_rng(rng)
        if not budgets:
            return self.draw(rng)
        limits = Limits(tuple(budgets), num_classes, predict)
        return draw_within(self, rng, limits, RejectionCounter() if counter is None else counter)

    def draw(self, rng: Seed) -> Architecture:
        """A random architecture, whatever it costs."""
        genotype = Composer(self, random_pick(np.random.default_rng(rng))).compose()
        assert genotype is not None, "an unforced walk that looks ahead has no dead end"
        return express(genotype)

    def mutate(self, arch: Architecture, rng: Seed, changes: int = 1) -> Architecture:
        """`arch` with this many fields changed one after the other, and whatever they make impossible repaired.

        The field is drawn first, then its new value; what a new block needs to know is drawn too.
        """
        rng = np.random.default_rng(rng)
        for _ in range(changes):
            moves = self._moves(arch, random_pick(rng), rng)
            arch = next((other for other in moves if other.id != arch.id), arch)
        return arch

    def neighbours(self, arch: Architecture) -> Iterator[Architecture]:
        """Every architecture one change of one field away, each once.

        What the change makes impossible (a head_dim that no longer divides the channels) is repaired with the first or
        nearest choice; a change that later stages would have to follow is left out.
        """
        seen = {arch.id}
        for other in self._moves(arch, first_of, None):
            if other.id not in seen:
                seen.add(other.id)
                yield other

    def _moves(self, arch: Architecture, pick: Pick, rng: np.random.Generator | None) -> Iterator[Architecture]:
        """The valid one-field changes: in the file's order, or by random field and value."""
        genotype = self._located(arch)
        genes = self._genes(genotype)
        for part, name, choices in genes if rng is None else _shuffled(genes, rng):
            for value in choices if rng is None else _shuffled(choices, rng):
                if value == genotype[part].get(name):
                    continue
                other = Composer(self, pick, genotype, part, {name: value}).compose()
                if other is not None and other != genotype:
                    yield express(other)

    def _genes(self, genotype: Genotype) -> list[tuple[int, str, tuple[Any, ...]]]:
        """The fields of a genotype that have a choice which changes the function: part, field, choices."""
        return [
            (part, name, choices[name])
            for part, (choices, values) in enumerate(zip(self._choices, genotype))
            for name in values
            if len(choices[name]) > 1 and name not in FUNCTIONLESS
        ]

    @cached_property
    def _choices(self) -> tuple[Choices, ...]:
        """The choices part by part, as in a genotype."""
        return ({"resolution": self.file.resolution}, self.file.stem, *self.file.stages, self.file.head)

    def crossover(self, a: Architecture, b: Architecture, rng: Seed) -> Architecture:
        """Each stage, the stem, the head and the resolution from either parent; what doesn't fit is repaired."""
        rng = np.random.default_rng(rng)
        parents = self._located(a), self._located(b)
        wishes = tuple(parents[int(rng.integers(2))][part] for part in range(len(parents[0])))
        genotype = Composer(self, random_pick(rng), wishes).compose()
        assert genotype is not None, "wishes are never forced"
        return express(genotype)

    # Numbers for surrogates.

    @cached_property
    def _columns(self) -> tuple[Column, ...]:
        return columns_of(self._choices)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """What each entry of `encode` stands for."""
        return tuple(column.name for column in self._columns)

    def encode(self, arch: Architecture) -> np.ndarray:
        """`arch` as (features,) float64 in [0, 1]: numbers by their largest choice, everything else one-hot.

        A field without effect is 0. Different architectures have different codes.
        """
        genotype = self._located(arch)
        return np.array([column.read(genotype) for column in self._columns])

    def _why_empty(self) -> str:
        """Names the constraint without which the space holds something."""
        for name in self.file.constraints:
            others = {key: value for key, value in self.file.constraints.items() if key != name}
            relaxed = SpaceFile(**{**self.file.__dict__, "constraints": others})
            try:
                SearchSpace(relaxed, self.source)
            except UserError:
                continue
            written = f"constraints.{name} = {self.file.constraints[name]!r}"
            return f"{self.source}: {written}: no architecture of the space meets it; change it or the choices"
        return (
            f"{self.source}: no architecture can be built from these choices; check that resolutions are multiples of "
            "the total stride, and which blocks and channels each downsample can lead to"
        )


def _shuffled(items: Sequence[Any], rng: np.random.Generator) -> Iterator[Any]:
    return (items[i] for i in rng.permutation(len(items)))
