"""Fitting a profile in a process of its own, so that trainings run meanwhile; the measuring protocol stands the load.

The child reads one line of JSON from its standard input and ends when that pipe closes, so it never outlives a killed
parent. It answers in lines of JSON: progress, and at last the profile's path or an error.
"""

from __future__ import annotations

import collections
import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nasbench.errors import UserError
from nasbench.latency.calibrate import fit_profile
from nasbench.latency.profile import THIS_MACHINE, DeviceProfile, load_device

if TYPE_CHECKING:
    from nasbench.architecture import Architecture


SECONDS = 300.0  # four times a fit's time on a quiet machine: others use the cores too, and nobody waits


class BackgroundFit:
    """A fit under way: `progress` is (networks measured, in all), `result()` waits for the profile."""

    def __init__(self, architectures: Sequence[Architecture], name: str, seconds: float, num_classes: int) -> None:
        self.name = name
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
        request = {"name": name, "seconds": seconds, "num_classes": num_classes}
        request["architectures"] = [a.to_dict() for a in architectures]
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()

    def done(self) -> bool:
        return not self._reader.is_alive()

    def result(self, timeout: float | None = None) -> DeviceProfile:
        """The fitted profile; UserError for what the user asked wrongly, RuntimeError for a crash, TimeoutError."""
        self._reader.join(timeout)
        if self._reader.is_alive():
            raise TimeoutError(f"the latency profile {self.name!r} is not ready after {timeout} s")
        if "profile" in self._answer:
            return load_device(self.name)
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
) -> BackgroundFit:
    """Start `fit_profile` in another process and return at once."""
    return BackgroundFit(architectures, name, seconds, num_classes)


def _child_environment() -> dict[str, str]:
    package_parent = str(Path(__file__).resolve().parents[2])
    paths = [package_parent, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)


def _answer(**message: Any) -> None:
    print(json.dumps(message), flush=True)


def _main() -> None:
    from nasbench.architecture import Architecture

    request = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    architectures = [Architecture.from_dict(d, source="calibration") for d in request.pop("architectures")]
    try:
        # Noise is accepted here: trainings run meanwhile, the interval tells what it costs, and the profile keeps it.
        profile = fit_profile(
            architectures,
            progress=lambda done, total: _answer(progress=[done, total]),
            accept_noise=True,
            **request,
        )
    except UserError as error:
        _answer(error=str(error))
    else:
        _answer(profile=profile.name)


if __name__ == "__main__":
    _main()
