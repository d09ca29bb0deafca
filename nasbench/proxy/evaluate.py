"""One trial: reduce a design, build it, check its cost, train it, score it, check its deploy form."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from nasbench.arch.architecture import Architecture
from nasbench.costs.analytic import cost
from nasbench.costs.counted import count_fvcore
from nasbench.hardware import tune_allocator
from nasbench.nn.model import Model, build, reparameterise
from nasbench.proxy.data import ImageData, load_dataset
from nasbench.proxy.data.augment import Normalisation, normalisation
from nasbench.proxy.data.decoding import say_once
from nasbench.proxy.data.pool import ImagePool, PoolSpec, open_pool
from nasbench.proxy.masked import LR_FACTORS, MaskedLoss, masked_form, score_masked
from nasbench.proxy.reduction import reduced
from nasbench.proxy.train import Trained, score, train
from nasbench.study.fidelity import Fidelity
from nasbench.study.objective import OBJECTIVES
from nasbench.study.task import Task, require_images_for

DEPLOY_TOLERANCE = 1e-9  # relative, in float64
DEPLOY_IMAGES = 8  # on which the two forms are compared
RAY_WORKER_VARIABLE = "RAY_RAYLET_PID"  # set by Ray in the processes that it starts for trials


class CostMismatch(AssertionError):
    """The analytic cost of a network is not what fvcore counts on it: one of the two is wrong."""


class DeployMismatch(AssertionError):
    """The deploy form of a trained network does not compute the same function."""


def evaluate(task: Task) -> dict[str, Any]:
    """Metrics of one task; the same task gives the same result on the same machine.

    Raises `Diverged`, `CostMismatch`, `DeployMismatch`, `UserError`, or what torch raises when memory runs out.
    The objective's own metrics are of the split asked for; proxy_* and fvcore_* count the reduced network
    in its train form at the proxy's resolution, seconds are of the training loop.
    """
    if RAY_WORKER_VARIABLE in os.environ:  # only in workers: a user's process keeps its allocator's settings
        tune_allocator()
    require_images_for(task.architecture.in_channels, task.architecture.label)
    small = reduced(task.architecture, task.fidelity)
    data = dataset(task.data.name, task.objective)
    classes = max(1, len(data.classes))
    model = seeded_model(small, classes, task.seed)
    counts = checked_cost(small, model, classes)
    images = pools(task, small.resolution)
    model = model.to(task.runner.device)
    run, scores = SCORED[task.objective](task, model, images)
    return {
        **scores,
        "train_loss_tail": run.train_loss_tail,
        "samples": run.samples,
        "train_seconds": run.seconds,
        "cpu_seconds": run.cpu_seconds,
        "deploy_difference": deploy_difference(model, images.held_out, images.norm),
        "data_id": data.id,
        "proxy_id": small.id,
        "proxy_resolution": small.resolution,
        **counts,
    }


class TrialImages(NamedTuple):
    """Images to train on, images to score, and the training images' statistics."""

    training: ImagePool
    held_out: ImagePool
    norm: Normalisation


Scored = tuple[Trained, dict[str, Any]]


def _supervised(task: Task, model: Model, images: TrialImages) -> Scored:
    """accuracy and loss: top-1 and mean cross-entropy in nats.

    Where classes are uneven, accuracy is balanced: the mean over classes. top1, balanced_accuracy and majority_share
    (the top-1 of always answering the most frequent class) are reported in any case.
    """
    run = train(model, images.training, task.fidelity, images.norm, task.seed, task.runner)
    result = score(model, images.held_out, images.norm, task.runner.precision)
    uneven = dataset(task.data.name, task.objective).uneven
    return run, {
        "accuracy": result.balanced_accuracy if uneven else result.accuracy,
        "accuracy_is": "balanced" if uneven else "top1",
        "top1": result.accuracy,
        "balanced_accuracy": result.balanced_accuracy,
        "majority_share": result.majority_share,
        "loss": result.loss,
        "scored_images": result.images,
    }


def _masked(task: Task, model: Model, images: TrialImages) -> Scored:
    """masked_error, 1 for predicting the mean; masked_r2 = 1 - masked_error. Trials are scored with the same masks."""
    whole, loss = masked_form(model, task.fidelity, task.seed).to(task.runner.device), MaskedLoss(task.seed)
    rated = task.fidelity.replace(lr=LR_FACTORS[task.fidelity.optimiser] * task.fidelity.lr)
    run = train(whole, images.training, rated, images.norm, task.seed, task.runner, loss)
    result = score_masked(whole, images.held_out, images.norm, task.data.seed, task.runner.precision)
    own = {"mask_grid": whole.grid, "drops_positions": whole.drops, "scored_images": result.images}
    return run, {"masked_r2": 1 - result.error, "masked_error": result.error, **own}


SCORED: dict[str, Callable[[Task, Model, TrialImages], Scored]] = {
    "supervised": _supervised,
    "masked": _masked,
}


@lru_cache(maxsize=2)
def dataset(spec: str, objective: str = "supervised") -> ImageData:
    """The data set, cached in this process; without labels where the objective needs none."""
    return load_dataset(spec, labelled=OBJECTIVES[objective].labelled)


@lru_cache(maxsize=6)
def _pool(data: str, objective: str, spec: PoolSpec, device: str) -> ImagePool:
    return open_pool(dataset(data, objective), spec, device)


def pools(task: Task, size: int) -> TrialImages:
    """The images of a task, `size` pixels a side."""
    fidelity, device = task.fidelity, task.runner.device
    name, seed, split = task.data.name, task.data.seed, task.data.split
    training = _pool(name, task.objective, PoolSpec("train", size, fidelity.pool, seed), device)
    held_out = _pool(name, task.objective, PoolSpec(split, size, fidelity.evaluate, seed), device)
    return TrialImages(training, held_out, normalisation(training, task.architecture.in_channels))


def prepare(
    data: str,
    fidelity: Fidelity,
    resolutions: tuple[int, ...],
    data_seed: int = 0,
    objective: str = "supervised",
) -> ImageData:
    """Decode what trials will read, so that workers find it in the cache and unreadable files are reported once."""
    loaded = dataset(data, objective)
    for size in sorted({fidelity.image_size(resolution) for resolution in resolutions}):
        for split, limit in (("train", fidelity.pool), ("validation", fidelity.evaluate), ("test", fidelity.evaluate)):
            open_pool(loaded, PoolSpec(split, size, limit, data_seed))
    if loaded.uneven:
        labels, counts = np.unique(loaded.train.labels, return_counts=True)
        largest = int(counts.argmax())
        say_once(
            f"data {loaded.name!r}: classes are uneven, {loaded.classes[labels[largest]]} has "
            f"{counts[largest] / counts.sum():.1%} of the training images; accuracy is the mean over classes "
            f"(balanced), for which always answering one class gives {1 / len(counts):.1%}"
        )
    return loaded


def seeded_model(arch: Architecture, classes: int, seed: int) -> Model:
    """The network, initialised from `seed`; the process's random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(arch, classes)


COUNTED = ("params", "macs", "flops")


def checked_cost(arch: Architecture, model: nn.Module, classes: int) -> dict[str, int]:
    """Analytic and fvcore counts of the train form; CostMismatch where they differ, in this or the deploy form.

    Cached, as tracing takes as long as a hundred training steps.
    """
    key = (arch.id, arch.resolution, classes)
    if key not in _checked:
        _checked[key] = _counted_both_ways(arch, model, classes)
    return dict(_checked[key])


_checked: dict[tuple[str, int, int], dict[str, int]] = {}


def _counted_both_ways(arch: Architecture, model: nn.Module, classes: int) -> dict[str, int]:
    analytic = cost(arch, classes, deploy=False)
    counted = count_fvcore(model, arch.resolution)
    _require_equal(arch, "train", analytic, counted)
    deployed = count_fvcore(reparameterise(model), arch.resolution)
    _require_equal(arch, "deploy", cost(arch, classes, deploy=True), deployed)
    own = {f"proxy_{name}": int(getattr(analytic, name)) for name in COUNTED}
    return own | {f"fvcore_{name}": int(counted[name]) for name in COUNTED}


def _require_equal(arch: Architecture, form: str, analytic: Any, counted: Mapping[str, Any]) -> None:
    for name in COUNTED:
        if getattr(analytic, name) != counted[name]:
            raise CostMismatch(
                f"{arch.label} ({form} form, {arch.resolution} px): {name} is {getattr(analytic, name)} analytically "
                f"and {counted[name]} by fvcore; they must be equal: please report this design"
            )


@torch.no_grad()
def deploy_difference(model: nn.Module, pool: ImagePool, norm: Normalisation) -> float:
    """Largest change of a logit, relative to the largest logit, by re-parameterising; in float64 on the CPU.

    DeployMismatch where it exceeds DEPLOY_TOLERANCE.
    """
    pixels, _ = next(iter(pool.batches([np.arange(min(DEPLOY_IMAGES, len(pool)))])))
    images = norm.apply(pixels.cpu()).double()
    exact = copy.deepcopy(model).cpu().double().eval()
    before, after = exact(images), reparameterise(exact)(images)
    difference = float((before - after).abs().max() / before.abs().max())
    if not difference <= DEPLOY_TOLERANCE:
        raise DeployMismatch(
            f"re-parameterising changes the trained network's logits by {difference:.2g}, more than "
            f"{DEPLOY_TOLERANCE:g}: please report this design"
        )
    return difference
