"""A search as a source of jobs: the schedule's trials go out, outcomes come back into the store."""

from __future__ import annotations

import math
import time

from nasbench.engine.measuring import Measuring
from nasbench.engine.reporting import Reporting
from nasbench.engine.schedule import Schedule
from nasbench.running import Job, Outcome
from nasbench.study.store import TrialStore
from nasbench.study.task import DataSplit, Task
from nasbench.study.trials import Trial

EVALUATE = "nasbench.proxy.evaluate:evaluate"


class Driver:
    """Implements `running.JobSource` for one study. No trial starts after `deadline` (of `time.monotonic`)."""

    def __init__(
        self,
        schedule: Schedule,
        store: TrialStore,
        reporting: Reporting,
        measuring: Measuring,
        deadline: float = math.inf,
    ) -> None:
        self.schedule, self.store, self.deadline = schedule, store, deadline
        self.reporting, self.measuring = reporting, measuring
        self._left_over = list(store.outstanding())  # of a driver that was killed
        self._running: set[str] = set()
        self._at_a_time = 0  # most trials that ran together so far

    def ask(self) -> Job | None:
        trial = self._next() if time.monotonic() < self.deadline else None
        if trial is not None:
            self.store.submit(trial)
            self._running.add(trial.key)
            self._at_a_time = max(self._at_a_time, len(self._running))
        self.reporting.show(len(self._running), self._at_a_time)
        return None if trial is None else self._job(trial)

    def tell(self, job: Job, outcome: Outcome) -> None:
        trial = self.store.finish(job.id, outcome)
        self._running.discard(job.id)
        self.reporting.after(trial)
        self.measuring.after(trial)

    def _next(self) -> Trial | None:
        return self._left_over.pop(0) if self._left_over else self.schedule.next_trial(self.store.trials)

    def _job(self, trial: Trial) -> Job:
        study = self.schedule.study
        data = DataSplit(study.data, study.data_seed, trial.split)
        task = Task(
            trial.design, trial.fidelity, trial.seed, data, study.runner, study.objective.name, study.trial_limit_s
        )
        return Job(trial.key, task, task.limit_s)
