"""Sets of stages, each a product: one choice of depth, and one for each group of fields that act together."""

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
    """What a stage does to those after it."""

    channels: int
    stride: int
    tokens: int = 0  # learned ones, before the positions

    @classmethod
    def of(cls, stage: Stage) -> Step:
        return cls(stage.channels, stage.stride, stage.tokens if stage.block == TOKENISED else 0)


@dataclass(frozen=True)
class GroupOptions:
    """What a group of fields may be at one place: each key (see `equivalence`) -> the first choices that have it."""

    fields: tuple[str, ...]
    rows: Mapping[Hashable, Row]
    key_of: Callable[[Stage], Hashable]

    @cached_property
    def offered(self) -> frozenset[Row]:
        return frozenset(self.rows.values())

    def row_like(self, stage: Stage) -> Row | None:
        """The choices that build what `stage` builds."""
        return self.rows.get(self.key_of(stage))


class StageKind(NamedTuple):
    """What the network sees of the fields that all stages of a set have in common."""

    block: str
    transition: str  # "none" also where `downsample` is "block" and its entry block is like any other
    step: Step
    attention: bool | None
    entry: tuple[MetaBlock, ...] | None = None  # of a spelled-out transition


@dataclass(frozen=True)
class StageSet:
    """All stages of one kind that may stand at one place: the product of `depths` and `groups`.

    Two settings build the same stage exactly when kind, depth and every group's key agree.
    """

    kind: StageKind
    shared: Mapping[str, FieldValue]  # the fields that all its stages have in common
    depths: tuple[int, ...]
    make_groups: Callable[[], tuple[GroupOptions, ...]]

    @cached_property
    def groups(self) -> tuple[GroupOptions, ...]:
        return self.make_groups()

    @property
    def size(self) -> int:
        return len(self.depths) * math.prod(len(group.rows) for group in self.groups)

    def settings(self) -> Iterator[PartValues]:
        """Every stage of the set by its fields."""
        for depth in self.depths:
            for rows in itertools.product(*(group.rows.values() for group in self.groups)):
                yield self._with(depth, rows)

    def values_like(self, stage: Stage) -> PartValues | None:
        """The set's own values that build `stage`, or None."""
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
        """Whether some stage in here has all these values; a field that takes no effect here is not offered."""
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
