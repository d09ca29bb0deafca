"""Which networks to measure, measuring them, and the profile that comes of it."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from nasbench.latency.profile import (
    THIS_MACHINE,
    DeviceProfile,
    Record,
    architecture_features,
    new_profile,
    profile_path,
)

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

    from nasbench.architecture import Architecture
    from nasbench.latency.device import Measurement
    from nasbench.latency.measure import Meter

BATCH = 8  # networks held in memory at once; their passes take turns
SECONDS = 120.0
DEFAULT_NETWORKS = 40
MIN_NETWORKS = 24  # measured whatever the time: 16 give 13 % error, 24 about 9 %, 40 about 6 %
CANDIDATES_PER_NETWORK = 8  # samples looked at for each one chosen
MAX_MACS = 1.5e9  # heavier ones cost seconds each and sit outside every mobile budget

log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]  # (networks done, networks in all)


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
    """`n` architectures to fit a predictor on, in an order whose beginning covers the space too.

    Up to a quarter are `fixed` points below `max_macs`; of the rest every second one is a random sample, the others
    are those farthest in features from all chosen before (k-centre), so that small, large and rare mixes are in.
    """
    anchors = [a for a in fixed if _macs(a, num_classes) <= max_macs]
    chosen = [anchors[i] for i in rng.permutation(len(anchors))[: n // 4]]
    pool = _pool(space, n - len(chosen), rng, max_macs, num_classes, {a.id for a in chosen})
    points = _coordinates([*chosen, *pool], num_classes)
    picked = list(range(len(chosen)))
    free = list(range(len(chosen), len(points)))
    while free and len(picked) < n:
        take_far = picked and len(picked) % 2
        nearest = [np.abs(points[picked] - points[i]).sum(axis=1).min() if take_far else 0.0 for i in free]
        picked.append(free.pop(int(np.argmax(nearest)) if take_far else 0))
    everything = [*chosen, *pool]
    return [everything[i] for i in rng.permutation(picked)]


def _pool(
    space: Space, n: int, rng: np.random.Generator, max_macs: float, num_classes: int, known: set[str]
) -> list[Architecture]:
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


def _coordinates(architectures: Sequence[Architecture], num_classes: int) -> np.ndarray:
    """(n, k): each feature's logarithm in units of its standard deviation."""
    amounts = [architecture_features(a, num_classes) for a in architectures]
    names = sorted({name for a in amounts for name in a})
    logs = np.log1p(np.array([[a.get(name, 0.0) for name in names] for a in amounts]))
    return logs / np.maximum(logs.std(axis=0), 1e-9)


def _macs(architecture: Architecture, num_classes: int) -> float:
    from nasbench.cost import cost

    return cost(architecture, num_classes=num_classes).macs


def fit_profile(
    architectures: Sequence[Architecture],
    name: str = THIS_MACHINE,
    seconds: float = SECONDS,
    progress: Progress | None = None,
    num_classes: int = 1000,
    save: bool = True,
) -> DeviceProfile:
    """Measure `architectures` on this machine for about `seconds`, fit a predictor, and keep it under `name`.

    Stops at the end of the batch that would pass the time, so a slow machine measures fewer networks, down to
    MIN_NETWORKS. A network that
    cannot be built, exported or run is logged and left out.
    """
    from nasbench.latency.measure import Meter

    profile_path(name)  # a bad name fails before the work
    meter, start, done = Meter(), time.monotonic(), 0
    measured: list[tuple[Architecture, Measurement]] = []
    for batch in _batches(architectures):
        batch_start = time.monotonic()
        measured += _measure_batch(batch, meter, num_classes, on_failure=_log_failure)
        done += len(batch)
        if progress:
            progress(done, len(architectures))
        now = time.monotonic()
        if now - start + 0.5 * (now - batch_start) > seconds and len(measured) >= MIN_NETWORKS:
            break
    records = [_record(architecture, m, meter.reference_ms) for architecture, m in measured]
    profile = new_profile(name, records, meter.reference_ms, num_classes)
    if save:
        profile.save()
    return profile


def measure_architectures(
    architectures: Sequence[Architecture],
    profile: DeviceProfile | None = None,
    num_classes: int = 1000,
    progress: Progress | None = None,
) -> list[Measurement]:
    """Latency of each architecture's deploy form on this machine, scaled as `profile` was (ms comparable with it)."""
    from nasbench.latency.measure import REFERENCE_NAME, Meter

    if profile is not None:
        profile.require_this_device()
    same_reference = profile is not None and profile.reference == REFERENCE_NAME
    meter = Meter(profile.reference_ms if profile is not None and same_reference else None)
    measured: list[Measurement] = []
    for batch in _batches(architectures):
        measured += [m for _, m in _measure_batch(batch, meter, num_classes, on_failure=_raise_failure)]
        if progress:
            progress(len(measured), len(architectures))
    return [dataclasses.replace(m, latency_ms=m.ratio * meter.reference_ms) for m in measured]


def _batches(architectures: Sequence[Architecture]) -> list[Sequence[Architecture]]:
    return [architectures[i : i + BATCH] for i in range(0, len(architectures), BATCH)]


def _measure_batch(
    batch: Sequence[Architecture], meter: Meter, num_classes: int, on_failure: Callable[[Architecture, Exception], None]
) -> list[tuple[Architecture, Measurement]]:
    """Each network of the batch that the runtime takes, with its measurement."""
    from nasbench.latency.export import checked_session

    opened: list[tuple[Architecture, InferenceSession]] = []
    for architecture in batch:
        try:
            opened.append((architecture, checked_session(architecture, num_classes)))
        except Exception as error:  # the runtime's errors share no base class
            on_failure(architecture, error)
    measured = meter.measure_all([session for _, session in opened])
    return [(architecture, m) for (architecture, _), m in zip(opened, measured, strict=True)]


def _log_failure(architecture: Architecture, error: Exception) -> None:
    log.warning("network %s is left out of the latency profile: %s", architecture.id, error)


def _raise_failure(architecture: Architecture, error: Exception) -> None:
    raise RuntimeError(f"network {architecture.id} cannot be measured: {error}") from error


def _record(architecture: Architecture, measurement: Measurement, reference_ms: float) -> Record:
    final = dataclasses.replace(measurement, latency_ms=measurement.ratio * reference_ms, reference_ms=reference_ms)
    return Record(id=architecture.id, architecture=architecture.to_dict(), measurement=final)
