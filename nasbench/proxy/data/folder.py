"""A folder of images in class folders, of any format and size that Pillow reads, decoded when needed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nasbench.errors import UserError
from nasbench.files import data_path
from nasbench.proxy.data.decoding import VERSION, decode, decode_all, say_once
from nasbench.proxy.data.images import ImageData
from nasbench.proxy.data.splits import Part, Role, find_splits, find_splits_in_classes, require_no_splits_inside
from nasbench.proxy.data.tree import LOOSE, NO_CLASS, NO_SPLIT, LeftOut, image_files, is_hidden

TEST_FRACTION = 0.2  # of the images for testing, chosen by a hash of file names, where there is no test folder
MIN_PER_CLASS = 10  # 2 test, 2 validation and 6 training images
PROBE_SIZE = 8  # side in pixels to decode to, to find out whether a file can be read
AS_BYTES = "surrogateescape"  # error handler: names that are not UTF-8 are hashed as their bytes


@dataclass(frozen=True, eq=False)
class FileImages:
    """Image files under `root`; `labels` (n,) int64. Reading takes the centre square, scaled to the size asked for."""

    root: Path
    names: tuple[str, ...]
    labels: np.ndarray

    def read(self, indices: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
        return decode_all(lambda index: decode(self.root / self.names[index], size), indices, size)


def load_folder(path: str, labelled: bool = True) -> ImageData:
    """The images below `path`: class folders, or splits (train, val, test by any usual name) that hold class folders,
    or class folders that hold splits.

    labelled=False: all images below these, in whatever folders, as one class without a name. A single held-out split
    is the test split. What is left out is counted in a warning and in the notes of the data set.
    """
    if not path.strip():
        raise UserError(f"data {path!r} is empty; give fashion-on-earth, cifar10 or a folder")
    root = data_path(path)
    if not root.is_dir():
        known = "fashion-on-earth, cifar10"
        raise UserError(
            f"data {path!r} is neither a known name ({known}) nor a folder; give one of these names or a folder"
        )
    left_out = LeftOut()
    try:
        classes, splits = _scan(root, image_files(root, left_out), labelled, left_out)
    finally:
        for line in left_out.lines():
            say_once(f"data {str(root)!r}: {line}")
    return data_of_files(root.resolve().name, root, classes, splits, left_out.lines())


Files = list[tuple[Path, int]]  # path and label
Splits = dict[Role, Files]


class Split(NamedTuple):
    """The images of one split: {class: (folder, images)}, and `loose` ones outside class folders."""

    where: Path
    classes: dict[str, tuple[Path, list[Path]]]
    loose: list[Path]

    @classmethod
    def of(cls, part: Part) -> Split:
        """The split that a folder of class folders is."""
        below = _by_folder(part.folder, part.images)
        classes = {folder.name: (folder, images) for folder, images in below.items()}
        return cls(part.folder, classes, [path for path in part.images if path.parent == part.folder])

    @property
    def images(self) -> list[Path]:
        """All images, sorted."""
        return sorted([*self.loose, *(path for _, images in self.classes.values() for path in images)])


def _scan(root: Path, images: list[Path], labelled: bool, left_out: LeftOut) -> tuple[tuple[str, ...], Splits]:
    """The classes, and the files of each split that is found."""
    parts = [Part(folder, tuple(inside)) for folder, inside in _by_folder(root, images).items()]
    in_classes = find_splits_in_classes(parts, labelled)
    found = _splits_of_classes(root, in_classes) if in_classes else _splits_of(root, images, parts, labelled)
    used = {path for split in found.values() for path in split.images}
    for path in images:
        if path not in used:
            left_out.add(NO_SPLIT, path)
    named = _by_role(found)
    return _files(named, left_out) if labelled else ((), _unlabelled_files(named))


def _splits_of(root: Path, images: list[Path], parts: list[Part], labelled: bool) -> dict[Role, Split]:
    """The splits that folders below `root` are; without any, all images as the training split."""
    found = find_splits(parts, labelled)
    if not found:
        require_no_splits_inside(parts)
        return {"train": Split.of(Part(root, tuple(images)))}
    return {role: Split.of(part) for role, part in found.items()}


def _splits_of_classes(root: Path, own: Mapping[Path, Mapping[Role, Part]]) -> dict[Role, Split]:
    """The splits where each class folder holds its own, as {class folder: {split: its folder}}."""
    roles, found = next(iter(own.values())), dict[Role, Split]()
    for role, first in roles.items():
        classes = {folder.name: (own[folder][role].folder, list(own[folder][role].images)) for folder in own}
        found[role] = Split(root / "*" / first.folder.name, classes, [])
    say_once(f"data {str(root)!r}: {len(own)} class folders hold their own {', '.join(roles)}, which are the splits")
    return found


def _files(parts: Mapping[Role, Split], left_out: LeftOut) -> tuple[tuple[str, ...], Splits]:
    """The classes, and the files of each split with their labels; UserError where splits have different classes."""
    classes, files = _training_files(parts["train"], left_out)
    splits: Splits = {"train": files}
    for role, part in parts.items():
        if role != "train":
            splits[role] = _held_out_files(part, classes, parts["train"].where, left_out)
    return classes, splits


def _by_folder(root: Path, images: Sequence[Path]) -> dict[Path, list[Path]]:
    """{folder directly below `root`: the images in it}, sorted; without images directly in `root`."""
    found: dict[Path, list[Path]] = {
        folder: [] for folder in sorted(root.iterdir()) if folder.is_dir() and not is_hidden(folder.name)
    }
    for path in images:
        if path.parent != root:
            found[root / path.relative_to(root).parts[0]].append(path)
    return found


def _by_role(named: dict[Role, Split]) -> dict[Role, Split]:
    """The splits by use: a validation split trains where no train split is there, and else tests where no test is."""
    parts = dict(named)
    if "validation" in parts and "train" not in parts:
        parts["train"] = parts.pop("validation")
        say_once(f"{parts['train'].where} is trained on: no folder beside it is named train or training")
    if "validation" in parts and "test" not in parts:
        parts["test"] = parts.pop("validation")
    return parts


def data_of_files(
    name: str, root: Path, classes: Sequence[str], splits: Splits, notes: tuple[str, ...] = ()
) -> ImageData:
    """A data set of image files; without a test split, TEST_FRACTION of the training files becomes one."""
    if "test" not in splits:
        splits = dict(splits)
        splits["train"], splits["test"] = _cut_test(splits["train"])
    images = {role: _images(root, files) for role, files in splits.items()}
    return ImageData(
        name, _folder_id(root, classes, splits), tuple(classes), images["train"], images["test"], notes=notes,
        validation=images.get("validation"),
    )  # fmt: skip


def _training_files(part: Split, left_out: LeftOut) -> tuple[tuple[str, ...], Files]:
    """The classes and files of the training split; UserError for fewer than two classes, or few images in one."""
    classes, root = _class_images(part, left_out), part.where
    if len(classes) < 2:
        raise UserError(
            f"data {str(root)!r} has {len(classes)} class folder(s) ({', '.join(classes) or 'none'}) with images; two "
            f"or more are needed: one sub-folder a class, with its images inside; or search without labels: "
            f"--objective masked"
        )
    for name, images in classes.items():
        if len(images) < MIN_PER_CLASS:
            raise UserError(
                f"data {str(root)!r}: class {name!r} has {len(images)} images; at least {MIN_PER_CLASS} are "
                f"needed in each class: add images, or move the folder away"
            )
    return tuple(classes), [(path, label) for label, images in enumerate(classes.values()) for path in images]


def _class_images(part: Split, left_out: LeftOut) -> dict[str, list[Path]]:
    """{class: images} of a split; a folder without a readable image is no class."""
    for path in part.loose:
        left_out.add(LOOSE, path)
    classes: dict[str, list[Path]] = {}
    for name, (folder, images) in part.classes.items():
        if any(decode(path, PROBE_SIZE) is not None for path in images):
            classes[name] = images
        else:
            left_out.add(NO_CLASS, folder)
    return classes


def _unlabelled_files(parts: Mapping[Role, Split]) -> Splits:
    """The files of each split, all with label 0; UserError where there are few."""
    for part in parts.values():
        if len(part.images) < MIN_PER_CLASS:
            raise UserError(
                f"data {str(part.where)!r} holds {len(part.images)} images; at least {MIN_PER_CLASS} are needed: "
                f"add some"
            )
    return {role: [(path, 0) for path in part.images] for role, part in parts.items()}


def _held_out_files(part: Split, names: Sequence[str], train_root: Path, left_out: LeftOut) -> Files:
    """The files of a held-out split; UserError unless it has the training split's classes, `names`."""
    if not part.images:
        raise UserError(
            f"data {str(part.where)!r} holds no images; add some, or remove the folder to have a test split cut"
        )
    classes = _class_images(part, left_out)
    if set(classes) != set(names):
        odd = sorted(set(classes).symmetric_difference(names))
        raise UserError(
            f"data: {str(part.where)!r} and {str(train_root)!r} must hold the same class folders; only one "
            f"has {', '.join(odd)}: add, rename or move away folders"
        )
    return [(path, label) for label, name in enumerate(names) for path in classes[name]]


def _cut_test(files: Files) -> tuple[Files, Files]:
    """(training, test): of every class TEST_FRACTION for testing, those whose names have the lowest hashes.

    So the split is the same on every machine.
    """
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
    names = tuple(_name(root, path) for path, _ in files)
    return FileImages(root, names, np.array([label for _, label in files], dtype=np.int64))


def _name(root: Path, path: Path) -> str:
    """The path relative to `root`; a path elsewhere, which a table may name, as it is."""
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}; allow reading, or move it away") from None


def _folder_id(root: Path, classes: Sequence[str], splits: Splits) -> str:
    """Hash of the names and sizes of all files, and of the content of up to 256 evenly spaced ones.

    Reading all files before each search would take minutes; so an image that is replaced by one of the same size in
    bytes may not be noticed among more than 256 files.
    """
    digest = hashlib.sha256("\0".join([*classes, f"decoding {VERSION}"]).encode(errors=AS_BYTES))
    files = [(split, path) for split in sorted(splits) for path, _ in splits[split]]
    for split, path in files:
        digest.update(f"{split}/{_name(root, path)}:{path.stat().st_size}\0".encode(errors=AS_BYTES))
    for position in np.linspace(0, len(files) - 1, min(256, len(files))).astype(int):
        digest.update(hashlib.sha256(_content(files[position][1])).digest())
    return digest.hexdigest()[:16]
