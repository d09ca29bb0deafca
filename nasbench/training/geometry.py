"""Geometric augmentation: crops, mirrors and RandAugment's operations, composed to one affine map an image.

So an image is interpolated once.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, interpolate

from nasbench.training.recipe import TrainingRecipe

RATIO = 4 / 3  # of the sides of a crop, at most; at least its inverse
ROTATION = math.radians(30)  # RandAugment's largest movements, as torchvision has them
SHEAR = 0.3
TRANSLATION = 2 * 150 / 331  # in coordinates from -1 to 1


def crops(count: int, recipe: TrainingRecipe, rng: np.random.Generator) -> np.ndarray:
    """(count, 3, 3): random resized crops, shifts and mirrors, from output to input coordinates in -1 to 1."""
    maps = _identities(count)
    if recipe.crop_area < 1:
        area = rng.uniform(recipe.crop_area, 1, count)
        ratio = np.exp(rng.uniform(-math.log(RATIO), math.log(RATIO), count))
        sides = np.minimum(1.0, np.sqrt(np.stack([area * ratio, area / ratio])))  # (2, count): width, height
        maps[:, 0, 0], maps[:, 1, 1] = sides
        maps[:, :2, 2] = (rng.uniform(-1, 1, (2, count)) * (1 - sides)).T
    if recipe.shift:
        maps[:, :2, 2] += rng.uniform(-2 * recipe.shift, 2 * recipe.shift, (count, 2))
    if recipe.flip:
        maps[:, 0, 0] *= rng.choice((-1.0, 1.0), count)
    return maps


def rotation(strength: np.ndarray) -> np.ndarray:
    maps, angle = _identities(len(strength)), ROTATION * strength
    maps[:, 0, 0] = maps[:, 1, 1] = np.cos(angle)
    maps[:, 0, 1], maps[:, 1, 0] = -np.sin(angle), np.sin(angle)
    return maps


def shear_x(strength: np.ndarray) -> np.ndarray:
    return _with(strength * SHEAR, 0, 1)


def shear_y(strength: np.ndarray) -> np.ndarray:
    return _with(strength * SHEAR, 1, 0)


def translation_x(strength: np.ndarray) -> np.ndarray:
    return _with(strength * TRANSLATION, 0, 2)


def translation_y(strength: np.ndarray) -> np.ndarray:
    return _with(strength * TRANSLATION, 1, 2)


MOVEMENTS = {movement.__name__: movement for movement in (rotation, shear_x, shear_y, translation_x, translation_y)}


def moved(pixels: Tensor, maps: np.ndarray, size: int) -> Tensor:
    """(b, h, w, 3) uint8 -> (b, 3, size, size) floats in 0 to 255, each read through its map; edges reflect."""
    images = pixels.permute(0, 3, 1, 2).float()
    if np.array_equal(maps, np.broadcast_to(np.eye(3), maps.shape)):
        return resized(images, size)
    theta = torch.from_numpy(maps[:, :2]).to(images)
    grid = affine_grid(theta, [len(images), 3, size, size], align_corners=False)
    return grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def resized(images: Tensor, size: int) -> Tensor:
    """(b, 3, h, w) at another size."""
    if images.shape[-2:] == (size, size):
        return images
    return interpolate(images, (size, size), mode="bilinear", antialias=True, align_corners=False)


def _identities(count: int) -> np.ndarray:
    return np.tile(np.eye(3), (count, 1, 1))


def _with(values: np.ndarray, row: int, column: int) -> np.ndarray:
    maps = _identities(len(values))
    maps[:, row, column] = values
    return maps
