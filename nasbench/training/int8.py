"""A trained network in int8 for onnxruntime, by its own quantiser: calibrated on training images, scored by itself.

Networks whose branches were merged have weights and activations of uneven ranges, and can lose tens of points
(arXiv:2212.01593 on RepVGG). So several ways of calibration are tried, and those that keep the first and last layers in
float32; the one that scores best on the validation images is taken, and scored on the test images beside float32.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from nasbench.arch.architecture import Architecture
from nasbench.errors import UserError
from nasbench.latency.export import export_onnx
from nasbench.latency.onnx_session import INPUT, OUTPUT, open_session
from nasbench.latency.runtimes import silence
from nasbench.nn.model import Model
from nasbench.proxy.data.augment import ordered_positions
from nasbench.proxy.data.pool import ImagePool
from nasbench.proxy.evaluate import dataset
from nasbench.training.images import SizedNormalisation, TrainingImages, open_images
from nasbench.training.recipe import QUICK, load_training_recipe
from nasbench.weights.saved import About

CALIBRATION_IMAGES = 128  # of the training images
BATCH = 32
CALIBRATIONS = ("MinMax", "Percentile", "Entropy")  # onnxruntime's words
LAYERS = ("Conv", "Gemm", "MatMul")  # operators with weights
ENOUGH = 0.002  # a loss of accuracy on the validation images below which no further way is tried


@dataclass(frozen=True)
class Quantised:
    """The int8 file, how it was made, and what both forms reach, measured by onnxruntime: accuracies in 0 to 1."""

    content: bytes
    way: str
    accuracy: float
    accuracy_fp32: float
    images: int
    bytes_fp32: int

    @property
    def gain(self) -> float:
        """Of accuracy by int8, in points; below 0 it is lost."""
        return 100 * (self.accuracy - self.accuracy_fp32)


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


def quantise(model: Model, images: TrainingImages, threads: int = 1) -> Quantised:
    """`model`, a deploy form, in int8 (QDQ, a scale a channel), for any number of images at a time."""
    content = export_onnx(model, images.norm.size, None)
    wanted, _ = accuracy(content, images.validation, images.norm, threads)
    calibration = [batch for batch, _ in _batches(images.training, images.norm, CALIBRATION_IMAGES)]
    best: tuple[float, str, bytes] | None = None
    for way, settings in _ways(content):
        made = _quantised(content, calibration, **settings)
        reached, _ = accuracy(made, images.validation, images.norm, threads)
        if best is None or reached > best[0]:
            best = reached, way, made
        if wanted - best[0] <= ENOUGH:
            break
    assert best is not None
    _, way, made = best
    before, count = accuracy(content, images.test, images.norm, threads)
    after, _ = accuracy(made, images.test, images.norm, threads)
    return Quantised(made, way, after, before, count, len(content))


def _ways(content: bytes) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every way to quantise a file, the plainest first."""
    for calibration in CALIBRATIONS:
        yield calibration, {"calibration": calibration, "kept": []}
    ends = _ends(content)
    for calibration in CALIBRATIONS:
        yield f"{calibration}, first and last layer in float32", {"calibration": calibration, "kept": ends}


def _ends(content: bytes) -> list[str]:
    """The names of the first and the last layer with weights."""
    layers = [node.name for node in onnx.load_from_string(content).graph.node if node.op_type in LAYERS]
    return [layers[0], layers[-1]] if layers else []


def _quantised(content: bytes, batches: list[np.ndarray], calibration: str, kept: list[str]) -> bytes:
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Images(CalibrationDataReader):  # type: ignore[misc]
        left = iter(batches)

        def get_next(self) -> dict[str, np.ndarray] | None:
            batch = next(self.left, None)
            return None if batch is None else {INPUT: batch}

    with tempfile.TemporaryDirectory(prefix="nasbench-int8-") as folder, silence():
        plain, prepared, out = (Path(folder) / f"{name}.onnx" for name in ("plain", "prepared", "int8"))
        plain.write_bytes(content)
        quant_pre_process(str(plain), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared), str(out), Images(), quant_format=QuantFormat.QDQ, per_channel=True,
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, nodes_to_exclude=kept,
            calibrate_method=CalibrationMethod[calibration],
        )  # fmt: skip
        return out.read_bytes()


def accuracy(content: bytes, pool: ImagePool, norm: SizedNormalisation, threads: int = 1) -> tuple[float, int]:
    """Top-1 accuracy of an ONNX file on the images of a pool, by onnxruntime alone; and how many they were."""
    session, right, count = open_session(content, threads), 0, 0
    for images, labels in _batches(pool, norm, len(pool)):
        (logits,) = session.run([OUTPUT], {INPUT: images})
        right += int((logits.argmax(1) == labels).sum())
        count += len(labels)
    return right / max(1, count), count


def _batches(pool: ImagePool, norm: SizedNormalisation, most: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Normalised images (b, c, s, s) and labels of the pool, `most` of them, evenly spread."""
    chosen = np.linspace(0, len(pool) - 1, min(most, len(pool))).astype(np.int64)
    places = [chosen[positions] for positions in ordered_positions(len(chosen), BATCH)]
    for pixels, labels in pool.batches(places):
        if len(labels):
            yield norm.apply(pixels).contiguous().numpy(), labels.numpy()
