"""A child process that measures networks on this machine while trainings run beside it.

Networks are timed relative to a reference network that runs beside them, so the load of trainings hardly moves the
figures (see standalone.py). The child reads one line of JSON, the request, from its standard input and ends when that
pipe closes, so it never outlives a killed parent. It answers in lines of JSON: progress, then the profile's path or an
error.
"""

from __future__ import annotations

import collections
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nasbench.errors import UserError
from nasbench.latency.calibrate import fit_profile, measure_records
from nasbench.latency.profile import THIS_MACHINE, DeviceProfile, load_device

if TYPE_CHECKING:
    from nasbench.arch.architecture import Architecture


SECONDS = 300.0  # of measuring; a fit on a quiet machine takes a quarter of it, here trainings share the cores


class BackgroundFit:
    """A fit under way: `progress` is (networks measured, in all), `result()` waits for the profile.

    `request` names the task, one of TASKS, and what it takes besides the architectures.
    """

    def __init__(self, architectures: Sequence[Architecture], request: dict[str, Any]) -> None:
        self.progress: tuple[int, int] = (0, len(architectures))
        self._answer: dict[str, Any] = {}
        self._log: collections.deque[str] = collections.deque(maxlen=20)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "nasbench.latency.background"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=_child_environment(),
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        assert self._process.stdin is not None
        line = json.dumps({**request, "architectures": [a.to_dict() for a in architectures]})
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def done(self) -> bool:
        return not self._reader.is_alive()

    def result(self, timeout: float | None = None) -> DeviceProfile:
        """The fitted profile; UserError for what the user asked wrongly, RuntimeError for a crash, TimeoutError."""
        self._reader.join(timeout)
        if self._reader.is_alive():
            raise TimeoutError(f"the latency profile is not ready after {timeout} s")
        if "profile" in self._answer:
            return load_device(self._answer["profile"])
        if "error" in self._answer:
            raise UserError(self._answer["error"])
        raise RuntimeError("fitting the latency profile ended early: " + " | ".join(list(self._log)[-3:]))

    def stop(self) -> None:
        """End the child without a profile."""
        self._process.kill()
        self._process.wait()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            try:
                message = json.loads(line)
                if "progress" in message:
                    done, total = message["progress"]
                    self.progress = (done, total)
                else:
                    self._answer = message
            except (ValueError, TypeError):  # a warning of some library, kept for the error's text
                self._log.append(line.strip())
        self._process.wait()


def fit_in_background(
    architectures: Sequence[Architecture],
    name: str = THIS_MACHINE,
    seconds: float = SECONDS,
    num_classes: int = 1000,
    memory: bool = False,
    energy: bool = False,
) -> BackgroundFit:
    """Start `fit_profile` in another process and return at once."""
    request: dict[str, Any] = {"task": "fit", "name": name, "seconds": seconds, "num_classes": num_classes}
    request |= {"memory": memory, "energy": energy}
    return BackgroundFit(architectures, request)


def extend_in_background(
    base: str, architectures: Sequence[Architecture], path: Path, num_classes: int = 1000, memory: bool = False
) -> BackgroundFit:
    """Start measuring `architectures` in another process; return at once.

    The profile with the name or path `base` plus these measurements, fitted again, is saved at `path`. Networks that
    cannot be measured are left out.
    """
    request = {"task": "extend", "base": base, "path": str(path), "num_classes": num_classes, "memory": memory}
    return BackgroundFit(architectures, request)


def _child_environment() -> dict[str, str]:
    package_parent = str(Path(__file__).resolve().parents[2])
    paths = [package_parent, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}


def _end_with_parent() -> None:
    """End this process when standard input closes, as it does when the parent ends."""
    sys.stdin.read()
    os._exit(1)


def _answer(**message: Any) -> None:
    print(json.dumps(message), flush=True)


def _progress(done: int, total: int) -> None:
    _answer(progress=[done, total])


def _fit(architectures: list[Architecture], **request: Any) -> Path:
    """Passes may disagree, as trainings run meanwhile: the prediction interval is wider for it."""
    return fit_profile(architectures, progress=_progress, accept_noise=True, **request).save()


def _extend(architectures: list[Architecture], base: str, path: str, num_classes: int, memory: bool) -> Path:
    """No energy is measured: the meter counts the whole machine, trainings included."""
    profile = load_device(base)
    records = measure_records(architectures, profile, num_classes, _progress, memory=memory, leave_out=True)
    return profile.with_records(records).save(Path(path))


TASKS: dict[str, Callable[..., Path]] = {"fit": _fit, "extend": _extend}


def _main() -> None:
    from nasbench.arch.architecture import Architecture

    request = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    architectures = [Architecture.from_dict(d, source="calibration") for d in request.pop("architectures")]
    task = TASKS[request.pop("task")]
    try:
        path = task(architectures, **request)
    except UserError as error:
        _answer(error=str(error))
    else:
        _answer(profile=str(path))


if __name__ == "__main__":
    _main()
