"""Zero-cost scores of a task's untrained network: baselines that a score by training has to beat.

They are taken on the reduced network with the recipe's initial values, as at the start of its training.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from nasbench.nn.model import Model
from nasbench.proxy.data.augment import ordered_positions
from nasbench.proxy.evaluate import TrialImages, dataset, pools, seeded_model
from nasbench.proxy.reduction import reduced
from nasbench.proxy.train import set_initial_values
from nasbench.proxy.untrained import (
    activity,
    gradient_scores,
    jacobian,
    jacobian_covariance,
    naswot,
    swap,
    synflow,
    zen,
    zico,
)
from nasbench.study.task import Task

IMAGES = 64
ZEN_IMAGES = 16  # random ones; more do not change the score much
SCORES = ("jacobian_covariance", "gradient_norm", "snip", "synflow", "naswot", "swap", "zico", "zen")


class Untrained(NamedTuple):
    """A task's reduced network at the start of its training, and the images that it is scored on."""

    model: Model
    images: Tensor
    labels: Tensor
    data_id: str
    proxy_id: str


def untrained(task: Task) -> Untrained:
    """The network and images of a task, as at the start of its training."""
    small = reduced(task.architecture, task.fidelity)
    data = dataset(task.data.name, task.objective)
    model = seeded_model(small, max(1, len(data.classes)), task.seed)
    set_initial_values(model, task.fidelity)
    images, labels = _first_images(pools(task, small.resolution))
    return Untrained(model.to(images.device).train(), images, labels, data.id, small.id)


def zero_cost(task: Task) -> dict[str, Any]:
    """jacobian_covariance, gradient_norm and snip of the task's untrained network, each better when larger.

    The same task gives the same scores on the same machine.
    """
    model, images, labels, data_id, proxy_id = untrained(task)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(task.seed)  # for drop path
        scores = {"jacobian_covariance": jacobian_covariance(jacobian(model, images))}
        scores |= gradient_scores(model, images, labels)
    return {**scores, "data_id": data_id, "proxy_id": proxy_id}


def all_scores(task: Task) -> dict[str, float]:
    """All of `SCORES` of the task's untrained network, each better when larger; NaN or infinite where undefined.

    The first three equal those of `zero_cost`.
    """
    model, images, labels, _, _ = untrained(task)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(task.seed)
        found = {"synflow": synflow(model, images.shape[1:])}  # before batches change the norms' running statistics
        found["zen"] = zen(model, (ZEN_IMAGES, *images.shape[1:]), task.seed, _last_map)
        found["jacobian_covariance"] = jacobian_covariance(jacobian(model, images))
        found |= gradient_scores(model, images, labels)
        found["zico"] = zico(model, images, labels)
        active = activity(model, images)
        found |= {"naswot": naswot(active), "swap": swap(active)}
    return {name: found[name] for name in SCORES}


def _last_map(model: nn.Module, images: Tensor) -> Tensor:
    assert isinstance(model, Model)
    return model.forward_features(images)


def _first_images(images: TrialImages) -> tuple[Tensor, Tensor]:
    positions = next(iter(ordered_positions(len(images.training), IMAGES)), np.arange(0))
    pixels, labels = next(iter(images.training.batches([positions])))
    return images.norm.apply(pixels), labels
