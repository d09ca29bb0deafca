"""The images of a training for use: splits, sizes, normalisation, batches."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from nasbench.proxy.data import ImageData
from nasbench.proxy.data.augment import Normalisation, normalisation
from nasbench.proxy.data.pool import ImagePool, MemoryPool, PoolSpec, open_pool, select
from nasbench.training.geometry import resized
from nasbench.training.recipe import TrainingRecipe

MARGIN = 8 / 7  # factor on the size at which images to be cropped are read, as 256 for 224
ALL = 10**9  # images of a split at most
DATA_SEED = 0  # of the validation split, and of the share of images that is taken


@dataclass(frozen=True)
class SizedNormalisation(Normalisation):
    """A normalisation that also brings images to `size` pixels a side."""

    size: int

    def apply(self, pixels: Tensor) -> Tensor:
        """(b, h, w, 3) in 0 to 255 to (b, c, size, size)."""
        return self.of(resized(pixels.permute(0, 3, 1, 2).float(), self.size))

    def of(self, images: Tensor) -> Tensor:
        """(b, 3, size, size) in 0 to 255, normalised."""
        return super().apply(images.permute(0, 2, 3, 1))


class TrainingImages(NamedTuple):
    """The three splits of a data set, and the normalisation by the training images' statistics."""

    training: ImagePool
    validation: ImagePool
    test: ImagePool
    norm: SizedNormalisation

    @property
    def labels(self) -> np.ndarray:
        """Of the training images, in the order of the pool."""
        pool = self.training
        return pool.labels.cpu().numpy() if isinstance(pool, MemoryPool) else pool.images.labels[pool.indices]


def open_images(
    data: ImageData, size: int, channels: int, recipe: TrainingRecipe, device: str = "cpu", labels: float = 1.0
) -> TrainingImages:
    """The images of `data` for a network of `size` pixels and so many channels; pools that fit are kept in memory.

    `labels`: the share of the training and validation images of each class that is taken.
    """

    def pool(split: str) -> ImagePool:
        side, limit = _side(data, size, recipe, split), _limit(data, split, labels)
        return open_pool(data, PoolSpec(split, side, limit, DATA_SEED), device)

    pools = {split: pool(split) for split in ("train", "validation", "test")}
    statistics = normalisation(pools["train"], channels)
    norm = SizedNormalisation(statistics.mean, statistics.deviation, size)
    return TrainingImages(pools["train"], pools["validation"], pools["test"], norm)


def _limit(data: ImageData, split: str, labels: float) -> int:
    """Images of a split at most: one of each class at least."""
    if labels == 1 or split == "test":
        return ALL
    _, whole = select(data, PoolSpec(split, 1, ALL, DATA_SEED))
    return max(len(data.classes), round(labels * len(whole)))


def _side(data: ImageData, size: int, recipe: TrainingRecipe, split: str) -> int:
    """Pixels a side at which a split is read, at most those of the images, if known."""
    cropped = split == "train" and (recipe.crop_area < 1 or recipe.randaugment > 0)
    side = math.ceil(MARGIN * size) if cropped else size
    return side if data.native_size is None else min(side, data.native_size)


def batch_positions(labels: np.ndarray, recipe: TrainingRecipe, rng: np.random.Generator) -> list[np.ndarray]:
    """One epoch: positions of full batches in random order, without an incomplete last one.

    A balanced sampler draws with replacement, each class with equal probability.
    """
    count, batch = len(labels), recipe.batch_size
    if recipe.balance == "sampler":
        _, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
        share = 1 / counts[inverse]
        order = rng.choice(count, count, p=share / share.sum())
    else:
        order = rng.permutation(count)
    return [order[start : start + batch] for start in range(0, max(1, count - batch + 1), batch)]


def batches_an_epoch(count: int, batch: int) -> int:
    return max(1, count // batch)


def class_weights(labels: np.ndarray, classes: int) -> Tensor:
    """(classes,) weights of the loss by the inverse of each class's frequency, 1 on average over the images."""
    counts = np.bincount(labels, minlength=classes)
    return torch.tensor(len(labels) / (classes * np.maximum(1, counts)), dtype=torch.float32)
