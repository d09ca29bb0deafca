"""The ends of an architecture of a space, and all of it put together."""

from __future__ import annotations

import itertools
from typing import Any

from nasbench.architecture import Architecture, Head, Stage, Stem
from nasbench.space.compose import Genotype
from nasbench.space.file import Choices
from nasbench.space.keys import head_key, stem_key


def express(genotype: Genotype) -> Architecture:
    """The architecture that a genotype describes; absent stages are left out."""
    top, stem, *stages, head = genotype
    present = tuple(Stage(**values) for values in stages if values["depth"])
    return Architecture(resolution=top["resolution"], stem=Stem(**stem), stages=present, head=Head(**head))


def distinct_stems(choices: Choices) -> list[dict[str, Any]]:
    """The stems that can be built, one of each that the network tells apart."""
    rows = [dict(zip(choices, values)) for values in itertools.product(*choices.values())]
    fitting = [row for row in rows if row["kind"] == "mobileone" or Stem(**row).total_stride <= 2]
    return list({stem_key(Stem(**row)): row for row in reversed(fitting)}.values())[::-1]


def distinct_heads(choices: Choices, channels: int) -> list[dict[str, Any]]:
    """The heads after this many channels, likewise; only with the fields that take effect."""
    rows: dict[Any, dict[str, Any]] = {}
    for kind, expansion in itertools.product(choices["kind"], choices["expansion"]):
        key = head_key(Head(kind=kind, expansion=expansion), channels)
        rows.setdefault(key, {"kind": kind} if key == (kind,) else {"kind": kind, "expansion": expansion})
    return list(rows.values())
