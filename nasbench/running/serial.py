"""The serial runner: one job after another in this process, for tests and exact replay."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from nasbench.running import JobSource, RunnerSpec, function
from nasbench.running.worker import exceeded, run_job


class TimeLimit(Exception):
    """A job took longer than it may; its text is the reason."""


def run_serial(source: JobSource, evaluate: str, runner: RunnerSpec, spool: Path | None = None) -> None:
    """Run `source`'s jobs one by one here. A time limit interrupts Python code only, and a crash ends the driver:
    use the Ray runner where trials cannot be trusted."""
    call = function(evaluate)
    while (job := source.ask()) is not None:
        source.tell(job, run_job(job, partial(_limited, call, job.limit_s), spool))


def _limited(call: Callable[..., dict[str, Any]], limit_s: float | None, task: Any) -> dict[str, Any]:
    with _limit(limit_s):
        return call(task)


@contextlib.contextmanager
def _limit(limit_s: float | None) -> Iterator[None]:
    if limit_s is None or threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: object) -> None:
        raise TimeLimit(exceeded(limit_s))

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, limit_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
