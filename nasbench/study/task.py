"""One proxy training as a value without torch, as a worker is given it."""

from __future__ import annotations

from dataclasses import dataclass

from nasbench.arch.architecture import Architecture
from nasbench.errors import UserError
from nasbench.study.fidelity import Fidelity
from nasbench.study.objective import OBJECTIVES, SUPERVISED
from nasbench.study.runner import RunnerSpec
from nasbench.study.trials import SPLITS, Split

DATA = "fashion-on-earth"  # the images that trainings read unless told otherwise
DATASETS = (DATA, "cifar10", "hf")  # names of images, which proxy/data loads; all else is a path
EVALUATE = "nasbench.proxy.evaluate:evaluate"  # the function that runs a `Task`, as an argument of `running.run`
CHANNELS = (1, 3)  # of training images: grey, converted from colour, or colour


def require_images_for(in_channels: int, label: str) -> None:
    """Raise UserError where there are no training images of so many channels."""
    if in_channels not in CHANNELS:
        raise UserError(
            f"{label} takes images of in_channels = {in_channels}, and trainings have colour images (3) or grey ones "
            f"made of them (1); train it with in_channels = 3 and put {in_channels} into the design's file afterwards"
        )


@dataclass(frozen=True)
class DataSplit:
    """A data set by name or path, the seed of its split into training and validation images, and the split that is
    scored."""

    name: str = DATA
    seed: int = 0
    split: Split = "validation"

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise ValueError(f"unknown split {self.split!r}; known: {', '.join(SPLITS)}")


@dataclass(frozen=True)
class Task:
    """Train `architecture` at `fidelity` from `seed` and score it. `runner` says on what kind of device, in which
    precision and memory layout; a task that takes longer than `limit_s` has failed."""

    architecture: Architecture
    fidelity: Fidelity
    seed: int
    data: DataSplit
    runner: RunnerSpec
    objective: str = SUPERVISED.name
    limit_s: float | None = None

    def __post_init__(self) -> None:
        if self.objective not in OBJECTIVES:
            raise ValueError(f"unknown objective {self.objective!r}; known: {', '.join(OBJECTIVES)}")
