"""Muon: momentum with orthogonalised steps, matrix by matrix (kellerjordan.github.io/posts/muon, 2024).

An orthogonal step changes all directions of a weight equally, whatever the gradient's scale: within a hundred steps
plain stacks of convolutions and token networks learned with it, and did not with SGD and AdamW (results/proxy).
torch.optim.Muon takes matrices only, no convolution kernels, and older versions of torch do not have it.
"""

from __future__ import annotations

import inspect
import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the Newton-Schulz quintic, from the post above
ITERATIONS = 4  # singular values end within about 0.7 to 1.2, which is orthogonal enough
MATCHED_RMS = 0.2  # steps as large as AdamW's: Eq. 4 of arXiv:2502.16982
SQUARES_DECAY = 0.99  # Adam's beta2; 0.999 remembers longer than these schedules last
REST_RATE = 2 / 15  # share of the learning rate for parameters that Adam updates: 4e-3 at 0.03
EPS = 1e-8


class Muon(torch.optim.Optimizer):
    """Groups with matrices=True get orthogonal steps, kernels as (c_out, c_in·k·k); others are updated by Adam.

    `lr` and `weight_decay` mean what they do for AdamW: the RMS of a step is 0.2 x `lr`, decay is decoupled.
    """

    # torch keeps its compiler out of these two, and imports it for that: a second of every process that trains.
    add_param_group = inspect.unwrap(torch.optim.Optimizer.add_param_group)
    zero_grad = inspect.unwrap(torch.optim.Optimizer.zero_grad)

    def __init__(self, groups: Sequence[dict[str, Any]], lr: float, momentum: float) -> None:
        super().__init__(list(groups), {"lr": lr, "momentum": momentum, "weight_decay": 0.0, "matrices": False})
        for group in self.param_groups:
            group["lr"] *= 1.0 if group["matrices"] else REST_RATE

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            if not parameters:
                continue
            torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
            (self._step_matrices if group["matrices"] else self._step_rest)(parameters, group)

    def _step_matrices(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        averages = self._averages(parameters, "average")
        gradients = [p.grad for p in parameters]
        torch._foreach_lerp_(averages, gradients, 1 - group["momentum"])
        ahead = torch._foreach_lerp(gradients, averages, group["momentum"])  # Nesterov
        by_shape = defaultdict(list)  # matrices of one shape are orthogonalised as a batch
        for parameter, direction in zip(parameters, ahead):
            matrix = direction.reshape(len(direction), -1)
            by_shape[matrix.shape].append((parameter, matrix))
        for shape, pairs in by_shape.items():
            steps = orthogonalised(torch.stack([matrix for _, matrix in pairs]))
            size = MATCHED_RMS * math.sqrt(max(shape)) * group["lr"]
            for (parameter, _), step in zip(pairs, steps):
                parameter.sub_(step.reshape(parameter.shape), alpha=size)

    def _step_rest(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        averages, squares = self._averages(parameters, "average"), self._averages(parameters, "square")
        gradients, beta = [p.grad for p in parameters], group["momentum"]
        count = group["count"] = group.get("count", 0) + 1
        torch._foreach_lerp_(averages, gradients, 1 - beta)
        torch._foreach_mul_(squares, SQUARES_DECAY)
        torch._foreach_addcmul_(squares, gradients, gradients, 1 - SQUARES_DECAY)
        deviations = torch._foreach_div(squares, 1 - SQUARES_DECAY**count)
        torch._foreach_sqrt_(deviations)
        torch._foreach_add_(deviations, EPS)
        torch._foreach_addcdiv_(parameters, averages, deviations, -group["lr"] / (1 - beta**count))

    def _averages(self, parameters: list[Tensor], name: str) -> list[Tensor]:
        """The running averages of this name, zero at first."""
        for parameter in parameters:
            if name not in self.state[parameter]:
                self.state[parameter][name] = torch.zeros_like(parameter)
        return [self.state[parameter][name] for parameter in parameters]


def orthogonalised(matrices: Tensor) -> Tensor:
    """(n, rows, columns) -> the same with every singular value near 1, by Newton-Schulz iterations."""
    wide = matrices.mT if matrices.shape[1] > matrices.shape[2] else matrices  # so that x @ x.mT is the smaller product
    x = wide / (wide.norm(dim=(1, 2), keepdim=True) + 1e-7)
    a, b, c = COEFFICIENTS
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if wide is not matrices else x


def is_matrix(parameter: nn.Parameter) -> bool:
    """Whether it maps several inputs to several outputs; a depthwise kernel does not, as its channels are separate."""
    depthwise = parameter.ndim == 4 and parameter.shape[1] == 1
    return parameter.ndim >= 2 and min(parameter.shape[0], parameter[0].numel()) > 1 and not depthwise
