"""Provenance of a study: versions, commit, hardware and command of each run."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import platform
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from nasbench import __version__, hardware
from nasbench.errors import UserError
from nasbench.files import write_atomic

FILE = hardware.RUNS
LIBRARIES = (
    *("torch", "ray", "optuna", "onnx", "onnxruntime", "onnxscript", "fvcore", "numpy", "scipy", "pydantic"),
    *("pandas", "scikit-learn", "matplotlib", "pillow", "safetensors"),
)


def versions() -> dict[str, str]:
    """Name -> version of the libraries that results depend on; a missing one is left out. Nothing is imported."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def torch_cuda() -> str | None:
    """The CUDA version torch was built for, read from its version file; None for a build without."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    text = (Path(spec.origin).parent / "version.py").read_text(encoding="utf-8")
    match = re.search(r"^cuda[^=]*=\s*['\"]([^'\"]+)", text, re.MULTILINE)
    return match[1] if match else None


def commit() -> str | None:
    """The commit of the nasbench that runs, with "+changes" where files differ from it; None if it is not known."""
    checkout = Path(__file__).resolve().parents[2]
    if (checkout / ".git").exists():
        head = _git(checkout, "rev-parse", "HEAD")
        changed = _git(checkout, "status", "--porcelain", "--untracked-files=no", "--", "nasbench", "search_spaces")
        return head and head + ("+changes" if changed else "")
    try:  # pip keeps the commit of an installation from a repository
        text = importlib.metadata.distribution("nasbench").read_text("direct_url.json")
    except importlib.metadata.PackageNotFoundError:
        return None
    return json.loads(text).get("vcs_info", {}).get("commit_id") if text else None


def capture(command: Sequence[str] | None = None) -> dict[str, object]:
    """The provenance of one run; `command` defaults to this process's own."""
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "command": shlex.join(command or [Path(sys.argv[0]).name, *sys.argv[1:]]),
        "nasbench": __version__,
        "commit": commit(),
        "python": platform.python_version(),
        "versions": versions(),
        "torch_cuda": torch_cuda(),
        "hardware": hardware.describe(),
    }


def record(folder: Path | str, command: Sequence[str] | None = None) -> dict[str, object]:
    """Add this run to `folder`'s environment.json -> its entry. A resumed study has one entry a run."""
    path = Path(folder) / FILE
    entry = capture(command)
    try:
        write_atomic(path, json.dumps({"runs": [*read(folder), entry]}, indent=1) + "\n")
    except OSError as error:
        raise UserError(f"{path}: cannot write: {error.strerror}; give a folder that can be written") from None
    return entry


def read(folder: Path | str) -> list[dict[str, object]]:
    """The runs recorded in `folder`, oldest first."""
    path = Path(folder) / FILE
    if not path.exists():
        return []
    try:
        runs = json.loads(path.read_text(encoding="utf-8"))["runs"]
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}; move it away") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        runs = None
    if not isinstance(runs, list):
        raise UserError(f"{path}: not a record of runs; move it away")
    return runs


def _git(checkout: Path, *arguments: str) -> str | None:
    """What git answers, without its lock: a git that is killed for being slow would leave that behind."""
    command = ["git", "--no-optional-locks", "-C", str(checkout), *arguments]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip()
