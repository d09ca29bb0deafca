"""Architectures of a space as numbers, for surrogate models."""

from __future__ import annotations

from typing import Any, NamedTuple

from nasbench.space.compose import Genotype
from nasbench.space.file import Choices


class Column(NamedTuple):
    """One entry of the code: a number as a share of its largest choice, or whether a field has one value."""

    name: str
    part: int
    field: str
    scale: float | None
    value: Any = None

    def read(self, genotype: Genotype) -> float:
        values = genotype[self.part]
        if self.field not in values:
            return 0.0
        if self.scale is not None:
            return values[self.field] / self.scale
        return float(values[self.field] == self.value)


def columns_of(parts: tuple[Choices, ...]) -> tuple[Column, ...]:
    """The columns for every field that has a choice."""
    names = ["", "stem.", *(f"stages[{i}]." for i in range(len(parts) - 3)), "head."]
    return tuple(
        column
        for part, choices in enumerate(parts)
        for field, values in choices.items()
        if len(values) > 1
        for column in _columns(names[part] + field, part, field, values)
    )


def _columns(name: str, part: int, field: str, values: tuple[Any, ...]) -> list[Column]:
    if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values):
        return [Column(name, part, field, float(max(values)))]
    return [Column(f"{name}={value}", part, field, None, value) for value in values]
