"""A folder of images in class sub-folders, any format and size that Pillow reads, decoded when asked for."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from nasbench.errors import UserError
from nasbench.proxy.data.images import ImageData

log = logging.getLogger("nasbench.data")

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"})
TEST_NAMES = ("test", "val", "valid", "validation")  # the first that exists beside train/ is the held-out test split
TEST_FRACTION = 0.2  # cut by a hash of the file names where there is no test folder
MIN_PER_CLASS = 10  # 2 test, 2 validation and 6 training images
AS_BYTES = "surrogateescape"  # names that are not UTF-8 are hashed as the bytes that they are
THREADS = 4  # Pillow decodes without the interpreter's lock
DECODE_ERRORS = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)
_reported: set[Path] = set()  # unreadable files this process has already named


@dataclass(frozen=True, eq=False)
class FileImages:
    """Image files under `root`; `labels` (n,) int64. Reading takes the centre square, scaled to the size asked for."""

    root: Path
    names: tuple[str, ...]
    labels: np.ndarray

    def read(self, indices: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
        with ThreadPoolExecutor(THREADS) as pool:
            decoded = list(pool.map(lambda index: _decode(self.root / self.names[index], size), indices))
        kept = np.array([position for position, image in enumerate(decoded) if image is not None], dtype=np.int64)
        if not len(kept):
            return np.empty((0, size, size, 3), dtype=np.uint8), kept
        return np.stack([image for image in decoded if image is not None]), kept


def _decode(path: Path, size: int) -> np.ndarray | None:
    """(size, size, 3) uint8, or None for a file that cannot be read, which is named once."""
    try:
        with Image.open(path) as image:
            image.draft("RGB", (2 * size, 2 * size))  # JPEG only: decodes at the nearest larger power-of-two scale
            upright = ImageOps.exif_transpose(image).convert("RGB")
            return np.asarray(ImageOps.fit(upright, (size, size), Image.Resampling.BILINEAR))
    except DECODE_ERRORS as error:
        if path not in _reported:
            _reported.add(path)
            log.warning("%s is skipped: it cannot be read as an image (%s)", path, error)
        return None


def load_folder(path: str, labelled: bool = True) -> ImageData:
    """The images below `path`: class folders, or train/ and test|val|valid|validation/ that hold class folders.

    Unless `labelled`: all images below these, however they lie, as one nameless class.
    """
    if not path.strip():
        raise UserError(f"data {path!r} is empty; give fashion-on-earth, cifar10 or a folder")
    root = Path(path).expanduser()
    if not root.is_dir():
        known = "fashion-on-earth, cifar10"
        raise UserError(
            f"data {path!r} is neither a known name ({known}) nor a folder; give one of these names or a folder"
        )
    train_root = root / "train" if (root / "train").is_dir() else root
    test_root = (
        next((root / name for name in TEST_NAMES if (root / name).is_dir()), None) if train_root != root else None
    )
    classes, train = _scan(train_root) if labelled else ((), _scan_unlabelled(train_root))
    if test_root is None:
        train, test = _cut_test(train)
    else:
        test = _test_files(test_root, classes, train_root) if labelled else _scan_unlabelled(test_root)
    content = _folder_id(root, classes, train, test)
    return ImageData(root.resolve().name, content, classes, _images(root, train), _images(root, test))


Files = list[tuple[Path, int]]  # path and label


def _scan(root: Path) -> tuple[tuple[str, ...], Files]:
    folders = _class_folders(root)
    if len(folders) < 2:
        found = folders[0].name if folders else "none"
        raise UserError(
            f"data {str(root)!r} has {len(folders)} class folder(s) ({found}); two or more are needed: one sub-folder "
            f"a class, with its images inside; or search without labels: --objective masked"
        )
    files: Files = []
    for label, folder in enumerate(folders):
        images = _image_files(folder)
        if len(images) < MIN_PER_CLASS:
            raise UserError(
                f"data {str(root)!r}: class {folder.name!r} has {len(images)} images; at least {MIN_PER_CLASS} are "
                f"needed in each class: add images, or move the folder away"
            )
        files += [(image, label) for image in images]
    return tuple(folder.name for folder in folders), files


def _scan_unlabelled(root: Path) -> Files:
    files = [(image, 0) for image in _image_files(root)]
    if len(files) < MIN_PER_CLASS:
        raise UserError(
            f"data {str(root)!r} holds {len(files)} images; at least {MIN_PER_CLASS} are needed: add images"
        )
    return files


def _class_folders(root: Path) -> list[Path]:
    try:
        return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError as error:
        raise UserError(
            f"data {str(root)!r} cannot be read: {error.strerror}; allow reading, or give another folder"
        ) from None


def _image_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())


def _test_files(test_root: Path, classes: Sequence[str], train_root: Path) -> Files:
    names = {folder.name for folder in _class_folders(test_root)}
    if names != set(classes):
        odd = sorted(names.symmetric_difference(classes))
        raise UserError(
            f"data: {str(test_root)!r} and {str(train_root)!r} must hold the same class folders; only one "
            f"has {', '.join(odd)}: add or rename folders"
        )
    files = [(image, label) for label, name in enumerate(classes) for image in _image_files(test_root / name)]
    if not files:
        raise UserError(
            f"data {str(test_root)!r} holds no images; add some, or remove the folder to have a test split cut"
        )
    return files


def _cut_test(files: Files) -> tuple[Files, Files]:
    """A fifth of every class, the same files on every machine: those whose names hash lowest."""
    train: Files = []
    test: Files = []
    for label in sorted({label for _, label in files}):
        members = sorted((entry for entry in files if entry[1] == label), key=_name_hash)
        count = round(TEST_FRACTION * len(members))
        test += members[:count]
        train += members[count:]
    return sorted(train), sorted(test)


def _name_hash(entry: tuple[Path, int]) -> str:
    path, _ = entry
    return hashlib.sha256(f"{path.parent.name}/{path.name}".encode(errors=AS_BYTES)).hexdigest()


def _images(root: Path, files: Files) -> FileImages:
    names = tuple(path.relative_to(root).as_posix() for path, _ in files)
    return FileImages(root, names, np.array([label for _, label in files], dtype=np.int64))


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}; allow reading, or move it away") from None


def _folder_id(root: Path, classes: Sequence[str], train: Files, test: Files) -> str:
    """Hash of the names and byte sizes of all files, and of the whole content of up to 256 evenly spaced ones.

    Reading every byte of a large folder before each search would take minutes; an exchanged image of the very same
    size among more than 256 files can go unseen.
    """
    digest = hashlib.sha256("\0".join(classes).encode(errors=AS_BYTES))
    files = [(split, path) for split, part in (("train", train), ("test", test)) for path, _ in part]
    for split, path in files:
        digest.update(f"{split}/{path.relative_to(root).as_posix()}:{path.stat().st_size}\0".encode(errors=AS_BYTES))
    for position in np.linspace(0, len(files) - 1, min(256, len(files))).astype(int):
        digest.update(hashlib.sha256(_content(files[position][1])).digest())
    return digest.hexdigest()[:16]
