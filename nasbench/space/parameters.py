"""A member of a space as named parameters and back, for general optimisers.

A parameter is a field of one part that has several choices. Which of them are possible depends on the parameters before
it; a member has values only for the parameters that have an effect in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from nasbench.space.compose import Composer, Pick
from nasbench.space.encoding import part_names
from nasbench.space.file import Choices, FieldValue, ints
from nasbench.space.genotype import Genotype
from nasbench.space.stage_sets import TOKENISED
from nasbench.space.structure import Structure

TOKENS = "tokens"  # a field of the block TOKENISED; 0 for all others


class Parameter(NamedTuple):
    """A field of one part with all values that it has anywhere in the space."""

    name: str
    part: int
    field: str
    choices: tuple[FieldValue, ...]


def parameters_of(parts: tuple[Choices, ...]) -> tuple[Parameter, ...]:
    """Every field with several choices, part by part.

    `Composer` decides them in this order but for the resolution, which is first here and decided last.
    """
    found = (
        Parameter(prefix + field, part, field, _values(field, choices))
        for part, (prefix, choices) in enumerate(zip(part_names(parts), parts))
        for field in choices
    )
    return tuple(parameter for parameter in found if len(parameter.choices) > 1)


def _values(field: str, choices: Choices) -> tuple[FieldValue, ...]:
    """The choices of a field; of tokens with the 0 of blocks that have none."""
    if field != TOKENS or TOKENISED not in choices["block"]:
        return choices[field] if field != TOKENS else (0,)
    without = (0,) if set(choices["block"]) - {TOKENISED} else ()
    return tuple(dict.fromkeys((*without, *ints(choices, TOKENS))))


def values_of(parameters: tuple[Parameter, ...], genotype: Genotype) -> dict[str, FieldValue]:
    """{name: value} of the parameters that have an effect in this member."""
    found: dict[str, FieldValue] = {}
    for name, part, field, _ in parameters:
        values = genotype[part]
        if field in values:
            found[name] = values[field]
        elif field == TOKENS and values["depth"]:
            found[name] = 0
    return found


class Wishes(Mapping[str, FieldValue]):
    """The wishes for one part by field, read from `values` by parameter name only when the field is decided."""

    def __init__(self, names: Mapping[str, str], values: Mapping[str, FieldValue]) -> None:
        self._names, self._values = names, values

    def __getitem__(self, field: str) -> FieldValue:
        return self._values[self._names[field]]

    def __contains__(self, field: object) -> bool:
        return field in self._names and self._names[str(field)] in self._values

    def __iter__(self) -> Iterator[str]:
        return (field for field in self._names if field in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def composed(
    structure: Structure, parameters: tuple[Parameter, ...], values: Mapping[str, FieldValue], pick: Pick
) -> Genotype:
    """The member with these values; an impossible one is replaced by the nearest number, else `pick` chooses.

    A value is looked up only when it is decided, so `values` may draw it at that moment.
    """
    names: list[dict[str, str]] = [{} for _ in structure.choices]
    for name, part, field, _ in parameters:
        names[part][field] = name
    wishes = tuple(Wishes(of_part, values) for of_part in names)
    genotype = Composer(structure, pick, wishes).compose()
    assert genotype is not None, "wishes are never forced"
    return genotype
