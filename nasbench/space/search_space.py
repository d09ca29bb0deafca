"""A search space: an architecture file in which some values are lists, plus constraints across its stages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from nasbench.arch.architecture import Architecture, require_architecture
from nasbench.costs.budget import Budget, parse_budgets
from nasbench.errors import UserError
from nasbench.files import read_toml, readable
from nasbench.space.checks import check_stages, why_empty
from nasbench.space.compose import first_of, random_pick
from nasbench.space.descriptors import descriptors
from nasbench.space.encoding import Column, columns_of
from nasbench.space.enumeration import count, members
from nasbench.space.file import FieldValue, SpaceFile, read_space
from nasbench.space.genotype import Genotype, express
from nasbench.space.limits import Limits, Predict, RejectionCounter
from nasbench.space.membership import locate
from nasbench.space.moves import crossed, drawn, one_field_changes
from nasbench.space.parameters import Parameter, composed, parameters_of, values_of
from nasbench.space.steering import draw_within
from nasbench.space.structure import Structure

Seed = np.random.Generator | int


class SearchSpace:
    """The architectures that a space's file describes. Equal files give equal results for equal seeds.

    A field without effect (the patch of a stage that does not attend) is no choice, and settings that build the same
    network count once. `rng` is a numpy Generator or a seed.
    """

    def __init__(self, file: SpaceFile, source: str = "search space") -> None:
        self.file, self.source = file, source
        self.structure = Structure(file, source)
        if self.structure.is_empty:
            raise UserError(why_empty(file, source))

    @classmethod
    def from_file(cls, path: Path | str) -> SearchSpace:
        """Read a .toml file; one without a name gets the file's stem."""
        return cls.from_dict({"name": readable(Path(path).stem), **read_toml(path)}, str(path))

    @classmethod
    def from_dict(cls, content: Mapping[str, object], source: str = "search space") -> SearchSpace:
        """Validate `content`; an error is a UserError naming `source`, key and value."""
        file = read_space(content, source)
        check_stages(file, source)
        return cls(file, source)

    def to_dict(self) -> dict[str, object]:
        return self.file.to_dict()

    @property
    def name(self) -> str:
        return self.file.name

    @property
    def id(self) -> str:
        """16 hexadecimal digits of the content, the name excluded."""
        return self.file.id

    @property
    def in_channels(self) -> int:
        """Channels of the images that all its designs see."""
        return self.file.in_channels

    @property
    def label(self) -> str:
        return self.name or self.id[:8]

    def __reduce__(self) -> tuple[type[SearchSpace], tuple[SpaceFile, str]]:
        return SearchSpace, (self.file, self.source)  # pickled without the caches

    def __repr__(self) -> str:
        return f"SearchSpace({self.label!r}, {len(self.file.stages)} stages)"

    # Members.

    @cached_property
    def _size(self) -> int:
        return count(self.structure)

    def size(self) -> int:
        """The number of different networks, exactly: as many as there are different `Architecture.id`s."""
        return self._size

    def __iter__(self) -> Iterator[Architecture]:
        """Every architecture once; meant for small spaces."""
        return members(self.structure)

    def __contains__(self, arch: object) -> bool:
        return isinstance(arch, Architecture) and self.contains(arch)  # without this, `in` would iterate over all

    def contains(self, arch: Architecture) -> bool:
        """Whether some setting of this space builds the same network."""
        return self.outside(arch) is None

    def outside(self, arch: Architecture) -> str | None:
        """Which value of `arch` lies outside this space, and what the space offers; None for a member."""
        found = self.locate(arch)
        return found if isinstance(found, str) else None

    def locate(self, arch: Architecture) -> Genotype | str:
        """This space's own settings that build `arch`, or what lies outside."""
        require_architecture(arch)
        return locate(self.structure, arch)

    def _located(self, arch: Architecture) -> Genotype:
        found = self.locate(arch)
        if isinstance(found, str):
            raise UserError(f"{arch.label} lies outside space {self.label!r}: {found}")
        return found

    # Moves.

    def sample(
        self,
        rng: Seed,
        budgets: Sequence[Budget | str] = (),
        num_classes: int = 1000,
        counter: RejectionCounter | None = None,
        predict: Predict | None = None,
    ) -> Architecture:
        """A random architecture that meets the budgets; without budgets every draw is valid, and none is rejected.

        Each stage's block is drawn before its other fields, so that a block with many options is no likelier than one
        with few. Where less than 1 % of the draws meet the budgets, a draw is changed by random moves that reduce the
        excess. UserError with the smallest found where nothing meets them. A budget in ms, MBmem or mJ needs `predict`:
        architecture -> those metrics of it by name, such as {"latency_ms": 7.5}. counter: counts what is rejected.
        """
        rng = np.random.default_rng(rng)
        if not budgets:
            return self.draw(rng)
        limits = Limits(parse_budgets(budgets), num_classes, predict)
        return draw_within(self, rng, limits, RejectionCounter() if counter is None else counter)

    def draw(self, rng: Seed) -> Architecture:
        """A random architecture, without regard to budgets."""
        return express(drawn(self.structure, np.random.default_rng(rng)))

    def mutate(self, arch: Architecture, rng: Seed, changes: int = 1) -> Architecture:
        """`arch` with `changes` random fields changed one after the other, and values that became impossible repaired.

        The field is drawn first, then its new value; fields that a new block has in addition are drawn too.
        """
        rng = np.random.default_rng(rng)
        for _ in range(changes):
            moves = map(express, one_field_changes(self.structure, self._located(arch), rng))
            arch = next((other for other in moves if not other.builds(arch)), arch)
        return arch

    def neighbours(self, arch: Architecture) -> Iterator[Architecture]:
        """Every architecture one change of one field away, each once.

        What the change makes impossible (a head_dim that no longer divides the channels) is repaired with the first or
        nearest choice; a change that later stages would have to follow is left out.
        """
        seen = {arch.id}
        for other in map(express, one_field_changes(self.structure, self._located(arch))):
            if other.id not in seen:
                seen.add(other.id)
                yield other

    def crossover(self, a: Architecture, b: Architecture, rng: Seed) -> Architecture:
        """Each stage, the stem, the head and the resolution from either parent; what doesn't fit is repaired."""
        return express(crossed(self.structure, self._located(a), self._located(b), np.random.default_rng(rng)))

    # Named values for optimisers.

    @cached_property
    def _parameters(self) -> tuple[Parameter, ...]:
        return parameters_of(self.structure.choices)

    @property
    def parameter_choices(self) -> dict[str, tuple[FieldValue, ...]]:
        """The name of each field that has a choice, such as `stages[2].depth` -> all values it has anywhere."""
        return {parameter.name: parameter.choices for parameter in self._parameters}

    def parameters(self, arch: Architecture) -> dict[str, FieldValue]:
        """`arch` as {name: value} of the fields that have an effect in it; different for different architectures."""
        return values_of(self._parameters, self._located(arch))

    def from_parameters(self, values: Mapping[str, FieldValue], rng: Seed | None = None) -> Architecture:
        """The architecture of these values: the inverse of `parameters`.

        Any values give a member. One that is impossible after those decided before it is replaced by the nearest number
        or a random choice; one that is missing by a random choice (without `rng` the first). Values are looked up one
        by one when they are decided, in the order stem, stages, head, resolution.
        """
        pick = first_of if rng is None else random_pick(np.random.default_rng(rng))
        return express(composed(self.structure, self._parameters, values, pick))

    # Numbers for surrogates.

    @cached_property
    def _columns(self) -> tuple[Column, ...]:
        return columns_of(self.structure.choices)

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

    def describe(self, arch: Architecture) -> np.ndarray:
        """(12,) numbers that accuracy was found to depend on, see `descriptors`; also of networks outside the space."""
        return descriptors(arch)
