"""What this machine has, and which parts of nasbench can run on it."""

from __future__ import annotations

import importlib
import importlib.util
import platform
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from nasbench import hardware
from nasbench.files import cache_dir
from nasbench.study import environment

GIB = 2**30
NEEDED = ("torch", "ray", "onnx", "onnxscript", "onnxruntime", "fvcore")


@dataclass(frozen=True)
class Check:
    """One fact: `state` is "ok", "limited" (works, with less) or "missing", and `remedy` says what would help."""

    name: str
    state: str
    value: str
    remedy: str = ""


def checks() -> tuple[Check, ...]:
    """All facts about this machine. torch is not imported, and one that fails does not hide the rest."""
    return tuple(_guarded(name, check) for name, check in CHECKS.items())


def _guarded(name: str, check: Callable[[], Check]) -> Check:
    try:
        return check()
    except Exception as error:  # a broken library may raise anything, and that is the fact to show
        return Check(
            name, "missing", f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}".strip()
        )


def _python() -> Check:
    return Check("python", "ok", f"{platform.python_version()} on {platform.platform()}")


def _cores() -> Check:
    cores = hardware.cpu_cores()
    remedy = "" if cores > 1 else "one trial runs at a time"
    return Check("cores", "ok" if cores > 1 else "limited", f"{cores} usable, {hardware.cpu_model()}", remedy)


def _memory() -> Check:
    total = hardware.memory_bytes()
    remedy = "" if total >= 4 * GIB else "a default search needs about 4 GiB; take fewer workers"
    return Check("memory", "limited" if remedy else "ok", f"{total / GIB:.1f} GiB", remedy)


def _gpus() -> Check:
    found, cuda = hardware.gpus(), environment.torch_cuda()
    if not found:
        return Check("gpus", "limited", "none", "trials run on the cores")
    names = ", ".join(f"{gpu['name']} ({gpu['memory_bytes'] / GIB:.0f} GiB, driver {gpu['driver']})" for gpu in found)
    if cuda is None:
        return Check("gpus", "limited", f"{names}; torch is built without CUDA", "install torch with CUDA: pytorch.org")
    return Check("gpus", "ok", f"{names}; torch for CUDA {cuda}")


def _libraries() -> Check:
    versions = environment.versions()
    missing = [name for name in NEEDED if name not in versions]
    shown = ", ".join(f"{name} {version}" for name, version in versions.items())
    remedy = f"pip install {' '.join(missing)}" if missing else ""
    return Check("libraries", "missing" if missing else "ok", shown, remedy)


def _cache() -> Check:
    folder = cache_dir()
    used = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    free = shutil.disk_usage(folder).free
    remedy = "" if free > GIB else "make room, or set NASBENCH_CACHE to another folder"
    value = f"{folder}: {used / 2**20:.1f} MiB used, {free / GIB:.1f} GiB free"
    return Check("cache", "limited" if remedy else "ok", value, remedy)


def _images() -> Check:
    folder = Path(__file__).parent / "datasets"
    found = sorted(path.name for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []
    return Check(
        "images", "ok" if found else "missing", ", ".join(found) or "none", "" if found else "reinstall nasbench"
    )


def _onnxruntime() -> Check:
    runtime = importlib.import_module("onnxruntime")
    return Check("onnxruntime", "ok", f"{runtime.__version__}: {', '.join(runtime.get_available_providers())}")


def _energy() -> Check:
    from nasbench.latency.energy import why_none
    from nasbench.latency.standalone import find_meter

    meter = find_meter()
    if meter is None:
        return Check("energy", "limited", *why_none())
    return Check("energy", "ok", f"{meter}: `nasbench latency fit --energy` measures it")


def _ray() -> Check:
    from nasbench.running.session import quiet_ray

    quiet_ray()
    ray = importlib.import_module("ray")
    shared = shutil.disk_usage("/dev/shm").free if Path("/dev/shm").is_dir() else GIB
    remedy = "" if shared > 200 * 2**20 else "/dev/shm is small: start the container with --shm-size=1g"
    return Check("ray", "limited" if remedy else "ok", str(ray.__version__), remedy)


CHECKS: dict[str, Callable[[], Check]] = {
    "python": _python,
    "cores": _cores,
    "memory": _memory,
    "gpus": _gpus,
    "libraries": _libraries,
    "cache": _cache,
    "images": _images,
    "onnxruntime": _onnxruntime,
    "energy": _energy,
    "ray": _ray,
}

# Part of nasbench -> the checks it cannot do without.
PARTS = {
    "search on this machine": ("libraries", "cache", "images", "ray"),
    "search in one process (--runner serial)": ("libraries", "cache", "images"),
    "search on GPUs": ("libraries", "cache", "gpus", "ray"),
    "latency on this machine": ("onnxruntime", "cache"),
    "spaces, budgets and stored studies": ("python",),
}


def parts(found: tuple[Check, ...]) -> tuple[Check, ...]:
    """Which parts can run, given `checks()`; GPUs count only where torch can use them."""
    by_name = {check.name: check for check in found}
    result = []
    for part, needs in PARTS.items():
        blocked = [by_name[name] for name in needs if by_name[name].state == "missing"]
        blocked += [by_name["gpus"]] if "gpus" in needs and by_name["gpus"].state != "ok" else []
        value = "can run" if not blocked else "cannot run: " + ", ".join(f"{c.name} {c.value}" for c in blocked)
        result.append(
            Check(part, "missing" if blocked else "ok", value, "; ".join(c.remedy for c in blocked if c.remedy))
        )
    return tuple(result)
