"""One training as it is asked for, where its files lie, and the line that says how far it is."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from nasbench.arch.architecture import Architecture
from nasbench.errors import UserError
from nasbench.files import file_stem, write_atomic
from nasbench.study.objective import MASKED, OBJECTIVES, SUPERVISED
from nasbench.study.runner import RunnerSpec
from nasbench.training.recipe import TrainingRecipe
from nasbench.values import content_hash

CHECKPOINT = "last.pt"  # all that a training needs to go on after its last whole epoch
BEST = "best.safetensors"  # the weights that scored best on the validation images, and then on the test images
LAST = "last.safetensors"
RESULT = "result.json"
STATUS = "status.json"
EPOCHS = "epochs.csv"


@dataclass(frozen=True)
class TrainingJob:
    """Train `architecture` at its own resolution and width from `seed`, by `recipe`, on the data set `data`.

    `folder`: where it keeps its files. `weights` and `teacher` are files of saved models, or None. `objective`: what it
    learns, of `study.objective`. `labels`: the share of the training and validation images that is taken.
    """

    architecture: Architecture
    recipe: TrainingRecipe
    seed: int
    data: str
    data_id: str
    runner: RunnerSpec
    out: Path
    weights: str | None = None
    teacher: str | None = None
    tensorboard: bool = False
    objective: str = SUPERVISED.name
    labels: float = 1.0

    @cached_property
    def id(self) -> str:
        """16 hexadecimal digits from all that decides the result; the same id is the same training."""
        files = [None if name is None else _digest(Path(name)) for name in (self.weights, self.teacher)]
        about: list[Any] = [self.architecture.id, self.recipe.to_dict(), self.seed, self.data_id, *files]
        about += [self.objective] if self.masked else []
        about += [self.labels] if self.labels < 1 else []
        return content_hash([*about, *self.runner.numerics])

    @property
    def masked(self) -> bool:
        """Whether it paints hidden parts of images and reads no labels."""
        return self.objective == MASKED.name

    @property
    def figure(self) -> str:
        """What it is scored by on the validation images after each epoch: `accuracy` or `masked_r2`."""
        return OBJECTIVES[self.objective].metric

    @property
    def name(self) -> str:
        return f"{self.architecture.label}, seed {self.seed}"

    @property
    def folder(self) -> Path:
        """Its own among the trainings of `out`; another recipe, resolution or data set has another one."""
        return self.out / f"{file_stem(self.architecture.label, 'design')}-seed{self.seed}-{self.id[:8]}"


def _digest(path: Path) -> str:
    """Of the file's content; models are small enough to be read whole."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}; give a file of weights") from None


@dataclass(frozen=True)
class TrainingStatus:
    """How far a training is: epochs done, a fraction within one; the figures are the latest."""

    epochs: float
    of: int
    loss: float | None = None
    accuracy: float | None = None
    images_per_second: float = 0.0
    noun: str = SUPERVISED.noun  # of the figure `accuracy`, which is another where no labels are read

    def write(self, folder: Path) -> None:
        write_atomic(folder / STATUS, json.dumps(self.__dict__) + "\n")

    @classmethod
    def read(cls, folder: Path) -> TrainingStatus | None:
        """None where a training has not begun, or its file cannot be read just now: it is only shown."""
        try:
            content = json.loads((folder / STATUS).read_text(encoding="utf-8"))
            return cls(**content)
        except (OSError, ValueError, TypeError):
            return None

    def text(self) -> str:
        """`epoch 3/30, loss 1.234, accuracy 45.1 %, 312 images/s`."""
        parts = [f"epoch {min(self.of, int(self.epochs) + 1)}/{self.of}"]
        if self.loss is not None:
            parts.append(f"loss {self.loss:.3f}")
        if self.accuracy is not None:
            parts.append(f"{self.noun} {100 * self.accuracy:.1f} %")
        if self.images_per_second:
            parts.append(f"{self.images_per_second:,.0f} images/s")
        return ", ".join(parts)
