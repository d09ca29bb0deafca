"""Getting the scores of an audit: what rows already tell is taken from them, the rest is trained by a runner."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from nasbench.arch.architecture import Architecture
from nasbench.auditing.rows import FILE, TRAINED, ZERO_COST, RowKey, ScoreRow, rows_of, shipped_rows
from nasbench.costs.analytic import cost
from nasbench.errors import UserError
from nasbench.progress import Progress, ProgressState
from nasbench.proxy.images import Images, prepare_images
from nasbench.proxy.reduction import reduced
from nasbench.running import Job, Outcome, ProcessorShare, Usage, run
from nasbench.study import environment
from nasbench.study.fidelity import Fidelity, recipe_name
from nasbench.study.journal import Journal
from nasbench.study.runner import RunnerSpec
from nasbench.study.spool import SPOOL, spool_get, spool_path
from nasbench.study.task import DataSplit, Task
from nasbench.values import content_hash

WORK = "nasbench.auditing.collecting:measure"
TRIAL_LIMIT_S = 4 * 3600.0  # long trainings of the largest networks take an hour on a core


class Wanted(NamedTuple):
    """One row to be had: a network at a fidelity with a seed, trained, or scored untrained."""

    name: str
    arch: Architecture
    fidelity: Fidelity
    seed: int
    trained: bool = True


class Work(NamedTuple):
    """What a worker is asked for."""

    task: Task
    trained: bool


def measure(work: Work) -> dict[str, Any]:
    """Metrics of one piece of work: of the training, or of the untrained network."""
    if work.trained:
        from nasbench.proxy.evaluate import evaluate

        return evaluate(work.task)
    from nasbench.proxy.zero_cost import zero_cost

    return zero_cost(work.task)


def collect(
    wanted: Sequence[Wanted], images: Images, runner: RunnerSpec, folder: Path, progress: Progress,
    also: Collection[str] = (), doing: str = "audit",
) -> dict[RowKey, ScoreRow]:  # fmt: skip
    """The rows of `wanted`, measured where neither `folder` nor the shipped rows hold them; new ones are in `folder`
    before this goes on. What fails is told to `progress` and left out; the next run tries it again. `doing`: what
    `progress` calls it.

    Rows of the same networks with other seeds, or at the fidelities (ids) of `also`, come along where they are held.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: cannot be made: {error.strerror}; give another folder with --out") from None
    journal = Journal(folder / FILE)
    try:
        held = shipped_rows() | rows_of(journal)
        source = _Collecting(wanted, images, runner, folder, journal, progress, doing)
        source.take(held.values(), also)
        source.drain_spool()
        if source.waiting:
            progress.update(ProgressState("preparing images"))
            prepare_images(images, [(each.arch, each.fidelity) for each in source.waiting])
            environment.record(folder)
            run(source, WORK, runner, folder / SPOOL)
        return source.found
    finally:
        journal.close()


class _Collecting:
    """`running.JobSource` of what no row tells yet."""

    def __init__(
        self,
        wanted: Sequence[Wanted],
        images: Images,
        runner: RunnerSpec,
        folder: Path,
        journal: Journal,
        progress: Progress,
        doing: str,
    ) -> None:
        self.doing = doing
        self.images, self.runner, self.folder = images, runner, folder
        self.journal, self.progress = journal, progress
        self.wanted, self.waiting = wanted, list(wanted)
        self.found: dict[RowKey, ScoreRow] = {}
        self._ids: dict[str, Wanted] = {}
        self._running = 0
        self._started = time.monotonic()
        self._share = ProcessorShare(runner, progress.note)

    def take(self, rows: Iterable[ScoreRow], also: Collection[str]) -> None:
        """Count `rows` that tell of these networks as they are trained today."""
        numerics = self.runner.numerics.text
        today = {each.name: reduced(each.arch, each.fidelity).id for each in self.wanted}
        fidelities = {each.fidelity.id for each in self.wanted} | set(also)
        for row in rows:
            same = row.data_id == self.images.id and row.numerics == numerics and row.fidelity in fidelities
            if same and today.get(row.network) == row.proxy_id:
                self.found[row.key] = row
        self.waiting = [each for each in self.wanted if self._key(each) not in self.found]

    def ask(self) -> Job | None:
        if not self.waiting:
            return None
        each = self.waiting.pop(0)
        id = self._job_id(each)
        self._ids[id] = each
        self._running += 1
        self._show()
        data = DataSplit(self.images.name, split="test")
        task = Task(each.arch, each.fidelity, each.seed, data, self.runner, limit_s=TRIAL_LIMIT_S)
        return Job(id, Work(task, each.trained), TRIAL_LIMIT_S)

    def tell(self, job: Job, outcome: Outcome) -> None:
        each = self._ids[job.id]
        self._running -= 1
        if outcome.state == "complete":
            row = self._keep(each, outcome)
            if each.trained:
                self.progress.note(f"{_told(each)}: accuracy {row.accuracy:.3f}")
        else:
            self.progress.note(f"{_told(each)} failed: {outcome.reason}")
        spool_path(self.folder / SPOOL, job.id).unlink(missing_ok=True)
        self._show()

    def watch(self, usage: Usage | None) -> None:
        if usage is not None:
            self._share.watch(usage, self._running)

    def drain_spool(self) -> None:
        """Take in what workers left behind a driver that was killed."""
        left = []
        for each in self.waiting:
            id = self._job_id(each)
            outcome = spool_get(self.folder / SPOOL, id)
            if outcome is not None and outcome.state == "complete":
                self._keep(each, outcome)
            else:
                left.append(each)
            spool_path(self.folder / SPOOL, id).unlink(missing_ok=True)
        self.waiting = left

    def _keep(self, each: Wanted, outcome: Outcome) -> ScoreRow:
        """The outcome as a row, on disk."""
        costs = cost(each.arch)
        names = (*TRAINED, "scored_images") if each.trained else ZERO_COST
        key = self._key(each)
        row = ScoreRow.from_dict(
            {
                **key._asdict(),
                "recipe": recipe_name(each.fidelity),
                "proxy_id": outcome.metrics["proxy_id"],
                "macs": costs.macs,
                "params": costs.params,
                **{name: outcome.metrics[name] for name in names},
            },
            _told(each),
        )
        self.journal.append(row.to_dict())
        self.found[row.key] = row
        return row

    def _key(self, each: Wanted) -> RowKey:
        samples = each.fidelity.samples if each.trained else 0
        numerics = self.runner.numerics.text
        return RowKey(each.name, each.fidelity.id, samples, each.seed, self.images.id, numerics)

    def _job_id(self, each: Wanted) -> str:
        return content_hash([each.arch.id, *self._key(each)])

    def _show(self) -> None:
        done = sum(self._key(each) in self.found for each in self.wanted)
        spent = time.monotonic() - self._started
        state = ProgressState(self.doing, done, len(self.wanted), self._running, seconds_spent=spent)
        self.progress.update(state)


def _told(each: Wanted) -> str:
    what = f"{each.fidelity.samples:,} samples" if each.trained else "untrained"
    return f"{each.name}, {what}, seed {each.seed}"
