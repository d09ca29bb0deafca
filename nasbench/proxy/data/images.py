"""The form of every image data set: splits of labelled images that are read at a given size."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

VALIDATION_FRACTION = 0.2  # of the training images
VALIDATION_LIMIT = 5_000  # 5,000 images put the standard error of an accuracy of 0.7 at 0.65 points
UNEVEN = 1.5  # largest over smallest class; above it accuracy is balanced. The named data sets have 1.11 and 1


class Images(Protocol):
    """Labelled images of one split; `labels` is (n,) int64."""

    @property
    def labels(self) -> np.ndarray: ...

    def read(self, indices: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Pixels (m, size, size, 3) uint8 of `indices` (k,), and the positions (m,) in `indices` that could be read."""
        ...


@dataclass(frozen=True, eq=False)
class ArrayImages:
    """Images held in memory: `pixels` (n, height, width, 3) uint8, `labels` (n,) int64."""

    pixels: np.ndarray
    labels: np.ndarray

    def read(self, indices: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
        return resize(self.pixels[indices], size), np.arange(len(indices))


@dataclass(frozen=True, eq=False)
class ImageData:
    """A data set: training images, and a test split that no search uses; validation is cut from training if not given.

    id: a hash of the content. Trials store it, so that results on different images are not mixed.
    """

    name: str
    id: str
    classes: tuple[str, ...]
    train: Images
    test: Images
    native_size: int | None = None  # side in pixels where all images share it; None for a folder of photographs
    notes: tuple[str, ...] = field(default=())  # for users, one line each
    validation: Images | None = None  # where the data set brings its own

    @property
    def uneven(self) -> bool:
        """Whether training classes differ so much in size that plain accuracy is misleading."""
        counts = np.unique(self.train.labels, return_counts=True)[1]
        return bool(counts.max() > UNEVEN * counts.min())

    def split(self, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Indices into `train` of the (training, validation) images for this seed; for data without own validation."""
        return split_validation(self.train.labels, seed)


def unlabelled(data: ImageData) -> ImageData:
    """The same images as one class without a name; the id differs, as other images are cut out for validation."""
    train, test = _without_labels(data.train), _without_labels(data.test)
    validation = None if data.validation is None else _without_labels(data.validation)
    return replace(data, id=f"{data.id}-unlabelled", classes=(), train=train, test=test, validation=validation)


def _without_labels(images: Any) -> Any:
    return replace(images, labels=np.zeros(len(images.labels), dtype=np.int64))


def split_validation(labels: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Sorted indices of (training, validation) images: the same share of every class of `labels` (n,) is held out."""
    fraction = min(VALIDATION_FRACTION, VALIDATION_LIMIT / max(len(labels), 1))
    rng = np.random.default_rng([seed, 0x5A11D])
    held_out = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        count = max(1, round(fraction * len(members)))
        held_out[rng.choice(members, count, replace=False)] = True
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def stratified_subset(labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Positions of about `count` of `labels` (n,), the same share of every class, sorted; all of them if n <= count."""
    if len(labels) <= count:
        return np.arange(len(labels))
    rng = np.random.default_rng([seed, 0x5B5E7])
    order = rng.permutation(len(labels))
    by_class = order[np.argsort(labels[order], kind="stable")]
    # Every k-th of a list sorted by class takes each class in proportion.
    return np.sort(by_class[np.linspace(0, len(labels) - 1, count).round().astype(np.int64)])


def resize(pixels: np.ndarray, size: int) -> np.ndarray:
    """(n, h, w, 3) uint8 to (n, size, size, 3) uint8: bilinear, antialiased."""
    if pixels.shape[1:3] == (size, size):
        return pixels
    import torch
    from torch.nn.functional import interpolate

    out = np.empty((len(pixels), size, size, 3), dtype=np.uint8)
    for start in range(0, len(pixels), 1024):
        chunk = torch.from_numpy(np.ascontiguousarray(pixels[start : start + 1024])).permute(0, 3, 1, 2)
        scaled = interpolate(chunk.float(), (size, size), mode="bilinear", antialias=True, align_corners=False)
        out[start : start + 1024] = scaled.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()
    return out


def content_id(arrays: Sequence[np.ndarray], words: Sequence[str] = ()) -> str:
    """16 hex digits of SHA-256 over shapes, types and bytes of `arrays`, and `words`."""
    digest = hashlib.sha256()
    for word in words:
        digest.update(word.encode() + b"\0")
    for array in arrays:
        digest.update(f"{array.shape}{array.dtype.str}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:16]
