import contextlib
import inspect
import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from running_toys import Listed

from nasbench.errors import UserError
from nasbench.running import Job, Outcome, RunnerSpec, Usage, load_runner, run
from nasbench.running import session as ray_session
from nasbench.running.bridge import Bridge
from nasbench.study.runner import shipped_runners
from nasbench.study.spool import spool_write
from nasbench.study.store import TrialStore
from nasbench.study.trials import failed

EVALUATE = "running_toys:evaluate"
TESTS = Path(__file__).parent
AMPLE_S = 60.0  # for jobs that are to end by themselves, also on a busy machine


def jobs(log: Path, *whats: str, limit_s: float = AMPLE_S, hang_s: float = 2.0) -> list[Job]:
    """One job for each of `whats`; those that hang are given `hang_s`, the others `limit_s`."""
    limits = [hang_s if what == "hang" else limit_s for what in whats]
    return [Job(f"job{n}", {"n": n, "log": str(log), "what": whats[n]}, limits[n]) for n in range(len(whats))]


# One real run of Ray for most of what has to be seen.

WHATS = ("meet", "meet", "", "raise", "diverge", "memory", "kill once", "hang", "", "", "")


class Watched(Listed):
    """Looks at this process's children while jobs run."""

    addresses: frozenset[tuple[str, str]] = frozenset()  # name of a process, where it listens
    on_sigterm: object = None  # what this process does then

    def tell(self, job: Job, outcome: Outcome) -> None:
        super().tell(job, outcome)
        self.on_sigterm = signal.getsignal(signal.SIGTERM)
        if not self.addresses:
            family = [psutil.Process(), *psutil.Process().children(recursive=True)]
            connections = [(p.name(), c) for p in family for c in p.net_connections()]
            self.addresses = frozenset((name, c.laddr.ip) for name, c in connections if c.status == psutil.CONN_LISTEN)


@pytest.fixture(scope="module")
def ray_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Watched, Path]:
    folder = tmp_path_factory.mktemp("run")
    source = Watched(jobs(folder, *WHATS))
    with pytest.MonkeyPatch.context() as patch:  # as where the program imported ray before
        patch.setattr("ray._private.ray_constants.ENABLE_RAY_CLUSTER", True)
        run(source, EVALUATE, RunnerSpec(workers=2, cpus_per_trial=0.5), folder / "spool")
    return source, folder


def told(ray_run: tuple[Watched, Path], what: str) -> Outcome:
    return ray_run[0].told[f"job{WHATS.index(what)}"]


def test_every_job_is_told_once(ray_run: tuple[Watched, Path]) -> None:
    source, folder = ray_run
    assert sorted(source.told) == sorted(f"job{n}" for n in range(len(WHATS)))
    complete = [n for n, what in enumerate(WHATS) if what in ("meet", "", "kill once")]
    assert [source.told[f"job{n}"].metrics["error"] for n in complete] == [n / 100 for n in complete]
    starts = [len((folder / str(n)).read_text().splitlines()) for n in range(len(WHATS))]
    assert starts == [2 if what == "kill once" else 1 for what in WHATS]


def test_ray_leaves_the_print_of_python_in_its_place(ray_run: tuple[Watched, Path]) -> None:
    assert inspect.isbuiltin(print)


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("raise", "RuntimeError: wrong in two lines"),
        ("diverge", "diverged: metric 'error' is nan"),
        ("memory", "out of memory: MemoryError"),
        ("hang", "exceeded 2 s"),
    ],
)
def test_a_failed_job_carries_its_reason(ray_run: tuple[Watched, Path], what: str, reason: str) -> None:
    outcome = told(ray_run, what)
    assert (outcome.state, outcome.reason) == ("failed", reason)


def test_a_killed_worker_is_replaced_and_its_job_tried_again(ray_run: tuple[Watched, Path]) -> None:
    assert told(ray_run, "kill once").state == "complete"


def test_workers_are_reused_with_one_thread_and_our_folder(ray_run: tuple[Watched, Path]) -> None:
    _, folder = ray_run
    workers = [(folder / str(n)).read_text().split()[-1] for n in range(len(WHATS))]
    assert len(set(workers)) < len(workers)
    metrics = told(ray_run, "").metrics
    assert (metrics["threads"], metrics["folder"]) == ("1", os.getcwd())
    assert metrics["niceness"] >= 15  # low priority is the default


def test_jobs_run_side_by_side_from_the_start(ray_run: tuple[Watched, Path]) -> None:
    assert [ray_run[0].told[f"job{n}"].state for n in range(2)] == ["complete"] * 2  # each waits for the other


def test_ray_listens_on_the_loopback_only(ray_run: tuple[Watched, Path]) -> None:
    assert ray_run[0].addresses
    here = ("127.", "::1", "::ffff:127.")
    assert [(name, address) for name, address in ray_run[0].addresses if not address.startswith(here)] == []


def test_sigterm_is_left_to_the_program(ray_run: tuple[Watched, Path]) -> None:
    assert ray_run[0].on_sigterm is signal.getsignal(signal.SIGTERM)


def test_nothing_of_ray_is_left(ray_run: tuple[Watched, Path]) -> None:
    assert not list(Path(ray_session.temporary_base()).glob(f"{ray_session.TEMPORARY}{os.getpid()}-*"))
    until = time.monotonic() + AMPLE_S  # on a busy machine the last of them take a moment to end
    while _running_children() and time.monotonic() < until:
        time.sleep(0.1)
    assert not _running_children()


def _running_children() -> list[psutil.Process]:
    """Processes below this one, but for the tracker of other tests' processes, which stays as long as this one."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            gone = process.status() == psutil.STATUS_ZOMBIE
            if not gone and "multiprocessing.resource_tracker" not in " ".join(process.cmdline()):
                found.append(process)
    return found


# Killing the driver.


def start_driver(folder: Path, log: Path, count: int) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS.parent), str(TESTS)])}
    command = [sys.executable, str(TESTS / "running_toys.py"), str(folder), str(log), str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def test_killing_the_driver_loses_and_repeats_no_finished_trial(tmp_path: Path) -> None:
    folder, log = tmp_path / "study", tmp_path / "log"
    log.mkdir()
    driver = start_driver(folder, log, 30)
    assert driver.stdout is not None
    told = [driver.stdout.readline().strip()]
    time.sleep(random.Random().uniform(0, 1))  # any moment must do
    driver.send_signal(signal.SIGKILL)
    told += driver.stdout.read().split()
    driver.wait()
    with TrialStore(folder) as store:
        store.drain_spool()
        finished = {trial.key for trial in store.trials if trial.state != "submitted"}
        submitted = {trial.key for trial in store.trials}
    assert set(told) <= finished
    assert len(finished) < 30
    again = start_driver(folder, log, 30)
    output, _ = again.communicate(timeout=60)
    assert again.returncode == 0
    assert not finished & set(output.split())  # what was finished is not told again
    with TrialStore(folder, read_only=True) as store:
        assert [trial.state for trial in store.trials] == ["complete"] * 30
        runs = {trial.key: len((log / str(n)).read_text().split()) for n, trial in enumerate(store.trials)}
    assert all(runs[key] == 1 for key in runs if key in finished or key not in submitted)
    assert all(count <= 2 for count in runs.values())


def test_a_killed_driver_leaves_no_process() -> None:
    deadline = time.monotonic() + 15
    base = ray_session.temporary_base()
    while time.monotonic() < deadline:  # after the test above
        owners = [path.name.removeprefix(ray_session.TEMPORARY).split("-")[0] for path in Path(base).glob("nb-ray-*")]
        if all(psutil.pid_exists(int(owner)) for owner in owners):
            return
        time.sleep(0.5)
    pytest.fail(f"folders of dead drivers are left in {base}")


def test_a_worker_gives_memory_back_after_each_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nasbench.running import tune_parts

    given_back: list[int] = []
    monkeypatch.setattr(tune_parts, "give_memory_back", given_back.append)
    for job in jobs(tmp_path, "", "raise"):
        worker = tune_parts.Worker.__new__(tune_parts.Worker)
        worker.config = {"job": job, "spool": "", "evaluate": EVALUATE}
        assert worker.step()["done"]
    assert given_back == 2 * [2**30]  # what it may keep


class Clocked(Listed):
    """Keeps what it hears of its workers."""

    def __init__(self, jobs: list[Job]) -> None:
        super().__init__(jobs)
        self.heard: list[Usage] = []

    def watch(self, usage: Usage | None) -> None:
        assert usage is not None
        self.heard.append(usage)


def test_workers_have_the_priority_that_was_asked_for_and_are_watched(tmp_path: Path) -> None:
    source = Clocked(jobs(tmp_path, "busy"))
    run(source, EVALUATE, RunnerSpec(workers=1, cpus_per_trial=0.5, priority="normal"))
    assert source.told["job0"].metrics["niceness"] == os.getpriority(os.PRIO_PROCESS, 0)
    assert max(usage.workers for usage in source.heard) == 1
    assert sum(usage.seconds for usage in source.heard) > 0.5


def test_the_peak_of_its_memory_is_told_with_each_job(ray_run: tuple[Watched, Path]) -> None:
    assert 0.02 < told(ray_run, "").worker["peak_memory_gib"] < 2.0  # type: ignore[operator]
    assert "peak_memory_gib" in told(ray_run, "raise").worker


# The bridge, without Ray.


class Failing(Listed):
    def tell(self, job: Job, outcome: Outcome) -> None:
        raise UserError("disk full")


def test_an_error_of_the_source_ends_the_run(tmp_path: Path) -> None:
    bridge = Bridge(Failing(jobs(tmp_path, "", "", "")), None, lambda: 2)
    assert bridge.next_job("a") is not None
    bridge.settle("a", failed("x"))
    assert str(bridge.error) == "disk full"
    assert bridge.next_job("b") is None


def test_no_more_jobs_than_room_and_no_asking_after_none(tmp_path: Path) -> None:
    source = Listed(jobs(tmp_path, "", "", ""))
    bridge = Bridge(source, None, lambda: 2)
    assert [bridge.next_job(name) is not None for name in "abc"] == [True, True, False]
    bridge.settle("a", failed("x"))
    assert bridge.next_job("c") is not None
    bridge.settle("b", failed("x"))
    assert bridge.next_job("d") is None
    source.jobs = jobs(tmp_path, "")
    assert bridge.next_job("e") is None  # the source said None, and has heard nothing since
    bridge.settle("c", failed("x"))
    assert bridge.next_job("f") is not None


def test_a_job_is_tried_three_times_and_then_failed(tmp_path: Path) -> None:
    source = Listed(jobs(tmp_path, "", ""))
    bridge = Bridge(source, tmp_path / "spool", lambda: 1)
    for name in "abc":
        job = bridge.next_job(name)
        assert job is not None
        assert job.id == "job0"
        bridge.died(name, "signal 9")
    assert source.told["job0"].reason == "its worker died 3 times: signal 9"
    job = bridge.next_job("d")
    assert job is not None
    assert job.id == "job1"


def test_a_dead_workers_outcome_is_taken_from_the_spool(tmp_path: Path) -> None:
    source = Listed(jobs(tmp_path, "", ""))
    bridge = Bridge(source, tmp_path / "spool", lambda: 2)
    bridge.next_job("a")
    spool_write(tmp_path / "spool", "job0", Outcome("complete", {"error": 0.5}))
    bridge.died("a", "killed")
    assert source.told["job0"].metrics == {"error": 0.5}


def test_a_death_beyond_the_limit_is_the_limit_even_without_a_spool(tmp_path: Path) -> None:
    source = Listed(jobs(tmp_path, "", limit_s=0.01))
    bridge = Bridge(source, None, lambda: 1)
    bridge.next_job("a")
    bridge.start("a")
    time.sleep(0.02)
    bridge.died("a", "killed")
    assert source.told["job0"].reason == "exceeded 0.01 s"


# Resources and addresses.


class Cluster:
    """What `capacity` asks ray for."""

    def __init__(self, *nodes: dict[str, float]) -> None:
        self.content = [{"Alive": True, "Resources": node} for node in nodes]

    def nodes(self) -> list[dict[str, Any]]:
        return self.content

    def cluster_resources(self) -> dict[str, float]:
        names = {name for node in self.content for name in node["Resources"]}
        return {name: sum(node["Resources"].get(name, 0) for node in self.content) for name in names}


@pytest.mark.parametrize(
    ("wanted", "nodes", "fit"),
    [
        ({}, [{"CPU": 4}, {"CPU": 2}], 6),
        ({"workers": 3}, [{"CPU": 4}], 3),
        ({"cpus_per_trial": 3}, [{"CPU": 4}, {"CPU": 2}], 1),
        ({"cpus_per_trial": 0.1}, [{"CPU": 0.3}], 3),
        ({"gpus_per_trial": 0.5}, [{"CPU": 8, "GPU": 2}], 4),
        ({"gpus_per_trial": 0.4}, [{"CPU": 8, "GPU": 2}], 4),
        ({"gpus_per_trial": 2}, [{"CPU": 8, "GPU": 3}, {"CPU": 8, "GPU": 1}], 1),
        ({"gpus_per_trial": 1}, [{"CPU": 8}], 0),
    ],
)
def test_how_many_trials_fit(wanted: dict[str, Any], nodes: list[dict[str, float]], fit: int) -> None:
    runner = RunnerSpec(address="auto", **wanted)
    assert ray_session.capacity(Cluster(*nodes), runner) == fit


def test_what_can_never_be_scheduled_is_said_at_once() -> None:
    with pytest.raises(UserError, match="asks for 1 cores and 1 GPUs on one machine, and there are 2 cores and 0 GPUs"):
        ray_session.require_capacity(Cluster({"CPU": 2.0}), RunnerSpec(gpus_per_trial=1))


def test_memory_bounds_the_trials_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_session.hardware, "memory_bytes", lambda: 4 * 2**30)
    assert ray_session.capacity(Cluster({"CPU": 16.0}), RunnerSpec(memory_gib_per_trial=1.5)) == 2


def test_where_nothing_is_to_be_run_ray_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nasbench.running.ray_tune.ray_session", lambda runner: pytest.fail("started"))
    run(Listed([]), EVALUATE, RunnerSpec())


def test_an_address_that_does_not_answer_is_the_users_error(tmp_path: Path) -> None:
    with socket.socket() as taken:  # a port that nobody listens on
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(
            UserError, match=rf"ray address '{address}' does not answer: .*refused; is the head node up"
        ):
            run(Listed(jobs(tmp_path, "")), EVALUATE, RunnerSpec(address=address))
    for wrong in ("head", "host:port", "host:"):
        with pytest.raises(UserError, match="must be host:port"):
            ray_session.check_address(wrong)


class BusyRay:
    """A Ray of which the first `slow` starts take too long."""

    def __init__(self, slow: int, reason: str = "The current node timed out during startup. This could happen") -> None:
        self.slow, self.reason, self.starts, self.ends = slow, reason, 0, 0

    def init(self, **settings: object) -> None:
        self.starts += 1
        if self.starts <= self.slow:
            raise Exception(self.reason)

    def shutdown(self) -> None:
        self.ends += 1


def test_a_ray_that_starts_too_slowly_is_started_once_more(tmp_path: Path) -> None:
    ray = BusyRay(slow=1)
    ray_session._start(ray, RunnerSpec(), str(tmp_path))
    assert (ray.starts, ray.ends) == (2, 1)
    with pytest.raises(UserError, match=r"Ray did not start within 30 s, twice: .* --runner serial"):
        ray_session._start(BusyRay(slow=2), RunnerSpec(), str(tmp_path))
    broken = BusyRay(slow=1, reason="no space left")
    with pytest.raises(Exception, match="no space left"):
        ray_session._start(broken, RunnerSpec(), str(tmp_path))
    assert broken.starts == 1


# Runner files, and the serial runner.


@pytest.mark.parametrize("name", shipped_runners())
def test_every_shipped_runner_loads(name: str) -> None:
    runner = load_runner(name)
    assert RunnerSpec.from_dict(runner.to_dict()) == runner


def test_a_bad_runner_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("workerz = 2\n")
    with pytest.raises(UserError, match=r"mine\.toml: unknown key 'workerz'; known keys: address"):
        load_runner(tmp_path / "mine.toml")
    with pytest.raises(UserError, match=r"unknown runner 'nowhere'; known runners: .*laptop"):
        load_runner("nowhere")
    with pytest.raises(UserError, match=r"gpus_per_trial = 1\.5: take a fraction below 1 or whole devices"):
        RunnerSpec.from_dict({"gpus_per_trial": 1.5})


def test_the_serial_runner_tells_the_same(tmp_path: Path) -> None:
    source = Listed(jobs(tmp_path, "", "raise", "diverge", "memory", "hang", "", hang_s=0.5))
    run(source, EVALUATE, RunnerSpec(kind="serial"), tmp_path / "spool")
    assert [source.told[f"job{n}"].reason for n in range(6)] == [
        None,
        "RuntimeError: wrong in two lines",
        "diverged: metric 'error' is nan",
        "out of memory: MemoryError",
        "exceeded 0.5 s",
        None,
    ]
