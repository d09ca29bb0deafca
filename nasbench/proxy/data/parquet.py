"""Parquet files of images and labels in Hugging Face's layout: encoded images in a column, splits by file."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nasbench.errors import UserError, shown
from nasbench.files import data_path
from nasbench.hardware import memory_bytes
from nasbench.proxy.data.decoding import VERSION, decode
from nasbench.proxy.data.folder import TEST_FRACTION, THREADS
from nasbench.proxy.data.images import ImageData
from nasbench.proxy.data.splits import ROLES, Role
from nasbench.proxy.data.table import require_classes, settled_roles, sorted_classes

SUFFIX = ".parquet"
IMAGES = ("image", "img", "picture", "jpg", "png", "bytes")
LABELS = ("label", "labels", "class", "target", "fine_label", "category")
MEMORY_SHARE = 0.5  # of this machine's, that the encoded images may take


def is_parquet(spec: str) -> bool:
    """Whether it is a parquet file, or a folder that holds some, itself or in its folder `data`."""
    path = data_path(spec)
    return path.suffix.lower() == SUFFIX or any(
        True for place in (path, path / "data") for _ in place.glob(f"*{SUFFIX}")
    )


@dataclass(frozen=True, eq=False)
class EncodedImages:
    """Image files that lie in memory as they came; `labels` (n,) int64. `source` names them in messages."""

    source: str
    contents: tuple[bytes, ...]
    labels: np.ndarray

    def read(self, indices: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
        def one(index: int) -> np.ndarray | None:
            return decode(Path(f"{self.source}, row {index}"), size, self.contents[index])

        with ThreadPoolExecutor(THREADS) as pool:
            decoded = list(pool.map(one, indices))
        kept = np.array([position for position, image in enumerate(decoded) if image is not None], dtype=np.int64)
        if not len(kept):
            return np.empty((0, size, size, 3), dtype=np.uint8), kept
        return np.stack([image for image in decoded if image is not None]), kept


class Rows(NamedTuple):
    """The images and labels of one file, and the names of the labels where the file tells them."""

    contents: list[bytes]
    labels: list[str]
    names: tuple[str, ...]


def load_parquet(spec: str) -> ImageData:
    """The images of a parquet file or a folder of them. Splits are told by the names of files (train-00000-of-00001) or
    of their folders; a fifth is cut out where there is no test split."""
    path = data_path(spec)
    files = sorted(path.rglob(f"*{SUFFIX}")) if path.is_dir() else [path]
    _require_room(files, spec)
    roles = settled_roles([_role(file, path) for file in files], spec)
    parts = [_rows(file) for file in files]
    named = next((part.names for part in parts if part.names), ())
    by_role: dict[Role, tuple[list[bytes], list[str]]] = {}
    for role, part in zip(roles, parts):
        contents, labels = by_role.setdefault(role, ([], []))
        contents += part.contents
        labels += [_called(label, named) for label in part.labels]
    classes = tuple(named) or tuple(sorted_classes(set(by_role["train"][1])))
    require_classes(classes, by_role["train"][1], spec)
    images = {role: _images(path.name, rows, classes, spec) for role, rows in by_role.items()}
    if "test" not in images:
        images["train"], images["test"] = _cut(images["train"])
    digest = hashlib.sha256("\0".join([*classes, f"decoding {VERSION}"]).encode())
    for role in sorted(images):
        digest.update(role.encode() + images[role].labels.tobytes())
        for content in images[role].contents:
            digest.update(hashlib.sha256(content).digest())
    return ImageData(
        path.stem, digest.hexdigest()[:16], classes, images["train"], images["test"],
        validation=images.get("validation"),
    )  # fmt: skip


def _require_room(files: Sequence[Path], spec: str) -> None:
    size = sum(file.stat().st_size for file in files if file.is_file())
    if size > MEMORY_SHARE * memory_bytes():
        raise UserError(
            f"data {spec!r}: its parquet files hold {size / 2**30:.0f} GiB, more than half of this machine's memory; "
            "unpack them into a folder of images, which is read as it is needed"
        )


def _role(file: Path, root: Path) -> Role:
    """By the first word of the file's name, or else by a folder's; files without one are trained on."""
    folders = file.relative_to(root).parts[:-1] if root.is_dir() else ()
    for word in (re.split(r"[-_.\d]", file.stem)[0], *reversed(folders)):
        if word.casefold() in ROLES:
            return ROLES[word.casefold()]
    return "train"


def _rows(file: Path) -> Rows:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(file)
        image, label = (
            _column(schema.names, names, what, file) for names, what in ((IMAGES, "images"), (LABELS, "labels"))
        )
        table = pq.read_table(file, columns=[image, label])
    except (OSError, pa.ArrowException) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(
            f"data {str(file)!r}: not a parquet file that can be read ({reason}); give a whole one"
        ) from None
    contents = [_content(value, file) for value in table[image].to_pylist()]
    labels = table[label].to_pylist()
    if any(value is None for value in labels):
        raise UserError(f"data {str(file)!r}: row {labels.index(None)} has no label; give it one, or take it out")
    return Rows(contents, [str(value) for value in labels], _label_names(schema.metadata, label))


def _column(have: Sequence[str], names: Sequence[str], what: str, file: Path) -> str:
    found = next((name for name in names if name in have), None)
    if found is None:
        listed = shown(", ".join(have))
        raise UserError(f"data {str(file)!r}: no column of {what} among {listed}; call one {' or '.join(names[:3])}")
    return found


def _content(value: Any, file: Path) -> bytes:
    """The encoded image in a cell: bytes, or Hugging Face's record of bytes and a path."""
    content = value.get("bytes") if isinstance(value, dict) else value
    if not isinstance(content, bytes):
        raise UserError(
            f"data {str(file)!r}: its images are no encoded files inside the table (a cell holds {shown(value)}); "
            "write the images' bytes into it, or give a CSV of their paths"
        )
    return content


def _label_names(metadata: dict[bytes, bytes] | None, column: str) -> tuple[str, ...]:
    """The classes' names that Hugging Face writes beside a table, in the order of its numbers."""
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
        return tuple(str(name) for name in features[column]["names"])
    except (KeyError, ValueError, TypeError):  # a table of another origin
        return ()


def _called(label: str, names: Sequence[str]) -> str:
    return names[int(label)] if names and label.isdigit() and int(label) < len(names) else label


def _images(name: str, rows: tuple[list[bytes], list[str]], classes: Sequence[str], spec: str) -> EncodedImages:
    places = {known: index for index, known in enumerate(classes)}
    strange = next((label for label in rows[1] if label not in places), None)
    if strange is not None:
        raise UserError(f"data {spec!r}: no training image is of class {strange!r}, which another split has")
    labels = np.array([places[label] for label in rows[1]], dtype=np.int64)
    return EncodedImages(name, tuple(rows[0]), labels)


def _cut(images: EncodedImages) -> tuple[EncodedImages, EncodedImages]:
    """A fifth of every class for testing, those whose content hashes lowest: the same on every machine."""
    hashes = np.array([hashlib.sha256(content).hexdigest() for content in images.contents])
    tested = np.zeros(len(hashes), dtype=bool)
    for label in np.unique(images.labels):
        members = np.flatnonzero(images.labels == label)
        tested[members[np.argsort(hashes[members], kind="stable")][: round(TEST_FRACTION * len(members))]] = True
    return _part(images, ~tested), _part(images, tested)


def _part(images: EncodedImages, chosen: np.ndarray) -> EncodedImages:
    places = np.flatnonzero(chosen)
    return EncodedImages(images.source, tuple(images.contents[place] for place in places), images.labels[places])
