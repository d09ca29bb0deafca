"""Latency on a device: measured through a runtime, predicted from what was measured, and labelled as either.

The names below load on first use, so that importing this package costs neither torch nor a runtime.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nasbench.latency.background import BackgroundFit, extend_in_background, fit_in_background
    from nasbench.latency.calibrate import calibration_set, covering_set, fit_profile, measure_architectures
    from nasbench.latency.device import Device, Measurement, Settings, this_device
    from nasbench.latency.export import checked_session, deploy_form, export_onnx, onnx_difference
    from nasbench.latency.pack import add_results, read_results, write_pack
    from nasbench.latency.predictor import Prediction
    from nasbench.latency.profile import THIS_MACHINE, DeviceProfile, known_devices, load_device, profile_path
    from nasbench.latency.verbs import comparison, devices_table, measurement_table, prediction_table, profile_summary

_HOME = {
    "BackgroundFit": "background",
    "extend_in_background": "background",
    "fit_in_background": "background",
    "calibration_set": "calibrate",
    "covering_set": "calibrate",
    "fit_profile": "calibrate",
    "measure_architectures": "calibrate",
    "Device": "device",
    "Measurement": "device",
    "Settings": "device",
    "this_device": "device",
    "checked_session": "export",
    "deploy_form": "export",
    "export_onnx": "export",
    "onnx_difference": "export",
    "add_results": "pack",
    "read_results": "pack",
    "write_pack": "pack",
    "Prediction": "predictor",
    "THIS_MACHINE": "profile",
    "DeviceProfile": "profile",
    "known_devices": "profile",
    "load_device": "profile",
    "profile_path": "profile",
    "comparison": "verbs",
    "devices_table": "verbs",
    "measurement_table": "verbs",
    "prediction_table": "verbs",
    "profile_summary": "verbs",
}

__all__ = [
    "THIS_MACHINE",
    "BackgroundFit",
    "Device",
    "DeviceProfile",
    "Measurement",
    "Prediction",
    "Settings",
    "add_results",
    "calibration_set",
    "checked_session",
    "comparison",
    "covering_set",
    "deploy_form",
    "devices_table",
    "export_onnx",
    "extend_in_background",
    "fit_in_background",
    "fit_profile",
    "known_devices",
    "load_device",
    "measure_architectures",
    "measurement_table",
    "onnx_difference",
    "prediction_table",
    "profile_path",
    "profile_summary",
    "read_results",
    "this_device",
    "write_pack",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'nasbench.latency' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(importlib.import_module(f"nasbench.latency.{_HOME[name]}"), name)
