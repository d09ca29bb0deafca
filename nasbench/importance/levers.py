"""What is exchanged between designs to ask whether it matters: a field, a field in every stage, or a whole part.

Fields are conditional: a patch size is there only where the block attends, and a stage's fields only where the stage
is. So a field is exchanged among the designs alone in which it takes effect, and whatever exists because of its value
(the head dimension of an attending block) moves along with it. No design gets a value of a field that it has not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from nasbench.space import SearchSpace
from nasbench.space.encoding import Column, columns_of
from nasbench.space.genotype import Genotype

By = Literal["field", "stage", "place"]
WHOLE = ""  # the move that exchanges a part with all of its fields
# What a stage's other fields hang on; those that hang on nothing but the stage itself are not named.
OF_ITS_OWN = ("block", "channels", "depth", "downsample", "stride", "resolution", "kind")
PARENTS = {"downsample_expansion": "downsample", "entry": "downsample"}


class Move(NamedTuple):
    """Columns of the code (features,) that are exchanged together, among the designs of `among` (n,) alone."""

    columns: np.ndarray
    among: np.ndarray


@dataclass(frozen=True)
class Lever:
    """Moves that are made at once, and the number of designs that any of them touches."""

    name: str
    moves: tuple[Move, ...]

    @property
    def designs(self) -> int:
        return int(np.any([move.among for move in self.moves], axis=0).sum())

    @property
    def columns(self) -> np.ndarray:
        return np.unique(np.concatenate([move.columns for move in self.moves]))


def code_of(space: SearchSpace, genotypes: Sequence[Genotype]) -> np.ndarray:
    """The designs as numbers (n, features), one column a number or a choice."""
    columns = columns_of(space.structure.choices)
    return np.array([[column.read(genotype) for column in columns] for genotype in genotypes]).reshape(-1, len(columns))


def levers_of(space: SearchSpace, genotypes: Sequence[Genotype], by: By = "field") -> list[Lever]:
    """Every lever of the space that at least two of the designs could exchange; `by` says what one is."""
    columns = columns_of(space.structure.choices)
    found: dict[str, list[Move]] = {}
    for part in sorted({column.part for column in columns}):
        fields = dict.fromkeys(column.field for column in columns if column.part == part)
        for field in [WHOLE] if by == "stage" else [*_whole(part, genotypes), *fields]:
            move = _move(columns, genotypes, part, field)
            if move.among.sum() > 1 and len(move.columns):
                found.setdefault(_name(len(genotypes[0]), part, field, by), []).append(move)
    return [Lever(name, tuple(moves)) for name, moves in found.items()]


def _whole(part: int, genotypes: Sequence[Genotype]) -> list[str]:
    """Whether a stage is there is a field of its own, where some designs have it and some have not."""
    there = {_is_there(genotype, part) for genotype in genotypes}
    return [WHOLE] if len(there) == 2 else []


def _is_there(genotype: Genotype, part: int) -> bool:
    return genotype[part].get("depth") != 0 or part in (0, 1, len(genotype) - 1)


def _move(columns: Sequence[Column], genotypes: Sequence[Genotype], part: int, field: str) -> Move:
    """A field of one part with all that hangs on it."""
    moved = [at for at, column in enumerate(columns) if column.part == part and _moves_with(column.field, field)]
    among = [field == WHOLE or (_is_there(each, part) and field in each[part]) for each in genotypes]
    return Move(np.array(moved, dtype=int), np.array(among, dtype=bool))


def _moves_with(other: str, field: str) -> bool:
    """Whether `other` is `field`, or exists by its value."""
    if field in (WHOLE, other):
        return True
    if other in PARENTS:
        return PARENTS[other] == field
    return field in ("block", "kind") and other not in OF_ITS_OWN


def _name(parts: int, part: int, field: str, by: By) -> str:
    place = {0: "", 1: "stem", parts - 1: "head"}.get(part, f"stage {part - 1}")
    if by == "stage":
        return place or "resolution"
    if field == WHOLE:
        return "is there" if by == "field" else f"{place} is there"
    if by == "field" and place.startswith("stage"):
        return field
    return f"{place} {field}".strip()
