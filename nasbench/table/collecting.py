"""A collection as a source of jobs: gives out the plan's trainings and stores their outcomes."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterator

from nasbench.costs.analytic import cost
from nasbench.progress import Progress, ProgressState
from nasbench.running import Job, Outcome, ProcessorShare, Usage
from nasbench.study.runner import RunnerSpec
from nasbench.study.store import TrialStore
from nasbench.study.task import DataSplit, Task
from nasbench.study.trials import Kind, Origin, State, Trial
from nasbench.table.collection import Collection
from nasbench.table.plan import Wanted
from nasbench.table.rows import LONG_RUNG

TRIAL_LIMIT_S = 4 * 3600.0  # a long training of a large network takes an hour on a core
REASON_CHARACTERS = 40  # of a failure, in the display


class Collecting:
    """Implements `running.JobSource` for a plan; None in it ends an `ask` until a running training has ended.

    `size`: trainings and work (in samples) of the whole plan. No training starts after `deadline` (of
    `time.monotonic`). `resume`: whether unfinished trainings of a killed driver come first.
    """

    def __init__(
        self,
        collection: Collection,
        store: TrialStore,
        plan: Iterator[Wanted | None],
        runner: RunnerSpec,
        progress: Progress,
        size: tuple[int, float],
        deadline: float = math.inf,
        resume: bool = True,
    ) -> None:
        self.collection, self.store, self.runner = collection, store, runner
        self.progress, self.deadline = progress, deadline
        self.plan, (self.trainings, self.work) = plan, size
        self._left_over = list(store.outstanding()) if resume else []  # of a driver that was killed
        self._running: set[str] = set()
        self._met: dict[str, float] = {}  # key -> work of the plan's trainings so far
        self._worked = 0.0  # in this run
        self._started = time.monotonic()
        self._share = ProcessorShare(runner, progress.note)

    def ask(self) -> Job | None:
        trial = self._next() if time.monotonic() < self.deadline else None
        if trial is not None:
            self.store.submit(trial)
            self._running.add(trial.key)
        self._show()
        return None if trial is None else self._job(trial)

    def tell(self, job: Job, outcome: Outcome) -> None:
        trial = self.store.finish(job.id, outcome)
        self._share.ended(trial.metrics, len(self._running))
        self._running.discard(job.id)
        self._worked += trial.fidelity.work
        if trial.state == State.FAILED:
            self.progress.note(f"{trial.label}, {trial.fidelity.samples:,} samples failed: {trial.reason}")
        self._show()

    def watch(self, usage: Usage | None) -> None:
        if usage is not None:
            self._share.watch(usage, len(self._running))
        self._show()

    def _next(self) -> Trial | None:
        if self._left_over:
            return self._left_over.pop(0)
        for wanted in self.plan:
            if wanted is None:
                return None
            trial = self._trial(wanted)
            self._met[trial.key] = trial.fidelity.work
            stored = self.store.get(trial.key)
            if stored is None or not (stored.finished or trial.key in self._running):
                return stored or trial
        return None

    def _trial(self, wanted: Wanted) -> Trial:
        made, kind = self.collection, Kind.FIXED_POINT if wanted.origin == "published" else Kind.SEARCHED
        rung = len(made.ladder.rungs) if wanted.rung == LONG_RUNG else wanted.rung
        origin = Origin(kind, rung, wanted.origin, cost(wanted.arch))
        return Trial.new(
            wanted.arch, made.fidelity(wanted.rung), wanted.seed, made.data_id, made.split, origin, self.runner.numerics
        )

    def _job(self, trial: Trial) -> Job:
        data = DataSplit(self.collection.data, split=trial.split)
        task = Task(trial.design, trial.fidelity, trial.seed, data, self.runner, limit_s=TRIAL_LIMIT_S)
        return Job(trial.key, task, TRIAL_LIMIT_S)

    def _show(self) -> None:
        ended = [key for key in self._met if self.store.has_result(key)]
        spent = time.monotonic() - self._started
        left = None
        if self._worked:
            remaining = max(0.0, self.work - sum(self._met[key] for key in ended))
            left = spent * remaining / self._worked
        failed = Counter(
            str(trial.reason)[:REASON_CHARACTERS] for trial in self.store.trials if trial.state == State.FAILED
        )
        self.progress.update(
            ProgressState(
                "collecting", len(ended), self.trainings, len(self._running), seconds_spent=spent, seconds_left=left,
                failed=failed,
            )
        )  # fmt: skip
