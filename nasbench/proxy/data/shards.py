"""WebDataset shards: tar files in which the files of one sample share a name, such as 0001.jpg and 0001.cls.

Images stay in the shards and are read when needed.
"""

from __future__ import annotations

import json
import re
import tarfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nasbench.errors import UserError, shown
from nasbench.files import data_path
from nasbench.proxy.data.decoding import suffixes
from nasbench.proxy.data.encoded import Rows, data_of_rows, holds_files, role_of
from nasbench.proxy.data.images import ImageData

SUFFIX = ".tar"
LABELS = ("cls", "label", "txt", "json")  # suffixes of a sample's label, the first that is there
KEYS = ("label", "cls", "class")  # of the label in a JSON file
RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")  # {000..123} in a path
MAX_SHARDS = 100_000


@dataclass(frozen=True, eq=False)
class Slices:
    """Files inside one tar file: `places` (n, 2), offset and size of each in bytes."""

    file: Path
    places: np.ndarray

    def __len__(self) -> int:
        return len(self.places)

    def content(self, index: int) -> bytes:
        begin, size = (int(value) for value in self.places[index])
        with self.file.open("rb") as file:
            file.seek(begin)
            return file.read(size)

    def mark(self, index: int) -> bytes:
        """The tar file's name with offset and size."""
        begin, size = self.places[index]
        return f"{self.file.name}:{begin}:{size}".encode()

    def taken(self, places: np.ndarray) -> Slices:
        return Slices(self.file, self.places[places])


def is_shards(spec: str) -> bool:
    """Whether `spec` is a tar file, a range of them, or a folder with some in it or in folders of splits."""
    path = data_path(spec)
    return path.suffix.lower() == SUFFIX or holds_files(path, SUFFIX)


def load_shards(spec: str) -> ImageData:
    """The images of `shards/train-{000..123}.tar`, of one tar file or a folder of them; see `encoded.data_of_rows`."""
    path = data_path(spec)
    files = sorted(path.rglob(f"*{SUFFIX}")) if path.is_dir() else _expanded(path, spec)
    root = path if path.is_dir() else path.parent
    return data_of_rows(spec, root.name or path.stem, [(role_of(file, root), _rows(file)) for file in files])


def _expanded(path: Path, spec: str) -> list[Path]:
    """The files of a range such as {000..123} in a name; without one the file itself."""
    found = RANGE.search(path.name)
    if found is None:
        return [path]
    first, last = int(found[1]), int(found[2])
    if not first <= last < first + MAX_SHARDS:
        most = f"at most {MAX_SHARDS:,}"
        raise UserError(f"data {spec!r}: {found[0]} is no range of shards; write {{FIRST..LAST}}, {most}")
    width = len(found[1])
    names = (path.name.replace(found[0], f"{number:0{width}d}") for number in range(first, last + 1))
    return [path.with_name(name) for name in names]


def _rows(file: Path) -> Rows:
    """The samples of one shard that have an image; UserError where it is damaged or has none."""
    samples: dict[str, dict[str, tarfile.TarInfo]] = defaultdict(dict)
    try:
        with tarfile.open(file, "r:") as tar:
            for member in tar:
                folder, _, name = member.name.rpartition("/")
                key, dot, suffix = name.partition(".")
                if member.isfile() and key and dot:
                    samples[f"{folder}/{key}"][suffix.lower()] = member
            found = [_sample(tar, key, parts, file) for key, parts in samples.items()]
    except (OSError, tarfile.TarError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"data {str(file)!r}: not a tar file that can be read ({reason}); give a whole one") from None
    kept = [each for each in found if each is not None]
    if not kept:
        known = ", ".join(f".{name}" for name in LABELS)
        raise UserError(f"data {str(file)!r}: no image with a label beside it ({known}); write both for each sample")
    places = np.array([(member.offset_data, member.size) for member, _ in kept], dtype=np.int64)
    return Rows(Slices(file, places), [label for _, label in kept])


def _sample(
    tar: tarfile.TarFile, key: str, parts: dict[str, tarfile.TarInfo], file: Path
) -> tuple[tarfile.TarInfo, str] | None:  # fmt: skip
    """The image of a sample and its label; None where it has no image."""
    image = next((member for suffix, member in parts.items() if f".{suffix.rpartition('.')[2]}" in suffixes()), None)
    if image is None:
        return None
    name = next((name for name in LABELS if name in parts), None)
    if name is None:
        raise UserError(f"data {str(file)!r}: sample {shown(key)} has no label; write one beside it, such as .cls")
    held = tar.extractfile(parts[name])
    text = held.read().decode("utf-8", "replace").strip() if held is not None else ""
    if name == "json":
        text = _from_json(text)
    if not text:
        raise UserError(f"data {str(file)!r}: sample {shown(key)} has no label in its .{name}; write one")
    return image, text


def _from_json(text: str) -> str:
    """The label in a JSON table, "" without one."""
    try:
        content = json.loads(text)
    except ValueError:
        return ""
    found = next((content[key] for key in KEYS if key in content), None) if isinstance(content, dict) else None
    return "" if found is None else str(found)
