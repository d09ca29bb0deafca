"""nasbench.proxy.data.fashion_on_earth: the images that come with nasbench."""

from __future__ import annotations

import numpy as np
import pytest

from nasbench.proxy.data import fashion_on_earth, load_dataset


@pytest.fixture(scope="module")
def composed():
    return fashion_on_earth.compose(limit=1000)


def test_composition_is_the_same_for_a_seed_and_another_for_the_next(composed):
    again, other = (fashion_on_earth.compose(seed, limit=100) for seed in (0, 1))
    assert composed["x_train"].shape == (1000, 32, 32, 3)
    assert composed["x_train"].dtype == np.uint8
    assert not np.array_equal(again["x_train"], other["x_train"])
    assert np.array_equal(again["x_train"], fashion_on_earth.compose(0, limit=100)["x_train"])
    assert np.array_equal(again["y_train"], composed["y_train"][:100])


def test_composed_classes_are_balanced_and_images_use_the_whole_range(composed):
    for split in ("train", "test"):
        assert np.bincount(composed[f"y_{split}"], minlength=10).min() > 70
        assert composed[f"x_{split}"].min() == 0
        assert composed[f"x_{split}"].max() > 240
        assert composed[f"x_{split}"].std() > 30


def test_products_are_recognised_across_splits_better_than_chance(composed):
    """A nearest class mean of grey gradients, trained on train, scores well over 10 % on test."""

    def edges(pixels):
        grey = pixels.mean(-1)
        gradient = np.abs(np.diff(grey, axis=1))[:, :, :-1] + np.abs(np.diff(grey, axis=2))[:, :-1]
        flat = gradient.reshape(len(pixels), -1)
        return flat / np.linalg.norm(flat, axis=1, keepdims=True)

    means = np.stack([edges(composed["x_train"])[composed["y_train"] == c].mean(0) for c in range(10)])
    distance = ((edges(composed["x_test"])[:, None] - means) ** 2).sum(-1)
    assert (distance.argmin(1) == composed["y_test"]).mean() > 0.25


def test_backgrounds_of_the_splits_share_no_longitude():
    width = 360  # a picture whose red channel is its own longitude
    picture = np.zeros((180, width, 3), dtype=np.uint8)
    picture[..., 0] = np.arange(width) * 255 // width
    seen = {}
    for split in ("train", "test"):
        crops = fashion_on_earth.cut_crops(
            500, dict.fromkeys((1, 2, 3), np.repeat(np.repeat(picture, 5, 0), 5, 1)), split, np.random.default_rng(0)
        )
        seen[split] = set(np.unique((crops[..., 0] * 255).round().astype(int)))
    assert len(seen["train"] & seen["test"]) <= 6  # one shade at each border, from rounding 360 columns to 255 shades


def test_default_data_set_comes_from_the_cache_the_second_time(tmp_path, monkeypatch, composed):
    monkeypatch.setenv("NASBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(fashion_on_earth, "compose", lambda: composed)
    first = load_dataset()
    monkeypatch.setattr(fashion_on_earth, "compose", lambda: pytest.fail("composed again"))
    second = load_dataset("fashion-on-earth")
    assert (first.id, first.classes) == (second.id, fashion_on_earth.CLASSES)
