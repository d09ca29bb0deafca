"""A CSV of image paths and labels, with or without a column for the split."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from nasbench.errors import UserError, shown
from nasbench.files import data_path, read_text
from nasbench.proxy.data.decoding import say_once
from nasbench.proxy.data.folder import MIN_PER_CLASS, Files, Splits, data_of_files
from nasbench.proxy.data.images import ImageData
from nasbench.proxy.data.splits import ROLES, Role

SUFFIXES = {".csv": ",", ".tsv": "\t"}
PATHS = ("path", "image", "file", "filename", "file_name", "image_path", "filepath")
LABELS = ("label", "class", "target", "category", "class_name", "labels")
SPLITS = ("split", "set", "subset", "partition")


def is_table(spec: str) -> bool:
    return Path(spec).suffix.lower() in SUFFIXES


def load_table(spec: str) -> ImageData:
    """The images that a CSV names, in a column of paths relative to the CSV, one of labels, and maybe one of splits.

    See `folder.data_of_files`. Files that do not exist are counted in a warning. UserError for anything else wrong.
    """
    path = data_path(spec)
    table = _read(path)
    paths, labels = _column(table, PATHS, "paths", path), _column(table, LABELS, "labels", path)
    roles = _roles(table, path)
    root = path.parent.resolve()
    files = [root / text for text in paths]
    missing = [file for file in files if not file.is_file()]
    if len(missing) == len(files):
        raise UserError(f"data {spec!r}: none of its {len(files)} files is there; the first is {missing[:1]}")
    note = f"left out: {len(missing)} files that are not there; the first is {missing[0]}" if missing else ""
    if note:
        say_once(f"data {spec!r}: {note}")
    gone = set(missing)
    rows = [row for row in zip(files, labels, roles) if row[0] not in gone]
    classes = sorted_classes({label for _, label, role in rows if role == "train"})
    splits: Splits = {role: _files(rows, role, classes, spec) for role in dict.fromkeys(roles)}
    require_classes(classes, [classes[label] for _, label in splits["train"]], spec)
    return data_of_files(path.stem, root, classes, splits, (note,) if note else ())


def _read(path: Path) -> pd.DataFrame:
    text = read_text(path, "CSV")
    first = text.partition("\n")[0]
    separator = ";" if first.count(";") > first.count(",") else SUFFIXES[path.suffix.lower()]
    try:
        table = pd.read_csv(io.StringIO(text), sep=separator, dtype=str, keep_default_na=False, skipinitialspace=True)
    except (ValueError, pd.errors.ParserError) as error:  # ragged lines, no lines
        reason = str(error).partition("\n")[0]
        raise UserError(f"data {str(path)!r}: not a table ({reason}); give a CSV with a header line") from None
    if not len(table):
        raise UserError(f"data {str(path)!r}: has no line below its header; add images")
    return table


def _column(table: pd.DataFrame, names: Sequence[str], what: str, path: Path) -> list[str]:
    """The values of the first of the columns `names` that is there; UserError where none is, or a value is empty."""
    known = {str(name).strip().casefold(): name for name in table.columns}
    found = next((known[name] for name in names if name in known), None)
    if found is None:
        have = shown(", ".join(map(str, table.columns)))
        raise UserError(f"data {str(path)!r}: no column of {what} among {have}; call one {' or '.join(names[:3])}")
    values = [value.strip() for value in table[found]]
    if "" in values:
        raise UserError(f"data {str(path)!r}: line {values.index('') + 2} has no value in {found!r}; give it one")
    return values


def _roles(table: pd.DataFrame, path: Path) -> list[Role]:
    """The split of each line: train without a column of splits; see `settled_roles`."""
    if not any(str(name).strip().casefold() in SPLITS for name in table.columns):
        return ["train"] * len(table)
    words = _column(table, SPLITS, "splits", path)
    unknown = sorted({word for word in words if word.casefold() not in ROLES})
    if unknown:
        raise UserError(f"data {str(path)!r}: {shown(unknown[0])} is no split; write train, val or test")
    return settled_roles([ROLES[word.casefold()] for word in words], str(path))


def settled_roles(roles: Sequence[Role], source: str) -> list[Role]:
    """The splits by use: without a test split, validation becomes it. UserError without a training split."""
    if "train" not in roles:
        raise UserError(f"data {source!r}: nothing is of the split train; name what is to be trained on")
    renamed: Mapping[Role, Role] = {} if "test" in roles else {"validation": "test"}
    return [renamed.get(role, role) for role in roles]


def sorted_classes(labels: set[str]) -> list[str]:
    """Names of classes, sorted; by value where all are numbers."""
    numbers = all(label.isascii() and label.isdigit() for label in labels)
    return sorted(labels, key=lambda label: (int(label), label) if numbers else (0, label))


def require_classes(classes: Sequence[str], trained: Sequence[str], source: str) -> None:
    """A UserError where there are fewer than two classes, or one has too few images to be split."""
    if len(classes) < 2:
        raise UserError(f"data {source!r} has {len(classes)} class(es) to train on; two or more are needed")
    for name in classes:
        count = trained.count(name)
        if count < MIN_PER_CLASS:
            raise UserError(
                f"data {source!r}: class {name!r} has {count} training images; at least {MIN_PER_CLASS} are needed in "
                "each class: add images, or take the class out"
            )


def _files(rows: Sequence[tuple[Path, str, Role]], role: Role, classes: Sequence[str], source: str) -> Files:
    places = {name: index for index, name in enumerate(classes)}
    own = [(file, label) for file, label, given in rows if given == role]
    strange = next((label for _, label in own if label not in places), None)
    if strange is not None:
        raise UserError(f"data {source!r}: no training image is of class {strange!r}, which its {role} split has")
    if not own:
        raise UserError(f"data {source!r}: no file of its {role} split is there; correct the paths")
    return [(file, places[label]) for file, label in own]
