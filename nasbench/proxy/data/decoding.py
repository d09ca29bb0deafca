"""Decodes an image file to a square of 8-bit RGB pixels, whatever its bit depth."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

log = logging.getLogger("nasbench.data")

VERSION = 2  # to be raised when any file decodes to other pixels; part of a data set's id
# Formats that Pillow recognises, and cannot decode by itself.
NOT_DECODED = frozenset({"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"})
WHITES = (1, 255, 65535)  # possible values of white where the format does not say; see `eight_bits`
SIXTEEN_BITS = frozenset({"PNG", "PPM"})  # formats whose 16-bit samples Pillow gives as 32-bit integers up to 65535
BITS_PER_SAMPLE = 258  # tag of TIFF
THREADS = 4  # Pillow decodes without the interpreter's lock
DARK = 16  # an image with all samples below white / DARK is reported: probably scaled otherwise
_reported: set[str] = set()  # topics that this process has warned of


@cache
def suffixes() -> frozenset[str]:
    """The suffixes of image files that Pillow decodes, in lower case."""
    Image.init()
    decoded = (set(Image.OPEN) | {"MPO"}) - NOT_DECODED  # MPO is opened as JPEG
    return frozenset(suffix for suffix, name in Image.registered_extensions().items() if name in decoded)


def decode(path: Path, size: int, content: bytes | None = None) -> np.ndarray | None:
    """(size, size, 3) uint8: the centre square of an image; None for a file that cannot be read, with a warning once.

    More than 8 bits a sample are converted by `eight_bits`. content: the bytes of the file, if it lies inside another;
    `path` is only its name in messages then.
    """
    try:
        with Image.open(path if content is None else io.BytesIO(content)) as image:
            image.draft("RGB", (2 * size, 2 * size))  # JPEG only: decodes at the nearest larger power-of-two scale
            upright = eight_bits(ImageOps.exif_transpose(image), _white(image), path)
            if upright.mode == "P" and "transparency" in upright.info:
                upright = upright.convert("RGBA")  # else Pillow warns; the colours are the same
            upright = upright.convert("RGB")
            return np.asarray(ImageOps.fit(upright, (size, size), Image.Resampling.BILINEAR))
    except Exception as error:  # Pillow's decoders raise nearly anything at damaged files
        reason = str(error).partition("\n")[0] or type(error).__name__
        say_once(f"{path} is skipped: it cannot be read as an image ({reason})")
        return None


def decode_all(
    one: Callable[[int], np.ndarray | None], indices: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Decode the images at `indices` (n,) by `one`, several at a time; those that cannot be read are left out.

    Returns the images (k, size, size, 3) and their positions (k,) in `indices`.
    """
    with ThreadPoolExecutor(THREADS) as pool:
        decoded = list(pool.map(one, indices))
    kept = np.array([position for position, image in enumerate(decoded) if image is not None], dtype=np.int64)
    if not len(kept):
        return np.empty((0, size, size, 3), dtype=np.uint8), kept
    return np.stack([image for image in decoded if image is not None]), kept


def eight_bits(image: Image.Image, white: int | None, path: Path) -> Image.Image:
    """An image of 16-bit, 32-bit or float samples scaled to 8 bits: 0 stays 0, and `white` becomes 255.

    16-bit samples have white at 65535, or as the bits per sample of a TIFF say. For 32-bit integers and floats, where
    `white` is None, it is the smallest of 1 (floats only), 255 and 65535 that no sample exceeds. ValueError for samples
    below 0, above 65535 or not finite. Images of 8 bits or fewer are returned as they are.
    """
    if image.mode not in ("I", "F") and not image.mode.startswith("I;16"):
        return image
    samples = np.asarray(image, dtype=np.float64)
    low, high = float(samples.min()), float(samples.max())
    if not (low >= 0 and high <= WHITES[-1]):  # also where one is NaN
        raise ValueError(
            f"its samples lie in {low:g} to {high:g}; they must lie in 0 to 1 (floats), 255 or 65535: scale them"
        )
    possible = WHITES[1:] if image.mode == "I" else WHITES
    white = white or next(each for each in possible if high <= each)
    if 0 < high < white / DARK:
        say_once(f"{path} is dark: its samples reach {high:g}, and {white} is white; scale them", f"dark {path.parent}")
    return Image.fromarray((samples * (255 / white)).round().clip(0, 255).astype(np.uint8))


def _white(image: Image.Image) -> int | None:
    """The largest sample that an image's format allows, or None where the format does not say."""
    if image.mode.startswith("I;16"):
        bits = getattr(image, "tag_v2", {}).get(BITS_PER_SAMPLE, (16,))
        return int(2 ** bits[0] - 1)
    return WHITES[-1] if image.mode == "I" and image.format in SIXTEEN_BITS else None


def say_once(message: str, topic: str = "") -> None:
    """Log a warning once in this process for each topic (by default the message itself)."""
    if (topic or message) not in _reported:
        _reported.add(topic or message)
        log.warning("%s", message)
