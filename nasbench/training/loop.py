"""One epoch of training: batches, augmentation, loss, optimiser steps."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from nasbench.proxy.cheaper import cheaper
from nasbench.proxy.masked import MaskedImageModel, draw_hidden, hidden_squares
from nasbench.proxy.train import autocast
from nasbench.training.augment import augmented, erased, mixed
from nasbench.training.images import TrainingImages, batch_positions, class_weights
from nasbench.training.job import TrainingJob
from nasbench.training.loss import Teacher, distilled, label_loss
from nasbench.training.state import TrainingState

STREAM = 0x7EA1  # part of the seed, which separates these random streams from those of proxy trainings
CHECK_EVERY = 20  # batches between checks of the loss on an accelerator, where each waits for the device
REPORT_EVERY_S = 1.0


class TrainingDiverged(RuntimeError):
    """The training loss is no longer a finite number."""


class Setup(NamedTuple):
    """What is the same in all epochs of a training."""

    job: TrainingJob
    images: TrainingImages
    weights: Tensor | None  # of the classes in the loss
    teacher: Teacher | None


@dataclass
class Tally:
    """Losses and images of an epoch so far."""

    losses: Tensor
    begun: float
    batches: int = 0
    images: int = 0

    @property
    def images_per_second(self) -> float:
        return self.images / max(1e-9, time.perf_counter() - self.begun)

    @property
    def loss(self) -> float:
        """The mean over the batches so far."""
        return float(self.losses[: self.batches].mean()) if self.batches else math.nan


Report = Callable[[Tally, float], None]  # of the tally, and the share of the epoch that is done


def weights_of(job: TrainingJob, images: TrainingImages, classes: int) -> Tensor | None:
    """Weights of the classes in the loss, where the recipe asks for them."""
    if job.recipe.balance != "weights":
        return None
    return class_weights(images.labels, classes).to(job.runner.device)


def train_epoch(state: TrainingState, setup: Setup, epoch: int, report: Report) -> Tally:
    """One pass over the training images. Raises `TrainingDiverged`.

    Random numbers depend on seed and epoch alone: a training resumed after any epoch equals an uninterrupted one.
    """
    job, recipe = setup.job, setup.job.recipe
    device = torch.device(job.runner.device)
    rng = np.random.default_rng([job.seed, epoch, STREAM])
    order = batch_positions(setup.images.labels, recipe, rng)
    tally = Tally(torch.zeros(len(order), device=device), time.perf_counter())
    _set_modes(state)
    due = time.monotonic()
    with _seeded(job.seed, epoch, device), cheaper(state.model, job.runner.precision):
        for index, loss in enumerate(_losses(state.model, setup, order, rng, tally)):
            last = index == len(order) - 1
            group = min(recipe.accumulate, len(order) - index // recipe.accumulate * recipe.accumulate)
            (loss / group).backward()
            tally.losses[index] = loss.detach()
            tally.batches = index + 1
            _check_finite(tally, epoch, job, last)
            if last or tally.batches % recipe.accumulate == 0:
                _step(state, recipe.clip_norm)
            if time.monotonic() >= due:
                due = time.monotonic() + REPORT_EVERY_S
                report(tally, tally.batches / len(order))
    return tally


def _set_modes(state: TrainingState) -> None:
    state.model.train()
    for part in state.frozen:
        part.eval()  # a frozen norm keeps its statistics


def _losses(
    model: nn.Module, setup: Setup, order: list[np.ndarray], rng: np.random.Generator, tally: Tally
) -> Iterator[Tensor]:
    """The loss of each batch in turn."""
    job, size = setup.job, setup.images.norm.size
    device, loss_of = torch.device(job.runner.device), painted_loss if job.masked else labelled_loss
    for pixels, labels in setup.images.training.batches(order):
        if len(labels) < 2:  # batch norm needs two; only unreadable files make a batch this small
            yield torch.zeros((), device=device, requires_grad=True)
            continue
        loss = loss_of(model, augmented(pixels, size, job.recipe, rng), labels, setup, rng)
        tally.images += len(labels)
        yield loss


def labelled_loss(model: nn.Module, images: Tensor, labels: Tensor, setup: Setup, rng: np.random.Generator) -> Tensor:
    """Cross-entropy of images (b, 3, s, s) in 0 to 255, mixed and erased as the recipe says, and the distillation loss
    where there is a teacher."""
    recipe, device, precision = setup.job.recipe, images.device, setup.job.runner.precision
    images, mix = mixed(images, labels, recipe, rng)
    with autocast(device, precision):
        logits = model(erased(setup.images.norm.of(images), recipe.erase, rng))
    loss = label_loss(logits.float(), mix, recipe.label_smoothing, setup.weights)
    if setup.teacher is not None:
        with autocast(device, precision):
            answers = setup.teacher.answers(images)
        loss = distilled(loss, logits.float(), answers, recipe)
    return loss


def painted_loss(model: nn.Module, images: Tensor, labels: Tensor, setup: Setup, rng: np.random.Generator) -> Tensor:
    """Masked image modelling: the squared error on hidden pixels over their variance about the training mean. Without
    labels."""
    assert isinstance(model, MaskedImageModel)
    hidden = draw_hidden(len(images), model.grid, rng).to(images.device)
    whole = setup.images.norm.of(images)
    with autocast(images.device, setup.job.runner.precision):
        painted = model(whole, hidden)
    error, spread = hidden_squares(painted, whole, hidden)
    return error / spread.clamp(min=1.0)


def _step(state: TrainingState, clip_norm: float) -> None:
    """One optimiser step with the gradient of the batches since the last one."""
    if clip_norm:
        nn.utils.clip_grad_norm_(state.model.parameters(), clip_norm)
    state.optimiser.step()
    state.optimiser.zero_grad(set_to_none=True)
    state.schedule.step()
    if state.average is not None:
        state.average.update_parameters(state.model)


def _check_finite(tally: Tally, epoch: int, job: TrainingJob, last: bool) -> None:
    """Raise `TrainingDiverged` at the first loss that is not finite; the last epoch's checkpoint is kept."""
    if job.runner.device != "cpu" and not last and tally.batches % CHECK_EVERY:
        return
    first = max(0, tally.batches - CHECK_EVERY)
    bad = (~torch.isfinite(tally.losses[first : tally.batches])).nonzero()
    if len(bad):
        place = first + int(bad[0])
        recipe = job.recipe
        clip = "" if recipe.clip_norm else " --set clip_norm=1.0,"
        raise TrainingDiverged(
            f"training loss is {float(tally.losses[place])} at batch {place + 1} of {len(tally.losses)} in epoch "
            f"{epoch}; train anew with a lower rate, such as --set lr={recipe.lr / 3:.2g},{clip} or a longer warm-up"
        )


@contextlib.contextmanager
def _seeded(seed: int, epoch: int, device: torch.device) -> Iterator[None]:
    """Seed torch's random state, which stochastic depth uses, by seed and epoch within the block."""
    drawn = int(np.random.default_rng([seed, epoch, STREAM, 1]).integers(2**63))
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(drawn)
        yield
