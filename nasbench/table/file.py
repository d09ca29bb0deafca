"""A table as a file: CSV, compressed by gzip where its name ends in .gz; one line a training, one column a field.

`pandas.read_csv` reads the compressed file directly. Trainings of one design are adjacent, so that its repeated text
compresses well.
"""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from nasbench.errors import UserError, shown
from nasbench.files import BYTE_ORDER_MARK, write_atomic
from nasbench.table.rows import TableRow

COLUMNS = tuple(TableRow.model_fields)
SUFFIXES = (".csv", ".csv.gz")
GZIP = b"\x1f\x8b"
REMEDY = "put back a copy of the file, or write it anew with `nasbench table export`"


def is_table_file(path: Path) -> bool:
    """Whether its name ends as a table's does."""
    return path.name.lower().endswith(SUFFIXES)


def write_rows(path: Path | str, rows: Iterable[TableRow]) -> None:
    """Write a table's file, whole or not at all. Equal rows give equal bytes."""
    path = Path(path)
    if not is_table_file(path):
        raise UserError(f"{path}: a table is written as {' or '.join(SUFFIXES)}; give a name that ends so")
    if not path.parent.is_dir():
        raise UserError(f"{path}: the folder {path.parent} does not exist; make it first")
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(row.to_dict() for row in sorted(rows, key=lambda row: row.order))
    data = text.getvalue().encode(errors="backslashreplace")
    write_atomic(path, gzip.compress(data, 9, mtime=0) if path.name.lower().endswith(".gz") else data)


def read_rows(path: Path | str) -> list[TableRow]:
    """The rows of a table's file; UserError with line and problem where it is invalid."""
    reader = csv.DictReader(io.StringIO(_text(Path(path)), newline=""), strict=True)
    try:
        rows = [TableRow.from_dict(content, f"{path}, line {number}") for number, content in _lines(reader, path)]
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: no line of CSV: {error}; {REMEDY}") from None
    return list({row.key: row for row in rows}.values())


def _lines(reader: csv.DictReader[str], path: Path | str) -> Iterator[tuple[int, dict[str, str]]]:
    """Number and filled cells of each line."""
    missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
    if missing:
        raise UserError(f"{path}: no table of trained designs: it has no column {missing[0]!r}; {REMEDY}")
    for line in reader:
        if None in line:
            raise UserError(f"{path}, line {reader.line_num}: more cells than the {len(COLUMNS)} columns; {REMEDY}")
        yield reader.line_num, {name: cell for name, cell in line.items() if cell}


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
        data = gzip.decompress(data) if data.startswith(GZIP) else data
        return data.decode().removeprefix(BYTE_ORDER_MARK)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"{path}: cannot be unpacked: {error}; {REMEDY}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}; give the path of a table") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text: {shown(error.object[error.start : error.end])}; {REMEDY}") from None
