"""Picking designs for a table by the surrogate's upper confidence bound, with latency bands in turn."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from nasbench.arch.architecture import Architecture
from nasbench.errors import UserError
from nasbench.space import SearchSpace
from nasbench.strategies.relatives import bands_of, child_of, in_turn
from nasbench.table.designs import Octaves
from nasbench.table.table import Table

PARENTS = 0.25  # share of the table's designs that are parents: those with the best posterior mean
CANDIDATES = 20  # children for one pick
ATTEMPTS = 5  # draws for one candidate
OPTIMISM = 1.0  # standard deviations added to the mean
RUNG = -1  # long training

Speed = Callable[[Sequence[Architecture]], np.ndarray]  # designs -> (designs,) latency in ms, or another cost


def picks(
    table: Table, space: SearchSpace, octaves: Octaves, speed: Speed, count: int, rng: np.random.Generator
) -> list[Architecture]:
    """`count` designs within the budget that the table does not hold: those of each band of `speed` with the highest
    posterior mean plus one standard deviation, bands in turn. UserError without a design to start from."""
    known = [arch for arch in table.current.architectures.values() if space.contains(arch)]
    if not known:
        raise UserError(f"{table.source}: no design of space {space.label!r} to start from; collect some first")
    order = np.argsort(-table.predict(known, RUNG).mean, kind="stable")
    parents = [known[i] for i in order[: max(2, math.ceil(PARENTS * len(known)))]]
    candidates = _candidates(parents, set(table.ids), space, octaves, CANDIDATES * count, rng)
    if not candidates:
        return []
    found = table.predict(candidates, RUNG)
    bounds = found.mean + OPTIMISM * found.std
    return [candidates[i] for i in in_turn(bands_of(speed(candidates)), bounds)[:count]]


def _candidates(
    parents: Sequence[Architecture], known: set[str], space: SearchSpace, octaves: Octaves, count: int,
    rng: np.random.Generator,
) -> list[Architecture]:  # fmt: skip
    found: dict[str, Architecture] = {}
    for _ in range(ATTEMPTS * count):
        if len(found) == count:
            break
        arch = child_of(parents, space, rng)
        if arch.id not in known and octaves.of(arch) is not None:
            found[arch.id] = arch
    return list(found.values())
