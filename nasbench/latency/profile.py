"""A device and runtime with its measured latencies and fitted predictor: one JSON file, raw measurements included."""

from __future__ import annotations

import datetime
import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from nasbench import files
from nasbench.errors import UserError
from nasbench.latency import features
from nasbench.latency.device import RUNTIME, Device, Measurement, this_device
from nasbench.latency.predictor import Prediction, Predictor, fit

if TYPE_CHECKING:
    from nasbench.architecture import Architecture

VERSION = 1  # of the file's layout
THIS_MACHINE = "this-machine"
FIT_COMMAND = "nasbench latency fit"

log = logging.getLogger(__name__)


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Record(_Frozen):
    """One measured network. `architecture` is its content, so that it can be built and measured again anywhere."""

    id: str
    architecture: dict[str, Any]
    measurement: Measurement


class DeviceProfile(_Frozen):
    """Everything measured on a device and what was fitted to it. `reference_ms`: the reference network's quiet time."""

    version: int
    name: str
    made: str  # ISO 8601, UTC
    device: Device
    reference: str  # name of the reference network, see measure.py
    reference_ms: float
    num_classes: int
    records: list[Record]
    features_version: int
    predictor: Predictor

    def predict(self, architectures: Sequence[Architecture], num_classes: int | None = None) -> Prediction:
        """Latency with an interval for each architecture's deploy form, from arithmetic alone: nothing is built."""
        classes = self.num_classes if num_classes is None else num_classes
        return self.predictor.predict([architecture_features(a, classes, self.device.runtime) for a in architectures])

    def require_this_device(self) -> None:
        """Raise UserError unless this process runs on the CPU and runtime that the profile was measured on."""
        if differences := self.device.differences(this_device()):
            raise UserError(
                f"device profile {self.name!r} was measured on {'; '.join(differences)}; "
                f"its figures don't hold here: run `{_fit_command(self.name)}`"
            )

    def save(self, path: Path | None = None) -> Path:
        """Write the profile whole, by default to the cache under its name."""
        path = profile_path(self.name) if path is None else Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_atomic(path, self.model_dump_json(indent=1) + "\n")
        return path


def architecture_features(architecture: Architecture, num_classes: int, runtime: str = RUNTIME) -> dict[str, float]:
    """The features of an architecture's deploy form."""
    from nasbench.cost import operators

    return features.features(operators(architecture, num_classes=num_classes, deploy=True), runtime)


def new_profile(name: str, records: Sequence[Record], reference_ms: float, num_classes: int = 1000) -> DeviceProfile:
    """A profile of this machine with a predictor fitted to `records`."""
    from nasbench.latency.measure import REFERENCE_NAME

    return DeviceProfile(
        version=VERSION,
        name=_checked_name(name),
        made=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        device=this_device(),
        reference=REFERENCE_NAME,
        reference_ms=reference_ms,
        num_classes=num_classes,
        records=list(records),
        features_version=features.VERSION,
        predictor=fit_records(records, num_classes),
    )


def fit_records(records: Sequence[Record], num_classes: int, runtime: str = RUNTIME) -> Predictor:
    """A predictor from raw measurements; noisy ones are left out while enough others remain."""
    from nasbench.architecture import Architecture

    quiet = [r for r in records if not r.measurement.noisy]
    used = quiet if len(quiet) >= 0.75 * len(records) else list(records)
    amounts = [
        architecture_features(Architecture.from_dict(r.architecture, source=r.id), num_classes, runtime) for r in used
    ]
    return fit(amounts, [r.measurement.latency_ms for r in used])


def load_device(name: str = THIS_MACHINE) -> DeviceProfile:
    """A device profile by name from the cache, or by path.

    `this-machine` must have been measured on this CPU and runtime; other profiles predict anywhere.
    """
    path = Path(name) if name.endswith(".json") or os.sep in name else profile_path(name)
    if not path.is_file():
        known = ", ".join(known_devices()) or "none yet"
        raise UserError(f"unknown device {name!r}; known: {known}; make it with `{_fit_command(name)}`")
    profile = _read(path)
    if path == profile_path(THIS_MACHINE):
        profile.require_this_device()
    if profile.features_version != features.VERSION:
        log.info("%s: fitting its measurements again: the features have changed since", path)
        predictor = fit_records(profile.records, profile.num_classes, profile.device.runtime)
        profile = profile.model_copy(update={"predictor": predictor, "features_version": features.VERSION})
    return profile


def _read(path: Path) -> DeviceProfile:
    try:
        text = path.read_text(encoding="utf-8")
        found = re.search(r'"version":\s*(\d+)', text)
        if found and int(found[1]) != VERSION:
            raise UserError(
                f"{path}: profile version {found[1]}, this nasbench reads version {VERSION}; run `{FIT_COMMAND}` again"
            )
        return DeviceProfile.model_validate_json(text)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}; give a device's name or its profile") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise UserError(
            f"{path}: not a device profile: {place}: {first['msg']}; make one with `{FIT_COMMAND}`"
        ) from None


def known_devices() -> list[str]:
    """Names of the profiles in the user's cache."""
    return sorted(path.stem for path in _folder().glob("*.json"))


def profile_path(name: str) -> Path:
    return _folder() / f"{_checked_name(name)}.json"


def _folder() -> Path:
    return files.cache_dir() / "devices"


def _checked_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise UserError(f"device name {name!r} must be letters, digits, '.', '_' or '-'; for example pixel-6")
    return name


def _fit_command(name: str) -> str:
    return FIT_COMMAND if name == THIS_MACHINE else f"{FIT_COMMAND} --device {name}"
