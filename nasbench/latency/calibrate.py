"""Which networks to measure, measuring them, and the profile that comes of it."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING
from typing import Protocol as TypingProtocol

import numpy as np

from nasbench.errors import UserError
from nasbench.latency import standalone
from nasbench.latency.device import Measurement, Settings, this_device
from nasbench.latency.energy import required_meter
from nasbench.latency.profile import (
    THIS_MACHINE,
    DeviceProfile,
    Protocol,
    Record,
    Reference,
    architecture_features,
    checked_name,
    new_profile,
)
from nasbench.latency.standalone import DEVIATION_LIMIT, MAX_PASSES, PASSES, Meter

if TYPE_CHECKING:
    from nasbench.arch.architecture import Architecture
    from nasbench.latency.measure import Session

SHARE_OF_FIRST_PASSES = 0.6  # of the time: each first pass builds, exports and checks its network too
SECONDS = 120.0
MIN_NETWORKS = 24  # measured whatever the time: 16 give 13 % error, 24 about 9 %, 40 about 6 %
CANDIDATES_PER_NETWORK = 8  # samples looked at for each one chosen
MAX_CARRIED_PARAMS = 8e6  # of a network in a pack: 32 MB of weights
# Of a kernel of any kind: a launch, a byte, a multiply-add. Orders of magnitude, fitted on one server's core.
NOMINAL_US = {"launches": 4.0, "bytes": 2.4e-5, "macs": 9.6e-6}
SHARES_WEIGHT = 10.0
MAX_MACS = 1.5e9  # heavier ones cost seconds each and sit outside every mobile budget

log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]  # (networks done, networks in all)


class Space(TypingProtocol):
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
    anchors = [a for a in _inside(space, fixed) if _macs(a, num_classes) <= max_macs]
    chosen = [anchors[i] for i in rng.permutation(len(anchors))[: n // 4]]
    pool = _pool(space, n - len(chosen), rng, max_macs, num_classes, {a.id for a in chosen})
    everything = [*chosen, *pool]
    picked = spread_out(coordinates(everything, num_classes), list(range(len(chosen))), n)
    return [everything[i] for i in rng.permutation(picked)]


def covering_set(
    space: Space, n: int, rng: np.random.Generator, fixed: Iterable[Architecture] = (), num_classes: int = 1000
) -> list[Architecture]:
    """`n` architectures for a device that few can be measured on: every kind of kernel that the space launches, the
    smallest and the largest, then those farthest from all chosen before."""
    anchors = [a for a in _inside(space, fixed) if _macs(a, num_classes) <= MAX_MACS]
    pool = [*anchors, *_pool(space, n, rng, MAX_MACS, num_classes, {a.id for a in anchors})]
    light = [a for a in pool if _params(a, num_classes) <= MAX_CARRIED_PARAMS]
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
    """`picked` and more of the rows of `points`, `n` in all: by turns the next one and the farthest from all picked."""
    picked, free = list(picked), [i for i in range(len(points)) if i not in picked]
    while free and len(picked) < n:
        take_far = picked and len(picked) % 2
        nearest = [np.abs(points[picked] - points[i]).sum(axis=1).min() if take_far else 0.0 for i in free]
        picked.append(free.pop(int(np.argmax(nearest)) if take_far else 0))
    return picked


def coordinates(architectures: Sequence[Architecture], num_classes: int) -> np.ndarray:
    """(n, kinds + 1): where a network's time goes, and how much it is, on a nominal device.

    Roots of the shares, so that small ones count too, and the total's logarithm in standard deviations. Fifty networks
    chosen to spread over these predict others with 3.9 % error; over logarithms of all features, 4.3 %.
    """
    nominal = [_nominal_us(architecture_features(a, num_classes)) for a in architectures]
    kinds = sorted({kind for times in nominal for kind in times})
    times = np.array([[each.get(kind, 0.0) for kind in kinds] for each in nominal])
    totals = times.sum(axis=1)
    sizes = np.log(totals)
    spread = (sizes - sizes.mean()) / max(sizes.std(), 1e-9)
    return np.column_stack([SHARES_WEIGHT * np.sqrt(times / totals[:, None]), spread])


def _nominal_us(amounts: dict[str, float]) -> dict[str, float]:
    """Time by kind of kernel with one rate for each measure, whatever the kind."""
    times: dict[str, float] = {}
    for name, amount in amounts.items():
        kind, _, measure = name.rpartition(".")
        if measure in NOMINAL_US:
            times[kind] = times.get(kind, 0.0) + NOMINAL_US[measure] * amount
    return times


def _macs(architecture: Architecture, num_classes: int) -> float:
    from nasbench.costs.analytic import cost

    return cost(architecture, num_classes=num_classes).macs


def _inside(space: Space, fixed: Iterable[Architecture]) -> list[Architecture]:
    """Those of `fixed` that the space holds: a lone network of another family only blurs a fit."""
    contains = getattr(space, "contains", None)
    return [a for a in fixed if contains is None or contains(a)]


def _params(architecture: Architecture, num_classes: int) -> float:
    from nasbench.costs.analytic import cost

    return cost(architecture, num_classes=num_classes).params


def fit_profile(
    architectures: Sequence[Architecture],
    name: str = THIS_MACHINE,
    seconds: float = SECONDS,
    progress: Progress | None = None,
    num_classes: int = 1000,
    save: bool = True,
    settings: Settings | None = None,
    memory: bool = False,
    accept_noise: bool = False,
    energy: bool = False,
) -> DeviceProfile:
    """Measure `architectures` on this machine for about `seconds`, fit a predictor, and keep it under `name`.

    Networks are taken in order for half of the time, at least MIN_NETWORKS; the other half goes to their further
    passes. A network that cannot be built, exported or run is logged and left out. UserError where the passes disagree,
    unless the noise is accepted.
    """
    from nasbench.latency.measure import REFERENCE_NAME, Session, reference_hash

    checked_name(name)  # a bad name fails before the work, and so does a machine without a meter
    meter = required_meter(settings) if energy else None
    start = time.monotonic()
    with Session(settings) as session:
        taken = _take(session, architectures, start + SHARE_OF_FIRST_PASSES * seconds, progress, num_classes)
        _further_passes(session, start + seconds)
        reference = Reference(name=REFERENCE_NAME, sha256=reference_hash(), quiet_ms=session.reference_ms)
        records = [_record(session, index, architecture, memory, meter) for index, architecture in enumerate(taken)]
        device = this_device(session.settings)
        protocol = Protocol.of(session.clock, str(meter) if meter and any(r.energy_j for r in records) else "")
    profile = new_profile(name, records, device, protocol, reference, num_classes, accept_noise)
    if save:
        profile.save()
    return profile


def _take(
    session: Session,
    architectures: Sequence[Architecture],
    until: float,
    progress: Progress | None,
    num_classes: int,
    leave_out: bool = True,
) -> list[Architecture]:
    """The first pass of each network until the time is up; those that the runtime took."""
    taken: list[Architecture] = []
    for number, architecture in enumerate(architectures):
        if time.monotonic() > until and len(taken) >= MIN_NETWORKS:
            break
        try:
            session.add(architecture, num_classes)
        except UserError:
            raise
        except Exception as error:  # the runtimes' errors share no base class
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            if not leave_out:
                raise RuntimeError(f"network {architecture.id} cannot be measured: {reason}") from error
            log.warning("network %s is left out of the latency profile: %s", architecture.id, reason)
            if not taken and number + 1 == len(architectures):
                raise UserError(
                    f"{session.settings.runtime} takes none of the {number + 1} networks, this one for instance: "
                    f"{reason}; give others with --space, or another --runtime"
                ) from error
        else:
            taken.append(architecture)
        if progress:
            progress(number + 1, len(architectures))
    return taken


def _further_passes(session: Session, until: float) -> None:
    """The passes that every network gets, then more of those that disagree while there is time or they are many."""
    for _ in range(PASSES - 1):
        session.go_round()
    for _ in range(MAX_PASSES - PASSES):
        noisy = standalone.deviation([p.ratio(session.clock) for p in passes] for passes in session.passes)
        if time.monotonic() > until and noisy <= DEVIATION_LIMIT:
            break
        if not session.go_round(only_noisy=True):
            break


def measure_architectures(
    architectures: Sequence[Architecture],
    profile: DeviceProfile | None = None,
    num_classes: int = 1000,
    progress: Progress | None = None,
    settings: Settings | None = None,
) -> list[Measurement]:
    """Latency of each architecture's deploy form on this machine, scaled as `profile` was (ms comparable with it)."""
    return [r.measurement for r in measure_records(architectures, profile, num_classes, progress, settings)]


def measure_records(
    architectures: Sequence[Architecture],
    profile: DeviceProfile | None = None,
    num_classes: int = 1000,
    progress: Progress | None = None,
    settings: Settings | None = None,
    memory: bool = False,
    leave_out: bool = False,
    meter: Meter | None = None,
) -> list[Record]:
    """The same with the raw passes, as a profile keeps them.

    A network that cannot be measured raises RuntimeError; with `leave_out` it is logged and left out.
    """
    from nasbench.latency.measure import Session, reference_hash

    if profile is not None:
        profile.require_this_device()
        settings = profile.settings
    same = profile is not None and profile.reference.sha256 in ("", reference_hash())
    with Session(settings, profile.reference_ms if profile is not None and same else None) as session:
        taken = _take(session, architectures, math.inf, progress, num_classes, leave_out)
        session.finish()
        return [_record(session, index, architecture, memory, meter) for index, architecture in enumerate(taken)]


def _record(
    session: Session, index: int, architecture: Architecture, memory: bool = False, meter: Meter | None = None
) -> Record:
    return Record(
        id=architecture.id,
        architecture=architecture.to_dict(),
        measurement=session.measurement(index),
        passes=tuple(session.passes[index]),
        kernels=session.kernel_times(index),
        memory_bytes=session.peak_bytes(index) if memory else None,
        energy_j=session.energy_j(index, meter) if meter else None,
    )
