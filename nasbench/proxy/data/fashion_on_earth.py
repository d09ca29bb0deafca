"""Fashion-on-Earth: ten classes of product photographs on satellite backgrounds, composed from two shipped files.

No package registry has a data set of natural images, so this one is composed when it is first used: each product of
Fashion-MNIST is rotated, scaled, shifted, tinted (half of them inverted) and pasted with a soft mask on a random crop
of NASA's Blue Marble with stretched contrast. Train and test share neither products nor longitudes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from nasbench.files import data_dir
from nasbench.proxy.data.cache import Arrays, cached_arrays
from nasbench.proxy.data.images import ArrayImages, ImageData, content_id

VERSION = 2  # to be raised when any pixel changes
SIZE = 32
SEED = 0
CLASSES = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")

# Twelve bands of 30 degrees; the test bands hold the Americas (90 to 60 W), Africa and Arabia (30 to 60 E), and
# East Asia with Australia (120 to 150 E), so that neither split is short of land.
BANDS, TEST_BANDS = 12, (3, 7, 10)
LAND_LATITUDES = (60.0, -45.0)  # degrees north; beyond them the picture is ice and open sea
ZOOMS = (1, 2, 3)  # pixels of the satellite picture (15 to a degree) per background pixel
MIN_TEXTURE = 0.03  # standard deviation over the positions of a background before stretching: excludes open sea
CHUNK = 1000  # images composed at once, which bounds the memory


@dataclass(frozen=True)
class Ranges:
    """Ranges of the random changes of a product, which are drawn uniformly; `noise` is a standard deviation."""

    rotation_degrees: float = 15.0
    scale: tuple[float, float] = (0.85, 1.15)
    shift_pixels: float = 3.0
    tint: tuple[float, float] = (0.55, 1.0)
    noise: float = 0.02


def load_fashion_on_earth() -> ImageData:
    """12,000 training and 5,000 test images of 32 x 32; about 4 CPU seconds the first time, then cached."""
    arrays = cached_arrays(f"fashion-on-earth-v{VERSION}-{SEED}", compose)
    order = ("x_train", "y_train", "x_test", "y_test")
    return ImageData(
        name="fashion-on-earth",
        id=content_id([arrays[key] for key in order], CLASSES),
        classes=CLASSES,
        train=ArrayImages(arrays["x_train"], arrays["y_train"]),
        test=ArrayImages(arrays["x_test"], arrays["y_test"]),
        native_size=SIZE,
        notes=("composed of Fashion-MNIST (MIT, Zalando SE) and NASA's Blue Marble Next Generation",),
    )


def compose(seed: int = SEED, limit: int | None = None) -> Arrays:
    """Both splits as arrays; with `limit` only the first so many images of each."""
    folder = data_dir("datasets")
    with np.load(folder / "fashion_mnist_17k.npz") as file:
        source = {key: file[key] for key in file.files}
    with Image.open(folder / "blue_marble.jpg") as picture:
        pyramid = {zoom: _shrunk(picture, zoom) for zoom in ZOOMS}
    arrays: dict[str, np.ndarray] = {}
    for part, split in enumerate(("train", "test")):
        products, labels = source[f"x_{split}"][:limit], source[f"y_{split}"][:limit]
        rng = np.random.default_rng([seed, VERSION, part])
        chunks = [
            _compose_chunk(products[start : start + CHUNK], pyramid, split, rng)
            for start in range(0, len(products), CHUNK)
        ]
        arrays |= {f"x_{split}": np.concatenate(chunks), f"y_{split}": labels.astype(np.int64)}
    return arrays


def _shrunk(picture: Image.Image, zoom: int) -> np.ndarray:
    return np.asarray(picture.convert("RGB").reduce(zoom) if zoom > 1 else picture.convert("RGB"))


def _compose_chunk(
    products: np.ndarray, pyramid: dict[int, np.ndarray], split: str, rng: np.random.Generator
) -> np.ndarray:
    """(n, 28, 28) uint8 products to (n, 32, 32, 3) uint8 images."""
    count, ranges = len(products), Ranges()
    ground = _backgrounds(count, pyramid, split, rng)
    shade, mask = _placed(products, ranges, rng)
    inverted = rng.random(count) < 0.5
    shade = np.where(inverted[:, None, None], 1.0 - shade, shade)
    tint = rng.uniform(*ranges.tint, (count, 1, 1, 3)).astype(np.float32)
    mask = mask[..., None]
    image = ground * (1 - mask) + shade[..., None] * tint * mask
    image += np.float32(ranges.noise) * rng.standard_normal(image.shape, dtype=np.float32)
    return (image * 255).round().clip(0, 255).astype(np.uint8)


def _placed(products: np.ndarray, ranges: Ranges, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Products rotated, scaled and shifted: shade and soft mask, both (n, SIZE, SIZE) float32 in [0, 1]."""
    count = len(products)
    angle = np.deg2rad(rng.uniform(-ranges.rotation_degrees, ranges.rotation_degrees, count))
    scale = rng.uniform(*ranges.scale, count)
    shift = rng.uniform(-ranges.shift_pixels, ranges.shift_pixels, (count, 2)).astype(np.float32)
    grid = np.arange(SIZE, dtype=np.float32) - (SIZE - 1) / 2
    x, y = grid[None, None, :] - shift[:, 0, None, None], grid[None, :, None] - shift[:, 1, None, None]
    cos, sin = ((f(angle) / scale).astype(np.float32)[:, None, None] for f in (np.cos, np.sin))
    column, row = cos * x + sin * y, cos * y - sin * x  # relative to the centre of the product
    grey = products.astype(np.float32) / 255
    # Dark cloth is nearly as dark as the background, which is exactly 0: so the mask rises steeply.
    opacity = np.minimum(grey * 8, 1)
    return _bilinear(grey, row, column), _bilinear(opacity, row, column)


def _bilinear(images: np.ndarray, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """Sample (n, h, w) at (n, s, s) positions relative to the centre; 0 outside."""
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    height, width = padded.shape[1:]
    row = (row + (height - 1) / 2).clip(0, height - 1.001)
    column = (column + (width - 1) / 2).clip(0, width - 1.001)
    top, left = row.astype(np.int64), column.astype(np.int64)
    down, right = row - top, column - left
    flat = padded.reshape(-1)
    base = np.arange(len(images))[:, None, None] * (height * width) + top * width + left
    upper = flat[base] * (1 - right) + flat[base + 1] * right
    lower = flat[base + width] * (1 - right) + flat[base + width + 1] * right
    return upper * (1 - down) + lower * down


def _backgrounds(count: int, pyramid: dict[int, np.ndarray], split: str, rng: np.random.Generator) -> np.ndarray:
    """(count, SIZE, SIZE, 3) float32 in [0, 1]: textured crops, turned, channels shuffled, contrast stretched."""
    crops = _textured_crops(count, pyramid, split, rng)
    turns, mirrored = rng.integers(4, size=count), rng.random(count) < 0.5
    channels = np.argsort(rng.random((count, 3)), axis=1)
    for turn in range(4):
        crops[turns == turn] = np.rot90(crops[turns == turn], turn, axes=(1, 2))
    crops[mirrored] = crops[mirrored, :, ::-1]
    crops = np.take_along_axis(crops, channels[:, None, None, :], axis=3)
    colour = crops.mean(axis=(1, 2), keepdims=True)  # (count, 1, 1, 3)
    cast = colour - colour.mean(axis=3, keepdims=True)
    level = rng.uniform(0.3, 0.7, (count, 1, 1, 1)).astype(np.float32)
    contrast = rng.uniform(0.05, 0.15, (count, 1, 1, 1)).astype(np.float32)
    return ((crops - colour) / _texture(crops)[:, None, None, None] * contrast + cast + level).clip(0, 1)


def _texture(crops: np.ndarray) -> np.ndarray:
    """(n,) standard deviation over every second position, mean over the channels; 0 for plain colour."""
    return crops[:, ::2, ::2].std(axis=(1, 2)).mean(axis=1)


def _textured_crops(count: int, pyramid: dict[int, np.ndarray], split: str, rng: np.random.Generator) -> np.ndarray:
    """`cut_crops` with a texture above MIN_TEXTURE; others are drawn again."""
    found: list[np.ndarray] = []
    missing = count
    for _ in range(20):
        crops = cut_crops(2 * missing, pyramid, split, rng)
        crops = crops[_texture(crops) > MIN_TEXTURE][:missing]
        found.append(crops)
        missing -= len(crops)
        if missing == 0:
            return np.concatenate(found)
    raise AssertionError(f"blue_marble.jpg gave only {count - missing} of {count} textured crops in 20 rounds")


def cut_crops(count: int, pyramid: dict[int, np.ndarray], split: str, rng: np.random.Generator) -> np.ndarray:
    """(count, SIZE, SIZE, 3) float32 in [0, 1], each inside one band of longitude of `split`, at a random zoom."""
    bands = [band for band in range(BANDS) if (band in TEST_BANDS) == (split == "test")]
    zooms, chosen = rng.choice(ZOOMS, count), rng.choice(bands, count)
    across, down = rng.random(count), rng.random(count)
    crops = np.empty((count, SIZE, SIZE, 3), dtype=np.float32)
    window = np.arange(SIZE)
    for zoom in ZOOMS:
        picture, here = pyramid[zoom], np.flatnonzero(zooms == zoom)
        height, width = picture.shape[:2]
        north, south = ((90 - degrees) / 180 * height for degrees in LAND_LATITUDES)
        top = (north + down[here] * (south - SIZE - north)).astype(np.int64)
        left = (chosen[here] * width / BANDS + across[here] * (width / BANDS - SIZE)).astype(np.int64)
        rows, columns = top[:, None] + window, left[:, None] + window
        crops[here] = picture[rows[:, :, None], columns[:, None, :]] / np.float32(255)
    return crops
