"""Finds an architecture in a space: the space's settings that build it, or the value that is not offered."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from nasbench.arch.architecture import Architecture
from nasbench.arch.extent import blocks_extent, square
from nasbench.arch.parts import Head, Stage, Stem, effective_head_fields, effective_stem_fields
from nasbench.arch.presets import stage_units
from nasbench.space.equivalence import CLAMPED, head_key
from nasbench.space.file import Choices, FieldValue, PartValues
from nasbench.space.genotype import ABSENT, Genotype
from nasbench.space.stage_graph import State
from nasbench.space.stage_match import match
from nasbench.space.stage_sets import Step
from nasbench.space.structure import Structure

Failure = tuple[int, str]  # the number of stages that fitted, and what did not


@lru_cache(1 << 12)  # a parent is located again for each of its children
def locate(structure: Structure, arch: Architecture) -> Genotype | str:
    """The settings of the space that build `arch`; else why it is outside, as `key = value: rule`."""
    problem = arch.problem()
    if problem:
        return problem
    if arch.resolution not in structure.file.resolution:
        return f"resolution = {arch.resolution}: the space offers {_listed(structure.file.resolution)}"
    if arch.in_channels != structure.file.in_channels:
        return f"in_channels = {arch.in_channels}: the space offers {structure.file.in_channels}"
    stem = structure.stem_like(arch.stem)
    if stem is None:
        return _end_outside("stem", arch.stem, effective_stem_fields(arch.stem), structure.file.stem)
    fit = _Fit(structure, arch)
    fitted = fit.from_table(0, 0, structure.start(stem))
    if fitted is None:
        return max(fit.failures, key=lambda failure: failure[0])[1]
    for constraint in structure.constraints:
        if not constraint.total_stride(arch.total_stride):
            return f"total stride = {arch.total_stride}: the space's constraint {constraint.text} does not allow it"
    end = Step.of(fit.stages[-1])
    wanted, rows = head_key(arch.head, end.channels, end.tokens), structure.heads(end.channels, end.tokens)
    head = next((row for row in rows if head_key(Head(**row), end.channels, end.tokens) == wanted), None)
    if head is None:
        return _end_outside("head", arch.head, effective_head_fields(arch.head), structure.file.head)
    return (structure.top(arch.resolution), stem, *fitted, head)


class _Fit:
    """Assigns an architecture's stages to a space's tables in order; optional tables may stay empty."""

    def __init__(self, structure: Structure, arch: Architecture) -> None:
        self.structure = structure
        self.stages = tuple(stage for stage in arch.stages if stage.depth)
        self.sides = _map_sides(arch, self.stages)
        self.failures: list[Failure] = []

    def from_table(self, index: int, done: int, state: State) -> tuple[PartValues, ...] | None:
        """Values for the tables from `index` on that build `stages[done:]`; None, and why in `failures`, if none do."""
        left, tables = len(self.stages) - done, self.structure.tables[index:]
        if not sum(not table.optional for table in tables) <= left <= len(tables):
            self.failures.append((done, f"{len(self.stages)} stages: the space has {self._stage_counts()}"))
            return None
        if not tables:
            return ()
        if left:
            values = match(tables[0], self.stages[done], state.channels, state.first, self.sides[done])
            if isinstance(values, str):
                self.failures.append((done + 1, f"stages[{done}].{values}"))
            else:
                rest = self.from_table(index + 1, done + 1, state.after(Step.of(self.stages[done])))
                if rest is not None:
                    return (values, *rest)
        if not tables[0].optional:
            return None
        rest = self.from_table(index + 1, done, state)
        return None if rest is None else (ABSENT, *rest)

    def _stage_counts(self) -> str:
        least, most = sum(not table.optional for table in self.structure.tables), len(self.structure.tables)
        return str(most) if least == most else f"{max(1, least)} to {most}"


def _map_sides(arch: Architecture, stages: tuple[Stage, ...]) -> tuple[int | None, ...]:
    """The side of the map after each stage's transition; None where no stage has a field of CLAMPED."""
    if not any(stage.block in CLAMPED for stage in stages):
        return (None,) * len(stages)
    extent, channels, sides = blocks_extent(arch.network.stem, square(arch.resolution)), arch.stem.channels, []
    for stage, blocks in zip(stages, arch.network.stages):
        sides.append(blocks_extent(stage_units(stage, channels, extent.width).transition, extent).width)
        extent, channels = blocks_extent(blocks, extent), stage.channels
    return tuple(sides)


def _listed(values: Sequence[FieldValue]) -> str:
    return "only the default" if tuple(values) == (None,) else ", ".join(map(str, values))


def _end_outside(place: str, part: Stem | Head, fields: Sequence[str], choices: Choices) -> str:
    """The value of a stem or head that the space does not offer, as `key = value: rule`."""
    for name in fields:
        value = getattr(part, name)
        if value not in choices[name]:
            return f"{place}.{name} = {value!r}: the space offers {_listed(choices[name])}"
    written = ", ".join(f"{name} {getattr(part, name)!r}" for name in fields)
    return f"{place} = {written}: the space does not offer it with these values"
