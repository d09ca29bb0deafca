"""Priors: kernel times learnt on other devices, to start from where a device has few measurements of its own."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from nasbench import files
from nasbench.latency.device import Device
from nasbench.latency.kernels import KernelModel

SHIPPED = Path(__file__).parent / "shipped_prior.json"  # made by benchmarks/latency_prior.py

log = logging.getLogger(__name__)


def choose(name: str, device: Device) -> KernelModel | None:
    """The kernel times that are likest to those of `device`: the same runtime before another, the same processor
    before another; of profiles in the cache, other than `name`'s own, and the shipped one."""
    found = []
    for path in sorted((files.cache_dir() / "devices").glob("*.json")):
        if path.stem != name and (candidate := _read(path)) is not None:
            found.append(candidate)
    if not found:
        return shipped()
    return min(found, key=lambda c: (c[0].get("runtime") != device.runtime, c[0].get("cpu") != device.cpu))[1]


def shipped() -> KernelModel | None:
    """The kernel times that come with the package."""
    if not SHIPPED.is_file():
        return None
    return TypeAdapter(KernelModel).validate_json(SHIPPED.read_bytes())


def _read(path: Path) -> tuple[dict, KernelModel] | None:
    """A profile's device and its own kernel model, if it has one; a file that cannot be read offers none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        predictor = content["predictor"]
        if predictor.get("kernel_model") is None or predictor.get("from_prior"):
            return None
        return content["device"], TypeAdapter(KernelModel).validate_python(predictor["kernel_model"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, ValidationError) as error:
        log.info("%s offers no kernel times: %s", path, error)
        return None
