"""Measuring networks on this machine, and the profile that is fitted to them."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from nasbench.arch.architecture import Architecture
from nasbench.errors import UserError
from nasbench.latency import standalone
from nasbench.latency.device import Settings, this_device
from nasbench.latency.energy import required_meter
from nasbench.latency.names import THIS_MACHINE, checked_name
from nasbench.latency.profile import DeviceProfile, new_profile
from nasbench.latency.records import Protocol, Record, Reference
from nasbench.latency.standalone import DEVIATION_LIMIT, MAX_PASSES, PASSES, Meter

if TYPE_CHECKING:
    from nasbench.latency.measure import Session

SHARE_OF_FIRST_PASSES = 0.6  # of the time; a first pass includes building, exporting and checking the network
SECONDS = 120.0
MIN_NETWORKS = 24  # measured however long it takes: 16 give 13 % error, 24 about 9 %, 40 about 6 %

log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]  # (networks done, networks in all)


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

    SHARE_OF_FIRST_PASSES of the time goes to the first passes of the networks in order, at least MIN_NETWORKS; the rest
    to further passes of these. A network that cannot be built, exported or run is logged and left out. UserError where
    the passes disagree, unless `accept_noise`.
    """
    from nasbench.latency.measure import Session

    checked_name(name)  # a bad name fails before the work, and so does a machine without a meter
    meter = required_meter(settings) if energy else None
    start = time.monotonic()
    with Session(settings) as session:
        taken = _first_passes(session, architectures, start + SHARE_OF_FIRST_PASSES * seconds, progress, num_classes)
        _further_passes(session, start + seconds)
        records = [record_of(session, index, architecture, memory, meter) for index, architecture in enumerate(taken)]
        profile = _profile_of(session, name, records, meter, num_classes, accept_noise)
    if save:
        profile.save()
    return profile


def _profile_of(
    session: Session, name: str, records: list[Record], meter: Meter | None, num_classes: int, accept_noise: bool
) -> DeviceProfile:
    from nasbench.latency.reference import REFERENCE_NAME, reference_hash

    reference = Reference(name=REFERENCE_NAME, sha256=reference_hash(), quiet_ms=session.reference_ms)
    protocol = Protocol.of(session.clock, str(meter) if meter and any(r.energy_j for r in records) else "")
    return new_profile(name, records, this_device(session.settings), protocol, reference, num_classes, accept_noise)


def _first_passes(
    session: Session,
    architectures: Sequence[Architecture],
    until: float,
    progress: Progress | None,
    num_classes: int,
    leave_out: bool = True,
) -> list[Architecture]:
    """The first pass of each network until the time is up; returns the networks that could be measured.

    Others are logged and left out; RuntimeError for them where `leave_out` is false, UserError where none is left.
    """
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
                    f"{session.settings.runtime} takes none of the {len(architectures)} networks, this one for "
                    f"instance: {reason}; give others with --space, or another --runtime"
                ) from error
        else:
            taken.append(architecture)
        if progress:
            progress(number + 1, len(architectures))
    return taken


def _further_passes(session: Session, until: float) -> None:
    """PASSES passes of each network, then more of those whose passes disagree, MAX_PASSES in all.

    Ends early once the time is up and the passes as a whole agree within DEVIATION_LIMIT.
    """
    for _ in range(PASSES - 1):
        session.go_round()
    for _ in range(MAX_PASSES - PASSES):
        noisy = standalone.deviation([p.ratio(session.clock) for p in passes] for passes in session.passes)
        if time.monotonic() > until and noisy <= DEVIATION_LIMIT:
            break
        if not session.go_round(only_noisy=True):
            break


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
    """Latency of each architecture's deploy form on this machine, comparable with the latencies in `profile`.

    That is, with its settings, and scaled by its reference's quiet time where it used the same reference network.

    A network that cannot be measured raises RuntimeError; with `leave_out` it is logged and left out.
    """
    from nasbench.latency.measure import Session
    from nasbench.latency.reference import reference_hash

    if profile is not None:
        profile.require_this_device()
        settings = profile.settings
    reference_ms = None
    if profile is not None and profile.reference.sha256 in ("", reference_hash()):
        reference_ms = profile.reference_ms
    with Session(settings, reference_ms) as session:
        taken = _first_passes(session, architectures, math.inf, progress, num_classes, leave_out)
        session.finish()
        return [record_of(session, index, architecture, memory, meter) for index, architecture in enumerate(taken)]


def record_of(
    session: Session, index: int, architecture: Architecture, memory: bool = False, meter: Meter | None = None
) -> Record:
    """Network `index` of a session as a profile stores it; its memory and energy are measured now."""
    return Record(
        id=architecture.id,
        architecture=architecture.to_dict(),
        measurement=session.measurement(index),
        passes=tuple(session.passes[index]),
        kernels=session.kernel_times(index),
        memory_bytes=session.peak_bytes(index) if memory else None,
        energy_j=session.energy_j(index, meter) if meter else None,
    )
