"""Many replays in parallel: the missing ones of a folder, each stored as a line when it ends."""

from __future__ import annotations

import gzip
import json
import multiprocessing
import os
import signal
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path

from pydantic import Field, ValidationError

from nasbench.bench.problem import Problem
from nasbench.bench.reading import Source
from nasbench.bench.replay import Run, Setting, replay, run_name
from nasbench.errors import UserError
from nasbench.files import read_toml, require_new_or_empty, write_toml
from nasbench.progress import Progress, ProgressState, Silent
from nasbench.study.journal import locked
from nasbench.values import Value

RUNS, BENCH = "runs.jsonl", "bench.toml"
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")  # set to one in workers, which share the cores


class Bench(Value, strict=True):
    """What all runs in a folder have in common (`bench.toml`). `table`: a hash of its content."""

    on: str
    problem: str
    table: str
    objectives: list[str]
    evaluations: int = Field(ge=1, le=10**6)
    noise: bool
    fields: list[str] = Field(default_factory=list)

    @property
    def source(self) -> Source:
        return Source(self.on, tuple(self.objectives), tuple(self.fields))

    @property
    def setting(self) -> Setting:
        return Setting(self.evaluations, self.noise)


def read_bench(folder: Path) -> Bench:
    if not (folder / BENCH).is_file():
        raise UserError(f"{folder}: no {BENCH} is in it; give a folder that `nasbench bench run` has made")
    return Bench.from_dict(read_toml(folder / BENCH), str(folder / BENCH))


def read_runs(folder: Path) -> list[Run]:
    """The runs of a folder; torn lines are skipped, so that their runs are repeated.

    From runs.jsonl.gz (as `gzip runs.jsonl` makes it), if there is one, and from runs.jsonl.
    """
    runs = {}
    for line in [*_packed(folder / f"{RUNS}.gz"), *_plain(folder / RUNS)]:
        try:
            run = Run.model_validate_json(line)
        except ValidationError:
            continue
        runs[(run.strategy, run.seed)] = run
    return list(runs.values())


def _plain(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []


def _packed(path: Path) -> list[str]:
    if not path.is_file():
        return []
    try:
        return gzip.decompress(path.read_bytes()).decode(errors="replace").splitlines()
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path}: cannot be unpacked: {error}; take it away, and its runs are made again") from None


def run_all(
    source: Source,
    strategies: Sequence[str],
    seeds: Sequence[int],
    setting: Setting,
    folder: Path,
    *,
    workers: int = 1,
    progress: Progress | None = None,
) -> list[Run]:
    """Make the missing runs, one for each strategy and seed -> all runs of the folder.

    UserError before anything is written where a strategy is unknown, or the folder holds runs of another kind.
    """
    names = {strategy: run_name(strategy) for strategy in strategies}
    problem = source.load()
    _settle(folder, _bench_of(source, problem, setting))
    there = {(run.strategy, run.seed) for run in read_runs(folder)}
    wanted = [(strategy, seed) for seed in seeds for strategy in dict.fromkeys(strategies)]
    missing = [(strategy, seed) for strategy, seed in wanted if (names[strategy], seed) not in there]
    shown = _Shown(progress or Silent(), len(wanted), problem)
    shown.update(len(wanted) - len(missing))

    def counted() -> Iterator[Run]:
        for done, run in enumerate(_made(source, problem, missing, setting, workers), 1):
            yield run
            shown.update(len(wanted) - len(missing) + done)

    append_runs(folder, counted())
    return read_runs(folder)


def append_runs(folder: Path, runs: Iterable[Run]) -> None:
    """Write each run to the folder as it comes, on a new line after a torn one.

    UserError where another process writes there.
    """
    with locked(folder), open(folder / RUNS, "a", encoding="utf-8") as file:
        if file.tell() and not (folder / RUNS).read_bytes().endswith(b"\n"):
            file.write("\n")
        for run in runs:
            file.write(json.dumps(run.to_dict(), separators=(",", ":")) + "\n")
            file.flush()


class _Shown:
    def __init__(self, progress: Progress, total: int, problem: Problem) -> None:
        self._progress, self._total, self._started = progress, total, time.monotonic()
        self._facts, self._first = (f"{problem.name}: {', '.join(problem.objectives)}", *problem.facts), -1

    def update(self, done: int) -> None:
        spent = time.monotonic() - self._started
        self._first = done if self._first < 0 else self._first
        pace = spent / (done - self._first) if done > self._first else None
        left = None if pace is None else pace * (self._total - done)
        self._progress.update(
            ProgressState(
                "replaying", done, self._total, seconds_spent=spent, seconds_left=left, unit="runs", facts=self._facts
            )
        )


def _bench_of(source: Source, problem: Problem, setting: Setting) -> Bench:
    on = source.on if not Path(source.on).exists() else str(Path(source.on).resolve())
    return Bench(
        on=on, problem=problem.name, table=problem.id, objectives=list(problem.objectives),
        evaluations=setting.evaluations, noise=setting.noisy, fields=list(source.fields),
    )  # fmt: skip


def _settle(folder: Path, bench: Bench) -> None:
    """Make the folder, or raise UserError where it holds runs of another kind; the table's path may differ."""
    if not (folder / BENCH).is_file():
        require_new_or_empty(folder, BENCH)
        with locked(folder):  # of two processes that begin here at once, one finds the other's
            if not (folder / BENCH).is_file():
                write_toml(folder / BENCH, bench.to_dict())
    there = read_bench(folder).to_dict()
    for key, value in bench.to_dict().items():
        if key not in ("on", "fields") and there.get(key) != value:
            raise UserError(f"{folder}: its runs have {key} {there.get(key)!r}, not {value!r}; give another --out")


def _made(
    source: Source, problem: Problem, wanted: Sequence[tuple[str, int]], setting: Setting, workers: int
) -> Iterator[Run]:
    """The runs as they end; a single worker is this process."""
    if workers == 1 or len(wanted) < 2:
        yield from (replay(problem, strategy, seed, setting) for strategy, seed in wanted)
        return
    with _one_thread_each():
        others = multiprocessing.active_children()
        pool = ProcessPoolExecutor(
            min(workers, len(wanted)), multiprocessing.get_context("spawn"), _prepare, (source, setting)
        )
        try:
            with _deaf_to_interrupts():
                futures = [pool.submit(_replay, *each) for each in wanted]
            for future in as_completed(futures):
                yield future.result()
        except BaseException:
            for worker in set(multiprocessing.active_children()) - set(others):
                worker.terminate()
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Processes that start within do not hear Ctrl-C, of which they would complain one by one: this one ends them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Linear algebra reads these variables when a worker starts."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


_WORKER: list[tuple[Problem, Setting]] = []  # of a worker process


def _prepare(source: Source, setting: Setting) -> None:
    _WORKER[:] = [(source.load(), setting)]


def _replay(strategy: str, seed: int) -> Run:
    problem, setting = _WORKER[0]
    return replay(problem, strategy, seed, setting)
