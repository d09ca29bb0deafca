"""The choices of a block's fields at a given place: those of the file that can be built, one of each that differs."""

from __future__ import annotations

import itertools
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

from nasbench.arch.part_rules import stage_problem
from nasbench.arch.parts import Stage
from nasbench.space.constraints import Constraint
from nasbench.space.equivalence import CONVOLUTION, TRANSITION, FieldGroup, Shape, groups_of
from nasbench.space.file import Choices
from nasbench.space.stage_sets import GroupOptions, Row

# Fields whose validity depends on the stage's channels.
CHANNELS_MATTER = {"head_dim", "heads", "width", "position", "slots"}
DEFAULTS = dict(Stage(channels=1, depth=1))  # of all fields, as `model_construct` is slower where it fills them in
NEUTRAL = {"head_dim": 1, "heads": 1, "kernel": 3}  # values of other fields that are valid with any channels


@dataclass
class FieldOptions:
    """The choices of a [[stages]] table by groups of fields. Results are cached."""

    choices: Choices
    constraints: tuple[Constraint, ...]
    _groups: dict[Hashable, GroupOptions] = field(default_factory=dict)
    _valid: dict[Hashable, tuple[tuple[Row, Stage], ...]] = field(default_factory=dict)
    _fits: dict[Hashable, bool] = field(default_factory=dict)

    def groups_at(self, block: str, downsample: str, attention: bool | None, shape: Shape) -> tuple[GroupOptions, ...]:
        """The groups of a stage of this block and transition, each with its options."""
        # Without an entry block only the transition depends on c_in and stride.
        plain = shape if shape.entry else shape._replace(c_in=shape.channels, stride=1)
        found = tuple(self._options(block, attention, plain, group) for group in groups_of(block, attention))
        if downsample != "mbconv":
            return found
        return (self._options(block, attention, shape, TRANSITION), *found)

    def fits(self, block: str, attention: bool | None, channels: int, tokens: int) -> bool:
        """Whether every group of fields has a setting that is valid at this width."""
        key = (block, attention, channels, tokens)
        if key not in self._fits:
            groups = groups_of(block, attention)
            self._fits[key] = all(self._valid_rows(block, attention, channels, tokens, g.fields) for g in groups)
        return self._fits[key]

    def _options(self, block: str, attention: bool | None, shape: Shape, group: FieldGroup) -> GroupOptions:
        if group.fields == CONVOLUTION:  # depends only on whether channels are kept: two cases to cache
            shape = shape._replace(c_in=1 + (shape.c_in != shape.channels), channels=1)
        kept = (block, attention, shape, group.fields)
        if kept not in self._groups:
            rows: dict[Hashable, Row] = {}
            for row, stage in self._valid_rows(block, attention, shape.channels, shape.tokens, group.fields):
                rows.setdefault(group.key(stage, shape), row)
            self._groups[kept] = GroupOptions(group.fields, rows, lambda stage: group.key(stage, shape))
        return self._groups[kept]

    def _valid_rows(
        self, block: str, attention: bool | None, channels: int, tokens: int, fields: tuple[str, ...]
    ) -> tuple[tuple[Row, Stage], ...]:
        """The valid choices of these fields at this block, width and number of tokens, each with a stage of them."""
        key = (block, bool(attention), channels if CHANNELS_MATTER.intersection(fields) else None, tokens, fields)
        if key not in self._valid:
            own = {"block": block, "channels": channels, "depth": 2, "tokens": tokens, "attention": bool(attention)}
            base: dict[str, Any] = {**DEFAULTS, **NEUTRAL, **own}
            made = (
                (row, Stage.model_construct(**{**base, **dict(zip(fields, row))}))
                for row in itertools.product(*(self.choices[name] for name in fields))
            )
            self._valid[key] = tuple((row, stage) for row, stage in made if self._is_valid(stage, fields))
        return self._valid[key]

    def _is_valid(self, stage: Stage, fields: tuple[str, ...]) -> bool:
        """Whether a stage may have these fields' values, by the rules of architectures and the space's constraints."""
        return not (
            stage_problem(stage, stage.channels)
            or (stage.tokens and stage.reduction > 1)  # a row of tokens has no map to reduce: part_rules.ends_problem
            or ("width" in fields and any(not constraint.width(stage) for constraint in self.constraints))
        )
