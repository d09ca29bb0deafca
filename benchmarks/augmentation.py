"""How long augmenting a batch takes on one core: ours, and kornia's of the same parts (pip install kornia).

usage: python benchmarks/augmentation.py
Prints milliseconds of processor time a batch of 64 images, beside a training step of MobileNetV2 at that size: the
median of REPEATS, taken by turns.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from nasbench.arch.library import load
from nasbench.nn.model import build
from nasbench.training.augment import augmented
from nasbench.training.recipe import load_training_recipe

BATCH, SIZE, REPEATS = 64, 64, 7


def kornias() -> Callable[[], torch.Tensor]:
    """Random resized crop, mirror and RandAugment (two operations), drawn for each image."""
    import kornia.augmentation as K
    from kornia.augmentation.auto import RandAugment

    crop = K.RandomResizedCrop((SIZE, SIZE), scale=(0.08, 1.0))
    flip, rand = K.RandomHorizontalFlip(), RandAugment(n=2, m=27)
    images = torch.rand(BATCH, 3, SIZE + 8, SIZE + 8)
    return lambda: rand(flip(crop(images)))


def kornias_by_image() -> Callable[[], torch.Tensor]:
    """RandAugment as the paper has it: other operations for each image. kornia draws them for a whole batch at once."""
    from kornia.augmentation.auto import RandAugment

    rand, images = RandAugment(n=2, m=27), torch.rand(BATCH, 3, SIZE, SIZE)
    return lambda: torch.cat([rand(image) for image in images.split(1)])


def ours() -> Callable[[], torch.Tensor]:
    recipe, rng = load_training_recipe("mobile"), np.random.default_rng(0)
    pixels = torch.randint(0, 256, (BATCH, SIZE + 8, SIZE + 8, 3), dtype=torch.uint8)
    return lambda: augmented(pixels, SIZE, recipe, rng)


def step() -> Callable[[], object]:
    model = build(load("mobilenetv2_100"), 10).to(memory_format=torch.channels_last)
    images = torch.randn(BATCH, 3, SIZE, SIZE).to(memory_format=torch.channels_last)
    return lambda: model(images).square().mean().backward()


def main() -> None:
    torch.set_num_threads(1)
    makers = {
        "ours": ours,
        "kornia": kornias,
        "kornia, RandAugment alone, image by image": kornias_by_image,
        "training step": step,
    }
    calls: dict[str, Callable[[], object]] = {}
    for name, make in makers.items():
        try:
            calls[name] = make()
        except ImportError as error:
            print(f"{name}: not installed ({error})")
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(REPEATS + 1):
        for name, call in calls.items():
            begun = time.process_time()
            call()
            if turn:  # the first warms up
                taken[name].append(1e3 * (time.process_time() - begun))
    for name, milliseconds in taken.items():
        print(f"{name}: {statistics.median(milliseconds):.0f} ms a batch of {BATCH} at {SIZE} px (measured)")


if __name__ == "__main__":
    main()
