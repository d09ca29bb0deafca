"""RandAugment's operations on colours (arXiv:1909.13719), each on a batch (n, 3, s, s) of floats in 0 to 255.

`strength` (n, 1, 1, 1) lies in -1 to 1. The ranges are torchvision's: a factor of 1 ± 0.9, 8 to 4 bits, any threshold.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from nasbench.proxy.data.augment import GREY

WHITE = 255.0
LEVELS = 256
FACTOR = 0.9  # a factor lies within 1 ± this
BITS = 4  # that the strongest posterising takes away
Operation = Callable[[Tensor, Tensor], Tensor]


def brightness(images: Tensor, strength: Tensor) -> Tensor:
    return _within(images * (1 + FACTOR * strength))


def colour(images: Tensor, strength: Tensor) -> Tensor:
    return _blended(_grey(images), images, strength)


def contrast(images: Tensor, strength: Tensor) -> Tensor:
    return _blended(_grey(images).mean((1, 2, 3), keepdim=True), images, strength)


def sharpness(images: Tensor, strength: Tensor) -> Tensor:
    """Away from a blurred image, or towards it; the border stays."""
    kernel = torch.ones(3, 3, dtype=images.dtype, device=images.device)
    kernel[1, 1] = 5.0
    blurred = images.clone()
    blurred[..., 1:-1, 1:-1] = conv2d(images, (kernel / kernel.sum()).expand(3, 1, 3, 3), groups=3)
    return _blended(blurred, images, strength)


def posterise(images: Tensor, strength: Tensor) -> Tensor:
    step = 2.0 ** (BITS * strength.abs()).round()
    return (images.round() / step).floor() * step  # interpolation leaves 127.9999 where 128 was


def solarise(images: Tensor, strength: Tensor) -> Tensor:
    return torch.where(images.round() >= WHITE * (1 - strength.abs()), WHITE - images, images)


def autocontrast(images: Tensor, strength: Tensor) -> Tensor:
    """Each channel from black to white, where it has more than one level."""
    low, high = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)
    return _within(torch.where(high - low >= 1, (images - low) * (WHITE / (high - low).clamp(min=1)), images))


def equalise(images: Tensor, strength: Tensor) -> Tensor:
    """Each channel's levels spread so that all are equally frequent, by Pillow's rule."""
    levels = images.round().long().flatten(2).flatten(0, 1)  # (3n, pixels)
    counts = images.new_zeros(len(levels), LEVELS).scatter_add_(1, levels, torch.ones_like(levels, dtype=images.dtype))
    last = _last_level(counts)
    step = ((counts.sum(1, keepdim=True) - counts.gather(1, last)) / (LEVELS - 1)).floor()
    below = counts.cumsum(1) - counts
    table = ((below + (step / 2).floor()) / step.clamp(min=1)).floor().clamp(max=WHITE)
    return torch.where(step > 0, table.gather(1, levels), levels.float()).view_as(images)


def _last_level(counts: Tensor) -> Tensor:
    """(3n, 1): the highest level that occurs in each channel."""
    places = torch.arange(LEVELS, device=counts.device)
    return ((counts > 0) * places).amax(1, keepdim=True)


def _grey(images: Tensor) -> Tensor:
    return (images * images.new_tensor(GREY)[:, None, None]).sum(1, keepdim=True)


def _blended(other: Tensor, images: Tensor, strength: Tensor) -> Tensor:
    """From `other` at -1 / 0.9 over the images at 0 to as far beyond them."""
    return _within(other + (1 + FACTOR * strength) * (images - other))


def _within(images: Tensor) -> Tensor:
    return images.clamp(0, WHITE)


OPERATIONS: dict[str, Operation] = {
    operation.__name__: operation
    for operation in (brightness, colour, contrast, sharpness, posterise, solarise, autocontrast, equalise)
}
