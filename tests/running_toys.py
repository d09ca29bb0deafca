"""Toy evaluations for test_running.py: importable by workers, and free of pytest."""

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from nasbench.arch.library import load
from nasbench.running import Job, RunnerSpec, Usage, run
from nasbench.study.fidelity import load_recipe
from nasbench.study.store import TrialStore
from nasbench.study.trials import Outcome, Trial


def evaluate(task: dict[str, Any]) -> dict[str, Any]:
    """Note the start of `task` in its log folder, sleep, and do what the task says."""
    log = Path(task["log"]) / str(task["n"])
    with log.open("a") as file:
        file.write(f"{os.getpid()}\n")
    start = time.time()
    time.sleep(task.get("sleep", 0.15))
    what = task.get("what")
    if what == "raise":
        raise RuntimeError("wrong\n  in two lines")
    if what == "memory":
        raise MemoryError
    if what == "kill" or (what == "kill once" and len(log.read_text().splitlines()) == 1):
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "hang":
        time.sleep(1000)
    if what == "meet":  # ends once two jobs of this kind run side by side
        (log.parent / f"met-{task['n']}").touch()
        while len(list(log.parent.glob("met-*"))) < 2:
            time.sleep(0.05)
    if what == "busy":
        begun = time.process_time()  # a worker counts once it has used some, and is looked at every 2 s
        while time.process_time() < begun + 6.0 and time.time() < start + 60.0:
            pass
    error = float("nan") if what == "diverge" else task["n"] / 100
    threads = os.environ.get("OMP_NUM_THREADS")
    priority = {"niceness": os.getpriority(os.PRIO_PROCESS, 0)}
    return {"error": error, "start": start, "end": time.time(), "threads": threads, "folder": os.getcwd(), **priority}


class Listed:
    """A source of given jobs that keeps what it is told."""

    def __init__(self, jobs: list[Job]) -> None:
        self.jobs = jobs
        self.told: dict[str, Outcome] = {}
        self.outstanding = 0

    def ask(self) -> Job | None:
        if self.jobs:
            self.outstanding += 1
            return self.jobs.pop(0)
        return None

    def tell(self, job: Job, outcome: Outcome) -> None:
        assert job.id not in self.told
        self.outstanding -= 1
        self.told[job.id] = outcome

    def watch(self, usage: Usage | None) -> None:
        pass


class Study:
    """The smallest search with a store: `count` trials, in order."""

    def __init__(self, store: TrialStore, log: Path, count: int) -> None:
        store.drain_spool()
        self.store = store
        arch, fidelity = load("emo_1m"), load_recipe().at(64)
        trials = [Trial.new(arch, fidelity, seed=n, data="toy") for n in range(count)]
        tasks = {trial.key: {"n": n, "log": str(log)} for n, trial in enumerate(trials)}
        self.todo = [(trial, tasks[trial.key]) for trial in trials if not store.has_result(trial.key)]

    def ask(self) -> Job | None:
        if not self.todo:
            return None
        trial, task = self.todo.pop(0)
        self.store.submit(trial)
        return Job(trial.key, task)

    def tell(self, job: Job, outcome: Outcome) -> None:
        self.store.finish(job.id, outcome)
        print(job.id, flush=True)

    def watch(self, usage: Usage | None) -> None:
        pass


def drive(folder: str, log: str, count: int) -> None:
    """A driver to be killed: run as `python running_toys.py FOLDER LOG COUNT`."""
    with TrialStore(folder) as store:
        run(Study(store, Path(log), count), "running_toys:evaluate", RunnerSpec(workers=2), Path(folder) / "spool")


if __name__ == "__main__":
    drive(sys.argv[1], sys.argv[2], int(sys.argv[3]))
