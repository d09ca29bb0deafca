"""What this machine has, as far as this process may use it; needs neither torch nor ray."""

from __future__ import annotations

import json
import math
import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

import psutil

CGROUP = Path("/sys/fs/cgroup")
RUNS = "environment.json"  # in a study's folder: where each of its runs took place


def cpu_cores() -> int:
    """Cores this process may use: its affinity, cut by a container's quota (a fraction counts as one core)."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(allowed, _cpu_quota())))


def memory_bytes() -> int:
    """Memory this process may use: the machine's, cut by a container's limit."""
    limits = [psutil.virtual_memory().total]
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        text = _read(CGROUP / name)
        if text.isdigit():
            limits.append(int(text))
    return min(limits)


def cpu_model() -> str:
    """The processor's name, as the system tells it."""
    if platform.system() == "Darwin":
        return _output(["sysctl", "-n", "machdep.cpu.brand_string"]) or platform.machine()
    lines = [line for line in _read(Path("/proc/cpuinfo")).splitlines() if line.startswith(("model name", "Model"))]
    return lines[0].partition(":")[2].strip() if lines else platform.processor() or platform.machine()


def other_processor(folder: Path | str) -> str | None:
    """The processor that the last run of the study in `folder` had, if it is not this machine's; None where it is, or
    where nothing tells."""
    try:
        cpu = json.loads(_read(Path(folder) / RUNS))["runs"][-1]["hardware"]["cpu"]
    except (ValueError, LookupError, TypeError):
        return None
    return str(cpu) if cpu != cpu_model() else None


def gpus() -> tuple[dict[str, Any], ...]:
    """NVIDIA devices by nvidia-smi: name, memory in bytes, driver; empty where there are none."""
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits"]
    found = []
    for line in _output(query).splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) == 3 and cells[1].isdigit():
            found.append({"name": cells[0], "memory_bytes": int(cells[1]) * 2**20, "driver": cells[2]})
    return tuple(found)


def describe() -> dict[str, Any]:
    """The figures that a result has to carry: host, system, processor, cores, memory, GPUs."""
    return {
        "host": platform.node(),
        "system": platform.platform(),
        "cpu": cpu_model(),
        "cores": cpu_cores(),
        "memory_bytes": memory_bytes(),
        "gpus": list(gpus()),
    }


def _cpu_quota() -> float:
    quota, _, period = _read(CGROUP / "cpu.max").partition(" ")
    if not quota:
        quota, period = _read(CGROUP / "cpu/cpu.cfs_quota_us"), _read(CGROUP / "cpu/cpu.cfs_period_us")
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() else math.inf


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _output(command: list[str]) -> str:
    """A program's output, or nothing where it is missing or fails."""
    if shutil.which(command[0]) is None:
        return ""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
