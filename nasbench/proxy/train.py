"""The proxy's training loop and scoring: trains a module in place on images at a fidelity, from a seed."""

from __future__ import annotations

import contextlib
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Protocol, get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from nasbench.blocks.squeeze_excite import SqueezeExciteModule
from nasbench.proxy.cheaper import cheaper
from nasbench.proxy.data.augment import Normalisation, flip_and_shift, ordered_positions, shuffled_positions
from nasbench.proxy.data.pool import ImagePool
from nasbench.proxy.initial import (
    open_identity_branches,
    scale_linear_layers,
    scale_residual_branches,
    set_layer_scale,
)
from nasbench.proxy.muon import Muon, is_matrix
from nasbench.study.fidelity import Fidelity
from nasbench.study.runner import Precision, RunnerSpec

TAIL = 0.1  # share of the steps whose mean loss is reported
CHECK_EVERY = 20  # steps between checks of the loss on an accelerator, where each check waits for the device
SCORING_BATCH = 256
PRECISIONS = get_args(Precision)
Loss = Callable[[nn.Module, Tensor, Tensor], Tensor]  # model, images, labels -> mean over the batch


class Diverged(RuntimeError):
    """The training loss is no longer a finite number."""

    def __init__(self, step: int, steps: int, loss: float) -> None:
        super().__init__(
            f"diverged: training loss is {loss} at step {step} of {steps}; a lower lr may train this design"
        )
        self.step, self.steps, self.loss = step, steps, loss

    def __reduce__(self) -> tuple[type[Diverged], tuple[int, int, float]]:  # so that it can be pickled
        return type(self), (self.step, self.steps, self.loss)


@dataclass(frozen=True)
class Trained:
    """The result of a run besides the weights; seconds are of the training loop alone."""

    train_loss_tail: float  # mean training loss over the last tenth of the steps
    steps: int
    samples: int
    seconds: float
    cpu_seconds: float


@dataclass(frozen=True)
class Score:
    """Scores of a network on `images` images; accuracies in [0, 1].

    `balanced_accuracy` is the mean of the accuracies on each class that occurs. `majority_share`, the share of the most
    frequent class, is the `accuracy` of a network that always answers it.
    """

    accuracy: float
    balanced_accuracy: float
    majority_share: float
    loss: float
    images: int


def train(
    model: nn.Module,
    pool: ImagePool,
    fidelity: Fidelity,
    norm: Normalisation,
    seed: int,
    runner: RunnerSpec,
    loss_of: Loss | None = None,
) -> Trained:
    """Train `model` in place on the device its parameters are on; the batches depend on `seed` alone.

    runner: gives precision and memory layout. loss_of: the loss; by default cross-entropy with the fidelity's label
    smoothing. Raises `Diverged` at the first loss that is not finite.
    """
    device = next(model.parameters()).device
    model.to(memory_format=torch.channels_last if runner.channels_last else torch.contiguous_format).train()
    set_initial_values(model, fidelity)
    optimiser, schedule, steps = make_optimiser(model, fidelity)
    loss_of = loss_of or partial(_smoothed_cross_entropy, fidelity.label_smoothing)
    losses = torch.zeros(steps, device=device)
    begun, begun_cpu, seen = time.perf_counter(), time.process_time(), 0
    with cheaper(model, runner.precision):
        for step, (images, labels) in enumerate(augmented_batches(pool, fidelity, norm, seed)):
            if len(labels) < 2:  # batch norm needs two; only unreadable files make a batch this small
                continue
            with autocast(device, runner.precision):
                loss = loss_of(model, images, labels)
            _descend(model, loss, optimiser, fidelity.clip_norm)
            schedule.step()
            losses[step] = loss.detach()
            seen += len(labels)
            _check_finite(losses, step, steps, device)
    tail = losses[-max(1, round(TAIL * steps)) :].mean().item()
    return Trained(tail, steps, seen, time.perf_counter() - begun, time.process_time() - begun_cpu)


class Start(Protocol):
    """The fields of a recipe that set initial values."""

    @property
    def layer_scale(self) -> float: ...
    @property
    def linear_gain(self) -> float: ...
    @property
    def branch_gain(self) -> float: ...
    @property
    def identity_bias(self) -> float: ...


def set_initial_values(model: nn.Module, start: Start) -> None:
    """Set layer scales and scale linear layers, residual branches and identity branches as the recipe says."""
    set_layer_scale(model, start.layer_scale)
    scale_linear_layers(model, start.linear_gain)
    scale_residual_branches(model, start.branch_gain)
    open_identity_branches(model, start.identity_bias)


def augmented_batches(
    pool: ImagePool, fidelity: Fidelity, norm: Normalisation, seed: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Augmented, normalised images and their labels, in an order that depends on `seed` alone."""
    rng = np.random.default_rng([seed, 0xBA7C4])
    positions = shuffled_positions(len(pool), fidelity.samples, fidelity.batch_size, rng)
    for pixels, labels in pool.batches(positions):
        if len(labels) < 2:
            yield pixels, labels
        else:
            yield norm.apply(flip_and_shift(pixels, fidelity.shift, fidelity.flip, rng)), labels


def _descend(model: nn.Module, loss: Tensor, optimiser: torch.optim.Optimizer, clip_norm: float) -> None:
    """One step of the optimiser; gradients are clipped to the norm `clip_norm`, 0 for no clipping."""
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    if clip_norm:
        nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
    optimiser.step()


def _smoothed_cross_entropy(smoothing: float, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    return cross_entropy(model(images).float(), labels, label_smoothing=smoothing)


def _check_finite(losses: Tensor, step: int, steps: int, device: torch.device) -> None:
    """Raise Diverged if a loss up to `step` is not finite; on an accelerator only every CHECK_EVERY steps."""
    last = step == steps - 1
    if device.type != "cpu" and not last and step % CHECK_EVERY:
        return
    recent = losses[max(0, step + 1 - CHECK_EVERY) : step + 1]
    bad = (~torch.isfinite(recent)).nonzero()
    if len(bad):
        first = int(bad[0])
        raise Diverged(step + 1 - len(recent) + first, steps, float(recent[first]))


def make_optimiser(
    model: nn.Module, fidelity: Fidelity
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler, int]:
    """The fidelity's optimiser, its one-cycle schedule, and the number of steps; see `decaying` for weight decay."""
    optimiser = OPTIMISERS[fidelity.optimiser](model, fidelity)
    steps = max(1, round(fidelity.samples / fidelity.batch_size))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: one_cycle(step, steps, fidelity.warmup))
    return optimiser, schedule, steps


def _sgd(model: nn.Module, fidelity: Fidelity) -> torch.optim.Optimizer:
    weights, rest = decaying(model)
    return torch.optim.SGD(
        [{"params": weights, "weight_decay": fidelity.weight_decay}, {"params": rest, "weight_decay": 0.0}],
        lr=fidelity.lr,
        momentum=fidelity.momentum,
        nesterov=fidelity.momentum > 0,
    )


def _muon(model: nn.Module, fidelity: Fidelity) -> torch.optim.Optimizer:
    weights, rest = decaying(model)
    by_adam = gate_parameters(model) if fidelity.adam_gates else set()
    matrices = {"params": [p for p in weights if is_matrix(p) and p not in by_adam], "matrices": True}
    others = {"params": [p for p in weights if not is_matrix(p) or p in by_adam]}  # depthwise kernels, gates
    shrinking = [group | {"weight_decay": fidelity.weight_decay} for group in (matrices, others)]
    return Muon([*shrinking, {"params": rest}], fidelity.lr, fidelity.momentum)


def gate_parameters(model: nn.Module) -> set[nn.Parameter]:
    """The parameters of squeeze-and-excitation.

    With orthogonal steps its gates close and stay closed: the mean of a map after ReLU is far from 0, so every step
    changes all gates of a layer alike (MobileOne-S4 stayed at chance, results/audit).
    """
    gates = (module for module in model.modules() if isinstance(module, SqueezeExciteModule))
    return {parameter for gate in gates for parameter in gate.parameters()}


OPTIMISERS: dict[str, Callable[[nn.Module, Fidelity], torch.optim.Optimizer]] = {"sgd": _sgd, "muon": _muon}


def decaying(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """(weights that decay: those that map several inputs to several outputs, all other parameters)."""
    weights = [p for p in model.parameters() if p.ndim >= 2 and min(p.shape[0], p[0].numel()) > 1]
    known = {id(p) for p in weights}
    return weights, [p for p in model.parameters() if id(p) not in known]


def one_cycle(step: int, steps: int, warmup: float) -> float:
    """The learning rate as a share of its peak: rises from 1/25 over `warmup`, then falls to 1e-4, both as a cosine."""
    rising = max(1.0, warmup * steps)
    if step < rising:
        return 0.04 + 0.96 * 0.5 * (1 - math.cos(math.pi * step / rising))
    done = min(1.0, (step - rising) / max(1.0, steps - rising))
    return 1e-4 + (1 - 1e-4) * 0.5 * (1 + math.cos(math.pi * done))


@torch.no_grad()
def score(model: nn.Module, pool: ImagePool, norm: Normalisation, precision: Precision = "float32") -> Score:
    """Top-1 accuracy with its baselines and mean cross-entropy (nats, no smoothing) of `model` in eval mode."""
    device = next(model.parameters()).device
    model.eval()
    seen, right, loss = Counter[int](), Counter[int](), 0.0  # by class
    for pixels, labels in pool.batches(ordered_positions(len(pool), SCORING_BATCH)):
        if not len(labels):
            continue
        with autocast(device, precision):
            logits = model(norm.apply(pixels)).float()
        seen.update(labels.tolist())
        right.update(labels[logits.argmax(1) == labels].tolist())
        loss += float(cross_entropy(logits, labels, reduction="sum"))
    count = seen.total()
    if not math.isfinite(loss):
        raise RuntimeError(f"the trained network's loss on {count} images is {loss}; its weights overflowed")
    balanced = sum(right[label] / seen[label] for label in seen) / len(seen)
    return Score(right.total() / count, balanced, max(seen.values()) / count, loss / count, count)


@contextlib.contextmanager
def autocast(device: torch.device, precision: Precision) -> Iterator[None]:
    """bfloat16 autocast within the context, where `precision` says so; on the CPU it was slower than float32."""
    if precision not in PRECISIONS:
        raise ValueError(f"unknown precision {precision!r}; known: {', '.join(PRECISIONS)}")
    if precision == "float32":
        yield
    else:
        with torch.autocast(device.type, dtype=torch.bfloat16):
            yield
