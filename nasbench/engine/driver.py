"""A search as a source of jobs: gives out the schedule's trials and stores their outcomes."""

from __future__ import annotations

import time

from nasbench.engine.measuring import Measuring
from nasbench.engine.reporting import Reporting
from nasbench.engine.schedule import Schedule
from nasbench.engine.time_left import Pace, Progressing
from nasbench.running import Job, Outcome, ProcessorShare, Usage
from nasbench.study.store import TrialStore
from nasbench.study.task import DataSplit, Task
from nasbench.study.trials import Trial


class Driver:
    """Implements `running.JobSource` for one study. Starts no trial that would not end within the schedule's time."""

    def __init__(
        self,
        schedule: Schedule,
        store: TrialStore,
        reporting: Reporting,
        measuring: Measuring,
    ) -> None:
        self.schedule, self.store = schedule, store
        self.reporting, self.measuring = reporting, measuring
        self._left_over = list(store.outstanding())  # of a driver that was killed
        self._running: dict[str, Progressing] = {}  # by trial key
        self._at_a_time = 0  # most trials that ran together so far
        again = f"nasbench resume {store.folder} --priority normal"
        self._share = ProcessorShare(schedule.study.runner, reporting.progress.note, again, time.monotonic)

    def ask(self) -> Job | None:
        trial = self._next()
        if trial is not None:
            self._submit(trial)
            self._running[trial.key] = Progressing(time.monotonic())
            self._at_a_time = max(self._at_a_time, len(self._running))
        self._show()
        return None if trial is None else self._job(trial)

    def tell(self, job: Job, outcome: Outcome) -> None:
        trial = self.store.finish(job.id, outcome)
        self._share.ended(trial.metrics, len(self._running), self.measuring.under_way)
        self._running.pop(job.id, None)
        self.reporting.after(trial)
        self.measuring.after(trial)

    def watch(self, usage: Usage | None) -> None:
        """Add up the processor time of each trial, and update the display."""
        if usage is not None:
            self._share.watch(usage, len(self._running), self.measuring.under_way)
            for key, each in self._running.items():
                self._running[key] = each.used_more(usage.seconds / len(self._running))
        self._show()

    def _show(self) -> None:
        self.reporting.show(self._pace())

    def _pace(self) -> Pace:
        now, deadline = time.monotonic(), self.schedule.phases.deadline
        return Pace(dict(self._running), self._at_a_time, now, self._share.share, deadline)

    def _next(self) -> Trial | None:
        """The trial to start now, if it is expected to end in time."""
        phases = self.schedule.phases
        if not phases.leaves_time_for(0.0):
            return None
        trial = self._to_train()
        if trial is None or not phases.limited:  # a trial's duration is estimated only where it matters
            return trial
        return trial if phases.leaves_time_for(self.reporting.seconds_expected(trial, self._pace())) else None

    def _to_train(self) -> Trial | None:
        """The next trial to train; outcomes that a table holds are stored on the way."""
        while True:
            trial = self._left_over[0] if self._left_over else self.schedule.next_trial(self.store.trials)
            outcome = None if trial is None else self.schedule.known_outcome(trial)
            if trial is None or outcome is None:
                return trial
            self._submit(trial)
            self.reporting.after(self.store.finish(trial.key, outcome))

    def _submit(self, trial: Trial) -> None:
        self._left_over = [each for each in self._left_over if each.key != trial.key]
        self.store.submit(trial)

    def _job(self, trial: Trial) -> Job:
        study = self.schedule.study
        data = DataSplit(study.data, study.data_seed, trial.split)
        task = Task(
            trial.design, trial.fidelity, trial.seed, data, study.runner, study.objective.name, study.trial_limit_s
        )
        return Job(trial.key, task, task.limit_s)
