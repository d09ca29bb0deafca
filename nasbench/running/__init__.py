"""Running jobs: a runner asks a source for jobs, evaluates them, and tells the source their outcomes.

The source (a search) owns the order, the store and the end; a runner owns processes, time limits and retries.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from nasbench.running.usage import ProcessorShare, Usage
from nasbench.study.runner import RunnerSpec, load_runner
from nasbench.study.trials import Outcome

__all__ = ["RUNNERS", "Job", "JobSource", "Outcome", "ProcessorShare", "RunnerSpec", "Usage", "load_runner", "run"]


@dataclass(frozen=True)
class Job:
    """One evaluation: `task`, of any type, is the argument of the evaluate function; `id` is the trial's key.

    A job that takes longer than `limit_s` becomes a failed outcome.
    """

    id: str
    task: Any
    limit_s: float | None = None


class JobSource(Protocol):
    """Where jobs come from and outcomes go; a runner calls both from one thread of the driver."""

    def ask(self) -> Job | None:
        """The next job; None if none can start before an outstanding one is told.

        None while nothing is outstanding ends the run. After a None, `ask` is not called again before a `tell`.
        """

    def tell(self, job: Job, outcome: Outcome) -> None:
        """The outcome of `job`; called once a job."""

    def watch(self, usage: Usage | None) -> None:
        """Called every few seconds while jobs run in other processes, with what those of this machine used since."""


# Kind of runner -> "module:function", loaded on use so that reading a study needs no ray.
RUNNERS = {
    "serial": "nasbench.running.serial:run_serial",
    "ray": "nasbench.running.ray_tune:run_ray",
}


def function(name: str) -> Callable[..., Any]:
    """The function called "package.module:function"."""
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)


def run(source: JobSource, evaluate: str, runner: RunnerSpec, spool: Path | None = None) -> None:
    """Evaluate `source`'s jobs with `evaluate` ("package.module:function" of a task -> metrics) until it ends.

    Workers leave each outcome in `spool` before it returns, if a folder is given. A worker's crash, hang or lack of
    memory is a failed outcome; an exception of the source ends the run and is raised here. Ctrl-C raises
    KeyboardInterrupt once the workers are stopped; their jobs are not told.
    """
    function(RUNNERS[runner.kind])(source, evaluate, runner, spool)
