"""What a file answers on the images of a data set, run by its runtime alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nasbench.arch.architecture import Architecture
from nasbench.errors import UserError
from nasbench.latency.onnx_session import INPUT, OUTPUT, open_session
from nasbench.proxy.data.augment import ordered_positions
from nasbench.proxy.data.pool import ImagePool
from nasbench.proxy.evaluate import dataset
from nasbench.training.images import SizedNormalisation, TrainingImages, open_images
from nasbench.training.recipe import QUICK, load_training_recipe
from nasbench.weights.saved import About

Run = Callable[[np.ndarray], np.ndarray]  # images (b, c, s, s) -> logits (b, classes)
BATCH = 32


@dataclass(frozen=True)
class Scores:
    """What an int8 file reaches beside float32, each run by the runtime alone: accuracies in 0 to 1."""

    way: str
    accuracy: float
    accuracy_fp32: float
    images: int
    bytes_fp32: int

    @property
    def gain(self) -> float:
        """Of accuracy by int8, in points; below 0 it is lost."""
        return 100 * (self.accuracy - self.accuracy_fp32)


def onnx_run(source: Path | bytes) -> Run:
    """An ONNX file in onnxruntime, on one thread."""
    session = open_session(source, threads=1)

    def run(images: np.ndarray) -> np.ndarray:
        (logits,) = session.run([OUTPUT], {INPUT: images})
        return np.asarray(logits)

    return run


def images_of(spec: str, arch: Architecture, about: About) -> TrainingImages:
    """The images of a data set as a saved model sees them; a UserError where they are of other classes."""
    data = dataset(spec)
    if about.classes and about.classes != data.classes:
        raise UserError(
            f"data {spec!r} has the classes {', '.join(data.classes[:4])} ..., and the model tells "
            f"{', '.join(about.classes[:4])} ... apart; give the images that it was trained on"
        )
    plain = load_training_recipe(QUICK, ["crop_area=1", "randaugment=0"])  # calibrated on images as they are scored
    images = open_images(data, arch.resolution, arch.in_channels, plain)
    own = about.normalisation
    if own is None:
        return images
    return images._replace(norm=SizedNormalisation(own.mean_255, own.deviation_255, arch.resolution))


def unnormalised(images: TrainingImages) -> TrainingImages:
    """The same images for a network that normalises pixels in 0 to 255 itself."""
    count, size = len(images.norm.mean), images.norm.size
    return images._replace(norm=SizedNormalisation((0.0,) * count, (1.0,) * count, size))


def accuracy(run: Run, pool: ImagePool, norm: SizedNormalisation, batch: int = BATCH) -> tuple[float, int]:
    """Top-1 accuracy of a file on the images of a pool; and how many they were."""
    right, count = 0, 0
    for images, labels in batches(pool, norm, len(pool), batch):
        right += int((run(images).argmax(1) == labels).sum())
        count += len(labels)
    return right / max(1, count), count


def answers(run: Run, pool: ImagePool, norm: SizedNormalisation) -> np.ndarray:
    """(n, classes) logarithms of the probabilities that a file gives the images of a pool."""
    return np.concatenate([_log_probabilities(run(images)) for images, _ in batches(pool, norm, len(pool))])


def divergence(expected: np.ndarray, given: np.ndarray) -> float:
    """The mean over images of the Kullback-Leibler divergence of answers (n, classes) from expected ones, in nats;
    infinite where they are not finite."""
    mean = float((np.exp(expected) * (expected - given)).sum(1).mean())
    return mean if math.isfinite(mean) else math.inf


def _log_probabilities(logits: np.ndarray) -> np.ndarray:
    """(b, classes) of logits."""
    shifted = logits.astype(np.float64) - logits.max(1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(1, keepdims=True)))


def batches(
    pool: ImagePool, norm: SizedNormalisation, most: int, batch: int = BATCH
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Normalised images (b, c, s, s) and labels of the pool, `most` of them, evenly spread."""
    chosen = np.linspace(0, len(pool) - 1, min(most, len(pool))).astype(np.int64)
    places = [chosen[positions] for positions in ordered_positions(len(chosen), batch)]
    for pixels, labels in pool.batches(places):
        if len(labels):
            yield norm.apply(pixels).contiguous().numpy(), labels.numpy()
