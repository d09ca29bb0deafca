"""One [[stages]] table of a space: which stages it offers after what came before."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial

from nasbench.arch.block_rules import entry_problem
from nasbench.arch.parts import ATTENDING_BLOCKS, STRIDING_BLOCKS, Stage
from nasbench.arch.presets import stage_units
from nasbench.space.constraints import Constraint, StagePosition
from nasbench.space.equivalence import CLAMPED, Shape
from nasbench.space.field_options import FieldOptions
from nasbench.space.file import Choices, FieldValue, ints, meta_blocks, texts
from nasbench.space.stage_sets import TOKENISED, StageKind, StageSet, Step

# Blocks whose entry block is like the others where it keeps the shape: there "block" and "none" build the same.
UNIFORM_BLOCKS = tuple(
    block
    for block in STRIDING_BLOCKS
    if stage_units(Stage(block=block, downsample="block", stride=1, channels=8, depth=1), c_in=8, side=8).all
    == stage_units(Stage(block=block, downsample="none", stride=1, channels=8, depth=1), c_in=8, side=8).all
)


@dataclass
class StageTable:
    """The choices of one [[stages]] table. Results are cached."""

    index: int
    count: int  # of all tables of the space
    choices: Choices
    constraints: tuple[Constraint, ...]
    _sets: dict[tuple[int, bool, Step, int | None], tuple[StageSet, ...]] = field(default_factory=dict)

    @property
    def optional(self) -> bool:
        return 0 in self.choices["depth"]

    @cached_property
    def depths(self) -> tuple[int, ...]:
        return tuple(depth for depth in ints(self.choices, "depth") if depth)

    @cached_property
    def steps(self) -> list[Step]:
        """The steps of all stages of this table, possible at their place or not."""
        blocks = set(self.choices["block"])
        without = (0,) if blocks - {TOKENISED} else ()
        tokens = dict.fromkeys(without + (ints(self.choices, "tokens") if TOKENISED in blocks else ()))
        rows = itertools.product(ints(self.choices, "channels"), ints(self.choices, "stride"), tokens)
        return [Step(*row) for row in rows]

    @cached_property
    def clamps(self) -> bool:
        """Whether what a setting builds may depend on the side of the map."""
        return any(block in CLAMPED for block in texts(self.choices, "block"))

    @property
    def merges(self) -> bool:
        """Whether two settings may build the same stage on one map and different ones on another."""
        blocks = texts(self.choices, "block")
        return any(block in CLAMPED and len(self.choices[CLAMPED[block]]) > 1 for block in blocks)

    def stage_sets(self, c_in: int, first: bool, step: Step, side: int | None = None) -> tuple[StageSet, ...]:
        """The possible stages with this step after `c_in` channels, as sets without a common network.

        first: no stage is before it. side: of the stage's map; without it, settings that differ only on larger maps
        count as different.
        """
        side = side if self.clamps else None
        key = (c_in, first, step, side)
        if key not in self._sets:
            found = (stages for kind in self._kinds for stages in self._sets_of(*kind, c_in, first, step, side))
            self._sets[key] = tuple(found)
        return self._sets[key]

    def offers(self, c_in: int, first: bool, step: Step) -> bool:
        """Whether any stage with this step is possible after `c_in` channels."""
        return any(True for kind in self._kinds for _ in self._sets_of(*kind, c_in, first, step, None))

    @cached_property
    def _kinds(self) -> list[tuple[str, str]]:
        """All pairs of block and downsample."""
        return list(itertools.product(texts(self.choices, "block"), texts(self.choices, "downsample")))

    @cached_property
    def _fields(self) -> FieldOptions:
        return FieldOptions(self.choices, self.constraints)

    def _sets_of(
        self, block: str, downsample: str, c_in: int, first: bool, step: Step, side: int | None
    ) -> Iterator[StageSet]:
        channels, stride, tokens = step
        if tokens not in (self.choices["tokens"] if block == TOKENISED else (0,)):
            return
        if self.pair_problem(block, downsample, c_in, channels, stride):
            return
        keeps_shape = stride == 1 and c_in == channels
        entry = downsample == "block" and not (keeps_shape and block in UNIFORM_BLOCKS)
        for plain, depths in self._depth_classes(entry):
            for attention in self._attentions(block, plain):
                attends = bool(attention) or block in ATTENDING_BLOCKS
                position = StagePosition(self.index, self.count, c_in, channels, first, attends)
                if self.allows(position) and self._fields.fits(block, attention, channels, tokens):
                    shape = Shape(c_in, channels, stride, entry, plain, side if block in CLAMPED else None, tokens)
                    yield self._stage_set(block, downsample, attention, shape, depths)

    def _depth_classes(self, entry: bool) -> list[tuple[bool, tuple[int, ...]]]:
        """(plain, depths): the depths split by whether there are blocks that keep the shape (`Shape.plain`)."""
        return self._entry_depths if entry else [(True, self.depths)] if self.depths else []

    @cached_property
    def _entry_depths(self) -> list[tuple[bool, tuple[int, ...]]]:
        """The same where the first block makes the transition: depth 1 has no others."""
        alone = tuple(depth for depth in self.depths if depth == 1)
        more = tuple(depth for depth in self.depths if depth > 1)
        return [(plain, depths) for plain, depths in ((False, alone), (True, more)) if depths]

    def _attentions(self, block: str, plain: bool) -> tuple[bool | None, ...]:
        """The choices of attention where these split stages into kinds; else None."""
        if block == "irmb" and plain:
            return tuple(bool(value) for value in self.choices["attention"])
        return (None,)

    def _stage_set(
        self, block: str, downsample: str, attention: bool | None, shape: Shape, depths: tuple[int, ...]
    ) -> StageSet:
        step = Step(shape.channels, shape.stride, shape.tokens)
        shared: dict[str, FieldValue] = {
            "block": block,
            "downsample": downsample,
            "stride": step.stride,
            "channels": step.channels,
        }
        if attention is not None:
            shared["attention"] = attention
        if block == TOKENISED:
            shared["tokens"] = step.tokens
        entry = None
        if downsample == "slots":
            shared["entry"] = entry = meta_blocks(self.choices, "entry")
        transition = "none" if downsample == "block" and not shape.entry else downsample
        groups = partial(self._fields.groups_at, block, downsample, attention, shape)
        return StageSet(StageKind(block, transition, step, attention, entry), shared, depths, groups)

    def allows(self, position: StagePosition) -> bool:
        return all(constraint.stage(position) for constraint in self.constraints)

    def pair_problem(self, block: str, downsample: str, c_in: int, channels: int, stride: int) -> str | None:
        """Why this block cannot follow this transition here; None where it can."""
        keeps_shape = stride == 1 and c_in == channels
        if downsample == "none" and not keeps_shape:
            return f"downsample 'none' cannot lead from {c_in} to {channels} channels with stride {stride}"
        if downsample == "block" and block not in STRIDING_BLOCKS:
            return f"downsample 'block' cannot stride with block {block!r}"
        if downsample == "block" and keeps_shape and block in UNIFORM_BLOCKS and "none" in self.choices["downsample"]:
            return f"downsample 'block' builds what 'none' builds for block {block!r} at an unchanged shape"
        if downsample == block == "mbconv":
            return "downsample 'mbconv' with block 'mbconv': downsample 'block' says it"
        if downsample == "slots":
            return entry_problem(meta_blocks(self.choices, "entry"), c_in, channels, stride)
        return None
