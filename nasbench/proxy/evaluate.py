"""One trial: reduce a design, build it, check its cost, train it, score it, check its deploy form."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import nn

from nasbench.architecture import Architecture
from nasbench.cost import cost, count_fvcore
from nasbench.model import build, reparameterise
from nasbench.proxy.data import ImageData, load_dataset
from nasbench.proxy.data.augment import Normalisation, normalisation
from nasbench.proxy.data.pool import Pool, PoolSpec, open_pool
from nasbench.proxy.fidelity import Fidelity, reduced
from nasbench.proxy.train import PRECISIONS, score, train, tune_allocator

ACCELERATORS = ("cpu", "cuda")
SPLITS = ("validation", "test")
DEPLOY_TOLERANCE = 1e-9  # relative, in float64
DEPLOY_IMAGES = 8
RAY_WORKER_VARIABLE = "RAY_RAYLET_PID"  # set by Ray in the processes that it starts for trials


class CostMismatch(AssertionError):
    """The analytic cost of a network is not what fvcore counts on it: one of the two is wrong."""


class DeployMismatch(AssertionError):
    """The deploy form of a trained network does not compute the same function."""


@dataclass(frozen=True)
class Task:
    """What a worker is asked for; plain values that cross process borders and are stored as they are."""

    architecture: Mapping[str, Any]
    fidelity: Mapping[str, Any]
    seed: int
    data: str = "fashion-on-earth"
    data_seed: int = 0
    split: str = "validation"
    accelerator: str = "cpu"
    precision: str = "float32"
    channels_last: bool = True

    def __post_init__(self) -> None:
        for name, known in (("split", SPLITS), ("accelerator", ACCELERATORS), ("precision", PRECISIONS)):
            if getattr(self, name) not in known:
                raise ValueError(f"unknown {name} {getattr(self, name)!r}; known: {', '.join(known)}")


def evaluate(task: Mapping[str, Any]) -> dict[str, Any]:
    """Metrics of one `Task`, given as a dict; the same task gives the same result on the same machine.

    Raises `Diverged`, `CostMismatch`, `DeployMismatch`, `UserError`, or what torch raises when memory runs out.
    accuracy and loss are of the split asked for; proxy_* and fvcore_* count the reduced network
    in its train form at the proxy's resolution, seconds are of the training loop.
    """
    wanted = Task(**task)
    if RAY_WORKER_VARIABLE in os.environ:  # a process of our own; in a user's, memory is the user's business
        tune_allocator()
    fidelity = Fidelity.from_dict(wanted.fidelity)
    small = reduced(Architecture.from_dict(dict(wanted.architecture)), fidelity)
    data = dataset(wanted.data)
    model = seeded_model(small, len(data.classes), wanted.seed)
    counts = checked_cost(small, model, len(data.classes))
    device = wanted.accelerator
    pool, held_out, norm = pools(wanted, fidelity, small.resolution)
    model = model.to(device)
    run = train(model, pool, fidelity, norm, wanted.seed, wanted.precision, wanted.channels_last)
    result = score(model, held_out, norm, wanted.precision)
    return {
        "accuracy": result.accuracy,
        "loss": result.loss,
        "train_loss_tail": run.train_loss_tail,
        "samples": run.samples,
        "scored_images": result.images,
        "train_seconds": run.seconds,
        "cpu_seconds": run.cpu_seconds,
        "deploy_difference": deploy_difference(model, held_out, norm),
        "data_id": data.id,
        "proxy_id": small.id,
        "proxy_resolution": small.resolution,
        **counts,
    }


@lru_cache(maxsize=2)
def dataset(spec: str) -> ImageData:
    """The data set, kept for the next trial of this process."""
    return load_dataset(spec)


@lru_cache(maxsize=6)
def _pool(data: str, spec: PoolSpec, device: str) -> Pool:
    return open_pool(dataset(data), spec, device)


def pools(task: Task, fidelity: Fidelity, size: int) -> tuple[Pool, Pool, Normalisation]:
    """Training images, images to score, and the training images' statistics."""
    training = PoolSpec("train", size, fidelity.pool, task.data_seed)
    scored = PoolSpec(task.split, size, fidelity.evaluate, task.data_seed)
    pool = _pool(task.data, training, task.accelerator)
    return pool, _pool(task.data, scored, task.accelerator), normalisation(pool)


def prepare(data: str, fidelity: Mapping[str, Any], resolutions: tuple[int, ...], data_seed: int = 0) -> ImageData:
    """Decode what trials will read, so that workers find it in the cache and bad files are named to the user once."""
    values, loaded = Fidelity.from_dict(fidelity), dataset(data)
    for size in sorted({values.image_size(resolution) for resolution in resolutions}):
        for split, limit in (("train", values.pool), ("validation", values.evaluate), ("test", values.evaluate)):
            open_pool(loaded, PoolSpec(split, size, limit, data_seed))
    return loaded


def seeded_model(arch: Architecture, classes: int, seed: int) -> nn.Module:
    """The network, initialised from `seed` without touching the process's random state."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(arch, classes)


COUNTED = ("params", "macs", "flops")


def checked_cost(arch: Architecture, model: nn.Module, classes: int) -> dict[str, int]:
    """Analytic and fvcore counts of the train form and of the deploy form, which must agree to the last unit."""
    analytic = cost(arch, classes, deploy=False)
    counted = count_fvcore(model, arch.resolution)
    _compare(arch, "train", analytic, counted)
    _compare(arch, "deploy", cost(arch, classes, deploy=True), count_fvcore(reparameterise(model), arch.resolution))
    own = {f"proxy_{name}": int(getattr(analytic, name)) for name in COUNTED}
    return own | {f"fvcore_{name}": int(counted[name]) for name in COUNTED}


def _compare(arch: Architecture, form: str, analytic: Any, counted: Mapping[str, Any]) -> None:
    for name in COUNTED:
        if getattr(analytic, name) != counted[name]:
            raise CostMismatch(
                f"{arch.label} ({form} form, {arch.resolution} px): {name} is {getattr(analytic, name)} analytically "
                f"and {counted[name]} by fvcore; they must be equal: please report this design"
            )


@torch.no_grad()
def deploy_difference(model: nn.Module, pool: Pool, norm: Normalisation) -> float:
    """Largest relative change of a logit when the trained network is re-parameterised, in float64 on the CPU."""
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
