"""One training as a value, the files of its folder, and its status."""

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

CHECKPOINT = "last.pt"  # the state after the last whole epoch
BEST = "best.safetensors"  # the weights with the best score on the validation images
LAST = "last.safetensors"
RESULT = "result.json"
STATUS = "status.json"
EPOCHS = "epochs.csv"


@dataclass(frozen=True)
class TrainingJob:
    """Train `architecture` at its own resolution and width from `seed`, by `recipe`, on the data set `data`.

    `out`: the folder of all trainings. `weights` and `teacher`: files of saved models, or None. `objective`: a name of
    `study.objective.OBJECTIVES`. `labels`: the share of the training and validation images that is taken.
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
        """16 hexadecimal digits, a hash of all that determines the result."""
        files = [None if name is None else _digest(Path(name)) for name in (self.weights, self.teacher)]
        about: list[Any] = [self.architecture.id, self.recipe.to_dict(), self.seed, self.data_id, *files]
        about += [self.objective] if self.masked else []
        about += [self.labels] if self.labels < 1 else []
        return content_hash([*about, *self.runner.numerics])

    @property
    def masked(self) -> bool:
        """Whether it is masked image modelling, without labels."""
        return self.objective == MASKED.name

    @property
    def figure(self) -> str:
        """The metric of each epoch on the validation images: `accuracy` or `masked_r2`."""
        return OBJECTIVES[self.objective].metric

    @property
    def name(self) -> str:
        return f"{self.architecture.label}, seed {self.seed}"

    @property
    def folder(self) -> Path:
        """Its folder in `out`, which differs for another recipe, resolution or data set."""
        return self.out / f"{file_stem(self.architecture.label, 'design')}-seed{self.seed}-{self.id[:8]}"


def _digest(path: Path) -> str:
    """Of the file's content; models are small enough to be read whole."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}; give a file of weights") from None


@dataclass(frozen=True)
class TrainingStatus:
    """Progress of a training: epochs done, with fractions, and the latest figures."""

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
        """None where there is no readable file."""
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
