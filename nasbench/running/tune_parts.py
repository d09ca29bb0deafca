"""The classes that Ray Tune calls: a worker, a searcher, a callback and a stopper. Importing this file imports ray."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ray import cloudpickle
from ray.exceptions import RayActorError, RayTaskError
from ray.tune import Callback, Stopper, Trainable
from ray.tune.search import Searcher

from nasbench.hardware import give_memory_back
from nasbench.running import Job, function
from nasbench.running.bridge import Bridge
from nasbench.running.worker import reason, run_job, watchdog
from nasbench.study.trials import Outcome

KEPT_BYTES = 1 << 30  # that a worker may hold between jobs; one that had run sixty trials held 2 GB
BRIDGES: dict[str, Bridge] = {}  # Tune pickles the classes below, which therefore hold a bridge by name


class Worker(Trainable):
    """One worker process, reused from job to job: a step is a job."""

    def setup(self, config: dict[str, Any]) -> None:
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.config = new_config
        return True

    def step(self) -> dict[str, Any]:
        job: Job = self.config["job"]
        spool = Path(self.config["spool"]) if self.config["spool"] else None
        with watchdog(job, spool):
            outcome = run_job(job, function(self.config["evaluate"]), spool)
        give_memory_back(KEPT_BYTES)
        return {"outcome": cloudpickle.dumps(outcome), "done": True}  # as bytes: Tune flattens and copies what it knows

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        return None

    def load_checkpoint(self, checkpoint: Any) -> None:
        return None


class Feeder(Searcher):
    """Gives Tune the bridge's jobs, and the bridge their outcomes."""

    def __init__(self, bridge: str, settings: dict[str, Any]) -> None:
        super().__init__()
        self.bridge, self.settings = bridge, settings

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        bridge = BRIDGES[self.bridge]
        job = bridge.next_job(trial_id)
        if job is not None:
            return {"job": job, **self.settings}
        return None if bridge.running or bridge.again else Searcher.FINISHED

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        if not error and result is not None:  # failures are reported by `Errors`
            outcome: Outcome = cloudpickle.loads(result["outcome"])
            BRIDGES[self.bridge].settle(trial_id, outcome)

    def save(self, checkpoint_path: str) -> None:
        """Saves nothing: the state is in the source's store."""

    def restore(self, checkpoint_path: str) -> None:
        raise NotImplementedError("a study is resumed from its store, never by Tune")


class Errors(Callback):
    """Reports workers that died to the bridge, with the cause that Tune recorded."""

    def __init__(self, bridge: str) -> None:
        self.bridge = bridge

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        BRIDGES[self.bridge].start(trial.trial_id)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        error = _error(trial)
        if isinstance(error, RayTaskError) and not isinstance(error, RayActorError):
            cause = getattr(error, "cause", None) or error  # raised outside of the evaluation: a retry would fail too
            return BRIDGES[self.bridge].broke(trial.trial_id, reason(cause))
        BRIDGES[self.bridge].died(trial.trial_id, _cause(error))

    def __getstate__(self) -> dict[str, Any]:
        return {"bridge": self.bridge}


class Halt(Stopper):
    """Ends the experiment as soon as the source has raised; Tune asks ten times a second, which serves as a clock."""

    def __init__(self, bridge: str) -> None:
        self.bridge = bridge

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        bridge = BRIDGES[self.bridge]
        bridge.watch()
        return bridge.error is not None


def _error(trial: Any) -> BaseException | None:
    """The exception that Tune recorded; Tune's own reader looks where files have not been copied yet."""
    path = trial.pickled_error_file
    if path is None or not Path(path).is_file():
        return None
    error: BaseException = cloudpickle.loads(Path(path).read_bytes())
    return error


def _cause(error: BaseException | None) -> str:
    """The line of Ray's report with the cause."""
    text = str(error or "")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if "exit detail" in line or "out of memory" in line.lower() or "OOM" in line]
    return (telling or lines or ["no cause given"])[0][:300]
