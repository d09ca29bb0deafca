"""The profile of a device: how it was measured, each network's raw measurements, and the predictors fitted to them.

A profile is one JSON file, in the user's cache under the device's name or in a study's folder.
"""

from __future__ import annotations

import datetime
import json
import logging
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from nasbench import files, hardware
from nasbench.arch.architecture import Architecture
from nasbench.costs.budget import RESOURCES
from nasbench.errors import UserError
from nasbench.latency import features, priors, resources, standalone
from nasbench.latency.device import Device, Settings, this_device
from nasbench.latency.kernels import KernelModel
from nasbench.latency.lowering import network_kernels
from nasbench.latency.migrate import VERSION, to_current
from nasbench.latency.names import (
    FIT_COMMAND,
    THIS_MACHINE,
    checked_name,
    device_path,
    fit_command,
    known_devices,
    profile_path,
)
from nasbench.latency.prediction import Prediction
from nasbench.latency.predictor import MIN_NETWORKS, Predictor, fit_networks
from nasbench.latency.ranges import Amount, PositiveCount
from nasbench.latency.records import Protocol, Record, Records, Reference, distinct
from nasbench.latency.resources import Estimate
from nasbench.latency.standalone import DEVIATION_LIMIT
from nasbench.values import Value, first_problem

JSON = TypeAdapter[Any](Any)  # parses in half the time of the json module

log = logging.getLogger(__name__)


class DeviceProfile(Value):
    """Everything measured on a device and what was fitted to it."""

    version: PositiveCount
    name: Annotated[str, AfterValidator(checked_name)]
    made: str  # ISO 8601, UTC
    device: Device
    protocol: Protocol
    reference: Reference
    deviation: Amount | None  # standard deviation of a pass, relative, pooled over the networks; None: not kept
    num_classes: PositiveCount
    records: Records
    features_version: PositiveCount
    predictor: Predictor
    resources: dict[str, Predictor] = Field(default_factory=dict)  # by metric: memory_bytes, energy_j, where measured

    @property
    def reference_ms(self) -> float:
        return self.reference.quiet_ms

    @property
    def settings(self) -> Settings:
        return self.device.settings

    def predict(self, architectures: Sequence[Architecture], num_classes: int | None = None) -> Prediction:
        """Latency with an interval for each architecture's deploy form, from arithmetic alone: nothing is built."""
        classes = self.num_classes if num_classes is None else num_classes
        networks = [network_kernels(a, classes, self.device.runtime, self._prior_runtime) for a in architectures]
        return self.predictor.predict_networks(networks)

    def predict_resource(
        self, metric: str, architectures: Sequence[Architecture], num_classes: int | None = None
    ) -> Estimate:
        """memory_bytes or energy_j of each architecture's deploy form, with an interval; from arithmetic alone."""
        self.require_metrics([metric])
        classes = self.num_classes if num_classes is None else num_classes
        return resources.estimate(self.resources[metric], metric, architectures, classes, self.device.runtime)

    def bounds(
        self, architecture: Architecture, metrics: Iterable[str], num_classes: int | None = None
    ) -> dict[str, float]:
        """What budgets bind on: the upper end of each of `metrics` (see budget.DEVICE_METRICS)."""
        found = {}
        for metric in metrics:
            if metric == "latency_ms":
                found[metric] = float(self.predict([architecture], num_classes).high_ms[0])
            else:
                found[metric] = float(self.predict_resource(metric, [architecture], num_classes).high[0])
        return found

    def require_metrics(self, metrics: Iterable[str]) -> None:
        """Raise UserError unless the profile can predict each of `metrics`."""
        for metric in metrics:
            if metric != "latency_ms" and metric not in self.resources:
                held, noun = sum(bool(getattr(r, metric)) for r in self.records), RESOURCES[metric][0]
                raise UserError(
                    f"device profile {self.name!r} holds the {noun} of {held} networks, predicting it takes "
                    f"{MIN_NETWORKS}: {resources.REMEDIES[metric].format(fit=fit_command(self.name))}"
                )

    @property
    def _prior_runtime(self) -> str | None:
        model = self.predictor.kernel_model
        return model.runtime if model is not None and self.predictor.from_prior else None

    def require_this_device(self) -> None:
        """Raise UserError unless this process runs on the CPU and runtime that the profile was measured on."""
        if differences := self.device.differences(this_device(self.settings)):
            raise UserError(
                f"device profile {self.name!r} was measured on {'; '.join(differences)}; "
                f"its figures don't hold here: run `{fit_command(self.name)}`"
            )

    def save(self, path: Path | None = None) -> Path:
        """Write the profile whole, by default to the cache under its name."""
        path = profile_path(self.name) if path is None else Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_atomic(path, _readable(self.model_dump(mode="json")))
        return path

    def with_records(self, records: Sequence[Record]) -> DeviceProfile:
        """The same device with more measured networks, or newer measurements of them, fitted again."""
        known = {record.id: record for record in self.records}
        newer = {record.id: record.with_resources_of(known.get(record.id)) for record in records}
        everything = list((known | newer).values())
        return new_profile(
            self.name, everything, self.device, self.protocol, self.reference, self.num_classes, accept_noise=True
        )


class _Measured(Value):
    """The fields of a profile that a fit needs."""

    device: Device
    num_classes: PositiveCount
    records: Records


def new_profile(
    name: str,
    records: Sequence[Record],
    device: Device,
    protocol: Protocol,
    reference: Reference,
    num_classes: int = 1000,
    accept_noise: bool = False,
) -> DeviceProfile:
    """A profile with a predictor fitted to `records`; UserError where the passes disagree."""
    records = distinct(records)
    deviation = require_agreement(records, protocol.clock, name, accept_noise)
    return DeviceProfile(
        version=VERSION,
        name=checked_name(name),
        made=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        device=device,
        protocol=protocol,
        reference=reference,
        deviation=deviation,
        num_classes=num_classes,
        records=records,
        features_version=features.VERSION,
        predictor=fit_records(records, num_classes, device.runtime, priors.choose(name, device)),
        resources=resources.fit_resources(records, num_classes, device.runtime),
    )


def require_agreement(records: Sequence[Record], clock: str, name: str, accept_noise: bool = False) -> float:
    """`pass_deviation`; UserError where it exceeds DEVIATION_LIMIT, unless noise is accepted."""
    deviation = pass_deviation(records, clock)
    if deviation > DEVIATION_LIMIT and not accept_noise:
        raise UserError(
            f"the passes over the same networks deviate by {deviation:.1%} (standard deviation), more than "
            f"{DEVIATION_LIMIT:.0%} makes no profile: end other work on the device and run `{fit_command(name)}` again"
        )
    return deviation


def pass_deviation(records: Sequence[Record], clock: str) -> float:
    """Standard deviation of a pass about its network's figure, relative, pooled over the networks."""
    return standalone.deviation([p.ratio(clock) for p in r.passes] for r in records)


def fit_records(
    records: Sequence[Record], num_classes: int, runtime: str = "onnxruntime", prior: KernelModel | None = None
) -> Predictor:
    """A predictor from raw measurements; noisy ones are left out while enough others remain.

    prior: a kernel model fitted on another device, for where there are few measurements.
    """
    quiet = [r for r in records if not r.measurement.noisy]
    used = quiet if len(quiet) >= max(0.75 * len(records), MIN_NETWORKS) else list(records)
    networks = [
        network_kernels(
            Architecture.from_dict(r.architecture, source=r.id),
            num_classes,
            runtime,
            None if prior is None else prior.runtime,
            r.kernels,
        )
        for r in used
    ]
    return fit_networks(networks, [r.measurement.latency_ms for r in used], prior)


def load_device(name_or_path: str | Path = THIS_MACHINE) -> DeviceProfile:
    """A device profile by name from the cache, or by path.

    `this-machine` must have been measured on this CPU and runtime; other profiles predict anywhere.
    """
    name, path = str(name_or_path), device_path(name_or_path)
    if path != Path(name) and not path.is_file():
        known = ", ".join(known_devices()) or "none yet"
        raise UserError(f"unknown device {name!r}; known: {known}; make it with `{fit_command(name)}`")
    profile = _read(path)
    if path == profile_path(THIS_MACHINE):
        profile.require_this_device()
    return profile


def study_profile_path(folder: Path | str) -> Path:
    """Where a study keeps its own profile, which its designs' measurements were added to."""
    return Path(folder) / "device.json"


def load_study_device(folder: Path | str, name: str) -> DeviceProfile:
    """The study's own profile; while there is none, the profile of the device called `name`.

    UserError where that would be `this-machine` and the study ran on another one, whose profile is not in this cache.
    """
    path = study_profile_path(folder)
    if path.is_file():
        return _read(path)
    elsewhere = hardware.other_processor(folder) if name == THIS_MACHINE else None
    if elsewhere is not None:
        raise UserError(f"{folder}: its {name} was another one ({elsewhere}), whose profile is not here")
    return load_device(name)


def _read(path: Path) -> DeviceProfile:
    try:
        content = to_current(JSON.validate_json(files.read_text(path, "device profile")), str(path))
        if isinstance(content, dict) and content.get("features_version") != features.VERSION:
            log.info("%s: fitting its measurements again: the features have changed since", path)
            content = _fitted_again(content)
        elif isinstance(content, dict) and "resources" not in content:  # of an older nasbench
            content = {**content, "resources": _fitted_resources(content)}
        return DeviceProfile.model_validate(content)
    except UserError as error:
        text = str(error)
        raise UserError(text if text.startswith(str(path)) else f"{path}: {text}") from None
    except ValidationError as error:  # of a value, or no JSON
        problem = first_problem(error, DeviceProfile)
    except (ValueError, ArithmeticError, RuntimeError) as error:  # the last two: no fit to these measurements
        problem = str(error).splitlines()[0]
    raise UserError(f"{path}: not a device profile: {problem}; make one with `{FIT_COMMAND}`")


def _fitted_again(content: dict[str, Any]) -> dict[str, Any]:
    """The content of a profile file with its predictors fitted again, on today's features."""
    kept = {name: value for name, value in content.items() if name not in ("predictor", "features_version")}
    measured = _measured(content)
    prior = priors.choose(str(kept.get("name")), measured.device)
    predictor = fit_records(measured.records, measured.num_classes, measured.device.runtime, prior)
    fitted = {"predictor": predictor, "resources": _fitted_resources(content)}
    return {**kept, "features_version": features.VERSION, **fitted}


def _fitted_resources(content: dict[str, Any]) -> dict[str, Predictor]:
    measured = _measured(content)
    return resources.fit_resources(measured.records, measured.num_classes, measured.device.runtime)


def _measured(content: dict[str, Any]) -> _Measured:
    return _Measured.model_validate({name: content[name] for name in _Measured.model_fields if name in content})


def _readable(content: dict[str, Any]) -> str:
    """JSON with one value a line, but each list of numbers on one line."""
    text = json.dumps(content, indent=1, allow_nan=False)
    return re.sub(r"\[\s+([^\[\]{}\"]*?)\s+\]", lambda m: "[" + re.sub(r",\s+", ",", m[1]) + "]", text) + "\n"
