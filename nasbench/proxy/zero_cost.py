"""Scores of a network that was not trained, from one batch of images: what a training has to be better than.

They are taken on the reduced network with the recipe's initial values, as a training would find it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from nasbench.proxy.data.augment import ordered_positions
from nasbench.proxy.evaluate import TrialImages, dataset, pools, seeded_model
from nasbench.proxy.reduction import reduced
from nasbench.proxy.train import set_initial_values
from nasbench.study.task import Task

IMAGES = 64
JITTER = 1e-5  # keeps the logarithm of a vanishing eigenvalue finite, as in the authors' code


def zero_cost(task: Task) -> dict[str, Any]:
    """jacobian_covariance, gradient_norm and snip of the task's untrained network, each better when larger.

    The same task gives the same scores on the same machine.
    """
    small = reduced(task.architecture, task.fidelity)
    data = dataset(task.data.name, task.objective)
    model = seeded_model(small, max(1, len(data.classes)), task.seed)
    set_initial_values(model, task.fidelity)
    images, labels = _first_images(pools(task, small.resolution))
    model = model.to(images.device).train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(task.seed)  # of dropped paths
        scores = {"jacobian_covariance": jacobian_covariance(jacobian(model, images))}
        scores |= gradient_scores(model, images, labels)
    return {**scores, "data_id": data.id, "proxy_id": small.id}


def _first_images(images: TrialImages) -> tuple[Tensor, Tensor]:
    positions = next(iter(ordered_positions(len(images.training), IMAGES)), np.arange(0))
    pixels, labels = next(iter(images.training.batches([positions])))
    return images.norm.apply(pixels), labels


def jacobian(model: nn.Module, images: Tensor) -> Tensor:
    """(n, d) the gradient of the sum of each image's logits with respect to its own pixels."""
    images = images.detach().clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(model(images).float().sum(), images)
    return gradient.flatten(1)


def jacobian_covariance(rows: Tensor) -> float:
    """How differently a network responds to different images (arXiv:2006.04647v1): minus the divergence of the
    correlations of the `rows` from none at all. At most minus their number; NaN where a row is constant."""
    correlations = torch.corrcoef(rows.double())
    if not bool(torch.isfinite(correlations).all()):
        return float("nan")
    eigenvalues = torch.linalg.eigvalsh(correlations).clamp(min=0) + JITTER
    return float(-(eigenvalues.log() + 1 / eigenvalues).sum())


def gradient_scores(model: nn.Module, images: Tensor, labels: Tensor) -> dict[str, float]:
    """gradient_norm, the sum over weights of their gradient's norm, and snip, the sum of |weight x gradient|
    (arXiv:2101.08134); of the cross-entropy of one batch."""
    weights = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    gradients = torch.autograd.grad(cross_entropy(model(images).float(), labels), weights, allow_unused=True)
    pairs = [(weight.detach(), gradient) for weight, gradient in zip(weights, gradients) if gradient is not None]
    return {
        "gradient_norm": float(sum(gradient.double().norm() for _, gradient in pairs)),
        "snip": float(sum((weight * gradient).abs().double().sum() for weight, gradient in pairs)),
    }
