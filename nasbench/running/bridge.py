"""Connects Ray Tune's callbacks with the source of jobs, without importing ray."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nasbench.running import Job, JobSource
from nasbench.running.usage import WorkerClock
from nasbench.running.worker import exceeded
from nasbench.study.spool import spool_get
from nasbench.study.trials import Outcome, failed

WATCH_S = 2.0  # between two calls of the source's `watch`
RETRIES = 2  # of a job whose worker died; a job whose function raises is not retried


class Bridge:
    """Which of Tune's trials runs which job, retries, and the first error of the source."""

    def __init__(
        self, source: JobSource, spool: Path | None, room: Callable[[], int], workers: WorkerClock | None = None
    ) -> None:
        """`workers`: the clock of workers on this machine; None where they run on others."""
        self.source, self.spool, self.room, self.workers = source, spool, room, workers
        self._watch_at = 0.0
        self.running: dict[str, Job] = {}  # by Tune's trial id
        self.started: dict[str, float] = {}
        self.again: list[Job] = []
        self.deaths: dict[str, int] = {}
        self.exhausted = False  # whether the source's `ask` gave None after its last `tell`
        self.error: Exception | None = None

    def next_job(self, trial_id: str) -> Job | None:
        """A job to start under `trial_id`; None where none can start now, or at the end, if nothing is outstanding."""
        if self.error or len(self.running) >= self.room():
            return None
        job = self.again.pop() if self.again else self._ask()
        if job is not None:
            self.running[trial_id] = job
        return job

    def start(self, trial_id: str) -> None:
        self.started[trial_id] = time.monotonic()

    def settle(self, trial_id: str, outcome: Outcome) -> None:
        """Tell the source the outcome of the job of `trial_id`."""
        job = self.running.pop(trial_id)
        self.started.pop(trial_id, None)
        self.exhausted = False
        if not self.error:
            self._guarded(lambda: self.source.tell(job, outcome))

    def broke(self, trial_id: str, why: str) -> None:
        """Fail a job by an exception outside of the evaluation, such as a failed import of its module."""
        self.settle(trial_id, failed(why))

    def died(self, trial_id: str, cause: str) -> None:
        """The worker of `trial_id` died: take the outcome that it left, else fail a job without time or retries
        left, or queue it again."""
        job = self.running[trial_id]
        left = spool_get(self.spool, job.id) if self.spool is not None else None
        seconds = time.monotonic() - self.started.get(trial_id, time.monotonic())
        self.deaths[job.id] = self.deaths.get(job.id, 0) + 1
        if left is not None:
            self.settle(trial_id, left)
        elif job.limit_s is not None and seconds >= job.limit_s:
            self.settle(trial_id, failed(exceeded(job.limit_s), seconds))
        elif self.deaths[job.id] > RETRIES:
            self.settle(trial_id, failed(f"its worker died {RETRIES + 1} times: {cause}", seconds))
        else:
            self.again.append(self.running.pop(trial_id))

    def watch(self) -> None:
        """Called often; every `WATCH_S` seconds calls the source's `watch`."""
        if time.monotonic() >= self._watch_at and not self.error:
            self._watch_at = time.monotonic() + WATCH_S
            usage = self.workers.read() if self.workers is not None else None
            self._guarded(lambda: self.source.watch(usage))

    def _ask(self) -> Job | None:
        if self.exhausted:
            return None
        job = self._guarded(self.source.ask)
        self.exhausted = job is None
        return job

    def _guarded(self, call: Callable[[], Any]) -> Any:
        """Keep an exception of the source, which ends the run: raised inside Tune it would be wrapped or lost."""
        try:
            return call()
        except Exception as error:
            self.error = error
            return None
