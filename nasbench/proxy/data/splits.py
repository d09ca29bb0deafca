"""Which folders of a data set are its training, validation and test splits, told by their names and what they hold."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nasbench.errors import UserError

Role = Literal["train", "validation", "test"]
ROLES: Mapping[str, Role] = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "dev", "eval", "evaluation"), "validation"),
    **dict.fromkeys(("test", "testing", "tst", "holdout"), "test"),
}  # type: ignore[dict-item]
# Words that a split's name may hold besides: train_images, ValSet, test-data, train2017.
FILLERS = frozenset({"set", "data", "dataset", "split", "image", "images", "img", "imgs", "folder"})
NAMES = "train, val and test (or training, validation, testing and the like)"


@dataclass(frozen=True)
class Part:
    """A folder directly below the root, with the image files in it: some of them direct, or all of them nested."""

    folder: Path
    images: tuple[Path, ...]

    @property
    def role(self) -> Role | None:
        """What its name says that it is: `train` for Train, training-set or train2017."""
        words = [word for word in _words(self.folder.name) if word not in FILLERS]
        return ROLES.get(words[0]) if len(words) == 1 else None

    @property
    def hints(self) -> bool:
        """Whether a word of its name is a split's: train_old, my-test."""
        return any(word in ROLES for word in _words(self.folder.name))

    @property
    def inside(self) -> list[Part]:
        """The folders right inside it that hold images, in order."""
        found: dict[str, list[Path]] = {}
        for path in self.images:
            if path.parent != self.folder:
                found.setdefault(path.relative_to(self.folder).parts[0], []).append(path)
        return [Part(self.folder / name, tuple(images)) for name, images in sorted(found.items())]

    @property
    def nested(self) -> bool:
        """Whether its images lie in sub-folders, as those of a split do."""
        return bool(self.images) and all(path.parent != self.folder for path in self.images)


def _words(name: str) -> Iterator[str]:
    """The words of a name in lower case, a filler at their end cut off: TrainSet, trainset and train_set are one."""
    for word in re.findall(r"[^\W\d_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)):
        lower = word.casefold()
        yield next((lower.removesuffix(end) for end in FILLERS if lower.removesuffix(end) in ROLES), lower)


def find_splits(parts: Sequence[Part], labelled: bool) -> dict[Role, Part]:
    """The splits among the folders of a data set; none where the folders are classes.

    A class may be called train: beside other classes, with its images directly inside. Any other folder that looks like
    a split and cannot be one is refused, since its images would train unseen, or never be used.
    """
    named = [part for part in parts if part.role]
    others = [part for part in parts if part.images and not part.role]
    if not named:
        hinting = [part for part in others if part.hints and part.nested]
        if hinting and len(hinting) == len(others):
            raise _refused(hinting, "look like splits by names that are not known")
        return {}
    held_out = [part for part in named if part.role != "train" and part.images]
    trained = [part for part in named if part.role == "train"]
    if others and not _stand_apart(trained, held_out, labelled):
        if held_out:
            raise _refused(held_out, "would be a class beside the others")
        if labelled and any(part.nested for part in trained):
            raise _refused(trained, "holds folders itself, and stands beside folders that are no split")
        return {}
    hinting = [part for part in others if part.hints and part.nested]
    if hinting:
        raise _refused(hinting, "looks like a split beside the others, and would not be used")
    return _one_of_each(named)


def find_splits_in_classes(parts: Sequence[Part], labelled: bool) -> dict[Path, dict[Role, Part]]:
    """Each class folder's own splits, as in cat/train and cat/val, where all of them hold some; else nothing.

    A `UserError` where they hold different ones, where the folders might as well be splits of classes with such names,
    or where there is but one, which then is the data set.
    """
    filled = [part for part in parts if part.images]
    own = {part.folder: [inner for inner in part.inside if inner.role] for part in filled}
    if not filled or any(len({inner.role for inner in found}) < 2 for found in own.values()):
        return {}
    only = filled[0].folder
    if len({part.role for part in filled} - {None}) > 1 and all(part.role for part in filled):
        if any(not inner.role for part in filled for inner in part.inside):
            return {}  # splits, of which some class has a split's name
        raise _refused(filled, "hold folders with names of splits and have such names themselves")
    if labelled and len(filled) == 1:
        raise UserError(
            f"data {str(only.parent)!r} holds nothing but {only.name}, which holds splits; give that folder"
        )
    hinting = [inner for part in filled for inner in part.inside if inner.hints and not inner.role]
    if hinting:
        raise _refused(hinting, "looks like a split beside the others, and would not be used")
    splits = {folder: _one_of_each(found) for folder, found in own.items()}
    first, *others = filled
    for other in others:
        if splits[other.folder].keys() != splits[first.folder].keys():
            raise _refused([first, other], "are classes that hold different splits")
    return splits


def require_no_splits_inside(parts: Sequence[Part]) -> None:
    """A `UserError` where some of these class folders hold held-out images as a split, which would train unseen."""
    odd = [inner for part in parts for inner in part.inside if inner.role not in (None, "train")]
    if odd:
        names = ", ".join(f"{inner.folder.parent.name}/{inner.folder.name}" for inner in odd)
        raise UserError(
            f"data {str(odd[0].folder.parent.parent)!r}: {names} would train with the rest of its class, since not "
            f"every class folder holds {NAMES}; give each class folder the same splits, or rename or move away what is "
            "none"
        )


def _stand_apart(trained: Sequence[Part], held_out: Sequence[Part], labelled: bool) -> bool:
    """Whether training and held-out folders are splits whatever else lies beside them."""
    return bool(trained and held_out) and (not labelled or all(part.nested for part in trained))


def _one_of_each(named: Sequence[Part]) -> dict[Role, Part]:
    splits: dict[Role, Part] = {}
    for part in named:
        assert part.role
        if part.role in splits:
            raise _refused([splits[part.role], part], f"are both the {part.role} split by their names")
        splits[part.role] = part
    if "train" not in splits and len(splits) < 2:
        raise _refused(named, "is a split without one to train on")
    return splits


def _refused(parts: Sequence[Part], why: str) -> UserError:
    names = ", ".join(part.folder.name for part in parts)
    return UserError(
        f"data {str(parts[0].folder.parent)!r}: {names} {why}; name the splits {NAMES} and put class folders into "
        f"each, or rename or move away what is none"
    )
