"""Priors: kernel models fitted on other devices, for a device that has few measurements of its own."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from nasbench.latency.device import Device
from nasbench.latency.kernels import KernelModel
from nasbench.latency.names import devices_folder

SHIPPED = Path(__file__).parent / "shipped_prior.json"  # made by benchmarks/latency_prior.py

log = logging.getLogger(__name__)


def choose(name: str, device: Device) -> KernelModel | None:
    """The kernel model of the profile in the cache that is most like `device`, other than `name`'s own.

    A profile of the same runtime comes first, among these one of the same processor. Without any, the shipped model.
    """
    found = []
    for path in sorted(devices_folder().glob("*.json")):
        if path.stem != name and (candidate := _read(path)) is not None:
            found.append(candidate)
    if not found:
        return shipped()
    return min(found, key=lambda c: (c[0].get("runtime") != device.runtime, c[0].get("cpu") != device.cpu))[1]


def shipped() -> KernelModel | None:
    """The kernel model that comes with the package; None where it is not there."""
    if not SHIPPED.is_file():
        return None
    return TypeAdapter(KernelModel).validate_json(SHIPPED.read_bytes())


def _read(path: Path) -> tuple[dict, KernelModel] | None:
    """A profile's device and kernel model; None where it was fitted with a prior itself, or cannot be read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        predictor = content["predictor"]
        if predictor.get("kernel_model") is None or predictor.get("from_prior"):
            return None
        return content["device"], TypeAdapter(KernelModel).validate_python(predictor["kernel_model"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, ValidationError) as error:
        log.info("%s offers no kernel times: %s", path, error)
        return None
