"""The default runner: Ray Tune executes, and the source of jobs decides.

One `Tuner` with reused workers is fed by a searcher that asks the source and writes through to it. Tune's own retries,
limits and snapshots are not used: it would retry deterministic errors, would not stop a trial that never reports,
and would lose what finished since its last snapshot.
"""

from __future__ import annotations

import importlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nasbench import __version__
from nasbench.errors import UserError
from nasbench.running import JobSource, RunnerSpec
from nasbench.running.bridge import Bridge
from nasbench.running.session import TEMPORARY, capacity, ray_session, require_capacity, temporary_base
from nasbench.running.usage import WorkerClock

CAPACITY_S = 5.0  # how often a cluster is asked for its size


def run_ray(source: JobSource, evaluate: str, runner: RunnerSpec, spool: Path | None = None) -> None:
    """Run `source`'s jobs through Ray Tune, on this machine or on the cluster at `runner.address`."""
    first = source.ask()
    if first is None:  # Ray takes seconds to start
        return
    with ray_session(runner) as ray:
        require_capacity(ray, runner)
        if runner.address is not None:
            _probe(ray, evaluate, runner)
        bridge = Bridge(source, spool, _room(ray, runner), WorkerClock() if runner.address is None else None)
        bridge.again.append(first)
        storage = Path(tempfile.mkdtemp(prefix=f"{TEMPORARY}{os.getpid()}-tune-", dir=temporary_base()))
        try:
            _fit(bridge, evaluate, runner, storage)
        finally:
            shutil.rmtree(storage, ignore_errors=True)
    if bridge.error is not None:
        raise bridge.error


def _fit(bridge: Bridge, evaluate: str, runner: RunnerSpec, storage: Path) -> None:
    from ray import tune

    from nasbench.running import tune_parts as parts

    name = f"bridge-{id(bridge)}"
    parts.BRIDGES[name] = bridge
    spool = str(bridge.spool.resolve()) if bridge.spool is not None else ""
    resources = {"cpu": runner.cpus_per_trial, "gpu": runner.gpus_per_trial}
    try:
        tune.Tuner(
            tune.with_resources(parts.Worker, resources),
            tune_config=tune.TuneConfig(
                search_alg=parts.Feeder(name, {"evaluate": evaluate, "spool": spool}),
                num_samples=-1,  # the source ends the experiment
                reuse_actors=True,
                trial_dirname_creator=lambda trial: trial.trial_id,
            ),
            run_config=tune.RunConfig(
                name="trials",
                storage_path=str(storage),
                callbacks=[parts.Errors(name)],
                stop=parts.Halt(name),
                failure_config=tune.FailureConfig(max_failures=0),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                verbose=0,
            ),
        ).fit()
    finally:
        del parts.BRIDGES[name]


def _room(ray: Any, runner: RunnerSpec) -> Callable[[], int]:
    """How many trials may run at once: constant on this machine, updated on a cluster, which may grow."""
    seen = [time.monotonic(), capacity(ray, runner)]

    def room() -> int:
        if runner.address is not None and time.monotonic() - seen[0] > CAPACITY_S:
            seen[:] = [time.monotonic(), capacity(ray, runner)]
        return max(1, int(seen[1]))

    return room


def _probe(ray: Any, evaluate: str, runner: RunnerSpec) -> None:
    """Raise UserError unless a worker of the cluster can import this version of nasbench."""

    def look() -> str:
        importlib.import_module(evaluate.partition(":")[0])
        return importlib.import_module("nasbench").__version__

    remote = ray.remote(num_cpus=runner.cpus_per_trial, num_gpus=runner.gpus_per_trial, max_calls=1)(look)
    try:
        version = ray.get(remote.remote(), timeout=120)
    except Exception as error:  # whatever an import on another machine raises
        cause = " ".join(str(getattr(error, "cause", None) or error).split())[:200]
        message = f"ray address {runner.address!r}: a worker cannot load nasbench: {cause}"
        raise UserError(f"{message}; install nasbench {__version__} on every machine of the cluster") from None
    if version != __version__:
        message = f"ray address {runner.address!r}: its workers have nasbench {version}, and this is {__version__}"
        raise UserError(f"{message}; install the same on every machine of the cluster")
