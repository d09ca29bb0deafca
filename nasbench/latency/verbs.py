"""What `nasbench latency devices | show | measure | predict` answer, as rows of plain values to print or dump.

Every row says in `source` whether its latency is measured or predicted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from nasbench.errors import UserError
from nasbench.latency.profile import THIS_MACHINE, DeviceProfile, known_devices, load_device, profile_path

if TYPE_CHECKING:
    from nasbench.architecture import Architecture

Row = dict[str, Any]


def devices_table() -> list[Row]:
    """One row a profile in the cache; one that cannot be used says why instead."""
    rows = []
    for name in known_devices():
        try:
            rows.append({"name": name, **_identity(load_device(name)), "problem": ""})
        except UserError as error:
            rows.append({"name": name, "path": str(profile_path(name)), "problem": str(error)})
    return rows


def profile_summary(name: str = THIS_MACHINE) -> Row:
    """Device, protocol, what was measured, and how well the predictor did on networks it did not see."""
    profile = load_device(name)
    latencies = [r.measurement.latency_ms for r in profile.records]
    return {
        "name": profile.name,
        **_identity(profile),
        **asdict(profile.device),
        "protocol": f"{profile.protocol.estimator} to {profile.reference.name} x {profile.reference_ms:.3f} ms "
        f"({profile.protocol.clock} time)",
        "pass_deviation": profile.deviation,
        "fastest_ms": min(latencies),
        "slowest_ms": max(latencies),
        "noisy_networks": sum(r.measurement.noisy for r in profile.records),
        **{f"held_out_{key}": value for key, value in asdict(profile.predictor.held_out).items()},
    }


def measurement_table(
    architectures: Sequence[Architecture], profile: DeviceProfile | None = None, num_classes: int = 1000
) -> list[Row]:
    """Measure on this machine; one row an architecture."""
    from nasbench.latency.calibrate import measure_architectures

    measured = measure_architectures(architectures, profile, num_classes)
    return [_label(a) | {"source": "measured", **asdict(m)} for a, m in zip(architectures, measured, strict=True)]


def prediction_table(
    architectures: Sequence[Architecture], profile: DeviceProfile, num_classes: int | None = None
) -> list[Row]:
    """Predict from a profile; one row an architecture."""
    predicted = profile.predict(architectures, num_classes)
    return [
        _label(a)
        | {
            "source": "predicted",
            "latency_ms": float(predicted.latency_ms[i]),
            "low_ms": float(predicted.low_ms[i]),
            "high_ms": float(predicted.high_ms[i]),
            "extrapolating": bool(predicted.extrapolating[i]),
            "reason": predicted.reasons[i],
        }
        for i, a in enumerate(architectures)
    ]


def _identity(profile: DeviceProfile) -> Row:
    return {
        "path": str(profile_path(profile.name)),
        "made": profile.made,
        "cpu": profile.device.cpu,
        "runtime": f"{profile.device.runtime} {profile.device.runtime_version}",
        "networks": len(profile.records),
    }


def _label(architecture: Architecture) -> Row:
    return {"name": architecture.name, "id": architecture.id}
