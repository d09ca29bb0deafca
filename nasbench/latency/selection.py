"""Which networks to measure on a device, so that a predictor fitted to them covers a search space."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np

from nasbench.arch.architecture import Architecture
from nasbench.costs.analytic import cost
from nasbench.latency.lowering import architecture_features

CANDIDATES_PER_NETWORK = 8  # samples drawn for each network chosen
MAX_PACK_PARAMS = 8e6  # of a network in a pack: 32 MB of weights
# Microseconds of a launch, a byte, a multiply-add of any kind of kernel: rough values, fitted on one server core.
NOMINAL_US = {"launches": 4.0, "bytes": 2.4e-5, "macs": 9.6e-6}
SHARES_WEIGHT = 10.0  # of the shares against the size, in the distance between two networks
MAX_MACS = 1.5e9  # heavier ones cost seconds each and sit outside every mobile budget


class Space(Protocol):
    def sample(self, rng: np.random.Generator) -> Architecture: ...


def calibration_set(
    space: Space,
    n: int,
    rng: np.random.Generator,
    fixed: Iterable[Architecture] = (),
    max_macs: float = MAX_MACS,
    num_classes: int = 1000,
) -> list[Architecture]:
    """`n` architectures to fit a predictor on, in an order of which any first part covers the space as well.

    Up to a quarter are `fixed` points below `max_macs`; of the rest every second one is a random sample, and the others
    are those farthest in `coordinates` from all chosen before (k-centre), so that rare mixes of kernels are included.
    The smallest and the largest come first: a network between them in size is no extrapolation.
    """
    anchors = [a for a in _inside(space, fixed) if _macs(a, num_classes) <= max_macs]
    chosen = [anchors[i] for i in rng.permutation(len(anchors))[: n // 4]]
    pool = _pool(space, n - len(chosen), rng, max_macs, num_classes, {a.id for a in chosen})
    everything = [*chosen, *pool]
    points = coordinates(everything, num_classes)
    ends = list(dict.fromkeys([int(points[:, -1].argmin()), int(points[:, -1].argmax())]))
    begun = [*ends, *(i for i in range(len(chosen)) if i not in ends)][:n]
    picked = spread_out(points, begun, n)
    return [everything[i] for i in (*ends, *rng.permutation([i for i in picked if i not in ends]))]


def covering_set(
    space: Space, n: int, rng: np.random.Generator, fixed: Iterable[Architecture] = (), num_classes: int = 1000
) -> list[Architecture]:
    """`n` architectures for a device on which few can be measured.

    The smallest and the largest, then those that add most kinds of kernels not yet covered, among equals the farthest
    from all chosen before.
    """
    anchors = [a for a in _inside(space, fixed) if _macs(a, num_classes) <= MAX_MACS]
    pool = [*anchors, *_pool(space, n, rng, MAX_MACS, num_classes, {a.id for a in anchors})]
    light = [a for a in pool if _params(a, num_classes) <= MAX_PACK_PARAMS]
    pool = light if len(light) >= n else pool
    amounts = [architecture_features(a, num_classes) for a in pool]
    kinds = [set(amount) for amount in amounts]
    macs = [_macs(a, num_classes) for a in pool]
    picked = [int(np.argmin(macs)), int(np.argmax(macs))]
    points = coordinates(pool, num_classes)
    while len(picked) < n:
        missing = set().union(*kinds).difference(*(kinds[i] for i in picked))
        nearest = np.abs(points[:, None] - points[picked][None]).sum(axis=2).min(axis=1)
        gain = [(i not in picked, len(kinds[i] & missing), nearest[i]) for i in range(len(pool))]
        picked.append(max(range(len(pool)), key=gain.__getitem__))
    return [pool[i] for i in picked[:n]]


def _pool(
    space: Space, n: int, rng: np.random.Generator, max_macs: float, num_classes: int, known: set[str]
) -> list[Architecture]:
    """Up to CANDIDATES_PER_NETWORK x `n` different samples below `max_macs`; their ids are added to `known`."""
    pool: list[Architecture] = []
    for _ in range(4 * CANDIDATES_PER_NETWORK * n):
        candidate = space.sample(rng)
        if candidate.id not in known and _macs(candidate, num_classes) <= max_macs:
            known.add(candidate.id)
            pool.append(candidate)
        if len(pool) == CANDIDATES_PER_NETWORK * n:
            break
    if len(pool) < n:
        raise ValueError(f"only {len(pool)} of {n} samples stay below {max_macs:.3g} MACs; raise max_macs")
    return pool


def spread_out(points: np.ndarray, picked: list[int], n: int) -> list[int]:
    """Indices of `n` rows of `points`: `picked`, then by turns the next row and that farthest from all picked."""
    picked, free = list(picked), [i for i in range(len(points)) if i not in picked]
    while free and len(picked) < n:
        take_far = picked and len(picked) % 2
        nearest = [np.abs(points[picked] - points[i]).sum(axis=1).min() if take_far else 0.0 for i in free]
        picked.append(free.pop(int(np.argmax(nearest)) if take_far else 0))
    return picked


def coordinates(architectures: Sequence[Architecture], num_classes: int) -> np.ndarray:
    """(n, kinds + 1): the share of each kind of kernel in a network's time on a nominal device, and the total time.

    Square roots of the shares, so that small ones count too, and the total's logarithm in standard deviations. A fit to
    fifty networks spread over these coordinates predicts others with 3.9 % error; over logs of all features 4.3 %.
    """
    nominal = [_nominal_us(architecture_features(a, num_classes)) for a in architectures]
    kinds = sorted({kind for times in nominal for kind in times})
    times = np.array([[each.get(kind, 0.0) for kind in kinds] for each in nominal])
    totals = times.sum(axis=1)
    sizes = np.log(totals)
    spread = (sizes - sizes.mean()) / max(sizes.std(), 1e-9)
    return np.column_stack([SHARES_WEIGHT * np.sqrt(times / totals[:, None]), spread])


def _nominal_us(amounts: dict[str, float]) -> dict[str, float]:
    """Microseconds per kind of kernel, at the rates of NOMINAL_US for all kinds."""
    times: dict[str, float] = {}
    for name, amount in amounts.items():
        kind, _, measure = name.rpartition(".")
        if measure in NOMINAL_US:
            times[kind] = times.get(kind, 0.0) + NOMINAL_US[measure] * amount
    return times


def _macs(architecture: Architecture, num_classes: int) -> float:
    return cost(architecture, num_classes=num_classes).macs


def _inside(space: Space, fixed: Iterable[Architecture]) -> list[Architecture]:
    """Those of `fixed` that are in the space: a single network of another family only makes the fit worse."""
    contains = getattr(space, "contains", None)
    return [a for a in fixed if contains is None or contains(a)]


def _params(architecture: Architecture, num_classes: int) -> float:
    return cost(architecture, num_classes=num_classes).params
