"""Finds which folders of a data set are its training, validation and test splits, by their names and contents."""

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
# Words that a split's name may have in addition: train_images, ValSet, test-data.
FILLERS = frozenset({"set", "data", "dataset", "split", "image", "images", "img", "imgs", "folder"})
NAMES = "train, val and test (or training, validation, testing and the like)"


@dataclass(frozen=True)
class Part:
    """A folder of a data set, with all image files below it."""

    folder: Path
    images: tuple[Path, ...]

    @property
    def role(self) -> Role | None:
        """The split that its name stands for, None for no split: `train` for Train, training-set or train2017."""
        words = [word for word in _words(self.folder.name) if word not in FILLERS]
        return ROLES.get(words[0]) if len(words) == 1 else None

    @property
    def hints(self) -> bool:
        """Whether any word of its name is a split's, as in train_old and my-test."""
        return any(word in ROLES for word in _words(self.folder.name))

    @property
    def inside(self) -> list[Part]:
        """The folders directly in it that hold images, sorted."""
        found: dict[str, list[Path]] = {}
        for path in self.images:
            if path.parent != self.folder:
                found.setdefault(path.relative_to(self.folder).parts[0], []).append(path)
        return [Part(self.folder / name, tuple(images)) for name, images in sorted(found.items())]

    @property
    def nested(self) -> bool:
        """Whether all its images lie in sub-folders, as those of a split do."""
        return bool(self.images) and all(path.parent != self.folder for path in self.images)


def _words(name: str) -> Iterator[str]:
    """The words of a name in lower case, without a filler at the end of a split's name: trainset becomes train."""
    for word in re.findall(r"[^\W\d_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)):
        lower = word.casefold()
        yield next((lower.removesuffix(end) for end in FILLERS if lower.removesuffix(end) in ROLES), lower)


def find_splits(parts: Sequence[Part], labelled: bool) -> dict[Role, Part]:
    """The splits among the folders of a data set; none where the folders are classes.

    A folder named train is a class where its images lie directly in it, beside other classes. UserError for any other
    folder that has a split's name and cannot be one: its images would become a class, or not be used.
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
    """{class folder: {split: its folder}} where every class folder holds splits, as in cat/train and cat/val; else {}.

    UserError where they hold different splits, where the folders themselves have names of splits, or where there is
    only one folder, which is the data set then.
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
    """UserError where some of these class folders hold a validation or test folder, which would be trained on."""
    odd = [inner for part in parts for inner in part.inside if inner.role not in (None, "train")]
    if odd:
        names = ", ".join(f"{inner.folder.parent.name}/{inner.folder.name}" for inner in odd)
        raise UserError(
            f"data {str(odd[0].folder.parent.parent)!r}: {names} would train with the rest of its class, since not "
            f"every class folder holds {NAMES}; give each class folder the same splits, or rename or move away what is "
            "none"
        )


def _stand_apart(trained: Sequence[Part], held_out: Sequence[Part], labelled: bool) -> bool:
    """Whether training and held-out folders are splits even with other folders beside them."""
    return bool(trained and held_out) and (not labelled or all(part.nested for part in trained))


def _one_of_each(named: Sequence[Part]) -> dict[Role, Part]:
    """The folders by split; UserError where two are the same one, or where there is nothing to train on."""
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
