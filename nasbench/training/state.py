"""The state of a running training, and its checkpoint, written after every epoch."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from nasbench.errors import UserError
from nasbench.files import write_atomic
from nasbench.nn.model import Model, build
from nasbench.proxy.masked import MaskedImageModel
from nasbench.proxy.train import set_initial_values
from nasbench.study.objective import SUPERVISED
from nasbench.training.images import batches_an_epoch
from nasbench.training.job import BEST, CHECKPOINT, TrainingJob
from nasbench.training.optimising import freeze, make_optimiser, make_schedule, moving_average
from nasbench.weights.checkpoints import Loaded, load_weights
from nasbench.weights.matching import WeightsError
from nasbench.weights.saved import has_architecture, read_saved
from nasbench.weights.torch_files import read_torch

VERSION = 1  # of the checkpoint
CELLS = 8  # a side of the image, each hidden or not in masked training; SimMIM's are 6 at 192 px (arXiv:2111.09886)
Epoch = dict[str, float | int]  # the figures of one epoch, by name


@dataclass
class TrainingState:
    """`history` has one entry a finished epoch. `frozen`: parts that keep their weights."""

    model: nn.Module
    average: AveragedModel | None
    optimiser: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    frozen: list[nn.Module]
    history: list[Epoch] = field(default_factory=list)
    figure: str = SUPERVISED.metric  # the metric of epochs, stored as `validation_` + figure

    @property
    def scored(self) -> nn.Module:
        """The module that is scored and saved: the average, where there is one."""
        return self.model if self.average is None else self.average

    @property
    def kept(self) -> nn.Module:
        """The network that is saved: what is scored, without the decoder of masked training."""
        held = self.scored.module if isinstance(self.scored, AveragedModel) else self.scored
        return held.encoder if isinstance(held, MaskedImageModel) else held

    @property
    def best(self) -> Epoch | None:
        """The epoch with the highest score on the validation images, the first of several."""
        return max(self.history, key=lambda epoch: epoch[f"validation_{self.figure}"], default=None)

    def stops(self, patience: int) -> bool:
        """Whether so many epochs have passed without a better one."""
        return bool(patience and self.best and self.history[-1]["epoch"] - self.best["epoch"] >= patience)


def new_state(job: TrainingJob, classes: Sequence[str], images: int) -> TrainingState:
    """The state at the beginning of a training, on the job's device; `images`: their number in an epoch."""
    recipe, device = job.recipe, torch.device(job.runner.device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(job.seed)
        network = build(job.architecture, max(1, len(classes)), recipe.drop_path)
        model = painting(network) if job.masked else network
    if job.weights is None:
        set_initial_values(model, recipe)
    else:
        begin_from(network, Path(job.weights), classes)
    form = torch.channels_last if job.runner.channels_last else torch.contiguous_format
    model = model.to(device).to(memory_format=form)
    frozen = freeze(network, recipe.frozen_stages)
    optimiser = make_optimiser(model, recipe)
    steps = -(-batches_an_epoch(images, recipe.batch_size) // recipe.accumulate)
    average = moving_average(model, recipe.ema_decay)
    schedule = make_schedule(optimiser, recipe, steps)
    return TrainingState(model, average, optimiser, schedule, frozen, figure=job.figure)


def painting(network: Model) -> MaskedImageModel:
    """The network with a decoder for masked image modelling, initialised from torch's random state."""
    return MaskedImageModel(network, max(1, network.arch.resolution // CELLS))


def begin_from(model: Model, path: Path, classes: Sequence[str]) -> Loaded:
    """Load the weights of a file into `model`, but for a classifier of other classes, which stays as it is."""
    known = read_saved(path).about.classes if path.suffix == ".safetensors" and has_architecture(path) else ()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the result tells what was not loaded
        if known and known != tuple(classes):
            return load_weights(model, path, fresh_head=True)
        try:
            return load_weights(model, path)
        except WeightsError as error:
            if error.cause not in ("classes", "headless"):
                raise
            return load_weights(model, path, fresh_head=True)


def save_checkpoint(state: TrainingState, job: TrainingJob) -> None:
    """Write the whole state to the checkpoint."""
    content = {
        "version": VERSION,
        "id": job.id,
        "model": state.model.state_dict(),
        "average": None if state.average is None else state.average.state_dict(),
        "optimiser": state.optimiser.state_dict(),
        "schedule": {"last_epoch": state.schedule.last_epoch},
        "history": state.history,
    }
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_atomic(job.folder / CHECKPOINT, buffer.getvalue())


def load_checkpoint(state: TrainingState, job: TrainingJob) -> bool:
    """Restore the job's checkpoint into a new state; False where there is none, or no best weights."""
    path = job.folder / CHECKPOINT
    if not path.exists() or not (job.folder / BEST).exists():
        return False
    content = _checked(path, job)
    try:
        state.model.load_state_dict(content["model"])
        if state.average is not None:
            state.average.load_state_dict(content["average"])
        state.optimiser.load_state_dict(content["optimiser"])
        steps = content["schedule"]["last_epoch"]
        state.history = [dict(epoch) for epoch in content["history"]]
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError, IndexError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"{path}: is damaged ({reason}); remove it, and the training begins anew") from None
    _continue_schedule(state, steps)
    return True


def _checked(path: Path, job: TrainingJob) -> dict[str, Any]:
    content = read_torch(path)
    if not isinstance(content, dict) or content.get("version") != VERSION or content.get("id") != job.id:
        raise UserError(f"{path}: is no checkpoint of this training; remove it, and the training begins anew")
    return content


def _continue_schedule(state: TrainingState, steps: int) -> None:
    """Restore the schedule after so many steps, with the rates of the restored optimiser."""
    restored = {**state.schedule.state_dict(), "last_epoch": steps, "_step_count": steps + 1}
    restored["_last_lr"] = [group["lr"] for group in state.optimiser.param_groups]
    state.schedule.load_state_dict(restored)
