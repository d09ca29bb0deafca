"""Parquet files of images and labels in Hugging Face's layout: encoded images in a column, splits by file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nasbench.errors import UserError, shown
from nasbench.files import data_path
from nasbench.hardware import memory_bytes
from nasbench.proxy.data.encoded import InMemory, Rows, data_of_rows, holds_files, role_of
from nasbench.proxy.data.images import ImageData

SUFFIX = ".parquet"
IMAGES = ("image", "img", "picture", "jpg", "png", "bytes")  # names of columns, the first that is there
LABELS = ("label", "labels", "class", "target", "fine_label", "category")
MEMORY_SHARE = 0.5  # of this machine's memory, for the encoded images


def is_parquet(spec: str) -> bool:
    """Whether `spec` is a parquet file, or a folder with some in it, in its folder `data` or in folders of splits."""
    path = data_path(spec)
    return path.suffix.lower() == SUFFIX or any(holds_files(place, SUFFIX) for place in (path, path / "data"))


def load_parquet(spec: str) -> ImageData:
    """The images of a parquet file or of a folder of them; see `encoded.data_of_rows`.

    The split of a file is in its name (train-00000-of-00001) or that of its folder. UserError.
    """
    path = data_path(spec)
    files = sorted(path.rglob(f"*{SUFFIX}")) if path.is_dir() else [path]
    _require_room(files, spec)
    return data_of_rows(spec, path.stem, [(role_of(file, path), _rows(file)) for file in files])


def _require_room(files: Sequence[Path], spec: str) -> None:
    size = sum(file.stat().st_size for file in files if file.is_file())
    if size > MEMORY_SHARE * memory_bytes():
        raise UserError(
            f"data {spec!r}: its parquet files hold {size / 2**30:.0f} GiB, more than half of this machine's memory; "
            "unpack them into a folder of images, which is read as it is needed"
        )


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
    return Rows(InMemory(tuple(contents)), [str(value) for value in labels], _label_names(schema.metadata, label))


def _column(have: Sequence[str], names: Sequence[str], what: str, file: Path) -> str:
    """The first of `names` that is among the columns; UserError where none is."""
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
    """The classes' names in Hugging Face's metadata, in the order of numeric labels; empty without them."""
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
        return tuple(str(name) for name in features[column]["names"])
    except (KeyError, ValueError, TypeError):  # no such metadata
        return ()
