"""A genotype: an architecture as values of its space's fields, part by part.

The parts are the resolution (with the images' channels where they are not three), the stem, one for each [[stages]]
table (`{"depth": 0}` for an absent stage) and the head; each holds only fields that have an effect.
"""

from __future__ import annotations

from nasbench.arch.architecture import Architecture
from nasbench.arch.parts import Head, Stage, Stem
from nasbench.space.file import PartValues

Genotype = tuple[PartValues, ...]
ABSENT: PartValues = {"depth": 0}  # the part of a stage that is left out


def express(genotype: Genotype) -> Architecture:
    """The architecture that a genotype describes; absent stages are left out."""
    top, stem, *stages, head = genotype
    parts = {"stem": Stem(**stem), "stages": tuple(Stage(**values) for values in stages if values["depth"])}
    return Architecture(**top, head=Head(**head), **parts)
