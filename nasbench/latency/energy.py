"""The energy meter of this machine, or an error that says why there is none and what to do.

The meters themselves are in standalone.py.
"""

from __future__ import annotations

from pathlib import Path

from nasbench.errors import UserError
from nasbench.latency.device import Settings
from nasbench.latency.standalone import BATTERY, RAPL, SYSFS, Meter, energy_sources, find_meter

REMEDIES = {
    RAPL: "only root may read it at first: `sudo chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj`",
    BATTERY: "it tells the device's power only while it discharges: unplug the charger",
}


def required_meter(settings: Settings | None = None, root: Path = SYSFS) -> Meter:
    """This machine's meter; UserError where there is none that tells the energy of runs with `settings`."""
    accelerator = (settings or Settings()).accelerator
    if accelerator != "cpu":
        raise UserError(f"energy on {accelerator!r}: the machine's meters leave a GPU out; measure without --energy")
    meter = find_meter(root)
    if meter is None:
        problem, remedy = why_none(root)
        raise UserError(f"{problem}; {remedy}, or measure without --energy")
    return meter


def why_none(root: Path = SYSFS) -> tuple[str, str]:
    """Why no meter can be read, and the remedy."""
    sources = energy_sources(root)
    if not sources:
        return "this machine reports no energy (no RAPL, no hwmon sensor, no battery)", "see docs/latency.md"
    return f"{sources[0]} cannot be read", REMEDIES.get(sources[0].kind, "see who may read it below /sys/class/hwmon")
