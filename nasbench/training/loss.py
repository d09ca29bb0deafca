"""Losses: cross-entropy of the labels, and distillation from a teacher."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div, log_softmax, softmax

from nasbench.errors import UserError
from nasbench.nn.model import Model
from nasbench.training.augment import Mixed
from nasbench.training.geometry import resized
from nasbench.training.images import SizedNormalisation
from nasbench.training.recipe import TrainingRecipe
from nasbench.weights.checkpoints import load_model
from nasbench.weights.saved import About


@dataclass(frozen=True, eq=False)
class Teacher:
    """A trained network to distil from, with the size and normalisation of its own images."""

    model: Model
    norm: SizedNormalisation

    @torch.no_grad()
    def answers(self, images: Tensor) -> Tensor:
        """(b, 3, s, s) in 0 to 255 -> logits (b, classes)."""
        logits: Tensor = self.model(self.norm.of(resized(images, self.norm.size))).float()
        return logits


def load_teacher(path: str | Path, classes: tuple[str, ...], norm: SizedNormalisation, device: str) -> Teacher:
    """The saved model of `path`; UserError where its classes are not those of the data."""
    model = load_model(path)
    about = About.of(model)
    known = about.classes or tuple(f"{index}" for index in range(model.num_classes))
    if len(known) != len(classes) or (about.classes and about.classes != classes):
        raise UserError(
            f"teacher {path}: tells {len(known)} classes apart ({', '.join(known[:4])} ...), and the data has "
            f"{len(classes)} ({', '.join(classes[:4])} ...); give a teacher trained on the same classes"
        )
    own = about.normalisation
    mean, deviation = (norm.mean, norm.deviation) if own is None else (own.mean_255, own.deviation_255)
    size = model.arch.resolution
    return Teacher(model.to(device).eval(), SizedNormalisation(mean, deviation, size))


def label_loss(logits: Tensor, mixed: Mixed, smoothing: float, weights: Tensor | None) -> Tensor:
    """Mean cross-entropy in nats of logits (b, classes) and the two labels that each image may have."""

    def of(labels: Tensor) -> Tensor:
        return cross_entropy(logits, labels, weight=weights, label_smoothing=smoothing, reduction="none").mean()

    if mixed.share == 1:
        return of(mixed.labels)
    return mixed.share * of(mixed.labels) + (1 - mixed.share) * of(mixed.others)


def distilled(loss: Tensor, logits: Tensor, answers: Tensor, recipe: TrainingRecipe) -> Tensor:
    """Weighted sum of the labels' loss and the Kullback-Leibler divergence from the teacher's softened outputs, scaled
    by the squared temperature (arXiv:1503.02531, section 2)."""
    t = recipe.temperature
    difference = kl_div(log_softmax(logits / t, 1), softmax(answers / t, 1), reduction="batchmean") * t**2
    return (1 - recipe.teacher_share) * loss + recipe.teacher_share * difference
