"""Descriptions of published tables: which columns identify designs, and which are objectives."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field

from nasbench.bench.problem import LARGEST
from nasbench.errors import UserError, shown
from nasbench.files import data_dir, read_toml
from nasbench.values import Value

Number = Annotated[float, Field(ge=-LARGEST, le=LARGEST)]
FOLDER = "benches"  # in search_spaces/


class TableDescription(Value, strict=True):
    """A table file's columns. Rows of equal `fields` are trainings of one design with other seeds.

    `fields` may be patterns (`block*`); an objective with a leading minus is maximised. `where` keeps the rows that
    have these values, such as those of one fidelity. `known` are metrics that need no training: where one is the second
    objective, strategies know it of any design.
    """

    name: str = ""
    file: str = ""
    fields: list[str] = Field(min_length=1)
    objectives: list[str] = Field(min_length=1)
    where: dict[str, str | bool | Number] = Field(default_factory=dict)
    known: list[str] = Field(default_factory=list)

    def fields_among(self, columns: Sequence[str], source: str) -> list[str]:
        """The columns that the patterns name, in their order in the file."""
        metrics = {metric_of(objective) for objective in self.objectives}
        found: dict[str, None] = {}
        for pattern in self.fields:
            named = [name for name in columns if fnmatch.fnmatchcase(name, pattern) and name not in metrics]
            if not named:
                what = f"no column is named {shown(pattern)}, objectives apart"
                hint = "; separate columns by commas" if len(columns) == 1 else ""
                raise UserError(f"{source}: {what}; it has {', '.join(columns[:12])}{hint}")
            found.update(dict.fromkeys(named))
        return list(found)

    def chosen(self, objectives: Sequence[str]) -> tuple[str, ...]:
        """The objectives asked for: names, with or without the minus, or how many of the first."""
        if len(objectives) == 1 and objectives[0].isdigit():
            count = int(objectives[0])
            if not 1 <= count <= min(2, len(self.objectives)):
                raise UserError(
                    f"--objectives {count}: give 1 or 2, or up to two names of {', '.join(self.objectives)}"
                )
            return tuple(self.objectives[:count])
        known = {metric_of(objective): objective for objective in self.objectives}
        unknown = [name for name in objectives if metric_of(name) not in known]
        if unknown:
            raise UserError(f"--objectives {shown(unknown[0])}: the table offers {', '.join(self.objectives)}")
        found = tuple(dict.fromkeys(known[metric_of(name)] for name in objectives))
        if not 1 <= len(found) <= 2:
            raise UserError(f"--objectives: {len(found)} are given; one and two are compared, no more")
        return found


def metric_of(objective: str) -> str:
    """The column of an objective."""
    return objective.removeprefix("-")


def shipped_descriptions() -> dict[str, TableDescription]:
    """File name of a published table -> its description."""
    files = sorted((data_dir("search_spaces") / FOLDER).glob("*.toml"))
    read = (TableDescription.from_dict(read_toml(path), path.name) for path in files)
    return {description.file: description for description in read}


def describe_file(
    path: Path, fields: Sequence[str] = (), objectives: Sequence[str] = ()
) -> tuple[Path, TableDescription]:
    """The table's file and its description, for the file's own path or that of a description.

    The description is, in this order: the path itself if it is a .toml file, the options, a .toml file of the same stem
    beside it, the shipped one for files of this name; else UserError.
    """
    if path.suffix == ".toml":
        description = TableDescription.from_dict({"name": path.stem, **read_toml(path)}, str(path))
        if not description.file:
            raise UserError(f"{path}: key 'file' is missing; add the table's file, relative to this one")
        return path.parent / description.file, description
    stem = path.name.partition(".")[0]
    beside = path.with_name(f"{stem}.toml")
    if fields:
        if not objectives or objectives[0].isdigit():
            raise UserError("--fields: name the --objectives too, such as --objectives=-accuracy,latency")
        return path, TableDescription(name=stem, fields=list(fields), objectives=list(objectives))
    if beside.is_file():
        return path, TableDescription.from_dict({"name": stem, **read_toml(beside)}, str(beside))
    shipped = shipped_descriptions()
    if path.name in shipped:
        return path, shipped[path.name]
    raise UserError(
        f"{path}: what its columns are is not known; say it with --fields and --objectives, or in {beside.name} beside "
        f"it (known files: {', '.join(shipped)})"
    )
