"""One stage of a search space: its options at a given place, as products of independent groups."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

from nasbench.architecture import STRIDING_BLOCKS, Stage, effective_fields, stage_problem
from nasbench.presets import lower_stage
from nasbench.space.file import Choices
from nasbench.space.keys import Groups, Shape, groups_of, inverted_width
from nasbench.space.rules import Place, Rule

# Blocks whose entry block, at an unchanged shape, is like any other: there downsample "block" builds what "none" does.
UNIFORM_BLOCKS = tuple(
    block
    for block in STRIDING_BLOCKS
    if lower_stage(Stage(block=block, downsample="block", stride=1, channels=8, depth=1), 8)
    == lower_stage(Stage(block=block, downsample="none", stride=1, channels=8, depth=1), 8)
)
ATTENDING_BLOCKS = ("mobilevit", "transformer")
CHANNELS_MATTER = {"head_dim", "heads", "width", "slots"}  # the fields whose validity hangs on the stage's channels
NEUTRAL = {"head_dim": 1, "heads": 1, "kernel": 3}  # valid with any channels, for judging the other fields


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


@dataclass
class Slot:
    """One [[stages]] table of a space. Its answers depend on nothing but the arguments, and are kept."""

    index: int
    count: int
    choices: Choices
    rules: tuple[Rule, ...]
    _boxes: dict[tuple, tuple[Box, ...]] = field(default_factory=dict)
    _groups: dict[tuple, tuple[Group, ...]] = field(default_factory=dict)
    _valid: dict[tuple, tuple[tuple[Any, ...], ...]] = field(default_factory=dict)

    @property
    def optional(self) -> bool:
        return 0 in self.choices["depth"]

    @property
    def depths(self) -> tuple[int, ...]:
        return tuple(depth for depth in self.choices["depth"] if depth)

    def shapes(self) -> list[tuple[int, int]]:
        """All pairs of channels and stride."""
        return list(itertools.product(self.choices["channels"], self.choices["stride"]))

    def boxes(self, c_in: int, first: bool, channels: int, stride: int) -> tuple[Box, ...]:
        """The stages that may stand here after `c_in` channels; disjoint in what the network sees."""
        key = (c_in, first, channels, stride)
        if key not in self._boxes:
            kinds = itertools.product(self.choices["block"], self.choices["downsample"])
            boxes = [box for kind in kinds for box in self._boxes_of(*kind, c_in, first, channels, stride)]
            self._boxes[key] = tuple(boxes)
        return self._boxes[key]

    def _boxes_of(self, block: str, downsample: str, c_in: int, first: bool, channels: int, stride: int) -> list[Box]:
        if self.pair_problem(block, downsample, c_in, channels, stride):
            return []
        strides_itself = downsample == "block"
        keeps_shape = stride == 1 and c_in == channels
        entry = strides_itself and not (keeps_shape and block in UNIFORM_BLOCKS)
        boxes = []
        for plain, depths in self._depth_classes(entry):
            for attention in self.choices["attention"] if block == "irmb" and plain else (None,):
                attends = bool(attention) or block in ATTENDING_BLOCKS
                if not self.allows(Place(self.index, self.count, c_in, channels, first, attends)):
                    continue
                if not self._fits(block, attention, channels):
                    continue
                shape = Shape(c_in, channels, stride, entry, plain)
                shared = {"block": block, "downsample": downsample, "stride": stride, "channels": channels}
                if attention is not None:
                    shared["attention"] = attention
                seen = downsample if entry or not strides_itself else "none"
                groups = partial(self._groups_at, block, downsample, attention, shape)
                boxes.append(Box((block, seen, stride, channels, attention), shared, depths, groups))
        return boxes

    def _depth_classes(self, entry: bool) -> list[tuple[bool, tuple[int, ...]]]:
        """Depths without and with blocks at constant shape."""
        if not entry:
            return [(True, self.depths)]
        alone = tuple(depth for depth in self.depths if depth == 1)
        return [(False, alone), (True, tuple(depth for depth in self.depths if depth > 1))]

    def allows(self, place: Place) -> bool:
        return all(rule.stage(place) for rule in self.rules)

    def pair_problem(self, block: str, downsample: str, c_in: int, channels: int, stride: int) -> str | None:
        """Why this transition cannot lead to this block here, or None."""
        keeps_shape = stride == 1 and c_in == channels
        if downsample == "none" and not keeps_shape:
            return f"downsample 'none' cannot lead from {c_in} to {channels} channels with stride {stride}"
        if downsample == "block" and block not in STRIDING_BLOCKS:
            return f"downsample 'block' cannot stride with block {block!r}"
        if downsample == "block" and keeps_shape and block in UNIFORM_BLOCKS and "none" in self.choices["downsample"]:
            return f"downsample 'block' builds what 'none' builds for block {block!r} at an unchanged shape"
        if downsample == block == "mbconv":
            return "downsample 'mbconv' with block 'mbconv': downsample 'block' says it"
        return None

    def _groups_at(self, block: str, downsample: str, attention: bool | None, shape: Shape) -> tuple[Group, ...]:
        if not (shape.entry or downsample == "mbconv"):
            shape = shape._replace(c_in=shape.channels)  # only a transition knows c_in: fewer cases to keep
        key = (block, downsample == "mbconv", attention, shape)
        if key not in self._groups:
            groups: Groups = groups_of(block, attention)
            if downsample == "mbconv":
                expansion = lambda values, at: inverted_width(at.c_in, values["downsample_expansion"])  # noqa: E731
                groups = ((("downsample_expansion",), expansion), *groups)
            self._groups[key] = tuple(self._group(block, attention, shape, *group) for group in groups)
        return self._groups[key]

    def _fits(self, block: str, attention: bool | None, channels: int) -> bool:
        """Whether every group of fields has a setting that is valid at this width."""
        return all(self._valid_values(block, attention, channels, fields) for fields, _ in groups_of(block, attention))

    def _group(self, block: str, attention: bool | None, shape: Shape, fields: tuple[str, ...], key: Any) -> Group:
        options: dict[Hashable, tuple[Any, ...]] = {}
        for values in self._valid_values(block, attention, shape.channels, fields):
            options.setdefault(key(dict(zip(fields, values)), shape), values)
        return Group(fields, options)

    def _valid_values(self, block: str, attention: bool | None, channels: int, fields: tuple[str, ...]) -> tuple:
        """The choices of these fields that a stage of this block and width can have."""
        key = (block, bool(attention), channels if CHANNELS_MATTER.intersection(fields) else None, fields)
        if key not in self._valid:
            base = {**NEUTRAL, "block": block, "channels": channels, "depth": 2, "attention": bool(attention)}
            self._valid[key] = tuple(
                values
                for values in itertools.product(*(self.choices[name] for name in fields))
                if not stage_problem(Stage.model_construct(**{**base, **dict(zip(fields, values))}), channels)
            )
        return self._valid[key]

    def match(self, stage: Stage, c_in: int, first: bool) -> dict[str, Any] | str:
        """This slot's own values that build `stage`, or what lies outside, as `key = value: rule`."""
        stage = self._in_normal_form(stage, c_in)
        for name in ("channels", "stride", "block", "downsample", "depth"):
            value = getattr(stage, name)
            if value not in self.choices[name]:
                return _not_offered(name, value, self.choices[name])
        boxes = self.boxes(c_in, first, stage.channels, stage.stride)
        for box in boxes:
            values = _values_in(box, stage, c_in)
            if values is not None:
                return values
        return self._why_not(stage, c_in, first)

    def _striding_is_plain(self, stage: Stage, c_in: int) -> bool:
        return stage.block in UNIFORM_BLOCKS and stage.stride == 1 and stage.channels == c_in

    def _in_normal_form(self, stage: Stage, c_in: int) -> Stage:
        """Of the settings that build one stage, the one that this space proposes."""
        if stage.downsample in ("block", "none") and self._striding_is_plain(stage, c_in):
            offered = self.choices["downsample"]
            return stage.model_copy(update={"downsample": "none" if "none" in offered else "block"})
        return stage

    def _why_not(self, stage: Stage, c_in: int, first: bool) -> str:
        place = Place(self.index, self.count, c_in, stage.channels, first, stage.attends)
        for rule in self.rules:
            if not rule.stage(place):
                what = "attends" if stage.attends and "attention" in rule.text else f"channels = {stage.channels}"
                return f"{what}: the space's constraint {rule.text} does not allow it"
        problem = self.pair_problem(stage.block, stage.downsample, c_in, stage.channels, stage.stride)
        if problem:
            return problem
        for name in effective_fields(stage):
            if getattr(stage, name) not in self.choices[name]:
                return _not_offered(name, getattr(stage, name), self.choices[name])
        return f"block = {stage.block!r}: the space does not offer it with these values"


def _not_offered(name: str, value: Any, choices: tuple[Any, ...]) -> str:
    return f"{name} = {value!r}: the space offers {', '.join(map(repr, choices))}"


def _values_in(box: Box, stage: Stage, c_in: int) -> dict[str, Any] | None:
    """The box's values that build `stage`, or None."""
    shared = box.shared
    if any(getattr(stage, name) != value for name, value in shared.items()) or stage.depth not in box.depths:
        return None
    _, seen, _, channels, attention = box.label
    entry = seen == "block"
    shape = Shape(c_in, channels, stage.stride, entry, stage.depth > entry)  # type: ignore[arg-type]
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
