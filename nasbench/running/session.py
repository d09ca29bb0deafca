"""Starting Ray on this machine, quiet and closed to the network, or joining a cluster; and its capacity."""

from __future__ import annotations

import contextlib
import importlib
import logging
import math
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nasbench import hardware
from nasbench.errors import UserError
from nasbench.study.runner import RunnerSpec

CONNECT_S = 5.0  # to open a connection
ANSWER_S = 12.0  # to join a cluster, which takes two or three
GIB = 2**30
START_TIMEOUT = "timed out during startup"  # what Ray says when its servers do not answer
TEMPORARY = "nb-ray-"  # Ray puts sockets below it, whose paths may have 107 characters

# Read by ray as it is imported. What the user has set stays.
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # else it reports usage over the network
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",  # else it prints each worker's death; trials carry the reason
    "RAY_TQDM_PATCH_PRINT": "0",  # else it puts a `print` of its own into `builtins`, for good
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # else five files a trial
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C is ours to handle
    "TUNE_MAX_PENDING_TRIALS_PG": "1000",  # else workers start one after another; the bridge asks for no more than fit
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # relative paths of data mean the same in a worker
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # a trial without a GPU keeps the devices' variables as they are
}
NICENESS = {"low": 15, "normal": 0}  # of a Ray's workers that starts here; 15 is Ray's own
NICENESS_VARIABLE = "RAY_worker_niceness"  # what the user has set in it stays, where no other priority is asked for
# Only for a Ray that starts here: all its servers listen on 127.0.0.1.
LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
LOCAL = {LOOPBACK: "0"}


def quiet_ray(local: bool = True) -> None:
    """Set what ray reads from the environment on import; to be called before the first `import ray`."""
    for name, value in (QUIET | (LOCAL if local else {})).items():
        os.environ.setdefault(name, value)
    # A token of this run alone, instead of a file in the home folder; ray reads the mode once, as it is imported.
    if local and "RAY_AUTH_MODE" not in os.environ and "ray" not in sys.modules:
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


@contextlib.contextmanager
def ray_session(runner: RunnerSpec) -> Iterator[Any]:
    """Ray as `runner` wants it; shut down at the end, unless it ran already (then it is used as it is)."""
    quiet_ray(local=runner.address is None)
    ray = importlib.import_module("ray")
    if ray.is_initialized():
        yield ray
        return
    on_sigterm = signal.getsignal(signal.SIGTERM)
    with _local(ray, runner) if runner.address is None else _joined(ray, runner.address, runner):
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, on_sigterm)  # Ray's own prints where its C++ code stood, and exits
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL + 1)  # a worker's death is its trial's reason
        yield ray


def _worker_environment(runner: RunnerSpec) -> dict[str, Any]:
    """Ray's runtime_env: how many threads each trial's arithmetic may use; here, modules are found as in the driver."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    variables = dict.fromkeys(names, str(runner.threads))
    if runner.address is None:
        variables["PYTHONPATH"] = os.pathsep.join(path or os.getcwd() for path in sys.path)
    return {"env_vars": variables}


def _system_config(runner: RunnerSpec) -> dict[str, int]:
    if NICENESS_VARIABLE in os.environ and runner.priority == "low":
        return {}
    return {"worker_niceness": NICENESS[runner.priority]}


@contextlib.contextmanager
def _local(ray: Any, runner: RunnerSpec) -> Iterator[None]:
    """A Ray of this process's own, which listens on the loopback only and leaves nothing behind."""
    _remove_stale(Path(temporary_base()))
    temporary = tempfile.mkdtemp(prefix=f"{TEMPORARY}{os.getpid()}-", dir=temporary_base())
    command = [sys.executable, str(Path(__file__).with_name("reaper.py")), str(os.getpid()), temporary]
    reaper = subprocess.Popen(command, start_new_session=True)  # Ctrl-C in a terminal must not end it first
    try:
        with _on_the_loopback():
            _start(ray, runner, temporary)
        yield
    finally:
        ray.shutdown()
        reaper.kill()
        reaper.wait()
        shutil.rmtree(temporary, ignore_errors=True)


def _start(ray: Any, runner: RunnerSpec, temporary: str) -> None:
    """`ray.init`, retried once where Ray does not answer within its 30 s, as on a busy machine, then UserError."""
    for last in (False, True):
        try:
            ray.init(
                address="local",
                num_cpus=hardware.cpu_cores(),
                include_dashboard=False,
                logging_level="ERROR",
                log_to_driver=False,
                object_store_memory=100 * 2**20,  # results are small, and containers' shared memory often is too
                _temp_dir=temporary,
                _node_ip_address="127.0.0.1",
                runtime_env=_worker_environment(runner),
                _system_config=_system_config(runner),
            )
            return
        except Exception as error:
            ray.shutdown()
            if START_TIMEOUT not in str(error):
                raise
            if last:
                raise UserError(
                    "Ray did not start within 30 s, twice: this machine is very busy; try again when it has less to "
                    "do, or train in this process with --runner serial"
                ) from None


@contextlib.contextmanager
def _on_the_loopback() -> Iterator[None]:
    """Apply LOOPBACK within the block: Ray reads it on import, which may have happened before `quiet_ray`."""
    constants: Any = importlib.import_module("ray._private.ray_constants")
    before = constants.ENABLE_RAY_CLUSTER
    constants.ENABLE_RAY_CLUSTER = before and os.environ[LOOPBACK] != "0"
    try:
        yield
    finally:
        constants.ENABLE_RAY_CLUSTER = before


def temporary_base() -> str:
    """Where this module's temporary folders lie: /tmp where it can be, for its path is short."""
    return "/tmp" if os.access("/tmp", os.W_OK) else tempfile.gettempdir()


def _remove_stale(base: Path) -> None:
    """Remove what a killed driver of this user left in `base`."""
    for path in base.glob(f"{TEMPORARY}*"):
        process = path.name.removeprefix(TEMPORARY).partition("-")[0]
        if process.isdigit() and not Path(f"/proc/{process}").exists() and Path("/proc/self").exists():
            shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def _joined(ray: Any, address: str, runner: RunnerSpec) -> Iterator[None]:
    if address != "auto":
        check_address(address)
    found = _answering(address)
    ray.init(address=found, logging_level="ERROR", log_to_driver=False, runtime_env=_worker_environment(runner))
    try:
        yield
    finally:
        ray.shutdown()


def check_address(address: str) -> None:
    """Raise UserError unless something listens at `address` ("host:port"), within CONNECT_S seconds."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        raise UserError(f"ray address {address!r}: must be host:port, such as 10.0.0.1:6379, or auto")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_S).close()
    except (OSError, OverflowError) as error:
        remedy = "is the head node up (`ray start --head`), and the port open?"
        raise UserError(f"ray address {address!r} does not answer: {error}; {remedy}") from None


def _answering(address: str) -> str:
    """`address`, with auto resolved; UserError unless a Ray of this version answers there.

    Tried in a process that can be ended: joining something else than Ray takes minutes, without interruption.
    """
    code = (
        "import ray, sys; ray.init(address=sys.argv[1], logging_level='CRITICAL', log_to_driver=False); "
        "print(ray.get_runtime_context().gcs_address)"
    )
    try:
        result = subprocess.run(
            [sys.executable, "-c", code, address], capture_output=True, text=True, errors="replace", timeout=ANSWER_S
        )
        if result.returncode == 0:
            return result.stdout.split()[-1]
        cause = result.stderr.strip().splitlines()[-1:]
    except subprocess.TimeoutExpired:
        cause = [f"nothing that speaks Ray's protocol answered within {ANSWER_S:g} s"]
    first = " ".join(" ".join(cause).split())[:300]
    remedy = "start one with `ray start --head`, run this on one of its machines, and give host:port"
    raise UserError(f"ray address {address!r}: no cluster joined: {first}; {remedy}")


def capacity(ray: Any, runner: RunnerSpec) -> int:
    """How many of `runner`'s trials fit at the same time; 0 where none does."""
    rooms = [_room(node["Resources"], runner) for node in ray.nodes() if node["Alive"]]
    fit = sum(rooms)
    if runner.address is None and runner.memory_gib_per_trial > 0:
        fit = min(fit, max(1, int(hardware.memory_bytes() / GIB / runner.memory_gib_per_trial)))
    return min(fit, runner.workers or fit)


def _room(resources: dict[str, float], runner: RunnerSpec) -> int:
    fit: float = resources.get("CPU", 0.0) / runner.cpus_per_trial
    if runner.gpus_per_trial > 0:
        gpus = resources.get("GPU", 0.0)
        per_device = int(1 / runner.gpus_per_trial + 1e-9)  # a trial never takes halves of two devices
        fit = min(fit, gpus * per_device if runner.gpus_per_trial <= 1 else gpus // runner.gpus_per_trial)
    return math.floor(fit + 1e-9)


def require_capacity(ray: Any, runner: RunnerSpec) -> int:
    """`capacity`, waiting for nodes to join as long as the runner allows; UserError where there is none.

    Ray itself waits for ever for trials that can never be scheduled.
    """
    deadline = time.monotonic() + runner.wait_for_nodes_s
    while not (fit := capacity(ray, runner)):
        if time.monotonic() > deadline:
            total = ray.cluster_resources()
            have = f"{total.get('CPU', 0):g} cores and {total.get('GPU', 0):g} GPUs"
            wanted = f"{runner.cpus_per_trial:g} cores and {runner.gpus_per_trial:g} GPUs"
            raise UserError(
                f"a trial asks for {wanted} on one machine, and there are {have}; lower the runner's figures"
            )
        time.sleep(1)
    return fit
