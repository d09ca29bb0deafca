"""Images as encoded files inside other files (parquet, tar): reading them, and making a data set of rows of them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from nasbench.errors import UserError
from nasbench.proxy.data.decoding import VERSION, decode, decode_all
from nasbench.proxy.data.folder import TEST_FRACTION
from nasbench.proxy.data.images import ImageData
from nasbench.proxy.data.splits import ROLES, Role
from nasbench.proxy.data.table import require_classes, settled_roles, sorted_classes

SAMPLED = 256  # images of a split whose content enters the id, as reading all would take minutes


class Contents(Protocol):
    """Encoded images by number, in memory or read when needed."""

    def __len__(self) -> int: ...

    def content(self, index: int) -> bytes: ...

    def mark(self, index: int) -> bytes:
        """Identifies an image without reading much: its content where that is in memory, else its place."""
        ...

    def taken(self, places: np.ndarray) -> Contents:
        """The images of these numbers, in this order."""
        ...


@dataclass(frozen=True, eq=False)
class InMemory:
    """Encoded images in memory."""

    items: tuple[bytes, ...]

    def __len__(self) -> int:
        return len(self.items)

    def content(self, index: int) -> bytes:
        return self.items[index]

    def mark(self, index: int) -> bytes:
        return self.items[index]

    def taken(self, places: np.ndarray) -> InMemory:
        return InMemory(tuple(self.items[place] for place in places))


@dataclass(frozen=True, eq=False)
class Joined:
    """The images of several `Contents`, concatenated."""

    parts: tuple[Contents, ...]
    places: np.ndarray  # (n, 2): part, and number within it

    @classmethod
    def of(cls, parts: Sequence[Contents]) -> Contents:
        if len(parts) == 1:
            return parts[0]
        each = [np.stack([np.full(len(part), index), np.arange(len(part))], 1) for index, part in enumerate(parts)]
        return cls(tuple(parts), np.concatenate(each))

    def __len__(self) -> int:
        return len(self.places)

    def content(self, index: int) -> bytes:
        part, place = self.places[index]
        return self.parts[part].content(int(place))

    def mark(self, index: int) -> bytes:
        part, place = self.places[index]
        return self.parts[part].mark(int(place))

    def taken(self, places: np.ndarray) -> Joined:
        return Joined(self.parts, self.places[places])


@dataclass(frozen=True, eq=False)
class EncodedImages:
    """Encoded images with `labels` (n,) int64, decoded when read. source: their name in messages."""

    source: str
    contents: Contents
    labels: np.ndarray

    def read(self, indices: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
        def one(index: int) -> np.ndarray | None:
            return decode(Path(f"{self.source}, row {index}"), size, self.contents.content(int(index)))

        return decode_all(one, indices, size)


class Rows(NamedTuple):
    """The images and labels of one file; names: of the classes in the order of numeric labels, if the file has them."""

    contents: Contents
    labels: list[str]
    names: tuple[str, ...] = ()


def data_of_rows(spec: str, name: str, parts: Sequence[tuple[Role, Rows]]) -> ImageData:
    """A data set of files with the split of each; without a test split, TEST_FRACTION of training becomes one."""
    roles = settled_roles([role for role, _ in parts], spec)
    named = next((rows.names for _, rows in parts if rows.names), ())
    by_role: dict[Role, tuple[list[Contents], list[str]]] = {}
    for role, (_, rows) in zip(roles, parts):
        contents, labels = by_role.setdefault(role, ([], []))
        contents.append(rows.contents)
        labels += [_class_name(label, named) for label in rows.labels]
    classes = tuple(named) or tuple(sorted_classes(set(by_role["train"][1])))
    require_classes(classes, by_role["train"][1], spec)
    images = {
        role: _images(name, Joined.of(contents), labels, classes, spec) for role, (contents, labels) in by_role.items()
    }
    if "test" not in images:
        images["train"], images["test"] = _cut(images["train"])
    return ImageData(
        name, _id(classes, images), classes, images["train"], images["test"], validation=images.get("validation")
    )


def _id(classes: Sequence[str], images: Mapping[Role, EncodedImages]) -> str:
    """Hash of all labels and marks, and of the content of up to SAMPLED evenly spaced images where that is no mark."""
    digest = hashlib.sha256("\0".join([*classes, f"decoding {VERSION}"]).encode())
    for role in sorted(images):
        held, count = images[role].contents, len(images[role].labels)
        digest.update(role.encode() + images[role].labels.tobytes())
        for index in range(count):
            digest.update(hashlib.sha256(held.mark(index)).digest())
        for index in np.linspace(0, count - 1, min(SAMPLED, count)).astype(int):
            if held.mark(index) != held.content(index):
                digest.update(hashlib.sha256(held.content(index)).digest())
    return digest.hexdigest()[:16]


def holds_files(folder: Path, suffix: str) -> bool:
    """Whether a folder holds files with this suffix, directly or in folders with names of splits.

    Folders of splits that hold folders themselves do not count: their files with this suffix lie beside class folders.
    """
    if any(True for _ in folder.glob(f"*{suffix}")):
        return True
    splits = [each for each in folder.glob("*") if each.name.casefold() in ROLES and each.is_dir()]
    found = any(True for split in splits for _ in split.glob(f"*{suffix}"))
    return found and not any(inner.is_dir() for split in splits for inner in split.glob("*"))


def role_of(file: Path, root: Path) -> Role:
    """The split by the first word of the file's name, else by a folder's name; else train."""
    folders = file.relative_to(root).parts[:-1] if root.is_dir() else ()
    for word in (re.split(r"[-_.\d]", file.stem)[0], *reversed(folders)):
        if word.casefold() in ROLES:
            return ROLES[word.casefold()]
    return "train"


def _class_name(label: str, names: Sequence[str]) -> str:
    """The name of a numeric label where there are names; else the label itself."""
    return names[int(label)] if names and label.isdigit() and int(label) < len(names) else label


def _images(
    name: str, contents: Contents, labels: Sequence[str], classes: Sequence[str], spec: str
) -> EncodedImages:  # fmt: skip
    """Images with their labels as numbers of `classes`; UserError for a label that is none of them."""
    places = {known: index for index, known in enumerate(classes)}
    strange = next((label for label in labels if label not in places), None)
    if strange is not None:
        raise UserError(f"data {spec!r}: no training image is of class {strange!r}, which another split has")
    return EncodedImages(name, contents, np.array([places[label] for label in labels], dtype=np.int64))


def _cut(images: EncodedImages) -> tuple[EncodedImages, EncodedImages]:
    """(training, test): of every class TEST_FRACTION for testing, those whose marks have the lowest hashes.

    So the split is the same on every machine.
    """
    count = len(images.labels)
    hashes = np.array([hashlib.sha256(images.contents.mark(index)).hexdigest() for index in range(count)])
    tested = np.zeros(count, dtype=bool)
    for label in np.unique(images.labels):
        members = np.flatnonzero(images.labels == label)
        tested[members[np.argsort(hashes[members], kind="stable")][: round(TEST_FRACTION * len(members))]] = True
    return _part(images, ~tested), _part(images, tested)


def _part(images: EncodedImages, chosen: np.ndarray) -> EncodedImages:
    places = np.flatnonzero(chosen)
    return EncodedImages(images.source, images.contents.taken(places), images.labels[places])
