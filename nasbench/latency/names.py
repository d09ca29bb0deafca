"""Names of device profiles, and the files in the user's cache that they stand for."""

from __future__ import annotations

import os
import re
from pathlib import Path

from nasbench import files
from nasbench.errors import UserError, shown

THIS_MACHINE = "this-machine"
FIT_COMMAND = "nasbench latency fit"
SUFFIX = ".json"  # what ends in it is a path, not a name


def known_devices() -> list[str]:
    """Names of the profiles in the user's cache."""
    return sorted(path.stem for path in devices_folder().glob(f"*{SUFFIX}"))


def profile_path(name: str) -> Path:
    return devices_folder() / f"{checked_name(name)}{SUFFIX}"


def device_path(name_or_path: str | Path) -> Path:
    """The file of a profile given by name or by path."""
    text = str(name_or_path)
    return Path(text) if text.endswith(SUFFIX) or os.sep in text else profile_path(text)


def devices_folder() -> Path:
    """The folder in the user's cache that holds the profiles."""
    return files.cache_dir() / "devices"


def checked_name(name: str) -> str:
    """The name itself; UserError where it cannot be a device's."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name) or name.endswith(SUFFIX):
        raise UserError(
            f"device name {shown(name)} must be letters, digits, '.', '_' or '-', at most 100, and not end in "
            f"{SUFFIX}; for example pixel-6"
        )
    return name


def fit_command(name: str) -> str:
    """The command that measures the device and makes its profile, for messages."""
    return FIT_COMMAND if name == THIS_MACHINE else f"{FIT_COMMAND} --device {name}"
