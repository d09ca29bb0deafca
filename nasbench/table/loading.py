"""Tables by name or path: shipped ones, a user's own in the cache, files, and folders in which one is collected."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from nasbench.errors import UserError, require, shown
from nasbench.files import cache_dir, data_dir
from nasbench.table.file import is_table_file, read_rows, write_rows
from nasbench.table.folder import FolderRows, rows_of_folder
from nasbench.table.rows import merged
from nasbench.table.table import Table

FOLDER = "tables"  # in search_spaces/ and in the cache
ENDING = ".csv.gz"


def load_table(name_or_path: str | Path) -> Table:
    """The table of this name, or one read from a file or from the folder of a collection or a study.

    By name it is the shipped table, and beside it the rows that `nasbench table add` put under that name into the
    cache.
    """
    require("name or path", name_or_path=name_or_path)
    path = Path(name_or_path)
    if path.is_dir():
        return Table(rows_of_folder(path).rows, str(path))
    if is_table_file(path):
        return _read((path,), str(path))
    name = str(name_or_path)
    files = [place[name] for place in (_shipped(), _own()) if name in place]
    if not files:
        known = ", ".join(sorted({*_shipped(), *_own()})) or "none"
        raise UserError(
            f"unknown table {shown(name)}; known tables: {known}; give the path of a {ENDING} file, or make one with "
            "`nasbench table collect`"
        )
    return _read(tuple(files), name)


def _read(files: tuple[Path, ...], source: str) -> Table:
    """The table of these files, cached until they change: a search asks for it several times, and its fitted surrogate
    is cached with it."""
    try:
        found = [path.stat() for path in files]
    except OSError:
        return Table(read_rows(files[0]), source)  # raises UserError
    return _kept(files, tuple((each.st_dev, each.st_ino, each.st_size, each.st_mtime_ns) for each in found), source)


@lru_cache(maxsize=2)
def _kept(files: tuple[Path, ...], states: tuple[tuple[int, ...], ...], source: str) -> Table:
    """The table of files in these states, which are part of the cache's key; rows of a second file are added."""
    first, *more = (read_rows(file) for file in files)
    return Table(merged(first, more[0]) if more else first, source)


class Added(NamedTuple):
    """The result of `add`: the file, its rows, the new ones among them, and the trials left out, by reason."""

    path: Path
    rows: int
    new: int
    left_out: Counter[str]


def add(folders: Sequence[str | Path], table: str | Path | None = None) -> Added:
    """Add the trials of studies or collections to a table, each training once.

    `table`: a file's path, or a name in the cache; by default the space's own.
    """
    if not folders:
        raise UserError("no study given; give the folder of one")
    read = [rows_of_folder(Path(folder)) for folder in folders]
    if not any(each.rows for each in read):
        raise UserError(f"{', '.join(map(str, folders))}: no trial there is a row of a table; train some first")
    path = _target(table if table is not None else _space_of(read))
    before = read_rows(path) if path.is_file() else []
    rows = before
    for each in read:
        rows = merged(rows, each.rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_rows(path, rows)
    left_out = sum((each.left_out for each in read), Counter[str]())
    return Added(path, len(rows), len(rows) - len(before), left_out)


def _space_of(read: Sequence[FolderRows]) -> str:
    names = list(dict.fromkeys(each.space for each in read))
    if len(names) > 1:
        raise UserError(f"the studies are of several spaces, {', '.join(map(shown, names))}; name a table with --table")
    return names[0]


def _target(table: str | Path) -> Path:
    """The file that rows are added to."""
    if is_table_file(Path(table)):
        return Path(table)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", str(table)):
        raise UserError(
            f"table {shown(str(table))}: give a name of letters, digits, '.', '_' or '-', or a path to a {ENDING} file"
        )
    return cache_dir() / FOLDER / f"{table}{ENDING}"


def _shipped() -> dict[str, Path]:
    return _named(data_dir("search_spaces") / FOLDER)


def _own() -> dict[str, Path]:
    return _named(cache_dir() / FOLDER)


def _named(folder: Path) -> dict[str, Path]:
    return {path.name.removesuffix(ENDING): path for path in sorted(folder.glob(f"*{ENDING}"))}
