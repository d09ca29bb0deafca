"""The networks that `nasbench train` is given: shipped names, files, and designs of studies."""

from __future__ import annotations

from pathlib import Path

from nasbench.arch.architecture import Architecture
from nasbench.arch.library import load
from nasbench.errors import UserError, shown

MARK = "#"  # between a study's folder and one of its designs
PLACE_DIGITS = 3  # numbers of at most so many digits are places in the table, longer ones ids


def design(text: str) -> Architecture:
    """`emo_1m`, `mine.toml`, `results/mine#2` (the second network that `nasbench front` lists) or
    `results/mine#0e90c93c` (by name, or the beginning of its id)."""
    folder, mark, which = text.rpartition(MARK)
    if not mark or Path(text).exists():
        return load(text)
    from nasbench.report.results import open_study
    from nasbench.report.rows import in_reading_order

    rows = open_study(folder).rows()
    listed = in_reading_order(rows)
    if which.isdigit() and len(which) <= PLACE_DIGITS:
        if not 1 <= int(which) <= len(listed):
            raise UserError(f"{text}: `nasbench front {folder}` lists {len(listed)} networks; give a number up to that")
        return _named(listed[int(which) - 1].arch)
    found = {row.arch.id: row.arch for row in rows if which and (row.name == which or row.id.startswith(which))}
    if len(found) != 1:
        names = ", ".join(row.name or row.id[:8] for row in listed)
        reason = f"{len(found)} of its designs begin so" if found else "no design of it is called so"
        raise UserError(f"{text}: {reason}; give a number, a name or the beginning of an id: {shown(names)}")
    return _named(next(iter(found.values())))


def _named(arch: Architecture) -> Architecture:
    """With a name, which files and tables need."""
    return arch if arch.name else arch.replace(name=arch.id[:8])
