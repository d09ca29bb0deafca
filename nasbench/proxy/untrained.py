"""Scores of an untrained network from one batch of images (zero-cost proxies): larger should mean a better network.

Each is as its paper defines it, for any module that maps images (n, c, h, w) to logits (n, classes). Docstrings say
where a definition had to be extended to other kinds of networks than its paper's.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from nasbench.blocks.norm import Activation

JITTER = 1e-5  # added to eigenvalues, so that the logarithm of 0 is finite; as in the authors' code
ZICO_BATCHES = 2  # batches to split the images into; arXiv:2301.11300, section 4.1, finds two enough
ZEN_STEP = 0.01  # alpha of arXiv:2102.01063, Algorithm 1
ACTIVATIONS = (Activation, nn.ReLU, nn.ReLU6, nn.GELU, nn.SiLU, nn.Hardswish)  # no sigmoids: gates
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.SyncBatchNorm)


def jacobian(model: nn.Module, images: Tensor) -> Tensor:
    """(n, d) the gradient of the sum of each image's logits with respect to its own pixels."""
    images = images.detach().clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(model(images).float().sum(), images)
    return gradient.flatten(1)


def jacobian_covariance(rows: Tensor) -> float:
    """Score of arXiv:2006.04647v1 from `rows` (n, d), see `jacobian`: high where images have uncorrelated rows.

    -sum(log(e) + 1 / e) over the eigenvalues e of the rows' correlations; at most -n. NaN where a row is constant.
    """
    correlations = torch.corrcoef(rows.double())
    if not bool(torch.isfinite(correlations).all()):
        return float("nan")
    eigenvalues = torch.linalg.eigvalsh(correlations).clamp(min=0) + JITTER
    return float(-(eigenvalues.log() + 1 / eigenvalues).sum())


def gradient_scores(model: nn.Module, images: Tensor, labels: Tensor) -> dict[str, float]:
    """gradient_norm and snip (arXiv:2101.08134) of the cross-entropy of one batch.

    The sum over weight tensors of their gradient's norm, and the sum of |weight x gradient|.
    """
    pairs = [(weight.detach(), gradient) for weight, gradient in _gradients(model, images, labels)]
    return {
        "gradient_norm": float(sum(gradient.double().norm() for _, gradient in pairs)),
        "snip": float(sum((weight * gradient).abs().double().sum() for weight, gradient in pairs)),
    }


def _gradients(model: nn.Module, images: Tensor, labels: Tensor) -> list[tuple[nn.Parameter, Tensor]]:
    """Each weight tensor that the batch's cross-entropy depends on, with its gradient; without norms and biases."""
    weights = _weights(model)
    gradients = torch.autograd.grad(cross_entropy(model(images).float(), labels), weights, allow_unused=True)
    return [(weight, gradient) for weight, gradient in zip(weights, gradients) if gradient is not None]


def _weights(model: nn.Module) -> list[nn.Parameter]:
    """Parameters of two or more dimensions: no norms, no biases."""
    return [parameter for parameter in model.parameters() if parameter.ndim > 1]


def zico(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Sum over layers of log(sum over weights of E|g| / sqrt(Var|g|)), g the gradients in ZICO_BATCHES batches.

    Eq. 15 of arXiv:2301.11300. Weights with the same |g| in all batches are left out, and layers without any others.
    """
    batches = zip(images.chunk(ZICO_BATCHES), labels.chunk(ZICO_BATCHES))
    found: dict[nn.Parameter, list[Tensor]] = {}
    for some, of_them in batches:
        for weight, gradient in _gradients(model, some, of_them):
            found.setdefault(weight, []).append(gradient.abs().double())
    return float(sum(_layer_zico(torch.stack(each)) for each in found.values()))


def _layer_zico(gradients: Tensor) -> float:
    """ZiCo of one layer from its |g| (batches, ...)."""
    mean, deviation = gradients.mean(0), gradients.std(0, correction=0)
    varying = deviation > 0
    total = float((mean[varying] / deviation[varying]).sum())
    return float(np.log(total)) if total > 0 else 0.0


def synflow(model: nn.Module, shape: Sequence[int]) -> float:
    """log of the sum of |theta x dR/dtheta| over weights (arXiv:2006.05467).

    R: sum of the logits for an image of ones of `shape` (c, h, w), with all parameters replaced by their absolute
    values. Norms are in eval mode, in which a new batch norm is the identity; float64, since R grows from layer to
    layer. NaN where the sum is 0.
    """
    flowing = copy.deepcopy(model).double().eval()
    with torch.no_grad():
        for parameter in flowing.parameters():
            parameter.abs_()
    weights = _weights(flowing)
    total = flowing(torch.ones(1, *shape, dtype=torch.float64, device=weights[0].device)).sum()
    gradients = torch.autograd.grad(total, weights, allow_unused=True)
    flow = sum(float((w.detach() * g).abs().sum()) for w, g in zip(weights, gradients) if g is not None)
    return float(np.log(flow)) if flow > 0 else float("nan")


@torch.no_grad()
def activity(model: nn.Module, images: Tensor) -> np.ndarray:
    """(n, units) bool: whether a unit's activation is above zero for an image.

    For ReLU this is the code of the linear region; GELU, SiLU and hard swish have the sign of their input as well.
    """
    found: list[np.ndarray] = []

    def keep(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if len(output) == len(images):
            found.append((output > 0).flatten(1).cpu().numpy())

    hooks = [each.register_forward_hook(keep) for each in model.modules() if isinstance(each, ACTIVATIONS)]
    try:
        model(images)
    finally:
        for hook in hooks:
            hook.remove()
    return np.concatenate(found, axis=1) if found else np.empty((len(images), 0), bool)


def naswot(active: np.ndarray) -> float:
    """log |K|, K the number of units in which each two images agree (arXiv:2006.04647v3), from `activity`.

    Minus infinity where two images have the same code.
    """
    code = active.astype(np.float32)
    both, on = (code @ code.T).astype(float), active.sum(1, dtype=float)
    agree = 2 * both + active.shape[1] - on[:, None] - on[None]  # active for both, or for neither
    sign, logarithm = np.linalg.slogdet(agree)
    return float(logarithm) if sign > 0 else float("-inf")


def swap(active: np.ndarray) -> float:
    """The number of different patterns over the images among the units (arXiv:2403.04161, without regularisation)."""
    packed = np.ascontiguousarray(np.packbits(active, axis=0).T)  # (units, bytes)
    return float(len(np.unique(packed.view(f"V{packed.shape[1]}")))) if packed.size else 0.0


@torch.no_grad()
def zen(
    model: nn.Module, shape: Sequence[int], seed: int, features: Callable[[nn.Module, Tensor], Tensor] | None = None
) -> float:
    """log of the mean change of `features` for a small change of the images, plus the logs of batch norms' deviations.

    Algorithm 1 of arXiv:2102.01063: weights, images and changes of `shape` (n, c, h, w) are standard normal. Unlike in
    the paper, whose networks are plain, skips are kept. features: the module's outputs by default.
    """
    drawn, features = copy.deepcopy(model).train(), features or (lambda module, x: module(x))
    generator = torch.Generator().manual_seed(seed)
    for module in drawn.modules():
        if isinstance(module, NORMS) and module.affine:
            module.weight.fill_(1), module.bias.zero_()
    for weight in _weights(drawn):
        weight.copy_(torch.randn(weight.shape, generator=generator))
    images, steps = (torch.randn(*shape, generator=generator).to(_device(drawn)) for _ in range(2))
    scales: list[Tensor] = []
    hooks = [
        each.register_forward_pre_hook(partial(_keep_scale, scales)) for each in drawn.modules()
        if isinstance(each, NORMS)
    ]  # fmt: skip
    try:
        before = features(drawn, images)
    finally:
        for hook in hooks:
            hook.remove()
    moved = (features(drawn, images + ZEN_STEP * steps) - before).abs().double().mean()
    return float(moved.log() + sum(scale.log() for scale in scales))


def _keep_scale(scales: list[Tensor], _module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    """Append the root of the channels' mean variance over batch and positions."""
    x = inputs[0].double().transpose(0, 1).flatten(1)
    scales.append(x.var(1, correction=0).mean().sqrt())


def _device(model: nn.Module) -> torch.device:
    return next(model.parameters()).device
