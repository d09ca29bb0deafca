"""What is to be written as a file, and the network that takes pixels as cameras give them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor, nn

from nasbench.blocks.metablock import image_channels
from nasbench.exporting.scoring import batches, unnormalised
from nasbench.training.images import TrainingImages

TRACED_BATCH = 2  # images that are traced for a file that takes any number; torch.export makes a size of 1 a constant
CALIBRATION_IMAGES = 128  # of the training images


class Normalised(nn.Module):
    """`network` behind its normalisation: pixels (b, c, s, s) in 0 to 255 -> logits.

    The normalisation stays an operation of its own: folded into the stem's weights it would change what the zeros mean
    that the stem pads with.
    """

    def __init__(self, network: nn.Module, mean: Sequence[float], deviation: Sequence[float]) -> None:
        super().__init__()
        self.network = network
        shift, scale = torch.tensor(mean, dtype=torch.float64), 1 / torch.tensor(deviation, dtype=torch.float64)
        self.register_buffer("scale", scale.float()[:, None, None])
        self.register_buffer("offset", (-shift * scale).float()[:, None, None])

    def forward(self, pixels: Tensor) -> Tensor:
        logits: Tensor = self.network(pixels * self.scale + self.offset)
        return logits


@dataclass(frozen=True, eq=False)
class Request:
    """`model`, a deploy form in eval mode, for images of `resolution`, `batch` of them at a time (None: any number).

    `words` go into the file's metadata. `images`: what int8 is calibrated and scored on, normalised as the model takes
    them. `tuned`: the model after quantisation-aware fine-tuning, of which int8 files are made.
    """

    model: nn.Module
    resolution: int
    batch: int | None = 1
    dtype: str = "fp32"
    words: Mapping[str, str] = field(default_factory=dict)
    images: TrainingImages | None = None
    tuned: nn.Module | None = None

    def normalising(self, mean: Sequence[float], deviation: Sequence[float]) -> Request:
        """The same for pixels in 0 to 255; mean and deviation are of these."""

        def behind(network: nn.Module) -> nn.Module:
            return Normalised(network, mean, deviation).eval()

        tuned = None if self.tuned is None else behind(self.tuned)
        images = None if self.images is None else unnormalised(self.images)
        return replace(self, model=behind(self.model), tuned=tuned, images=images)

    @property
    def source(self) -> nn.Module:
        """The network that the file is made of."""
        return self.model if self.dtype != "int8" or self.tuned is None else self.tuned

    @property
    def channels(self) -> int:
        return image_channels(self.model)

    @property
    def zeros(self) -> Tensor:
        """Images of the shape that is traced."""
        return torch.zeros(self.batch or TRACED_BATCH, self.channels, self.resolution, self.resolution)

    def noise(self, count: int) -> np.ndarray:
        """Random images as the model takes them."""
        shape = (count, self.channels, self.resolution, self.resolution)
        images = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
        return images if not isinstance(self.model, Normalised) else (127.5 + 50 * images).clip(0, 255)

    @property
    def calibration(self) -> list[np.ndarray]:
        """Batches (b, c, s, s) of training images."""
        assert self.images is not None
        return [images for images, _ in batches(self.images.training, self.images.norm, CALIBRATION_IMAGES)]

    @contextlib.contextmanager
    def evaluating(self) -> Iterator[nn.Module]:
        """The source in eval mode, without gradients."""
        source = self.source
        was_training = source.training
        source.eval()
        try:
            with torch.no_grad():
                yield source
        finally:
            source.train(was_training)
