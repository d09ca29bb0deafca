"""Finds a stage among those that a [[stages]] table offers, or the reason why it is not among them."""

from __future__ import annotations

from nasbench.arch.parts import INNER_BLOCKS, Stage, effective_fields
from nasbench.space.constraints import StagePosition
from nasbench.space.file import FieldValue, PartValues
from nasbench.space.stage_sets import Step
from nasbench.space.stage_table import UNIFORM_BLOCKS, StageTable


def match(table: StageTable, stage: Stage, c_in: int, first: bool, side: int | None) -> PartValues | str:
    """The table's values that build `stage` on a map of `side`; else why it is not offered, as `key = value: rule`."""
    stage = _in_normal_form(table, stage, c_in)
    for name in ("channels", "stride", "block", "downsample", "depth"):
        if getattr(stage, name) not in table.choices[name]:
            return _not_offered(name, getattr(stage, name), table.choices[name])
    for stages in table.stage_sets(c_in, first, Step.of(stage), side):
        values = stages.values_like(stage)
        if values is not None:
            return values
    return _why_not(table, stage, c_in, first)


def _in_normal_form(table: StageTable, stage: Stage, c_in: int) -> Stage:
    """The stage with the downsample that this table uses, where "block" and "none" build the same."""
    entry_is_plain = stage.block in UNIFORM_BLOCKS and stage.stride == 1 and stage.channels == c_in
    if stage.downsample in ("block", "none") and entry_is_plain:
        offered = table.choices["downsample"]
        return stage.model_copy(update={"downsample": "none" if "none" in offered else "block"})
    return stage


def _why_not(table: StageTable, stage: Stage, c_in: int, first: bool) -> str:
    position = StagePosition(table.index, table.count, c_in, stage.channels, first, stage.attends)
    for constraint in table.constraints:
        if stage.block in INNER_BLOCKS and not constraint.width(stage):
            return f"width = {stage.inner_width}: the space's constraint {constraint.text} does not allow it"
        if not constraint.stage(position):
            what = "attends" if stage.attends and "attention" in constraint.text else f"channels = {stage.channels}"
            return f"{what}: the space's constraint {constraint.text} does not allow it"
    problem = table.pair_problem(stage.block, stage.downsample, c_in, stage.channels, stage.stride)
    if problem:
        return problem
    for name in effective_fields(stage):
        if getattr(stage, name) not in table.choices[name]:
            return _not_offered(name, getattr(stage, name), table.choices[name])
    return f"block = {stage.block!r}: the space does not offer it with these values"


def _not_offered(name: str, value: FieldValue, choices: tuple[FieldValue, ...]) -> str:
    offered = "only the default" if choices == (None,) else ", ".join(map(repr, choices))
    return f"{name} = {value!r}: the space offers {offered}"
