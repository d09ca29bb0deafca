"""What a data set holds and what is odd about it, image by image, with what will be done about each."""

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

COMPARED_SIZE = 64  # pixels a side at which images are compared: of the same pixels, whatever their files
SMALL = 32  # pixels of the shorter side below which an image is enlarged by any network
ORIENTATION = 274  # EXIF's tag; 1 is upright

# What is odd about an image, and what is done about it.
ODD: Mapping[str, str] = {
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


class Looked(NamedTuple):
    """One image: its file, split and class, its size, what is odd about it, and a hash of its pixels if it has any."""

    file: str
    split: str
    label: int
    size: tuple[int, int] | None
    odd: tuple[str, ...]
    pixels: str


@dataclass
class Finding:
    """The images that something is true of; of a copy also what it is a copy of."""

    files: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        return len(self.files)


@dataclass(frozen=True)
class DataReport:
    """A data set by numbers. `counts`: by split, the images of each class. `sizes`: width and height of each image that
    can be read. `findings`: by what is odd. `notes`: what was left out on reading."""

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
                {"what": what, "images": found.count, "done": ODD[what], "files": found.files}
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
    seen: dict[str, Looked] = {}
    for split, images in splits.items():
        if images is None:
            continue
        labels = np.bincount(images.labels, minlength=max(1, len(data.classes)))
        counts[split] = [int(count) for count in labels]
        for looked in _looked_at(images, split):
            for what in looked.odd:
                findings.setdefault(what, Finding()).files.append(looked.file)
            if looked.size is not None:
                sizes.append(looked.size)
            _compare(looked, seen, findings)
    ordered = {what: findings[what] for what in ODD if what in findings}
    return DataReport(data.name, data.classes, counts, np.array(sizes).reshape(-1, 2), ordered, data.notes)


def _compare(looked: Looked, seen: dict[str, Looked], findings: dict[str, Finding]) -> None:
    """Whether the same pixels were there before, and where."""
    if not looked.pixels:
        return
    first = seen.setdefault(looked.pixels, looked)
    if first is looked:
        return
    if first.label != looked.label:
        what = "the same image in two classes"
    elif first.split != looked.split:
        what = "the same image in two splits"
    else:
        what = "the same image twice in a split"
    findings.setdefault(what, Finding()).files.append(f"{looked.file} (as {first.file})")


def _looked_at(images: object, split: str) -> Iterator[Looked]:
    """Every image of a split, a few at a time."""
    with ThreadPoolExecutor(THREADS) as pool:
        if isinstance(images, FileImages):
            files = [images.root / name for name in images.names]
            yield from pool.map(lambda row: _look(row[0], None, split, int(row[1])), zip(files, images.labels))
        elif isinstance(images, EncodedImages):

            def one(row: int) -> Looked:
                content, label = images.contents.content(row), int(images.labels[row])
                return _look(Path(f"{images.source}, row {row}"), content, split, label)

            yield from pool.map(one, range(len(images.labels)))
    if isinstance(images, ArrayImages):
        for index, (pixels, label) in enumerate(zip(images.pixels, images.labels)):
            digest = hashlib.sha256(pixels.tobytes()).hexdigest()
            yield Looked(f"{split}, image {index}", split, int(label), pixels.shape[1::-1], (), digest)


def _look(path: Path, content: bytes | None, split: str, label: int) -> Looked:
    """One image file: opened for what it says of itself, and decoded as a training would."""
    name = str(path)
    try:
        with Image.open(path if content is None else io.BytesIO(content)) as image:
            size, odd = image.size, _oddities(image)
    except Exception:  # Pillow raises nearly anything at damaged files
        return Looked(name, split, label, None, ("unreadable",), "")
    pixels = decode(path, COMPARED_SIZE, content)
    if pixels is None:
        return Looked(name, split, label, None, ("unreadable",), "")
    return Looked(name, split, label, size, odd, hashlib.sha256(pixels.tobytes()).hexdigest())


def _oddities(image: Image.Image) -> tuple[str, ...]:
    """What an opened image is, besides eight bits of red, green and blue."""
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
