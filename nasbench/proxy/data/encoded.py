"""Images as encoded files within other files: how they are read, and how rows of them become a data set."""

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

SAMPLED = 256  # images of a split whose content decides the id, where reading all of them would take minutes


class Contents(Protocol):
    """Encoded images by number, in memory or read when asked for."""

    def __len__(self) -> int: ...

    def content(self, index: int) -> bytes: ...

    def mark(self, index: int) -> bytes:
        """What tells it from others without reading much: its content where that is in memory."""
        ...

    def taken(self, places: np.ndarray) -> Contents:
        """Those of these numbers, in their order."""
        ...


@dataclass(frozen=True, eq=False)
class InMemory:
    """Encoded images that lie in memory."""

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
    """Several of them, one behind the other."""

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
    """Image files as they came; `labels` (n,) int64. `source` names them in messages."""

    source: str
    contents: Contents
    labels: np.ndarray

    def read(self, indices: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
        def one(index: int) -> np.ndarray | None:
            return decode(Path(f"{self.source}, row {index}"), size, self.contents.content(int(index)))

        return decode_all(one, indices, size)


class Rows(NamedTuple):
    """The images and labels of one file, and the names of the labels where the file tells them."""

    contents: Contents
    labels: list[str]
    names: tuple[str, ...] = ()


def data_of_rows(spec: str, name: str, parts: Sequence[tuple[Role, Rows]]) -> ImageData:
    """A data set of files that say the split each; a fifth is cut out where there is no test split."""
    roles = settled_roles([role for role, _ in parts], spec)
    named = next((rows.names for _, rows in parts if rows.names), ())
    by_role: dict[Role, tuple[list[Contents], list[str]]] = {}
    for role, (_, rows) in zip(roles, parts):
        contents, labels = by_role.setdefault(role, ([], []))
        contents.append(rows.contents)
        labels += [_called(label, named) for label in rows.labels]
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
    """Hash of all labels and marks, and of the content of up to 256 evenly spaced images where marks are not that."""
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


def role_of(file: Path, root: Path) -> Role:
    """By the first word of the file's name, or else by a folder's; files without one are trained on."""
    folders = file.relative_to(root).parts[:-1] if root.is_dir() else ()
    for word in (re.split(r"[-_.\d]", file.stem)[0], *reversed(folders)):
        if word.casefold() in ROLES:
            return ROLES[word.casefold()]
    return "train"


def _called(label: str, names: Sequence[str]) -> str:
    return names[int(label)] if names and label.isdigit() and int(label) < len(names) else label


def _images(
    name: str, contents: Contents, labels: Sequence[str], classes: Sequence[str], spec: str
) -> EncodedImages:  # fmt: skip
    places = {known: index for index, known in enumerate(classes)}
    strange = next((label for label in labels if label not in places), None)
    if strange is not None:
        raise UserError(f"data {spec!r}: no training image is of class {strange!r}, which another split has")
    return EncodedImages(name, contents, np.array([places[label] for label in labels], dtype=np.int64))


def _cut(images: EncodedImages) -> tuple[EncodedImages, EncodedImages]:
    """A fifth of every class for testing, those whose mark hashes lowest: the same on every machine."""
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
