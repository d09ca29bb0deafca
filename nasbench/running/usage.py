"""The share of a processor core that trials get, processor time over wall-clock time, and a warning where it is small.

Ray's workers run at low priority; beside other work that can leave them a tenth of the processor.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import psutil

from nasbench import hardware
from nasbench.study.runner import RunnerSpec

MEMORY_S = 120.0  # older figures fade with this time constant
ENOUGH_S = 60.0  # of trials' time, before there is a figure
LITTLE = 0.6  # of the possible share, below which there is a warning
STARTED_S = 2.0  # of processor time: a worker that has used less is still loading libraries
SAME_COMMAND = "the same command with --priority normal"
WORKER, IDLE = "ray::", "ray::IDLE"  # as Ray names its workers' processes


class Usage(NamedTuple):
    """Processor seconds that `workers` worker processes used since the last reading."""

    seconds: float
    workers: int


class WorkerClock:
    """Reads the processor time of the workers that Ray started below this process."""

    def __init__(self) -> None:
        self._before: dict[int, float] = {}

    def read(self) -> Usage:
        """The usage since the last call; that of a new process begins with this call."""
        now = _worker_seconds()
        used = sum(max(0.0, seconds - self._before.get(process, seconds)) for process, seconds in now.items())
        self._before = now
        return Usage(used, len(now))


def _worker_seconds() -> dict[int, float]:
    """Process id -> processor seconds so far of each worker that has been given work, and has begun with it."""
    found: dict[int, float] = {}
    for process in psutil.Process().children(recursive=True):
        try:
            name = process.name()
            if name.startswith(WORKER) and not name.startswith(IDLE):
                times = process.cpu_times()
                if times.user + times.system >= STARTED_S:
                    found[process.pid] = times.user + times.system
        except psutil.Error:  # it has just ended
            continue
    return found


class ProcessorShare:
    """Recent processor seconds per second of a trial, relative to what this program's own measurements leave.

    Fed by `watch` where the workers are on this machine, else by `ended`. Where the share is small, `say` is called
    once with a remedy; `again` is the command that resumes the work. Not on an accelerator, for which the processor
    waits.
    """

    def __init__(
        self,
        runner: RunnerSpec,
        say: Callable[[str], None],
        again: str = SAME_COMMAND,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._runner, self._say, self._again, self._clock = runner, say, again, clock
        self._cores = hardware.cpu_cores()
        self._used = self._possible = 0.0  # seconds
        self._looked_at = clock()
        self._watched = self._said = False

    @property
    def share(self) -> float | None:
        """None before enough is known, and for workers that are not watched."""
        return self._share if self._watched else None

    def watch(self, usage: Usage, running: int, measuring: bool = False) -> None:
        """Take in what the workers used since the last call, while so many trials ran."""
        now = self._clock()
        passed, self._looked_at = now - self._looked_at, now
        active = min(running, usage.workers)
        if active and self._runner.device == "cpu":
            self._watched = True
            self._add(usage.seconds, passed * active * self._room(active, measuring), passed)
        self._say_where_little()

    def ended(self, metrics: Mapping[str, float | int | str | bool], running: int, measuring: bool = False) -> None:
        """Take in a finished trial's own figures, where workers are not watched."""
        seconds, used = metrics.get("train_seconds"), metrics.get("cpu_seconds")
        unknown = not self._watched and self._runner.device == "cpu"
        if unknown and isinstance(seconds, float) and isinstance(used, float):
            self._add(used, seconds * self._room(running, measuring), seconds)
        self._say_where_little()

    def _say_where_little(self) -> None:
        share = self._share
        if self._said or share is None or share >= LITTLE:
            return
        self._said = True
        what = f"trials get {max(0.01, share):.0%} of a processor core: other work on this machine takes the rest"
        if self._runner.priority == "low" and self._watched:
            remedy = (
                f", and comes first, for they run at low priority; to share alike, stop and go on by `{self._again}`"
            )
        else:
            remedy = "; they take longer until it ends"
        self._say(what + remedy)

    @property
    def _share(self) -> float | None:
        return self._used / self._possible if self._possible >= ENOUGH_S else None

    def _room(self, trials: int, measuring: bool) -> float:
        """The largest possible share of each trial while this program measures on one core."""
        if not measuring or self._runner.address is not None:
            return 1.0
        return min(1.0, (self._cores - 1) / (max(1, trials) * self._runner.cpus_per_trial))

    def _add(self, used: float, possible: float, passed: float) -> None:
        if possible > 0:
            fade = math.exp(-passed / MEMORY_S)
            self._used, self._possible = fade * self._used + used, fade * self._possible + possible
