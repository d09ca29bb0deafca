"""Augmentation of a batch of training images and their labels, with random numbers of the caller's generator.

On tensors, so that it runs on the training's device. kornia draws RandAugment's operations once a batch, from torch's
global random state; with a draw for each image, as in the paper, it takes 172 ms a batch of 64 at 64 px on one core,
and this 39 ms including the crop (measured, benchmarks/augmentation.py).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from nasbench.training.geometry import MOVEMENTS, crops, moved
from nasbench.training.pixel_operations import OPERATIONS
from nasbench.training.recipe import TrainingRecipe

IDENTITY = "identity"  # one of RandAugment's operations
CHOICES = (IDENTITY, *MOVEMENTS, *OPERATIONS)
ERASED_AREA = (0.02, 1 / 3)  # share of the image; arXiv:1708.04896 has 0.02 to 0.4, timm a third
ERASED_RATIO = 1 / 0.3  # of its sides, at most


class Mixed(NamedTuple):
    """Two labels of each image, and the share of the first, which is the same for all."""

    labels: Tensor
    others: Tensor
    share: float


def augmented(pixels: Tensor, size: int, recipe: TrainingRecipe, rng: np.random.Generator) -> Tensor:
    """(b, h, w, 3) uint8 -> (b, 3, size, size) floats in 0 to 255: cropped, mirrored, RandAugment applied.

    RandAugment's geometric operations are composed with the crop; its colour operations follow in the order drawn.
    """
    count = len(pixels)
    maps = crops(count, recipe, rng)
    chosen = rng.integers(len(CHOICES), size=(recipe.randaugment, count))
    strength = rng.choice((-1.0, 1.0), chosen.shape) * recipe.magnitude / 10
    for names, strengths in zip(chosen, strength):
        for name, movement in MOVEMENTS.items():
            those = names == CHOICES.index(name)
            maps[those] = maps[those] @ movement(strengths[those])
    images = moved(pixels, maps, size)
    for names, strengths in zip(chosen, strength):
        images = _recoloured(images, names, strengths)
    return images


def _recoloured(images: Tensor, names: np.ndarray, strengths: np.ndarray) -> Tensor:
    """Each image after the colour operation that was drawn for it, if it was one."""
    for name, operation in OPERATIONS.items():
        those = np.flatnonzero(names == CHOICES.index(name))
        if len(those):
            index = torch.from_numpy(those).to(images.device)
            strength = torch.from_numpy(strengths[those]).to(images)[:, None, None, None]
            images = images.index_copy(0, index, operation(images[index], strength))
    return images


def erased(images: Tensor, probability: float, rng: np.random.Generator) -> Tensor:
    """Normalised images (b, c, s, s), each with a rectangle of noise with this probability (random erasing)."""
    if not probability:
        return images
    images = images.clone()
    for index in np.flatnonzero(rng.random(len(images)) < probability):
        top, left, bottom, right = _rectangle(images.shape[-1], rng)
        noise = rng.standard_normal((images.shape[1], bottom - top, right - left), dtype=np.float32)
        images[index, :, top:bottom, left:right] = torch.from_numpy(noise).to(images)
    return images


def _rectangle(size: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
    area, ratio = rng.uniform(*ERASED_AREA), math.exp(rng.uniform(-1, 1) * math.log(ERASED_RATIO))
    height = min(size, max(1, round(size * math.sqrt(area * ratio))))
    width = min(size, max(1, round(size * math.sqrt(area / ratio))))
    top, left = int(rng.integers(size - height + 1)), int(rng.integers(size - width + 1))
    return top, left, top + height, left + width


def mixed(images: Tensor, labels: Tensor, recipe: TrainingRecipe, rng: np.random.Generator) -> tuple[Tensor, Mixed]:
    """Each image (b, 3, s, s) mixed with another of the batch by mixup or CutMix, as the recipe says; by either with
    equal probability where it has both."""
    alphas = {"mixup": recipe.mixup, "cutmix": recipe.cutmix}
    names = [name for name, alpha in alphas.items() if alpha]
    if not names:
        return images, Mixed(labels, labels, 1.0)
    name = names[int(rng.integers(len(names)))]
    share, others = float(rng.beta(alphas[name], alphas[name])), labels.flip(0)
    if name == "mixup":
        images = images.lerp(images.flip(0), 1 - share)
    else:
        images, share = _cut_in(images, share, rng)
    return images, Mixed(labels, others, share)


def _cut_in(images: Tensor, share: float, rng: np.random.Generator) -> tuple[Tensor, float]:
    """The images with a rectangle of another one of the batch in each, and the share of pixels that are their own."""
    size = images.shape[-1]
    half = size * math.sqrt(1 - share) / 2
    middle = rng.uniform(0, size, 2)
    top, left = (max(0, round(place - half)) for place in middle)
    bottom, right = (min(size, round(place + half)) for place in middle)
    images, others = images.clone(), images.flip(0)
    images[..., top:bottom, left:right] = others[..., top:bottom, left:right]
    return images, 1 - (bottom - top) * (right - left) / size**2
