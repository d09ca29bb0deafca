"""A problem by name or path: a published table of trained networks, or a surrogate fitted to one of nasbench's."""

from __future__ import annotations

import hashlib
import io
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from nasbench.bench.description import TableDescription, describe_file, metric_of
from nasbench.bench.problem import LARGEST, Problem, Trainings, scale_of
from nasbench.bench.space import TableSpace
from nasbench.bench.surrogate import surrogate_problem
from nasbench.errors import UserError, shown
from nasbench.files import read_text
from nasbench.strategies.context import Searchable
from nasbench.table.file import is_table_file
from nasbench.values import content_hash

if TYPE_CHECKING:
    import pandas as pd

KEY = "key"  # columns that a JSON object's keys become, character by character: key0, key1, ...
ENDINGS = (".json", ".csv", ".csv.gz")


@dataclass(frozen=True)
class Source:
    """A problem as given on the command line; each worker loads it."""

    on: str
    objectives: tuple[str, ...] = ("1",)
    fields: tuple[str, ...] = ()

    def load(self) -> Problem:
        """The problem; UserError where the file, its columns or the objectives are missing."""
        path = Path(self.on)
        if path.suffix in (".toml", ".json") or (path.is_file() and not _is_ours(path)):
            file, description = describe_file(path, self.fields, self.objectives)
            return read_problem(file, description, self.objectives)
        return surrogate_problem(self.on, self.objectives)


def _is_ours(path: Path) -> bool:
    """Whether a file is a table of nasbench."""
    import pandas as pd

    if not is_table_file(path):
        return False
    try:
        return "architecture_id" in pd.read_csv(path, nrows=0).columns
    except (OSError, ValueError, EOFError, zlib.error):
        return False


def read_problem(path: Path, description: TableDescription, objectives: Sequence[str] = ("1",)) -> Problem:
    """A published table: rows without an objective are left out, rows of equal fields are seeds of one design."""
    chosen = description.chosen(objectives)
    frame, source = _rows_of(path), str(path)
    fields = description.fields_among(list(frame.columns), source)
    frame, left_out = _usable(frame, description, chosen, source)
    empty = [name for name in fields if frame[name].isna().any()]
    frame = frame.assign(**{name: frame[name].astype(object).where(frame[name].notna(), "") for name in empty})
    grouped = frame.groupby(fields, sort=True)
    frame = frame.iloc[np.argsort(grouped.ngroup().to_numpy(), kind="stable")]
    counts = grouped.size().to_numpy()
    first = np.concatenate([[0], np.cumsum(counts)])
    designs = frame.iloc[first[:-1]]
    columns = [designs[name].tolist() for name in fields]
    space = TableSpace.of(fields, columns, [_id(row) for row in zip(*columns)])
    signs = np.array([-1.0 if objective.startswith("-") else 1.0 for objective in chosen])
    losses = frame[[metric_of(objective) for objective in chosen]].to_numpy(float) * signs
    trainings = Trainings(losses, first)
    known = len(chosen) > 1 and metric_of(chosen[1]) in description.known
    return Problem(
        description.name or path.name.partition(".")[0],
        hashlib.sha256(path.read_bytes()).hexdigest()[:16],
        cast(Searchable, space),  # its designs are rows, on which strategies call nothing but its methods
        chosen,
        trainings.observe,
        trainings.truth,
        scale_of(trainings.means),
        (lambda arch: float(trainings.truth([arch])[0, 1])) if known else None,
        _facts(len(designs), len(frame), left_out),
    )


def _facts(designs: int, trainings: int, left_out: int) -> tuple[str, ...]:
    counts = f"{designs:,} designs, {trainings:,} trainings"
    return (counts, f"{left_out:,} rows without a number in an objective are left out") if left_out else (counts,)


def _id(values: Sequence[object]) -> str:
    """16 hexadecimal digits, a hash of a design's fields."""
    return content_hash([str(value) for value in values])


def _rows_of(path: Path) -> pd.DataFrame:
    import pandas as pd

    if not path.name.endswith(ENDINGS):
        raise UserError(f"{path}: tables are read from {', '.join(ENDINGS)} files; convert it")
    try:
        frame = _rows_of_json(path) if path.suffix == ".json" else _rows_of_csv(path)
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}; give the path of a table") from None
    except (EOFError, zlib.error) as error:
        raise UserError(f"{path}: cannot be unpacked: {error}; put back a copy of the file") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not a table: {str(error).splitlines()[0]}; give a CSV or JSON file") from None
    if not isinstance(frame.index, pd.RangeIndex):  # pandas then took the first cells as names of the rows
        raise UserError(f"{path}: its rows have more cells than its first line names columns; name each of them once")
    return frame


def _rows_of_csv(path: Path) -> pd.DataFrame:
    import pandas as pd

    packed = path.name.endswith(".gz")
    return pd.read_csv(path if packed else io.StringIO(read_text(path, "table")), skipinitialspace=True)


def _rows_of_json(path: Path) -> pd.DataFrame:
    """An object of objects: keys become columns character by character, a list of numbers one row for each."""
    import pandas as pd

    content = json.loads(read_text(path, "table"))
    if not isinstance(content, dict) or not all(isinstance(value, dict) for value in content.values()):
        raise ValueError("its JSON is no object of objects")
    if len({len(key) for key in content}) > 1:
        raise ValueError("its keys have different lengths")
    rows = []
    for key, metrics in content.items():
        lists = {name: value for name, value in metrics.items() if isinstance(value, list)}
        plain = {name: value for name, value in metrics.items() if name not in lists}
        of_key = {f"{KEY}{place}": character for place, character in enumerate(key)}
        for seed in range(max([len(value) for value in lists.values()], default=1)):
            one = {name: value[seed] for name, value in lists.items() if seed < len(value)}
            rows.append({**of_key, **plain, **one})
    return pd.DataFrame(rows)


def _usable(
    frame: pd.DataFrame, description: TableDescription, chosen: Sequence[str], source: str
) -> tuple[pd.DataFrame, int]:
    """The rows that `where` keeps with a finite number in every objective, and how many have none."""
    import pandas as pd

    wanted = [*description.where, *(metric_of(objective) for objective in chosen)]
    missing = [name for name in wanted if name not in frame.columns]
    if missing:
        raise UserError(f"{source}: no column {shown(missing[0])}; it has {', '.join(frame.columns[:12])}")
    for name, value in description.where.items():
        frame = frame[frame[name] == value]
        if frame.empty:
            raise UserError(f"{source}: no row has {name} = {shown(value)}; correct `where`")
    numbers = frame[[metric_of(objective) for objective in chosen]].apply(pd.to_numeric, errors="coerce")
    whole = (np.abs(numbers.to_numpy(float)) < LARGEST).all(1)  # false of NaN
    if whole.sum() < 2:
        raise UserError(f"{source}: {whole.sum()} rows have numbers in {', '.join(chosen)}; two are needed at least")
    frame = frame[whole].assign(**{name: numbers[name][whole] for name in numbers})
    return frame, int((~whole).sum())
