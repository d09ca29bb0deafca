"""What is done to training images, against Pillow's operations and by what must hold for any draw."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from training_toys import recipe

from nasbench.training.augment import CHOICES, augmented, erased, mixed
from nasbench.training.geometry import MOVEMENTS, moved, rotation, translation_x
from nasbench.training.pixel_operations import OPERATIONS, brightness, colour, contrast, sharpness

OFF = ("crop_area=1", "flip=false", "randaugment=0", "erase=0", "mixup=0", "cutmix=0")


@pytest.fixture(scope="module")
def pixels() -> torch.Tensor:
    """(6, 24, 24, 3) uint8, smooth with some noise, and one image of one colour."""
    rng = np.random.default_rng(0)
    ramp = np.linspace(20, 200, 24)[:, None, None] * rng.uniform(0.5, 1, (6, 1, 1, 3)) + rng.uniform(
        0, 30, (6, 24, 24, 3)
    )
    ramp[-1] = 77
    return torch.from_numpy(ramp.astype(np.uint8))


def floats(pixels: torch.Tensor) -> torch.Tensor:
    return pixels.permute(0, 3, 1, 2).float()


def pillow(pixels: torch.Tensor, operation) -> torch.Tensor:
    return floats(
        torch.stack([torch.from_numpy(np.array(operation(Image.fromarray(each.numpy())))) for each in pixels])
    )


def test_nothing_asked_for_is_nothing_done(pixels: torch.Tensor) -> None:
    assert torch.equal(augmented(pixels, 24, recipe(*OFF), np.random.default_rng(0)), floats(pixels))
    images, labels = floats(pixels), torch.arange(6)
    same, mix = mixed(images, labels, recipe(*OFF), np.random.default_rng(0))
    assert same is images
    assert mix.share == 1
    assert erased(images, 0.0, np.random.default_rng(0)) is images


@pytest.mark.parametrize(
    ("name", "strength", "operation"),
    [
        ("equalise", 0.5, ImageOps.equalize),
        ("posterise", 0.5, lambda image: ImageOps.posterize(image, 6)),
        ("solarise", 0.5, lambda image: ImageOps.solarize(image, 128)),
        ("autocontrast", 0.5, ImageOps.autocontrast),
    ],
)
def test_operations_are_pillows(pixels: torch.Tensor, name: str, strength: float, operation) -> None:
    ours = OPERATIONS[name](floats(pixels), torch.full((6, 1, 1, 1), strength))
    assert float((ours - pillow(pixels, operation)).abs().max()) <= 1.0  # Pillow rounds down


def test_factors_are_pillows(pixels: torch.Tensor) -> None:
    from PIL import ImageEnhance

    for ours, theirs in (
        (brightness, ImageEnhance.Brightness), (colour, ImageEnhance.Color), (contrast, ImageEnhance.Contrast),
        (sharpness, ImageEnhance.Sharpness),
    ):  # fmt: skip
        for strength in (-0.7, 0.4):
            found = ours(floats(pixels), torch.full((6, 1, 1, 1), strength))
            expected = pillow(pixels, lambda image, t=theirs, s=strength: t(image).enhance(1 + 0.9 * s))
            assert float((found - expected).abs().max()) <= 3.0, ours.__name__


def test_movements_move_as_they_say(pixels: torch.Tensor) -> None:
    half = np.eye(3)[None] @ rotation(np.array([6.0]))  # 6 x 30 degrees
    assert torch.allclose(moved(pixels[:1], half, 24), floats(pixels[:1]).flip(2, 3), atol=0.1)
    one = 2 / 24 / (2 * 150 / 331)  # a pixel to the left
    shifted = moved(pixels[:1], translation_x(np.array([one])), 24)
    assert torch.allclose(shifted[..., :-1], floats(pixels[:1])[..., 1:], atol=0.1)
    assert set(MOVEMENTS) | set(OPERATIONS) | {"identity"} == set(CHOICES)
    assert len(CHOICES) == 14  # arXiv:1909.13719, section 3


def test_any_draw_stays_an_image_and_is_drawn_again_alike(pixels: torch.Tensor) -> None:
    wild = recipe("randaugment=3", "magnitude=10", "crop_area=0.1", "shift=0.2")
    for seed in range(8):
        images = augmented(pixels, 16, wild, np.random.default_rng(seed))
        assert images.shape == (6, 3, 16, 16)
        assert 0 <= float(images.min()) <= float(images.max()) <= 255
        assert torch.equal(images, augmented(pixels, 16, wild, np.random.default_rng(seed)))
    assert torch.allclose(images[-1].std((1, 2)), torch.zeros(3), atol=1e-3), "one colour stays one colour"


def test_half_of_the_images_are_mirrored(pixels: torch.Tensor) -> None:
    many = pixels[:1].expand(400, -1, -1, -1)
    images = augmented(many, 24, recipe(*OFF, "flip=true"), np.random.default_rng(0))
    own = floats(pixels[:1])
    same, mirrored = ((images - each).abs().amax((1, 2, 3)) < 0.1 for each in (own, own.flip(3)))
    assert bool((same ^ mirrored).all())
    assert 0.4 < float(mirrored.float().mean()) < 0.6


def test_labels_are_mixed_as_the_images_are(pixels: torch.Tensor) -> None:
    images, labels = torch.arange(6.0)[:, None, None, None].expand(6, 3, 24, 24), torch.arange(6)
    for name in ("mixup", "cutmix"):
        for seed in range(6):
            changes = [f"{other}={1.0 if other == name else 0.0}" for other in ("mixup", "cutmix")]
            found, mix = mixed(images, labels, recipe(*changes), np.random.default_rng(seed))
            assert torch.equal(mix.others, labels.flip(0))
            expected = mix.share * labels + (1 - mix.share) * mix.others
            assert torch.allclose(found.mean((1, 2, 3)), expected, atol=1e-4), name


def test_rectangles_are_erased(pixels: torch.Tensor) -> None:
    images = torch.zeros(300, 3, 24, 24)
    found = erased(images, 0.25, np.random.default_rng(0))
    touched = (found != 0).any(1)
    share = touched.float().mean((1, 2))
    assert 0.15 < float((share > 0).float().mean()) < 0.35
    assert 0.02 < float(share[share > 0].mean()) < 0.33
    assert float(images.abs().max()) == 0, "the images given stay as they were"
