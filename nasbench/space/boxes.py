"""The stages that may stand at one place, as products of independent groups of fields."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from nasbench.arch.parts import Stage
from nasbench.space.keys import Shape, groups_of, inverted_width

TOKENISED = "encoder"  # the block that may have learned tokens


class Step(NamedTuple):
    """What a stage does to those after it."""

    channels: int
    stride: int
    tokens: int = 0  # learned ones, before the positions

    @classmethod
    def of(cls, stage: Stage) -> Step:
        return cls(stage.channels, stage.stride, stage.tokens if stage.block == TOKENISED else 0)


@dataclass(frozen=True)
class Group:
    """Fields that act together: each thing the network can see of them -> the first choices that give it."""

    fields: tuple[str, ...]
    options: Mapping[Hashable, tuple[Any, ...]]


@dataclass(frozen=True)
class Box:
    """All stages that share block, transition, channels and stride: the product of `depths` and `groups`.

    `label` is what the network sees of the shared fields. Two settings build the same stage exactly when label, depth
    and every group's key agree.
    """

    label: tuple[Hashable, ...]
    shared: Mapping[str, Any]
    depths: tuple[int, ...]
    make_groups: Callable[[], tuple[Group, ...]]

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        return self.make_groups()

    @property
    def size(self) -> int:
        return len(self.depths) * math.prod(len(group.options) for group in self.groups)

    def settings(self) -> Iterator[dict[str, Any]]:
        """Every stage of the box by its fields."""
        for depth, *chosen in itertools.product(self.depths, *(group.options.values() for group in self.groups)):
            values = {**self.shared, "depth": depth}
            for group, row in zip(self.groups, chosen):
                values.update(zip(group.fields, row))
            yield values

    def offers(self, forced: Mapping[str, Any]) -> bool:
        """Whether some stage in here has all these values; a field that takes no effect here is not offered."""
        return all(self._offers(name, value) for name, value in forced.items())

    def _offers(self, name: str, value: Any) -> bool:
        if name == "depth":
            return value in self.depths
        if name in self.shared:
            return self.shared[name] == value
        for group in self.groups:
            if name in group.fields:
                position = group.fields.index(name)
                return any(values[position] == value for values in group.options.values())
        return False


def values_in(box: Box, stage: Stage, c_in: int, side: int | None) -> dict[str, Any] | None:
    """The box's values that build `stage`, or None."""
    shared = box.shared
    if any(getattr(stage, name) != value for name, value in shared.items()) or stage.depth not in box.depths:
        return None
    _, seen, step, attention, *_ = box.label
    entry = seen == "block"
    shape = Shape(c_in, stage.channels, stage.stride, entry, stage.depth > entry, side, step.tokens)  # type: ignore[attr-defined]
    values = {**shared, "depth": stage.depth}
    keys = dict(groups_of(stage.block, attention))  # type: ignore[arg-type]
    for group in box.groups:
        wanted = {name: getattr(stage, name) for name in group.fields}
        if group.fields == ("downsample_expansion",):
            key: Hashable = inverted_width(c_in, stage.downsample_expansion)
        else:
            key = keys[group.fields](wanted, shape)
        if key not in group.options:
            return None
        values.update(zip(group.fields, group.options[key]))
    return values
