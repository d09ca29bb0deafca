"""Profile files of older layouts: converted to today's, or refused with the reason."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from nasbench.errors import UserError
from nasbench.latency import standalone
from nasbench.latency.device import Measurement
from nasbench.latency.names import FIT_COMMAND
from nasbench.latency.records import PASS_ADAPTER, Protocol

VERSION = 2  # of the layout of profile files


def to_current(content: Any, source: str) -> Any:
    """The content of a profile file in today's layout; `source` names it in errors."""
    if not isinstance(content, dict) or not isinstance(content.get("version"), int):
        return content  # the schema says what is wrong
    if content["version"] == VERSION:
        return _estimated_anew(content) if _protocol(content) == 2 else content
    if content["version"] == 1:
        return _from_1(content)
    raise UserError(
        f"{source}: profile version {content['version']}, this nasbench reads versions 1 to {VERSION}; "
        f"run `{FIT_COMMAND}` again"
    )


def _protocol(content: dict[str, Any]) -> Any:
    protocol = content.get("protocol")
    return protocol.get("version") if isinstance(protocol, dict) else None


def _estimated_anew(old: dict[str, Any]) -> dict[str, Any]:
    """From protocol 2, which had the same runs and another estimator: latencies computed again from the stored runs.

    features_version None makes the reader fit the predictor again.
    """
    try:
        clock, quiet_ms = old["protocol"]["clock"], old["reference"]["quiet_ms"]
        groups = [[PASS_ADAPTER.validate_python(p) for p in record["passes"]] for record in old["records"]]
        figures = [asdict(Measurement.of(passes, clock, quiet_ms)) if passes else None for passes in groups]
    except (KeyError, TypeError):
        return old  # the schema says what is wrong
    records = [{**r, "measurement": f or r["measurement"]} for r, f in zip(old["records"], figures, strict=True)]
    protocol = {**old["protocol"], **Protocol.of(clock).model_dump(include={"version", "estimator"})}
    deviation = standalone.deviation([p.ratio(clock) for p in passes] for passes in groups)
    return {**old, "protocol": protocol, "records": records, "deviation": deviation, "features_version": None}


def _from_1(old: dict[str, Any]) -> dict[str, Any]:
    """Version 1 kept each network's figure, not its runs, and timed one thread's processor time only."""
    new = {**old, "version": VERSION, "features_version": None}  # the measurements are fitted again
    new["protocol"] = Protocol(version=1).model_dump()
    new["reference"] = {"name": old.get("reference"), "sha256": "", "quiet_ms": new.pop("reference_ms", None)}
    new["deviation"] = None
    return new
