"""Profiles of older layouts: brought up to date from their measurements, or refused with the reason."""

from __future__ import annotations

from typing import Any

from nasbench.errors import UserError
from nasbench.latency.profile import FIT_COMMAND, VERSION, Protocol


def to_current(content: Any, source: str) -> Any:
    """The content of a profile file in today's layout; `source` names it in errors."""
    if not isinstance(content, dict) or not isinstance(content.get("version"), int):
        return content  # the schema says what is wrong
    if content["version"] == VERSION:
        return content
    if content["version"] == 1:
        return _from_1(content)
    raise UserError(
        f"{source}: profile version {content['version']}, this nasbench reads versions 1 to {VERSION}; "
        f"run `{FIT_COMMAND}` again"
    )


def _from_1(old: dict[str, Any]) -> dict[str, Any]:
    """Version 1 kept each network's figure, not its runs, and timed one thread's processor time only."""
    new = {**old, "version": VERSION, "features_version": None}  # the measurements are fitted again
    new["protocol"] = Protocol(version=1).model_dump()
    new["reference"] = {"name": old.get("reference"), "sha256": "", "quiet_ms": new.pop("reference_ms", None)}
    new["deviation"] = None
    return new
