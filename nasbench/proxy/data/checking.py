"""Checks every image of a data set: counts, sizes, and what is unusual, with what will be done about it."""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from nasbench.proxy.data.decoding import THREADS, decode
from nasbench.proxy.data.encoded import EncodedImages
from nasbench.proxy.data.folder import FileImages
from nasbench.proxy.data.images import ArrayImages, ImageData

COMPARED_SIZE = 64  # side in pixels to which images are decoded to find copies, whatever their file formats
SMALL = 32  # pixels of the shorter side below which an image is enlarged by any network
ORIENTATION = 274  # EXIF's tag; 1 is upright

# What may be unusual about an image -> what is done about it.
FINDINGS: Mapping[str, str] = {
    "unreadable": "skipped; replace or remove the file",
    "16-bit or deeper": "scaled to 8 bits by the rule of the README",
    "CMYK": "turned into RGB",
    "palette": "turned into RGB",
    "transparent": "transparency is dropped, the colours below it stay",
    "animated": "its first frame is used",
    "rotated by EXIF": "turned upright",
    "grey": "the same on all three channels",
    "small": f"enlarged: its shorter side has fewer than {SMALL} pixels",
    "the same image in two splits": "trained on and scored: remove one, or scores are too good",
    "the same image in two classes": "taught as both: keep the right one",
    "the same image twice in a split": "seen twice as often",
}


class CheckedImage(NamedTuple):
    """One image: file, split, class, size (None if unreadable), keys of FINDINGS, a hash of its pixels ("" if none)."""

    file: str
    split: str
    label: int
    size: tuple[int, int] | None
    findings: tuple[str, ...]
    pixels: str


@dataclass
class Finding:
    """The files that a finding is about; for a copy with the name of the original."""

    files: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        return len(self.files)


@dataclass(frozen=True)
class DataReport:
    """What a data set holds.

    counts: {split: images of each class}. sizes: width and height of each readable image. findings: by the keys of
    FINDINGS. notes: what was left out on reading.
    """

    name: str
    classes: tuple[str, ...]
    counts: dict[str, list[int]]
    sizes: np.ndarray  # (n, 2)
    findings: dict[str, Finding]
    notes: tuple[str, ...]

    @property
    def imbalance(self) -> float:
        """Images of the largest training class over those of the smallest."""
        counts = self.counts["train"]
        return max(counts) / max(1, min(counts))

    def to_dict(self) -> dict[str, object]:
        sides = {} if not len(self.sizes) else {
            name: [int(value) for value in np.percentile(self.sizes, share, axis=0, method="nearest")]
            for name, share in (("smallest", 0), ("median", 50), ("largest", 100))
        }  # fmt: skip
        return {
            "name": self.name,
            "classes": len(self.classes),
            "images": {split: dict(zip(self.classes, counts)) for split, counts in self.counts.items()},
            "imbalance": round(self.imbalance, 3),
            "width_and_height": sides,
            "findings": [
                {"what": what, "images": found.count, "done": FINDINGS[what], "files": found.files}
                for what, found in self.findings.items()
            ],
            "notes": list(self.notes),
        }


def check_data(data: ImageData) -> DataReport:
    """Look at every image of a data set; nothing is changed."""
    splits = {"train": data.train, "validation": data.validation, "test": data.test}
    findings: dict[str, Finding] = {}
    counts: dict[str, list[int]] = {}
    sizes: list[tuple[int, int]] = []
    seen: dict[str, CheckedImage] = {}  # by hash of the pixels
    for split, images in splits.items():
        if images is None:
            continue
        labels = np.bincount(images.labels, minlength=max(1, len(data.classes)))
        counts[split] = [int(count) for count in labels]
        for image in _checked_images(images, split):
            for what in image.findings:
                findings.setdefault(what, Finding()).files.append(image.file)
            if image.size is not None:
                sizes.append(image.size)
            _note_copy(image, seen, findings)
    ordered = {what: findings[what] for what in FINDINGS if what in findings}
    return DataReport(data.name, data.classes, counts, np.array(sizes).reshape(-1, 2), ordered, data.notes)


def _note_copy(image: CheckedImage, seen: dict[str, CheckedImage], findings: dict[str, Finding]) -> None:
    """Add a finding if an image with the same pixels was seen before; else add the image to `seen`."""
    if not image.pixels:
        return
    first = seen.setdefault(image.pixels, image)
    if first is image:
        return
    if first.label != image.label:
        what = "the same image in two classes"
    elif first.split != image.split:
        what = "the same image in two splits"
    else:
        what = "the same image twice in a split"
    findings.setdefault(what, Finding()).files.append(f"{image.file} (as {first.file})")


def _checked_images(images: object, split: str) -> Iterator[CheckedImage]:
    """Every image of a split in order, several decoded at a time."""
    with ThreadPoolExecutor(THREADS) as pool:
        if isinstance(images, FileImages):
            files = [images.root / name for name in images.names]
            yield from pool.map(lambda row: _checked(row[0], None, split, int(row[1])), zip(files, images.labels))
        elif isinstance(images, EncodedImages):

            def one(row: int) -> CheckedImage:
                content, label = images.contents.content(row), int(images.labels[row])
                return _checked(Path(f"{images.source}, row {row}"), content, split, label)

            yield from pool.map(one, range(len(images.labels)))
    if isinstance(images, ArrayImages):
        for index, (pixels, label) in enumerate(zip(images.pixels, images.labels)):
            digest = hashlib.sha256(pixels.tobytes()).hexdigest()
            yield CheckedImage(f"{split}, image {index}", split, int(label), pixels.shape[1::-1], (), digest)


def _checked(path: Path, content: bytes | None, split: str, label: int) -> CheckedImage:
    """One image file: its header is read, and it is decoded as for a training."""
    name = str(path)
    try:
        with Image.open(path if content is None else io.BytesIO(content)) as image:
            size, found = image.size, _findings(image)
    except Exception:  # Pillow raises nearly anything at damaged files
        return CheckedImage(name, split, label, None, ("unreadable",), "")
    pixels = decode(path, COMPARED_SIZE, content)
    if pixels is None:
        return CheckedImage(name, split, label, None, ("unreadable",), "")
    return CheckedImage(name, split, label, size, found, hashlib.sha256(pixels.tobytes()).hexdigest())


def _findings(image: Image.Image) -> tuple[str, ...]:
    """In what an opened image differs from 8-bit RGB of a usual size: keys of FINDINGS."""
    mode = image.mode
    found = {
        "16-bit or deeper": mode in ("I", "F") or mode.startswith("I;16"),
        "CMYK": mode == "CMYK",
        "palette": mode == "P",
        "transparent": mode in ("RGBA", "LA", "PA") or "transparency" in image.info,
        "animated": getattr(image, "n_frames", 1) > 1,
        "rotated by EXIF": image.getexif().get(ORIENTATION, 1) not in (0, 1),
        "grey": mode in ("L", "1", "LA"),
        "small": min(image.size) < SMALL,
    }
    return tuple(what for what, holds in found.items() if holds)


def largest_and_smallest(report: DataReport) -> tuple[str, str]:
    """The training classes with the most and the fewest images."""
    counts = Counter(dict(zip(report.classes, report.counts["train"])))
    ordered = counts.most_common()
    return ordered[0][0], ordered[-1][0]
