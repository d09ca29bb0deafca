"""Operators on genotypes of one space: random draw, crossover, change of one field."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

import numpy as np

from nasbench.space.compose import Composer, first_of, random_pick
from nasbench.space.file import FieldValue
from nasbench.space.genotype import Genotype
from nasbench.space.structure import Structure

T = TypeVar("T")
FUNCTIONLESS = ("pool",)  # fields that change fvcore's count and not the function: no moves, to train nothing twice


def drawn(structure: Structure, rng: np.random.Generator) -> Genotype:
    """A random genotype, without regard to budgets."""
    genotype = Composer(structure, random_pick(rng)).compose()
    assert genotype is not None, "an unforced walk that looks ahead has no dead end"
    return genotype


def crossed(structure: Structure, a: Genotype, b: Genotype, rng: np.random.Generator) -> Genotype:
    """Each part from either parent with equal probability; impossible values are repaired by `Composer`."""
    wishes = tuple((a, b)[int(rng.integers(2))][part] for part in range(len(a)))
    genotype = Composer(structure, random_pick(rng), wishes).compose()
    assert genotype is not None, "wishes are never forced"
    return genotype


def one_field_changes(
    structure: Structure, genotype: Genotype, rng: np.random.Generator | None = None
) -> Iterator[Genotype]:
    """The genotypes one change of one field away, repaired by `Composer`.

    In the file's order, or in random order of fields and values where `rng` is given.
    """
    pick = first_of if rng is None else random_pick(rng)
    for part, name, choices in _shuffled(_genes(structure, genotype), rng):
        for value in _shuffled(choices, rng):
            if value == genotype[part].get(name):
                continue
            other = Composer(structure, pick, genotype, part, {name: value}).compose()
            if other is not None and other != genotype:
                yield other


def _genes(structure: Structure, genotype: Genotype) -> list[tuple[int, str, tuple[FieldValue, ...]]]:
    """(part, field, choices) of the fields of a genotype that can be changed."""
    return [
        (part, name, choices[name])
        for part, (choices, values) in enumerate(zip(structure.choices, genotype))
        for name in values
        if len(choices[name]) > 1 and name not in FUNCTIONLESS
    ]


def _shuffled(items: Sequence[T], rng: np.random.Generator | None) -> Iterator[T]:
    return iter(items) if rng is None else (items[i] for i in rng.permutation(len(items)))
