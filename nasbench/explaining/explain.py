"""A saved model's answers to images explained as files: a picture an image, and distances of attention in a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from nasbench.errors import UserError, shown
from nasbench.explaining.attention import attention_layers
from nasbench.explaining.cam import grad_cam
from nasbench.explaining.drawn import draw_distances, draw_explained
from nasbench.explaining.explained import Explained
from nasbench.files import write_atomic
from nasbench.nn.model import Model
from nasbench.pictures import picture, save
from nasbench.proxy.data.decoding import decode
from nasbench.study.task import require_images_for
from nasbench.training.images import SizedNormalisation
from nasbench.weights.checkpoints import load_model
from nasbench.weights.saved import WHITE, About

TABLE = "attention.csv"
PLAIN = (0.0, WHITE)  # mean and deviation where the file names none: pixels from 0 to 1


def explain(file: Path, images: Sequence[Path], out: Path, label: str | None = None) -> list[Explained]:
    """Write the pictures of every image into `out`. `label`: the class to explain, by default what the model answers.

    Everything is read before anything is written; a UserError names the image that cannot be, or the unknown class.
    """
    model = load_model(file)
    model.arch.require_classes()
    require_images_for(model.arch.in_channels, model.arch.label)
    about = About.of(model)
    chosen = None if label is None else _class_of(label, about, model.num_classes)
    pixels = [_decoded(path, model.arch.resolution) for path in images]
    found = [_explained(model, about, path, each, chosen) for path, each in zip(images, pixels)]
    _write(found, out)
    return found


def _decoded(path: Path, side: int) -> np.ndarray:
    pixels = decode(path, side) if path.is_file() else None
    if pixels is None:
        raise UserError(f"{path}: cannot be read as an image; give the path of one")
    return pixels


def _class_of(label: str, about: About, classes: int) -> int:
    """A class by its name, or by its number where the file names none."""
    if label in about.classes:
        return about.classes.index(label)
    if not about.classes and label.isascii() and label.isdigit() and int(label[:9]) < classes:
        return int(label)
    known = ", ".join(about.classes[:8]) or f"0 to {classes - 1}"
    raise UserError(f"--class {shown(label)}: the model does not know it; its classes: {known}")


def _explained(model: Model, about: About, path: Path, pixels: np.ndarray, chosen: int | None) -> Explained:
    image = _normalised(model, about, pixels)
    with torch.no_grad():
        shares = model(image).float().softmax(1)[0]
    label = int(shares.argmax()) if chosen is None else chosen
    name = about.classes[label] if about.classes else f"class {label}"
    layers = tuple(attention_layers(model, image))
    return Explained(path, pixels, name, float(shares[label]), grad_cam(model, image, label), layers)


def _normalised(model: Model, about: About, pixels: np.ndarray) -> Tensor:
    """(1, c, R, R) as the model was trained on, in the type of its weights."""
    arch, own = model.arch, about.normalisation
    mean = own.mean_255 if own else PLAIN[:1] * arch.in_channels
    deviation = own.deviation_255 if own else PLAIN[1:] * arch.in_channels
    norm = SizedNormalisation(mean, deviation, arch.resolution)
    return norm.apply(torch.from_numpy(pixels.copy())[None]).to(next(model.parameters()).dtype)


def _write(found: Sequence[Explained], out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    for number, each in enumerate(found, 1):
        write_atomic(out / f"{number}-{each.path.stem}.png", picture(draw_explained(each), "png"))
    distances = distance_table(found)
    if len(distances):
        write_atomic(out / TABLE, distances.to_csv(index=False, lineterminator="\n"))
        save(draw_distances(distances, found[0].pixels.shape[0]), out, Path(TABLE).stem)


def distance_table(found: Sequence[Explained]) -> pd.DataFrame:
    """One line a head of every attention: its mean distance in pixels over all images."""
    rows = [
        {"layer": layer.name, "head": head, "distance_px": float(distance)}
        for each in found
        for layer in each.choosing
        for head, distance in enumerate(layer.distance)
    ]
    frame = pd.DataFrame(rows, columns=["layer", "head", "distance_px"])
    return frame.groupby(["layer", "head"], sort=False, as_index=False)["distance_px"].mean()
