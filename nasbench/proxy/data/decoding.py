"""One image file to a square of 8-bit pixels, whatever depth its samples have."""

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

VERSION = 2  # raise it when any file decodes to other pixels; it enters a folder's id
# Pillow knows these by name alone (their pixels need a library or a program that is not Pillow's).
NOT_DECODED = frozenset({"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"})
WHITES = (1, 255, 65535)  # what white is stored as; the smallest that no sample exceeds
SIXTEEN_BITS = frozenset({"PNG", "PPM"})  # Pillow gives their 16-bit samples as 32-bit integers, scaled to 65535
BITS_PER_SAMPLE = 258  # TIFF's tag
THREADS = 4  # Pillow decodes without the interpreter's lock
DARK = 16  # samples that all lie below white / DARK were hardly meant to fill the range
_reported: set[str] = set()  # what this process has already said


@cache
def suffixes() -> frozenset[str]:
    """The suffixes of image files that Pillow decodes, in lower case."""
    Image.init()
    decoded = (set(Image.OPEN) | {"MPO"}) - NOT_DECODED  # MPO is opened as JPEG
    return frozenset(suffix for suffix, name in Image.registered_extensions().items() if name in decoded)


def decode(path: Path, size: int, content: bytes | None = None) -> np.ndarray | None:
    """(size, size, 3) uint8: the centre square of an image; None for a file that cannot be read, which is named once.

    More than 8 bits a sample become 8 by the rule of `eight_bits`. `content`: of a file that lies inside another one;
    `path` only names it then.
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
    """The images (k, size, size, 3) that `one` decodes of those at `indices` (n,), several at a time, and which of the
    n they are: files that cannot be read are left out."""
    with ThreadPoolExecutor(THREADS) as pool:
        decoded = list(pool.map(one, indices))
    kept = np.array([position for position, image in enumerate(decoded) if image is not None], dtype=np.int64)
    if not len(kept):
        return np.empty((0, size, size, 3), dtype=np.uint8), kept
    return np.stack([image for image in decoded if image is not None]), kept


def eight_bits(image: Image.Image, white: int | None, path: Path) -> Image.Image:
    """An image of 16-bit, 32-bit or float samples in 8 bits: 0 stays black, and `white` becomes 255.

    16-bit samples have white at 65535 (or where a TIFF's bits per sample put it). 32-bit integers and floats do not say
    where: it is 1 (floats only), 255 or 65535, the smallest that no sample exceeds. Samples below 0, above 65535 or not
    finite have no known scale: a `ValueError`. Images of 8 bits a sample or fewer come back as they are.
    """
    if image.mode not in ("I", "F") and not image.mode.startswith("I;16"):
        return image
    samples = np.asarray(image, dtype=np.float64)
    low, high = float(samples.min()), float(samples.max())
    if not (low >= 0 and high <= WHITES[-1]):  # also where one is NaN
        raise ValueError(
            f"its samples lie in {low:g} to {high:g}; they must lie in 0 to 1 (floats), 255 or 65535: scale them"
        )
    white = white or next(white for white in WHITES[image.mode == "I" :] if high <= white)
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
    """Warn, once in a process for each topic (the message itself if none is given)."""
    if (topic or message) not in _reported:
        _reported.add(topic or message)
        log.warning("%s", message)
