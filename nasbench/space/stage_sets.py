"""Sets of stages, each the product of its depths and of the options of independent groups of fields."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from nasbench.arch.metablock import MetaBlock
from nasbench.arch.parts import Stage
from nasbench.space.file import FieldValue, PartValues

TOKENISED = "encoder"  # the block that may have learned tokens
Row = tuple[FieldValue, ...]  # values of a group's fields, in their order


class Step(NamedTuple):
    """What the stages after it depend on of a stage."""

    channels: int
    stride: int
    tokens: int = 0  # learned tokens before the positions

    @classmethod
    def of(cls, stage: Stage) -> Step:
        return cls(stage.channels, stage.stride, stage.tokens if stage.block == TOKENISED else 0)


@dataclass(frozen=True)
class GroupOptions:
    """The options of a group of fields at one place: for each key (see `equivalence`) the first choices with it."""

    fields: tuple[str, ...]
    rows: Mapping[Hashable, Row]
    key_of: Callable[[Stage], Hashable]

    @cached_property
    def offered(self) -> frozenset[Row]:
        return frozenset(self.rows.values())

    def row_like(self, stage: Stage) -> Row | None:
        """The choices that build what `stage` builds; None where there are none."""
        return self.rows.get(self.key_of(stage))


class StageKind(NamedTuple):
    """The effect on the network of the fields that all stages of a set have in common."""

    block: str
    transition: str  # "none" too where `downsample` is "block" and the entry block is like the others
    step: Step
    attention: bool | None
    entry: tuple[MetaBlock, ...] | None = None  # of a spelled-out transition


@dataclass(frozen=True)
class StageSet:
    """All stages of one kind that are possible at one place: the product of `depths` and `groups`.

    Two settings build the same stage exactly when kind, depth and every group's key agree.
    """

    kind: StageKind
    shared: Mapping[str, FieldValue]  # the fields that all its stages have in common
    depths: tuple[int, ...]
    make_groups: Callable[[], tuple[GroupOptions, ...]]  # called when first needed

    @cached_property
    def groups(self) -> tuple[GroupOptions, ...]:
        return self.make_groups()

    @property
    def size(self) -> int:
        return len(self.depths) * math.prod(len(group.rows) for group in self.groups)

    def settings(self) -> Iterator[PartValues]:
        """The field values of every stage of the set."""
        for depth in self.depths:
            for rows in itertools.product(*(group.rows.values() for group in self.groups)):
                yield self._with(depth, rows)

    def values_like(self, stage: Stage) -> PartValues | None:
        """The set's field values that build `stage`; None where it is not in the set."""
        if any(getattr(stage, name) != value for name, value in self.shared.items()) or stage.depth not in self.depths:
            return None
        rows = []
        for group in self.groups:
            row = group.row_like(stage)
            if row is None:
                return None
            rows.append(row)
        return self._with(stage.depth, tuple(rows))

    def _with(self, depth: int, rows: tuple[Row, ...]) -> PartValues:
        values: PartValues = {**self.shared, "depth": depth}
        for group, row in zip(self.groups, rows):
            values.update(zip(group.fields, row))
        return values

    def offers(self, forced: Mapping[str, FieldValue]) -> bool:
        """Whether each of these values occurs in the set; a field without effect here has no value."""
        return all(self._offers(name, value) for name, value in forced.items())

    def _offers(self, name: str, value: FieldValue) -> bool:
        if name == "depth":
            return value in self.depths
        if name in self.shared:
            return self.shared[name] == value
        for group in self.groups:
            if name in group.fields:
                position = group.fields.index(name)
                return any(row[position] == value for row in group.rows.values())
        return False
