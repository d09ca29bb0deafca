"""One whole training: from its checkpoint or the beginning to the saved model and its figures."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from typing import Any

import pandas as pd
import torch
from torch.optim.swa_utils import AveragedModel

from nasbench import __version__
from nasbench.files import write_atomic
from nasbench.proxy.data import ImageData
from nasbench.proxy.data.pool import ImagePool
from nasbench.proxy.evaluate import dataset, deploy_difference
from nasbench.proxy.masked import MaskedImageModel, score_masked
from nasbench.proxy.train import Score, score
from nasbench.study import environment
from nasbench.study.objective import OBJECTIVES
from nasbench.training.images import DATA_SEED, open_images
from nasbench.training.job import BEST, EPOCHS, LAST, RESULT, TrainingJob, TrainingStatus
from nasbench.training.loop import Setup, Tally, train_epoch, weights_of
from nasbench.training.loss import load_teacher
from nasbench.training.state import Epoch, TrainingState, load_checkpoint, new_state, save_checkpoint
from nasbench.weights.checkpoints import load_model, save_weights
from nasbench.weights.saved import WHITE, About, Fact, ImageNormalisation


def train_job(job: TrainingJob) -> dict[str, Any]:
    """Train, keep the best and the last weights in the job's folder, and score the best on the test images.

    The same job gives the same weights on the same machine, interrupted or not. Raises `TrainingDiverged`, `UserError`,
    or what torch raises when memory runs out.
    """
    job.folder.mkdir(parents=True, exist_ok=True)
    before = torch.get_num_threads()
    torch.set_num_threads(job.runner.threads)
    try:
        return _trained(job)
    finally:
        torch.set_num_threads(before)


def _trained(job: TrainingJob) -> dict[str, Any]:
    data = dataset(job.data, job.objective)
    arch = job.architecture
    images = open_images(data, arch.resolution, arch.in_channels, job.recipe, job.runner.device, job.labels)
    state = new_state(job, data.classes, len(images.training))
    load_checkpoint(state, job)
    teacher = None if job.teacher is None else load_teacher(job.teacher, data.classes, images.norm, job.runner.device)
    setup = Setup(job, images, weights_of(job, images, len(data.classes)), teacher)
    while len(state.history) < job.recipe.epochs and not state.stops(job.recipe.patience):
        _epoch(state, setup, data)
    return _finish(state, setup, data)


def _epoch(state: TrainingState, setup: Setup, data: ImageData) -> None:
    """One more epoch, scored on the validation images, with a checkpoint."""
    job, number, begun = setup.job, len(state.history) + 1, time.perf_counter()
    rate = max(state.schedule.get_last_lr())  # of the parts that learn fastest
    tally = train_epoch(state, setup, number, _status_writer(state, job))
    accuracy, loss = _scored(state, setup.images.validation, setup, data.uneven)
    figures: Epoch = {
        "epoch": number,
        "lr": rate,
        "train_loss": tally.loss,
        "validation_loss": loss,
        f"validation_{job.figure}": accuracy,
        "images_per_second": round(tally.images_per_second, 1),
        "seconds": round(time.perf_counter() - begun, 2),
    }
    better = state.best is None or accuracy > state.best[f"validation_{job.figure}"]
    state.history.append(figures)
    if better:
        save_weights(state.kept, job.folder / BEST, _about(state, setup, data, {}))
    _show(state, job, figures)  # before the checkpoint: what that holds is not trained, nor shown, again
    save_checkpoint(state, job)


def _show(state: TrainingState, job: TrainingJob, figures: Epoch) -> None:
    """Write the epochs' figures: epochs.csv, status, TensorBoard."""
    write_atomic(job.folder / EPOCHS, pd.DataFrame(state.history).to_csv(index=False, lineterminator="\n"))
    _status_writer(state, job)(None, 1.0)
    if job.tensorboard:
        from tensorboardX import SummaryWriter

        with SummaryWriter(logdir=str(job.folder / "tensorboard"), purge_step=int(figures["epoch"])) as writer:
            for name, value in figures.items():
                if name != "epoch":
                    writer.add_scalar(name, value, int(figures["epoch"]))


def _status_writer(state: TrainingState, job: TrainingJob) -> Callable[[Tally | None, float], None]:
    """Writes the status of the training, within an epoch (with its tally) or after one."""

    def write(tally: Tally | None, share: float) -> None:
        last = state.history[-1] if state.history else None
        done = len(state.history) + (share if tally is not None else 0.0)
        loss = tally.loss if tally is not None else last["train_loss"] if last else None
        speed = tally.images_per_second if tally is not None else last["images_per_second"] if last else 0.0
        accuracy, noun = last[f"validation_{job.figure}"] if last else None, OBJECTIVES[job.objective].noun
        TrainingStatus(done, job.recipe.epochs, loss, accuracy, speed, noun).write(job.folder)

    return write


def _scored(state: TrainingState, pool: ImagePool, setup: Setup, uneven: bool) -> tuple[float, float]:
    """Accuracy, balanced where classes are uneven, and loss; masked R² and error without labels; 0 and infinity where
    the averaged weights overflow."""
    norm, precision = setup.images.norm, setup.job.runner.precision
    try:
        if setup.job.masked:
            error = _painted(state, pool, setup)
            return 1 - error, error
        result = score(state.scored, pool, norm, precision)
    except RuntimeError as error:
        if "overflowed" not in str(error):
            raise
        return 0.0, math.inf
    return (result.balanced_accuracy if uneven else result.accuracy), result.loss


def _painted(state: TrainingState, pool: ImagePool, setup: Setup) -> float:
    """The masked error, always with the same masks."""
    held = state.scored.module if isinstance(state.scored, AveragedModel) else state.scored
    assert isinstance(held, MaskedImageModel)
    return score_masked(held, pool, setup.images.norm, DATA_SEED, setup.job.runner.precision).error


def _finish(state: TrainingState, setup: Setup, data: ImageData) -> dict[str, Any]:
    """Score the best weights on the test images, unless masked -> the figures, which the saved model holds too."""
    job, images = setup.job, setup.images
    save_weights(state.kept, job.folder / LAST, _about(state, setup, data, {}))
    best = load_model(job.folder / BEST).to(job.runner.device)
    figures = {} if job.masked else _tested(score(best, images.test, images.norm, job.runner.precision), data)
    figures |= _best(state)
    figures["deploy_difference"] = deploy_difference(best, images.test, images.norm)
    save_weights(best, job.folder / BEST, _about(state, setup, data, figures))
    metrics = {**figures, "seconds": round(sum(epoch["seconds"] for epoch in state.history), 1)}
    write_atomic(job.folder / RESULT, json.dumps({"id": job.id, "metrics": metrics}, indent=1) + "\n")
    return metrics


def _tested(result: Score, data: ImageData) -> dict[str, Fact]:
    """Measured figures by name; accuracies in 0 to 1."""
    return {
        "test_accuracy": result.balanced_accuracy if data.uneven else result.accuracy,
        "test_top1": result.accuracy,
        "test_loss": result.loss,
        "test_images": result.images,
        "accuracy_is": "balanced" if data.uneven else "top1",
    }


def _best(state: TrainingState) -> dict[str, Fact]:
    """The best epoch's number and figure on the validation images."""
    best, figure = state.best, f"validation_{state.figure}"
    assert best is not None
    return {figure: best[figure], "best_epoch": int(best["epoch"]), "epochs": len(state.history)}


def _about(state: TrainingState, setup: Setup, data: ImageData, figures: dict[str, Fact]) -> About:
    """The metadata of the saved model."""
    job, norm = setup.job, setup.images.norm
    given: dict[str, Fact | None] = {
        "weights": job.weights, "teacher": job.teacher, "commit": environment.commit(),
        "objective": job.objective if job.masked else None, "labels": job.labels if job.labels < 1 else None,
    }  # fmt: skip
    provenance: dict[str, Fact] = {
        "made_by": f"nasbench {__version__}",
        "data": data.name,
        "data_id": data.id,
        "seed": job.seed,
        "epoch": len(state.history) if not state.best else int(state.best["epoch"]),
        **{name: value for name, value in given.items() if value is not None},
        **{f"recipe.{name}": value for name, value in job.recipe.to_dict().items()},
    }
    mean, std = (tuple(value / WHITE for value in values) for values in (norm.mean, norm.deviation))
    own = ImageNormalisation(mean=mean, std=std)
    return About(classes=data.classes, normalisation=own, figures=figures, provenance=provenance)


def finished(job: TrainingJob) -> dict[str, Any] | None:
    """The figures of a training that has ended, or None."""
    try:
        content = json.loads((job.folder / RESULT).read_text(encoding="utf-8"))
        return dict(content["metrics"]) if content["id"] == job.id and (job.folder / BEST).is_file() else None
    except (OSError, ValueError, KeyError, TypeError):  # missing or damaged
        return None
