"""One stage of a search space: its options at a given place, as products of independent groups."""

from __future__ import annotations

import itertools
from collections.abc import Hashable
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

from nasbench.arch.block_rules import entry_problem
from nasbench.arch.part_rules import stage_problem
from nasbench.arch.parts import ATTENDING_BLOCKS, INNER_BLOCKS, STRIDING_BLOCKS, Stage, effective_fields
from nasbench.arch.presets import lower_stage
from nasbench.space.boxes import TOKENISED, Box, Group, Step, values_in
from nasbench.space.file import Choices
from nasbench.space.keys import CLAMPED, CONVOLUTION, Groups, Shape, groups_of, inverted_width
from nasbench.space.rules import Place, Rule

# Blocks whose entry block, at an unchanged shape, is like any other: there downsample "block" builds what "none" does.
UNIFORM_BLOCKS = tuple(
    block
    for block in STRIDING_BLOCKS
    if lower_stage(Stage(block=block, downsample="block", stride=1, channels=8, depth=1), 8)
    == lower_stage(Stage(block=block, downsample="none", stride=1, channels=8, depth=1), 8)
)
# The fields whose validity hangs on the stage's channels.
CHANNELS_MATTER = {"head_dim", "heads", "width", "position", "slots"}
NEUTRAL = {"head_dim": 1, "heads": 1, "kernel": 3}  # valid with any channels, for judging the other fields


@dataclass
class Slot:
    """One [[stages]] table of a space. Its answers depend on nothing but the arguments, and are kept."""

    index: int
    count: int
    choices: Choices
    rules: tuple[Rule, ...]
    _boxes: dict[tuple, tuple[Box, ...]] = field(default_factory=dict)
    _groups: dict[tuple, Group] = field(default_factory=dict)
    _valid: dict[tuple, tuple[tuple[Any, ...], ...]] = field(default_factory=dict)

    @property
    def optional(self) -> bool:
        return 0 in self.choices["depth"]

    @property
    def depths(self) -> tuple[int, ...]:
        return tuple(depth for depth in self.choices["depth"] if depth)

    @cached_property
    def steps(self) -> list[Step]:
        """All that a stage of this slot may do to those after it."""
        blocks = set(self.choices["block"])
        without = (0,) if blocks - {TOKENISED} else ()
        tokens = dict.fromkeys(without + (self.choices["tokens"] if TOKENISED in blocks else ()))
        return [Step(*row) for row in itertools.product(self.choices["channels"], self.choices["stride"], tokens)]

    def boxes(self, c_in: int, first: bool, step: Step, side: int | None = None) -> tuple[Box, ...]:
        """The stages that may stand here after `c_in` channels; disjoint in what the network sees.

        Disjoint also where a map cuts a size down to its own, if `side`, that of the stage's map, is given.
        """
        side = side if self.clamps else None
        key = (c_in, first, step, side)
        if key not in self._boxes:
            kinds = itertools.product(self.choices["block"], self.choices["downsample"])
            boxes = [box for kind in kinds for box in self._boxes_of(*kind, c_in, first, step, side)]
            self._boxes[key] = tuple(boxes)
        return self._boxes[key]

    @cached_property
    def clamps(self) -> bool:
        """Whether the map's side may decide what a setting builds."""
        return any(block in CLAMPED for block in self.choices["block"])

    @property
    def merges(self) -> bool:
        """Whether two settings may build the same stage on one map and not on another."""
        return any(block in CLAMPED and len(self.choices[CLAMPED[block]]) > 1 for block in self.choices["block"])

    def _boxes_of(self, block: str, downsample: str, c_in: int, first: bool, step: Step, side: int | None) -> list[Box]:
        channels, stride, tokens = step
        if tokens not in (self.choices["tokens"] if block == TOKENISED else (0,)):
            return []
        if self.pair_problem(block, downsample, c_in, channels, stride):
            return []
        strides_itself = downsample == "block"
        keeps_shape = stride == 1 and c_in == channels
        entry = strides_itself and not (keeps_shape and block in UNIFORM_BLOCKS)
        boxes = []
        for plain, depths in filter(lambda pair: pair[1], self._depth_classes(entry)):
            for attention in self.choices["attention"] if block == "irmb" and plain else (None,):
                attends = bool(attention) or block in ATTENDING_BLOCKS
                if not self.allows(Place(self.index, self.count, c_in, channels, first, attends)):
                    continue
                if not self._fits(block, attention, channels, tokens):
                    continue
                shape = Shape(c_in, channels, stride, entry, plain, side if block in CLAMPED else None, tokens)
                shared = {"block": block, "downsample": downsample, "stride": stride, "channels": channels}
                if attention is not None:
                    shared["attention"] = attention
                if block == TOKENISED:
                    shared["tokens"] = tokens
                seen = downsample if entry or not strides_itself else "none"
                groups = partial(self._groups_at, block, downsample, attention, shape)
                label: tuple[Hashable, ...] = (block, seen, step, attention)
                if downsample == "slots":
                    shared["entry"] = self.choices["entry"][0]
                    label += (shared["entry"],)
                boxes.append(Box(label, shared, depths, groups))
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
        return entry_problem(self.choices["entry"][0], c_in, channels, stride) if downsample == "slots" else None

    def _groups_at(self, block: str, downsample: str, attention: bool | None, shape: Shape) -> tuple[Group, ...]:
        groups: Groups = groups_of(block, attention)
        plain = shape if shape.entry else shape._replace(c_in=shape.channels, stride=1)  # only a transition knows them
        found = tuple(self._group(block, attention, plain, *group) for group in groups)
        if downsample != "mbconv":
            return found
        expansion = lambda values, at: inverted_width(at.c_in, values["downsample_expansion"])  # noqa: E731
        return (self._group(block, attention, shape, ("downsample_expansion",), expansion), *found)

    def _fits(self, block: str, attention: bool | None, channels: int, tokens: int) -> bool:
        """Whether every group of fields has a setting that is valid at this width."""
        groups = groups_of(block, attention)
        return all(self._valid_values(block, attention, channels, tokens, fields) for fields, _ in groups)

    def _group(self, block: str, attention: bool | None, shape: Shape, fields: tuple[str, ...], key: Any) -> Group:
        if fields == CONVOLUTION:  # its branches hang on whether the shape stays, so there are fewer cases to keep
            shape = shape._replace(c_in=1 + (shape.c_in != shape.channels), channels=1)
        kept = (block, attention, shape, fields)
        if kept not in self._groups:
            options: dict[Hashable, tuple[Any, ...]] = {}
            for values in self._valid_values(block, attention, shape.channels, shape.tokens, fields):
                options.setdefault(key(dict(zip(fields, values)), shape), values)
            self._groups[kept] = Group(fields, options)
        return self._groups[kept]

    def _valid_values(
        self, block: str, attention: bool | None, channels: int, tokens: int, fields: tuple[str, ...]
    ) -> tuple[tuple[Any, ...], ...]:
        """The choices of these fields that a stage of this block, width and number of tokens can have."""
        key = (block, bool(attention), channels if CHANNELS_MATTER.intersection(fields) else None, tokens, fields)
        if key not in self._valid:
            base = {**NEUTRAL, "block": block, "channels": channels, "depth": 2, "attention": bool(attention)}
            made = (
                (values, Stage.model_construct(**{**base, "tokens": tokens, **dict(zip(fields, values))}))
                for values in itertools.product(*(self.choices[name] for name in fields))
            )
            self._valid[key] = tuple(values for values, stage in made if self._is_valid(stage, fields))
        return self._valid[key]

    def _is_valid(self, stage: Stage, fields: tuple[str, ...]) -> bool:
        """Whether a stage could have these fields' values, by the building rules and the space's own."""
        return not (
            stage_problem(stage, stage.channels)
            or (stage.tokens and stage.reduction > 1)  # part_rules.ends_problem: a row has no map to reduce
            or ("width" in fields and any(not rule.width(stage) for rule in self.rules))
        )

    def match(self, stage: Stage, c_in: int, first: bool, side: int | None = None) -> dict[str, Any] | str:
        """This slot's own values that build `stage` on a map of `side`, or what lies outside: `key = value: rule`."""
        stage = self._in_normal_form(stage, c_in)
        for name in ("channels", "stride", "block", "downsample", "depth"):
            value = getattr(stage, name)
            if value not in self.choices[name]:
                return _not_offered(name, value, self.choices[name])
        for box in self.boxes(c_in, first, Step.of(stage), side):
            values = values_in(box, stage, c_in, side)
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
            if stage.block in INNER_BLOCKS and not rule.width(stage):
                return f"width = {stage.inner_width}: the space's constraint {rule.text} does not allow it"
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
    offered = "only the default" if choices == (None,) else ", ".join(map(repr, choices))
    return f"{name} = {value!r}: the space offers {offered}"
