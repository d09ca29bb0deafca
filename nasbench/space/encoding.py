"""Architectures of a space as numeric vectors, for surrogate models."""

from __future__ import annotations

from typing import NamedTuple

from nasbench.space.file import Choices, FieldValue, is_number
from nasbench.space.genotype import Genotype


class Column(NamedTuple):
    """One entry of the vector: a number divided by its largest choice, or 1.0 where a field has `value`, else 0.0."""

    name: str
    part: int
    field: str
    scale: float | None
    value: FieldValue = None

    def read(self, genotype: Genotype) -> float:
        values = genotype[self.part]
        if self.field not in values:
            return 0.0
        value = values[self.field]
        if self.scale is not None and is_number(value):
            return value / self.scale
        return float(value == self.value)


def place_of(part: int, parts: int) -> str:
    """The prefix of the names of a part's fields, such as `stages[1].`; `parts`: their number in a genotype."""
    return {0: "", 1: "stem.", parts - 1: "head."}.get(part, f"stages[{part - 2}].")


def part_names(parts: tuple[Choices, ...]) -> list[str]:
    """The prefix of each part's field names."""
    return [place_of(part, len(parts)) for part in range(len(parts))]


def columns_of(parts: tuple[Choices, ...]) -> tuple[Column, ...]:
    """The columns of every field that has more than one choice."""
    return tuple(
        column
        for part, choices in enumerate(parts)
        for field, values in choices.items()
        if len(values) > 1
        for column in _columns(place_of(part, len(parts)) + field, part, field, values)
    )


def _columns(name: str, part: int, field: str, values: tuple[FieldValue, ...]) -> list[Column]:
    numbers = [value for value in values if is_number(value)]
    if len(numbers) == len(values):
        return [Column(name, part, field, float(max(numbers)))]
    return [Column(f"{name}={value}", part, field, None, value) for value in values]
