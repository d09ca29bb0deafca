"""Rounds around what looks best: designs picked by the surrogate's posterior, a share for each latency band."""

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

PARENTS = 0.25  # share of the table's designs whose children are looked at: those with the best posterior mean
CANDIDATES = 20  # children looked at for one pick
ATTEMPTS = 5  # draws for one candidate
OPTIMISM = 1.0  # standard deviations: a design that may be good is worth a training
RUNG = -1  # what counts is long training

Speed = Callable[[Sequence[Architecture]], np.ndarray]  # designs -> (designs,) ms, or whatever bands are made by


def picks(
    table: Table, space: SearchSpace, octaves: Octaves, speed: Speed, count: int, rng: np.random.Generator
) -> list[Architecture]:
    """`count` designs that the table does not hold, within the budget: in each band of `speed` those with the highest
    posterior mean plus one standard deviation, the bands in turn."""
    known = [arch for arch in table.current.architectures.values() if space.contains(arch)]
    if not known:
        raise UserError(f"{table.source}: no design of space {space.label!r} to start from; collect some first")
    order = np.argsort(-table.predict(known, RUNG).mean, kind="stable")
    parents = [known[i] for i in order[: max(2, math.ceil(PARENTS * len(known)))]]
    candidates = _candidates(parents, set(table.ids), space, octaves, CANDIDATES * count, rng)
    if not candidates:
        return []
    found = table.predict(candidates, RUNG)
    hopes = found.mean + OPTIMISM * found.std
    return [candidates[i] for i in in_turn(bands_of(speed(candidates)), hopes)[:count]]


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
