"""The images of one split that a trial uses, at its resolution: in memory if they fit, else decoded by a thread."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch

from nasbench.errors import UserError
from nasbench.proxy.data.cache import Arrays, cached_arrays
from nasbench.proxy.data.encoded import EncodedImages
from nasbench.proxy.data.folder import FileImages
from nasbench.proxy.data.images import ImageData, Images, stratified_subset

log = logging.getLogger("nasbench.data")

MEMORY_LIMIT_BYTES = 1 << 30  # of one pool; above it batches are decoded when needed
LOOKAHEAD = 4  # batches decoded ahead of the training loop
Batch = tuple[torch.Tensor, torch.Tensor]  # (b, s, s, 3) uint8, (b,) int64


@dataclass(frozen=True, eq=False)
class MemoryPool:
    """`pixels` (n, s, s, 3) uint8 and `labels` (n,) int64 on the device that trains."""

    pixels: torch.Tensor
    labels: torch.Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def batches(self, positions: Iterable[np.ndarray]) -> Iterator[Batch]:
        for position in positions:
            chosen = torch.from_numpy(position).to(self.labels.device)
            yield self.pixels[chosen], self.labels[chosen]


@dataclass(frozen=True, eq=False)
class StreamingPool:
    """The images at `indices`, decoded batch by batch; an unreadable file leaves its batch smaller."""

    images: Images
    indices: np.ndarray
    size: int
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def __len__(self) -> int:
        return len(self.indices)

    def batches(self, positions: Iterable[np.ndarray]) -> Iterator[Batch]:
        with ThreadPoolExecutor(1) as reader:
            waiting: list[Future[Batch]] = []
            for position in positions:
                waiting.append(reader.submit(self._read, position))
                if len(waiting) > LOOKAHEAD:
                    yield waiting.pop(0).result()
            for batch in waiting:
                yield batch.result()

    def _read(self, position: np.ndarray) -> Batch:
        indices = self.indices[position]
        pixels, kept = self.images.read(indices, self.size)
        labels = self.images.labels[indices[kept]]
        return torch.from_numpy(pixels).to(self.device), torch.from_numpy(labels).to(self.device)


ImagePool = MemoryPool | StreamingPool


@dataclass(frozen=True)
class PoolSpec:
    """The images of a pool: at most `limit` of a split, at `size` pixels a side."""

    split: str  # "train", "validation" or "test"
    size: int
    limit: int
    seed: int  # of the validation split and of the choice of `limit` images


def open_pool(data: ImageData, spec: PoolSpec, device: str = "cpu", cache: bool = True) -> ImagePool:
    """The pool of `spec`, the same images every time; UserError where none can be read.

    cache: whether decoded files are kept in the user's cache.
    """
    images, indices = select(data, spec)
    target = torch.device(device)
    if len(indices) * spec.size**2 * 3 > MEMORY_LIMIT_BYTES:
        return StreamingPool(images, indices, spec.size, target)
    read = partial(_decode_all, images, indices, spec.size)
    if cache and isinstance(images, (FileImages, EncodedImages)):
        arrays = cached_arrays(_cache_name(data, indices, spec), read)
    else:
        arrays = read()
    if not len(arrays["labels"]):
        raise UserError(
            f"data {data.name!r}: no image of the {spec.split} split can be read; replace the damaged files"
        )
    return MemoryPool(torch.from_numpy(arrays["pixels"]).to(target), torch.from_numpy(arrays["labels"]).to(target))


def select(data: ImageData, spec: PoolSpec) -> tuple[Images, np.ndarray]:
    """The images of a pool, and their indices. Validation images are cut from training where the data has none."""
    own = {"train": data.train if data.validation else None, "validation": data.validation, "test": data.test}
    images = own[spec.split]
    if images is not None:
        indices = np.arange(len(images.labels))
    else:
        train, validation = data.split(spec.seed)
        images, indices = data.train, {"train": train, "validation": validation}[spec.split]
    return images, indices[stratified_subset(images.labels[indices], spec.limit, spec.seed)]


def _decode_all(images: Images, indices: np.ndarray, size: int) -> Arrays:
    pixels, kept = images.read(indices, size)
    if len(kept) < len(indices):
        log.warning("%d of %d images could not be read and are skipped", len(indices) - len(kept), len(indices))
    return {"pixels": pixels, "labels": images.labels[indices[kept]]}


def _cache_name(data: ImageData, indices: np.ndarray, spec: PoolSpec) -> str:
    chosen = hashlib.sha256(indices.astype(np.int64).tobytes()).hexdigest()[:12]
    return f"folder-{data.id}-{spec.split}-{spec.size}px-{chosen}"
