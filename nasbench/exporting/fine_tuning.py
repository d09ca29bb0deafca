"""Quantisation-aware fine-tuning: a network learns to give its own float32 answers while its layers round as int8 does.

Rounded in training is what every runtime rounds: the weights of convolutions and linear layers, symmetric with a scale
for each output channel, and what goes into these layers and comes out of them (behind the norm and the ReLU that
runtimes merge with them), with one scale for the whole map (arXiv:1712.05877, section 3). The gradient passes the
rounding as if it were not there. What is learnt are the answers of the network itself in float32 and not the labels:
so no label is needed, and what the int8 file gains is not the gain of a longer training.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.utils.hooks import RemovableHandle

from nasbench.blocks.conv import ConvModule
from nasbench.blocks.norm import Activation
from nasbench.training.images import TrainingImages

BATCH = 32
RATE = 1e-4  # AdamW's at the beginning; it falls to 0 along a half cosine
MOMENTUM = 0.05  # with which the range of a map follows that of each batch
LEVELS = 255  # steps between the smallest and the largest value of a map
MOST = 127  # largest magnitude of a weight in steps
SMALLEST = 1e-12  # scale, where all is 0
LAYERS = (nn.Conv2d, nn.Linear)

Report = Callable[[int, int], None]  # of the images seen, and of all that will be


class RoundedWeight(nn.Module):
    """Weights (c_out, ...) rounded to int8 with a scale for each output channel."""

    def forward(self, weight: Tensor) -> Tensor:
        scale = weight.detach().flatten(1).abs().amax(1).clamp(min=SMALLEST) / MOST
        zeros = torch.zeros_like(scale, dtype=torch.int32)
        return torch.fake_quantize_per_channel_affine(weight, scale, zeros, 0, -MOST, MOST)


class RoundedMap(nn.Module):
    """A map rounded to 256 values between ends that follow the smallest and largest of each batch."""

    low: Tensor
    high: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("low", torch.tensor(math.nan))
        self.register_buffer("high", torch.tensor(math.nan))

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            low, high = x.amin().clamp(max=0), x.amax().clamp(min=0)  # 0 has a value of its own: padding is made of it
            first = self.low.isnan()
            self.low.copy_(torch.where(first, low, self.low + MOMENTUM * (low - self.low)))
            self.high.copy_(torch.where(first, high, self.high + MOMENTUM * (high - self.high)))
            scale = ((self.high - self.low) / LEVELS).clamp(min=SMALLEST)
            zero = (-self.low / scale).round().clamp(0, LEVELS).int()
        return torch.fake_quantize_per_tensor_affine(x, scale, zero, 0, LEVELS)


def fine_tuned(model: nn.Module, images: TrainingImages, epochs: int, report: Report, seed: int = 0) -> nn.Module:
    """A copy of `model`, a deploy form, after so many passes over the training images; on a GPU where there is one.

    In eval mode throughout: norms keep their statistics and no block is dropped, as in the file.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    teacher, student = (copy.deepcopy(model).to(device).eval() for _ in range(2))
    teacher.requires_grad_(False)
    ends = _ends(student)
    hooks = [hook for layer, last in ends.items() for hook in _round(layer, last)]
    optimiser = torch.optim.AdamW(student.parameters(), RATE, weight_decay=0)
    pool, rng = images.training, np.random.default_rng(seed)
    batches = max(1, len(pool) // BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs * batches)
    for epoch in range(epochs):
        places = np.array_split(rng.permutation(len(pool)), batches)
        for batch, (pixels, labels) in enumerate(pool.batches(places), start=epoch * batches + 1):
            if len(labels):  # none of the files may be readable
                _step(student, teacher, images.norm.apply(pixels).to(device), optimiser)
            schedule.step()
            report(round(batch / batches * len(pool)), epochs * len(pool))
    for hook in hooks:
        hook.remove()
    for layer in ends:
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
    return student.to(next(model.parameters()).device)


def _round(layer: nn.Module, last: nn.Module) -> tuple[RemovableHandle, RemovableHandle]:
    """Have the layer's weights and input rounded, and the output of `last`."""
    parametrize.register_parametrization(layer, "weight", RoundedWeight())
    before, behind = (RoundedMap().to(layer.weight.device) for _ in range(2))
    return (
        layer.register_forward_pre_hook(lambda _, inputs: (before(inputs[0]), *inputs[1:])),
        last.register_forward_hook(lambda _, inputs, output: behind(output)),
    )


def _ends(model: nn.Module) -> dict[nn.Module, nn.Module]:
    """Each layer with weights, and the module behind it whose output a runtime rounds."""
    ends = {part: part for part in model.modules() if isinstance(part, LAYERS)}
    for unit in model.modules():
        if isinstance(unit, ConvModule) and not unit.spec.branches:
            if isinstance(unit.norm, nn.BatchNorm2d):
                ends[unit.conv] = unit.norm
            if isinstance(unit.act, Activation) and unit.act.function in (F.relu, F.relu6):
                ends[unit.conv] = unit.act
    return ends


def _step(student: nn.Module, teacher: nn.Module, x: Tensor, optimiser: torch.optim.Optimizer) -> None:
    """One step of the student towards the teacher's probabilities."""
    with torch.no_grad():
        wanted = F.log_softmax(teacher(x).float(), 1)
    loss = F.kl_div(F.log_softmax(student(x).float(), 1), wanted, reduction="batchmean", log_target=True)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()
