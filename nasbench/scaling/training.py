"""The trainings of a scaling study, run by a runner."""

from __future__ import annotations

from pathlib import Path

from nasbench.progress import Progress, ProgressState, Silent
from nasbench.running import Job, Outcome, ProcessorShare, Usage, run
from nasbench.scaling.study import ScalingStudy
from nasbench.study import environment
from nasbench.study.objective import SUPERVISED
from nasbench.study.spool import SPOOL
from nasbench.study.store import TrialStore
from nasbench.study.task import EVALUATE, DataSplit, Task, require_images_for

TRIAL_LIMIT_S = 3600.0  # of one training; a family reaches larger sizes than a search


class _Trainings:
    """The study's trials as a runner's source of jobs."""

    def __init__(self, study: ScalingStudy, store: TrialStore, progress: Progress) -> None:
        self.study, self.store, self.progress = study, store, progress
        self.all = list(study.trials())
        self.waiting = [trial for trial in self.all if not store.has_result(trial.key)]
        self.running = 0
        self.share = ProcessorShare(study.runner, progress.note)

    def ask(self) -> Job | None:
        if not self.waiting:
            return None
        trial = self.waiting.pop(0)
        self.store.submit(trial)
        self.running += 1
        self._show()
        data = DataSplit(self.study.data, split=trial.split)
        task = Task(trial.design, trial.fidelity, trial.seed, data, self.study.runner, limit_s=TRIAL_LIMIT_S)
        return Job(trial.key, task, task.limit_s)

    def tell(self, job: Job, outcome: Outcome) -> None:
        trial = self.store.finish(job.id, outcome)
        self.share.ended(trial.metrics, self.running)
        self.running -= 1
        name = f"{trial.label}, {trial.fidelity.samples} samples, seed {trial.seed}"
        noun = SUPERVISED.words(trial.balanced).noun
        result = f"{noun} {trial.metric('accuracy'):.3f}" if trial.complete else f"failed: {trial.reason}"
        self.progress.note(f"{name}: {result}")

    def watch(self, usage: Usage | None) -> None:
        if usage is not None:
            self.share.watch(usage, self.running)

    def _show(self) -> None:
        done = sum(self.store.has_result(trial.key) for trial in self.all)
        self.progress.update(ProgressState("scaling study", done=done, total=len(self.all), running=self.running))


def train_family(study: ScalingStudy, folder: Path | str, progress: Progress | None = None) -> Path:
    """Run the trainings of `study` that `folder` does not hold yet, and keep them there; returns the folder."""
    from nasbench.proxy.evaluate import prepare

    folder, progress = Path(folder), progress or Silent()
    study.runner.require_device()
    study = study.with_family(folder)  # raises for a target that cannot be met, before anything is written
    progress.update(ProgressState("preparing images"))
    for planned in study.family():
        require_images_for(planned.arch.in_channels, planned.arch.label)
    sizes = tuple(planned.arch.resolution for planned in study.family())
    data = prepare(study.data, study.fidelity_at(study.samples[0]), sizes)
    study = study.model_copy(update={"data_id": data.id})
    study.create(folder)
    with TrialStore(folder) as store:
        environment.record(folder)
        store.drain_spool()
        run(_Trainings(study, store, progress), EVALUATE, study.runner, folder / SPOOL)
    return folder
