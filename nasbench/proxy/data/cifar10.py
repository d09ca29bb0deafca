"""CIFAR-10 from a local archive, or from its official page into the user's cache.

The page is https://www.cs.toronto.edu/~kriz/cifar.html (A. Krizhevsky, 2009). It states no licence, so no images are
shipped. The binary version is the one that is downloaded: reading it needs no pickle.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import tarfile
import tempfile
import urllib.request
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from nasbench.errors import UserError
from nasbench.files import cache_dir, data_path
from nasbench.proxy.data.cache import Arrays, cached_arrays
from nasbench.proxy.data.images import ArrayImages, ImageData, content_id

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
MD5 = "c32a1d4ab5d03f1284b67883e8d87530"  # stated on the official page
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
REMEDY = (
    "give a local copy as cifar10:/path/to/cifar-10-binary.tar.gz (or cifar-10-python.tar.gz, or an .npz with x_train, "
    "y_train, x_test, y_test), or use --data fashion-on-earth, which needs no download"
)
ARRAYS = ("x_train", "y_train", "x_test", "y_test")
# What reading a damaged archive may raise.
DAMAGE = (
    OSError,
    EOFError,
    KeyError,
    TypeError,
    ValueError,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    pickle.UnpicklingError,
)


def load_cifar10(path: str | None = None) -> ImageData:
    """The 50,000 training and 10,000 test images, or those that the archive at `path` holds."""
    if path is not None:
        arrays = read_archive(data_path(path))
    else:
        arrays = cached_arrays("cifar10-v1", _download_and_read)
    return ImageData(
        name="cifar10",
        id=content_id([arrays[key] for key in ARRAYS], CLASSES),
        classes=CLASSES,
        train=ArrayImages(arrays["x_train"], arrays["y_train"]),
        test=ArrayImages(arrays["x_test"], arrays["y_test"]),
        native_size=32,
    )


def read_archive(path: Path) -> Arrays:
    """Arrays of a .npz, or of the official binary or python tar.gz; UserError where it is damaged."""
    if not path.is_file():
        raise UserError(f"cifar10: {str(path)!r} is not a file; {REMEDY}")
    try:
        arrays = _read_npz(path) if path.suffix == ".npz" else _read_tar(path)
    except DAMAGE as error:
        reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        raise UserError(f"cifar10: {str(path)!r} cannot be read ({reason}); {REMEDY}") from None
    _check(arrays, path)
    return arrays


def _check(arrays: Arrays, path: Path) -> None:
    """UserError unless pixels and labels have the shapes, types and ranges of CIFAR-10."""
    for split in ("train", "test"):
        x, y = arrays[f"x_{split}"], arrays[f"y_{split}"]
        if x.dtype != np.uint8 or x.ndim != 4 or x.shape[1:] != (32, 32, 3) or len(x) != len(y) or not len(y):
            raise UserError(
                f"cifar10: {str(path)!r} holds x_{split} of shape {x.shape} {x.dtype} and {len(y)} labels; it must be "
                f"(n, 32, 32, 3) uint8 with n labels; {REMEDY}"
            )
        if y.min() < 0 or y.max() >= len(CLASSES):
            raise UserError(
                f"cifar10: {str(path)!r} holds labels {y.min()} to {y.max()}; they must lie in 0 to 9; {REMEDY}"
            )


def _read_npz(path: Path) -> Arrays:
    with np.load(path, allow_pickle=False) as file:
        arrays = {key: file[key] for key in ARRAYS}
    # Keras saves labels as (n, 1).
    return arrays | {key: arrays[key].astype(np.int64).reshape(-1) for key in ("y_train", "y_test")}


def _read_tar(path: Path) -> Arrays:
    """The official archives: five `data_batch_*` and one `test_batch`, `.bin` in the binary version."""
    with tarfile.open(path) as archive:
        members = {Path(member.name).name: member for member in archive if member.isfile()}
        binary = "test_batch.bin" in members
        suffix, parse = (".bin", _binary_batch) if binary else ("", _python_batch)

        def read(name: str) -> tuple[np.ndarray, np.ndarray]:
            file = archive.extractfile(members[name + suffix])
            assert file is not None  # `members` holds plain files only
            return parse(file.read())

        train = [read(f"data_batch_{number}") for number in range(1, 6)]
        x_test, y_test = read("test_batch")
    x_train, y_train = (np.concatenate(parts) for parts in zip(*train, strict=True))
    return {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}


def _binary_batch(content: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Pixels and labels of a file of the binary version."""
    rows = np.frombuffer(content, dtype=np.uint8).reshape(-1, 1 + 3 * 32 * 32)  # label, then R, G, B planes
    return _interleaved(rows[:, 1:]), rows[:, 0].astype(np.int64)


def _python_batch(content: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Pixels and labels of a file of the python version."""
    batch = _ArrayUnpickler(io.BytesIO(content), encoding="bytes").load()
    return _interleaved(batch[b"data"]), np.asarray(batch[b"labels"], dtype=np.int64)


def _interleaved(planes: np.ndarray) -> np.ndarray:
    """(n, 3 x 32 x 32) colour planes to (n, 32, 32, 3)."""
    return np.ascontiguousarray(planes.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))


class _ArrayUnpickler(pickle.Unpickler):
    """Loads plain containers and numpy arrays only, so that no code in the file is run."""

    ADMITTED = frozenset({("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")})

    def find_class(self, module: str, name: str) -> Any:
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == "_reconstruct":
            return np.ndarray.__new__
        if (module, name) in self.ADMITTED:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no archive of images needs")


def _download_and_read() -> Arrays:
    with tempfile.TemporaryDirectory(dir=cache_dir(), prefix="download-") as folder:
        path = Path(folder) / "cifar-10-binary.tar.gz"
        download(URL, MD5, path)
        return read_archive(path)


def download(url: str, md5: str, path: Path) -> None:
    """Download `url` to `path` and check it; UserError without a network, on a full disk or for another content."""
    digest = hashlib.md5(usedforsecurity=False)
    try:
        with urllib.request.urlopen(url, timeout=30) as response, path.open("wb") as file:
            while block := response.read(1 << 20):
                digest.update(block)
                file.write(block)
    except OSError as error:
        raise UserError(f"cifar10: {url} cannot be downloaded ({error}); {REMEDY}") from None
    if digest.hexdigest() != md5:
        raise UserError(f"cifar10: {url} gave a file with MD5 {digest.hexdigest()}, not {md5}; {REMEDY}")
