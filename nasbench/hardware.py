"""What this machine has, as far as this process may use it; only asking for a GPU needs torch."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import math
import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

from nasbench.errors import UserError

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


def require_device(device: str) -> None:
    """A UserError unless torch computes on this device here: `cpu`, `cuda`, or one GPU by its number, `cuda:1`."""
    kind, colon, number = device.partition(":")
    if device == "cpu":
        return
    if kind != "cuda" or (colon and not (number.isascii() and number.isdigit())):
        raise UserError(f"device {device!r} is not known; use cpu, cuda, or a GPU by its number such as cuda:0")
    import torch

    if not torch.cuda.is_available():
        raise UserError(f"device {device!r}: this torch sees no CUDA GPU; use cpu, or see `nasbench doctor`")
    count = torch.cuda.device_count()
    if colon and int(number) >= count:
        raise UserError(f"device {device!r}: GPUs are numbered 0 to {count - 1} here; use one of them, or cuda")


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


def tune_allocator() -> bool:
    """Keep freed memory in the process: page faults were 40 % of a training step. Only glibc has the knobs.

    For a worker of its own, never in a user's process; `give_memory_back` between trainings bounds it. Returns whether
    it took effect.
    """
    trim_threshold, top_pad, mmap_threshold = -1, -2, -3  # M_* of malloc.h
    mallopt, limit = _libc("mallopt"), 1 << 30
    knobs = ((mmap_threshold, limit), (trim_threshold, limit), (top_pad, 64 << 20))
    return mallopt is not None and all(mallopt(knob, value) for knob, value in knobs)


@contextlib.contextmanager
def one_blas_thread() -> Iterator[None]:
    """Inside, numpy's and scipy's linear algebra runs in the thread that calls it.

    OpenBLAS ends its own threads before the process forks, as it does when Ray starts, and a product that another
    thread is in the middle of then waits for them for ever.
    """
    import scipy.linalg  # noqa: F401  (has a library of its own, which is limited only once it is loaded)
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1, user_api="blas"):
        yield


def give_memory_back(above: int = 0) -> None:
    """Return to the system what this process has freed and kept, where it holds more than `above` bytes.

    To fault the pages in again takes a trial 0.2 s, and so does this. Without glibc nothing is kept.
    """
    if psutil.Process().memory_info().rss <= above:
        return
    gc.collect()  # optimisers and their schedules hold each other, and a network with them
    malloc_trim = _libc("malloc_trim")
    if malloc_trim is not None:
        malloc_trim(0)


def watch_peak_memory() -> None:
    """Let `peak_memory_bytes` tell the peak from here on, where the system can: on Linux."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory_bytes() -> int | None:
    """The most memory that this process has held: since `watch_peak_memory`, or since it began; None if unknown."""
    for line in _read(Path("/proc/self/status")).splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if platform.system() == "Darwin" else peak * 1024


def _libc(name: str) -> Callable[..., int] | None:
    """A function of glibc; None where there is none."""
    try:
        found: Callable[..., int] = getattr(ctypes.CDLL("libc.so.6"), name)
    except (OSError, AttributeError):
        return None
    return found


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
