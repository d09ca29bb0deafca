"""The tables that `nasbench latency` prints: rows of plain values, one for each device or network.

Every row says in `source` whether its figures are measured or predicted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nasbench.costs.budget import RESOURCES
from nasbench.errors import UserError
from nasbench.latency.device import Settings
from nasbench.latency.names import THIS_MACHINE, device_path, known_devices, profile_path
from nasbench.latency.profile import DeviceProfile, load_device
from nasbench.latency.standalone import find_meter

if TYPE_CHECKING:
    from nasbench.arch.architecture import Architecture
    from nasbench.latency.resources import Estimate

Row = dict[str, Any]
COLUMNS = {metric: (noun, unit.lower(), scale) for metric, (noun, unit, scale) in RESOURCES.items()}


def devices_table() -> list[Row]:
    """One row for each profile in the cache; one that cannot be used has the reason under `problem`."""
    rows = []
    for name in known_devices():
        try:
            rows.append({"name": name, **_identity(load_device(name), profile_path(name)), "problem": ""})
        except UserError as error:
            rows.append({"name": name, "path": str(profile_path(name)), "problem": str(error)})
    return rows


def profile_summary(name: str = THIS_MACHINE) -> Row:
    """Device, protocol, what was measured, and how well the predictor did on networks it did not see."""
    profile = load_device(name)
    latencies = [r.measurement.latency_ms for r in profile.records]
    device = {key: value for key, value in asdict(profile.device).items() if key != "options" or value}
    return {
        "name": profile.name,
        **_identity(profile, device_path(name)),
        **device,
        "protocol": f"{profile.protocol.estimator} to {profile.reference.name} x {profile.reference_ms:.3f} ms, "
        f"{profile.protocol.clock} time",
        "pass_deviation": profile.deviation,
        "fastest_ms": min(latencies),
        "slowest_ms": max(latencies),
        **_resource_summary(profile),
        "noisy_networks": sum(r.measurement.noisy for r in profile.records),
        "predictor": _predictor_in_words(profile),
        **{f"held_out_{key}": value for key, value in asdict(profile.predictor.held_out).items()},
        "interval": f"x/÷ {np.exp(profile.predictor.log_error):.3f}, 90 %",
    }


def _resource_summary(profile: DeviceProfile) -> Row:
    """The measured range of memory and energy, and the accuracy of their predictors, where there are any."""
    rows: Row = {}
    for metric, (column, unit, scale) in COLUMNS.items():
        figures = [figure / scale for r in profile.records if (figure := getattr(r, metric))]
        if figures:
            rows[f"{column}_{unit}"] = f"{min(figures):.3g} to {max(figures):.3g}, measured on {len(figures)} networks"
        if predictor := profile.resources.get(metric):
            rows |= {f"{column}_held_out_{key}": value for key, value in asdict(predictor.held_out).items()}
            rows[f"{column}_interval"] = f"x/÷ {np.exp(predictor.log_error):.3f}, 90 %"
    if profile.protocol.energy_meter:
        rows["energy_meter"] = profile.protocol.energy_meter
    return rows


def _predictor_in_words(profile: DeviceProfile) -> str:
    predictor = profile.predictor
    if predictor.kernel_model is None:
        base = "roofline per kind of kernel"
    elif predictor.from_prior:
        base = f"kernel times of another profile ({predictor.kernel_model.runtime}), scaled per kind"
    else:
        base = "kernel times of its own, scaled per kind"
    return base + (", and a Gaussian process on the rest" if predictor.residual else "")


def measurement_table(
    architectures: Sequence[Architecture],
    profile: DeviceProfile | None = None,
    num_classes: int = 1000,
    settings: Settings | None = None,
) -> list[Row]:
    """Measure on this machine, memory and energy too where it tells them; one row an architecture."""
    from nasbench.latency.calibrate import measure_records

    used = profile.settings if profile is not None else settings or Settings()
    meter = find_meter() if used.accelerator == "cpu" else None
    measured = measure_records(architectures, profile, num_classes, settings=settings, memory=True, meter=meter)
    return [
        _label(a)
        | {"source": "measured", **asdict(r.measurement)}
        | {
            f"{column}_{unit}": figure / scale
            for metric, (column, unit, scale) in COLUMNS.items()
            if (figure := getattr(r, metric)) is not None
        }
        for a, r in zip(architectures, measured, strict=True)
    ]


def prediction_table(
    architectures: Sequence[Architecture], profile: DeviceProfile, num_classes: int | None = None
) -> list[Row]:
    """Predict from a profile, memory and energy too where it holds them; one row an architecture."""
    predicted = profile.predict(architectures, num_classes)
    resources = {m: profile.predict_resource(m, architectures, num_classes) for m in COLUMNS if m in profile.resources}
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
        | {name: value for metric, found in resources.items() for name, value in _estimated(metric, found, i).items()}
        for i, a in enumerate(architectures)
    ]


def _estimated(metric: str, found: Estimate, index: int) -> Row:
    column, unit, scale = COLUMNS[metric]
    return {
        f"{column}_{unit}": float(found.value[index]) / scale,
        f"{column}_low_{unit}": float(found.low[index]) / scale,
        f"{column}_high_{unit}": float(found.high[index]) / scale,
        f"{column}_extrapolating": bool(found.extrapolating[index]),
        f"{column}_reason": found.reasons[index],
    }


def comparison(first: DeviceProfile, second: DeviceProfile, architectures: Sequence[Architecture]) -> list[Row]:
    """The same networks on two devices: latency on each, measured where it was and predicted elsewhere, and how much
    the second's share departs from the median ratio between the two."""
    one, other = names_apart(first, second)
    columns, sources = zip(*(_latencies(profile, architectures) for profile in (first, second)), strict=True)
    ratio = np.array(columns[1]) / np.array(columns[0])
    return [
        _label(a)
        | {
            f"{one}_ms": columns[0][i],
            f"{one}_source": sources[0][i],
            f"{other}_ms": columns[1][i],
            f"{other}_source": sources[1][i],
            "ratio": float(ratio[i]),
            "against_median": float(ratio[i] / np.median(ratio)),
        }
        for i, a in enumerate(architectures)
    ]


def names_apart(first: DeviceProfile, second: DeviceProfile) -> tuple[str, str]:
    """What a table calls the two; a study's own profile has the name of the one that it was made from."""
    return (first.name, second.name) if first.name != second.name else ("first", "second")


def _latencies(profile: DeviceProfile, architectures: Sequence[Architecture]) -> tuple[list[float], list[str]]:
    measured = {r.id: r.measurement.latency_ms for r in profile.records}
    predicted = profile.predict(architectures).latency_ms.tolist()
    return (
        [measured.get(a.id, guess) for a, guess in zip(architectures, predicted, strict=True)],
        ["measured" if a.id in measured else "predicted" for a in architectures],
    )


def _identity(profile: DeviceProfile, path: Path) -> Row:
    return {
        "path": str(path),
        "made": profile.made,
        "cpu": profile.device.cpu,
        "runtime": f"{profile.device.runtime} {profile.device.runtime_version}",
        "settings": str(profile.settings),
        "networks": len(profile.records),
    }


def _label(architecture: Architecture) -> Row:
    return {"name": architecture.label, "id": architecture.id}
