"""Converts batches of pixels to normalised network input, and flips and shifts them; `rng` comes from the caller."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from nasbench.proxy.data.pool import ImagePool, MemoryPool

GREY = (0.299, 0.587, 0.114)  # weights of red, green, blue: ITU-R BT.601, as in Pillow's mode "L"
STATISTICS_IMAGES = 2_000  # enough for the mean and deviation of a channel to three digits


def shuffled_positions(count: int, samples: int, batch: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Batches of positions (batch,) in a pool of `count`: passes in random order, about `samples` positions in all."""
    waiting = np.empty(0, dtype=np.int64)
    for _ in range(max(1, round(samples / batch))):
        while len(waiting) < batch:
            waiting = np.concatenate([waiting, rng.permutation(count)])
        yield waiting[:batch]
        waiting = waiting[batch:]


def ordered_positions(count: int, batch: int) -> Iterator[np.ndarray]:
    """Batches of the positions 0 to `count` - 1 in order."""
    for start in range(0, count, batch):
        yield np.arange(start, min(start + batch, count))


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation (c,) of the training images' channels, in 0..255; one of each for grey images."""

    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    def apply(self, pixels: torch.Tensor) -> torch.Tensor:
        """(b, s, s, 3) uint8 to (b, c, s, s) float32, channels last in memory."""
        mean, deviation = (torch.tensor(values, device=pixels.device) for values in (self.mean, self.deviation))
        return ((_with_channels(pixels.float(), len(self.mean)) - mean) / deviation).permute(0, 3, 1, 2)


def _with_channels(pixels: torch.Tensor, channels: int) -> torch.Tensor:
    """(..., 3) colours as they are for a network of 3 input channels, else (..., 1) grey."""
    return pixels if channels == len(GREY) else pixels @ pixels.new_tensor(GREY)[:, None]


def normalisation(pool: ImagePool, channels: int = len(GREY)) -> Normalisation:
    """Channel statistics of up to STATISTICS_IMAGES images of a training pool, for a network of 3 input channels or 1.

    The first images of a pool in memory, evenly spaced ones of a streaming pool and of one sorted by class.
    """
    mixed = isinstance(pool, MemoryPool) and bool((pool.labels.diff() < 0).any())
    step = 1 if mixed else max(1, len(pool) // STATISTICS_IMAGES)
    positions = np.arange(0, len(pool), step)[:STATISTICS_IMAGES]
    pixels = torch.cat([batch for batch, _ in pool.batches(np.array_split(positions, 1 + len(positions) // 64))])
    flat = _with_channels(pixels.reshape(-1, len(GREY)).double(), channels)
    mean, deviation = flat.mean(0).tolist(), flat.std(0).clamp(min=1.0).tolist()
    return Normalisation(tuple(mean), tuple(deviation))


def flip_and_shift(pixels: torch.Tensor, shift: float, flip: bool, rng: np.random.Generator) -> torch.Tensor:
    """(b, s, s, 3): each image shifted by up to `shift` of its side and, with `flip`, mirrored with probability 1/2.

    What a shift leaves empty is filled by reflection.
    """
    count, size = pixels.shape[:2]
    reach = round(shift * size)
    moves = rng.integers(-reach, reach + 1, (2, count, 1))
    mirrored = rng.random((count, 1)) < (0.5 if flip else 0.0)
    rows, columns = (_reflected(np.arange(size) + move, size) for move in moves)  # (count, size) each
    columns = np.where(mirrored, size - 1 - columns, columns)
    image, row, column = (torch.from_numpy(index).to(pixels.device) for index in (np.arange(count), rows, columns))
    return pixels[image[:, None, None], row[:, :, None], column[:, None, :]]


def _reflected(index: np.ndarray, size: int) -> np.ndarray:
    """Indices outside 0 to `size` - 1 reflected at the edges."""
    return (size - 1) - np.abs((size - 1) - np.abs(index))
