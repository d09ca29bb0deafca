"""`train_designs`: check the arguments, run the trainings, compare them."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nasbench.arch.architecture import Architecture
from nasbench.errors import UserError, shown
from nasbench.files import data_spec
from nasbench.progress import Progress, ProgressState, Silent
from nasbench.running import Job, Outcome, ProcessorShare, RunnerSpec, Usage, run
from nasbench.study import environment
from nasbench.study.journal import locked
from nasbench.study.objective import MASKED, OBJECTIVES, SUPERVISED
from nasbench.study.runner import LAPTOP, Priority, load_runner
from nasbench.study.task import DATA, DATASETS, require_images_for
from nasbench.training.designs import design
from nasbench.training.job import TrainingJob, TrainingStatus
from nasbench.training.recipe import QUICK, TrainingRecipe, load_training_recipe
from nasbench.training.result import Comparison, Finished

if TYPE_CHECKING:
    from nasbench.proxy.data import ImageData

WORK = "nasbench.training.run:train_job"
SHOWN_EVERY_S = 1.0
USERS = ("TrainingDiverged", "UserError", "out of memory")  # beginnings of reasons that a user can act on


def train_designs(
    designs: Sequence[str | Path], data: str | Path = DATA, *,
    recipe: str | Path = QUICK, changes: Sequence[str] = (), epochs: int | None = None, resolution: int | None = None,
    seeds: int = 1, weights: str | Path | None = None, teacher: str | Path | None = None, out: str | Path | None = None,
    runner: str | Path = LAPTOP, priority: Priority | None = None, threads: int | None = None,
    tensorboard: bool = False, objective: str = SUPERVISED.name, labels: float = 1.0, progress: Progress | None = None,
) -> Comparison:  # fmt: skip
    """Train networks at full size under one recipe -> their results, written to `out` with the best weights.

    `designs`: shipped names, files, or STUDY#ID. `changes`: single figures of the recipe, such as "lr=0.01". `seeds`:
    trainings of each, with seeds from 0. `weights`: initial weights of one network; a classifier of other classes is
    initialised. `teacher`: a saved model to distil from. `objective`: "supervised", or "masked" (masked image
    modelling), which reads no labels and gives initial `weights`. `labels`: the share of the training and validation
    images of each class that is used. Finished trainings in `out` are not repeated, interrupted ones are resumed.
    UserError where an argument is invalid.
    """
    progress = progress or Silent()
    _require_objective(objective, labels, teacher)
    wanted = load_training_recipe(recipe, [*changes, *([] if epochs is None else [f"epochs={epochs}"])])
    archs = _networks(designs, resolution)
    place = _placed(load_runner(runner, priority), len(archs) * seeds, threads)
    place.require_device()
    folder, spec = Path(out) if out is not None else Path("results") / "train", data_spec(str(data), DATASETS)
    _require_files(archs, weights, teacher)
    progress.update(ProgressState("reading images"))
    images = _prepared(spec, archs, wanted, objective, labels)
    first = TrainingJob(
        archs[0], wanted, 0, spec, images.id, place, folder.absolute(), _whole(weights), _whole(teacher), tensorboard,
        objective, labels,
    )  # fmt: skip
    jobs = [replace(first, architecture=arch, seed=seed) for seed in range(seeds) for arch in archs]
    _check_files(first, images, progress)
    with locked(folder):
        found = Comparison(tuple(_run(jobs, folder, progress)), images.name, len(images.classes), str(recipe))
        found.write(folder)
        return found


def _whole(path: str | Path | None) -> str | None:
    """The absolute path of a file, for workers with another working folder."""
    return None if path is None else str(Path(path).absolute())


def _networks(designs: Sequence[str | Path], resolution: int | None) -> list[Architecture]:
    """The networks, at `resolution` where it is given; UserError where two have one name."""
    found: dict[str, Architecture] = {}
    for text in designs:
        arch = design(str(text))
        arch = arch if resolution is None else arch.with_resolution(resolution)
        arch.require_classes()
        require_images_for(arch.in_channels, arch.label)
        if found.setdefault(arch.label, arch).id != arch.id:
            raise UserError(f"{text}: another network called {arch.label!r} is named too; give it another name")
    return list(found.values())


def _require_files(archs: Sequence[Architecture], weights: str | Path | None, teacher: str | Path | None) -> None:
    for option, path in (("weights", weights), ("teacher", teacher)):
        if path is not None and not Path(path).is_file():
            raise UserError(f"--{option} {path}: there is no such file; give a .safetensors file")
    if weights is not None and len(archs) > 1:
        raise UserError(f"--weights {weights}: are of one network, and {len(archs)} are to be trained; name one")


def _require_objective(objective: str, labels: float, teacher: str | Path | None) -> None:
    """Raise UserError where the objective is unknown, or does not fit the other arguments."""
    if objective not in OBJECTIVES:
        raise UserError(f"objective {shown(objective)} is none of a training; use {' or '.join(OBJECTIVES)}")
    if not 0 < labels <= 1:
        raise UserError(f"labels {labels}: is no share of the images; give a number above 0 and up to 1, such as 0.1")
    if objective == MASKED.name and (teacher is not None or labels < 1):
        other = "--teacher" if teacher is not None else "--labels"
        raise UserError(f"{other}: training with the objective masked reads no labels; leave {other} out")


def _prepared(
    spec: str, archs: Sequence[Architecture], recipe: TrainingRecipe, objective: str, labels: float
) -> ImageData:
    """The data set, its images decoded into the cache, so that workers find them and unreadable files are reported
    once."""
    from nasbench.proxy.evaluate import dataset
    from nasbench.training.images import open_images

    data = dataset(spec, objective)
    for size, channels in sorted({(arch.resolution, arch.in_channels) for arch in archs}):
        open_images(data, size, channels, recipe, labels=labels)
    return data


def _check_files(job: TrainingJob, data: ImageData, progress: Progress) -> None:
    """Raise UserError where weights, a teacher or frozen stages do not fit, before anything is written."""
    if job.weights is not None or job.recipe.frozen_stages:
        from nasbench.nn.model import build
        from nasbench.training.optimising import freeze
        from nasbench.training.state import begin_from

        model = build(job.architecture, max(1, len(data.classes)))
        freeze(model, job.recipe.frozen_stages)
        if job.weights is not None:
            for line in begin_from(model, Path(job.weights), data.classes).lines(job.architecture.in_channels):
                progress.note(f"{job.weights}: {line}")
    if job.teacher is not None:
        from nasbench.training.images import SizedNormalisation
        from nasbench.training.loss import load_teacher

        load_teacher(job.teacher, data.classes, SizedNormalisation((0.0,), (1.0,), 8), "cpu")


def _placed(runner: RunnerSpec, jobs: int, threads: int | None) -> RunnerSpec:
    """The runner with `threads`; a single training on this machine runs in this process. More threads are no default:
    beside other work two threads of one training wait for each other, and are slower than one."""
    if threads is not None:
        runner = runner.replace(threads=threads, cpus_per_trial=float(threads))
    if jobs == 1 and runner.address is None and runner.kind == "ray":
        return runner.replace(kind="serial")
    return runner


def _run(jobs: Sequence[TrainingJob], folder: Path, progress: Progress) -> list[Finished]:
    """Run the trainings that are not finished -> all finished ones; UserError where there is none."""
    from nasbench.training.run import finished

    runner = jobs[0].runner
    source = _Trainings(jobs, runner, progress)
    if source.waiting:
        environment.record(folder)
        with _Shown(source):
            run(source, WORK, runner, None)
    found = [Finished(job, metrics) for job in jobs if (metrics := finished(job)) is not None]
    if not found:
        raise _failure(source.failed)
    return found


def _failure(reasons: Mapping[str, str]) -> Exception:
    """The error of trainings that all failed: a UserError where the user can act on each reason."""
    text = "; ".join(f"{name} failed: {reason}" for name, reason in reasons.items())
    return UserError(text) if all(reason.startswith(USERS) for reason in reasons.values()) else RuntimeError(text)


def _reached(job: TrainingJob, metrics: Mapping[str, Any]) -> str:
    """The result of a training in words."""
    if job.masked:
        return f"{MASKED.noun} {metrics['validation_masked_r2']:.3f} on the validation images"
    return f"{100 * float(metrics['test_accuracy']):.1f} % of the test images"


class _Trainings:
    """`running.JobSource` of the trainings that are not finished."""

    def __init__(self, jobs: Sequence[TrainingJob], runner: RunnerSpec, progress: Progress) -> None:
        from nasbench.training.run import finished

        self.jobs, self.progress = jobs, progress
        self.waiting = [job for job in jobs if finished(job) is None]
        self.running: dict[str, TrainingJob] = {}
        self.failed: dict[str, str] = {}
        self._share = ProcessorShare(runner, progress.note)
        self._begun, self._before = time.monotonic(), self._epochs()

    def ask(self) -> Job | None:
        if not self.waiting:
            return None
        job = self.waiting.pop(0)
        self.running[job.id] = job
        return Job(job.id, job)

    def tell(self, job: Job, outcome: Outcome) -> None:
        training = self.running.pop(job.id)
        if outcome.state == "complete":
            self.progress.note(f"{training.name}: {_reached(training, outcome.metrics)} (measured)")
        else:
            self.failed[training.name] = str(outcome.reason)
            self.progress.note(f"{training.name} failed: {outcome.reason}")

    def watch(self, usage: Usage | None) -> None:
        if usage is not None:
            self._share.watch(usage, len(self.running))

    def show(self) -> None:
        """Update the progress: epochs of all trainings, and the status of running ones."""
        done, total = self._epochs(), float(sum(job.recipe.epochs for job in self.jobs))
        spent = time.monotonic() - self._begun
        new = done - self._before
        left = (total - done) * spent / new if new > 0 else None
        now = {job.name: TrainingStatus.read(job.folder) for job in tuple(self.running.values())}
        facts = tuple(f"{name}: {status.text()}" for name, status in now.items() if status is not None)
        state = ProgressState(
            "training", int(done), int(total), len(self.running), seconds_spent=spent, seconds_left=left,
            unit="epochs", facts=facts,
        )  # fmt: skip
        self.progress.update(state)

    def _epochs(self) -> float:
        """Epochs done in all trainings; all epochs of one that has stopped early count."""
        waiting = {job.id for job in tuple(self.waiting)} | set(self.running)
        whole = [job.recipe.epochs for job in self.jobs if job.id not in waiting]
        begun = [
            status.epochs for job in self.jobs if job.id in waiting and (status := TrainingStatus.read(job.folder))
        ]
        return float(sum(whole) + sum(begun))


class _Shown:
    """Updates the progress every second, in a thread, since trainings may run in this process."""

    def __init__(self, source: _Trainings) -> None:
        self._source, self._ended = source, threading.Event()
        self._thread = threading.Thread(target=self._show, daemon=True, name="progress")

    def _show(self) -> None:
        while not self._ended.wait(SHOWN_EVERY_S):
            self._source.show()

    def __enter__(self) -> None:
        self._source.show()
        self._thread.start()

    def __exit__(self, *ending: object) -> None:
        self._ended.set()
        self._thread.join()
