"""A network, images and a recipe with which a whole training for use takes a second."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nasbench.arch.architecture import Architecture
from nasbench.proxy.evaluate import dataset
from nasbench.study.runner import RunnerSpec
from nasbench.training.job import BEST, TrainingJob
from nasbench.training.recipe import TrainingRecipe, load_training_recipe
from nasbench.training.run import train_job

STAGES = [
    {"channels": 8, "depth": 1, "block": "mbconv", "downsample": "conv", "expansion": 2},
    {"channels": 16, "depth": 2, "block": "repmixer", "downsample": "conv"},
]
SERIAL = RunnerSpec(kind="serial")


def tiny(name: str = "tiny", resolution: int = 16) -> Architecture:
    """Two stages at 16 px, of which one has branches that merge."""
    content = {"name": name, "resolution": resolution, "stem": {"channels": 8}, "stages": STAGES}
    return Architecture.from_dict(content)


def write_data(folder: Path, train: int = 160, test: int = 60, uneven: bool = False) -> str:
    """Images whose class is their colour, with noise -> what `--data` says."""
    rng, arrays = np.random.default_rng(0), {}
    for split, count in (("train", train), ("test", test)):
        labels = np.arange(count) % 4
        if uneven:
            labels = np.where(rng.random(count) < 0.6, 0, labels)
        pixels = rng.integers(0, 120, (count, 32, 32, 3))
        pixels[np.arange(count), :, :, labels % 3] += 100 + 30 * (labels[:, None, None] == 3)
        arrays |= {f"x_{split}": pixels.astype(np.uint8), f"y_{split}": labels.astype(np.int64)}
    np.savez(folder / "images.npz", **arrays)
    return f"cifar10:{folder / 'images.npz'}"


def recipe(*changes: str) -> TrainingRecipe:
    """Everything that a recipe can ask for, in two epochs."""
    every = (
        *("epochs=2", "batch_size=32", "accumulate=2", "drop_path=0.2", "randaugment=1", "erase=0.3"),
        *("mixup=0.2", "cutmix=1.0"),
    )
    return load_training_recipe("quick", [*every, *changes])


def job(
    out: Path, data: str, *changes: str, seed: int = 0, arch: Architecture | None = None, **more: object
) -> TrainingJob:
    content = (arch or tiny(), recipe(*changes), seed, data, dataset(data).id, SERIAL, out)
    return TrainingJob(*content, **more)  # type: ignore[arg-type]


def train_model(folder: Path) -> tuple[Path, str]:
    """A model trained in the folder on data that is written there -> its file, and what `--data` says."""
    data = write_data(folder)
    done = job(folder, data, "epochs=4", "accumulate=1")
    train_job(done)
    return done.folder / BEST, data
