"""Numpy arrays kept in the user's cache folder: written whole, checked when read, rebuilt when damaged."""

from __future__ import annotations

import io
import logging
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from nasbench.files import cache_dir, write_atomic
from nasbench.proxy.data.images import content_id

log = logging.getLogger("nasbench.data")

Arrays = Mapping[str, np.ndarray]


def cached_arrays(name: str, build: Callable[[], Arrays]) -> Arrays:
    """The arrays of `cache_dir()/data/<name>.npz`, built and stored if they are absent or damaged.

    A cache that cannot be written (a full or read-only disk) is logged; the arrays are returned all the same.
    """
    path = cache_dir() / "data" / f"{name}.npz"
    arrays = _read(path)
    if arrays is None:
        arrays = build()
        _write(path, arrays)
    return arrays


def _checksum(arrays: Arrays) -> np.ndarray:
    names = sorted(arrays)
    return np.array(content_id([arrays[name] for name in names], names))


def _read(path: Path) -> Arrays | None:
    """The arrays in a file; None where it is absent or damaged, which is logged."""
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        if str(arrays.pop("checksum")) == str(_checksum(arrays)):
            return arrays
        reason = "its checksum differs"
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        reason = f"{type(error).__name__}: {error}"
    log.warning("%s is damaged (%s); building it again", path, reason)
    return None


def _write(path: Path, arrays: Arrays) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, checksum=_checksum(arrays), **arrays)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, buffer.getvalue())
    except OSError as error:
        log.warning("%s cannot be written (%s); the images will be prepared again next time", path, error.strerror)
