"""`Table`: trainings of many designs at several fidelities, their noise, and a surrogate fitted to them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from nasbench.arch.architecture import Architecture
from nasbench.errors import UserError, shown
from nasbench.proxy.reduction import reduced
from nasbench.study.fidelity import Fidelity
from nasbench.study.seed_noise import SeedNoise, pooled
from nasbench.study.trials import Split
from nasbench.table.rows import LONG_RUNG, TableRow

if TYPE_CHECKING:
    import pandas as pd

    from nasbench.surrogate import Prediction, Surrogate

VALIDATION: Split = "validation"


class Training(NamedTuple):
    """A row with its architecture and its fidelity as values."""

    architecture: Architecture
    fidelity: Fidelity
    accuracy: float
    row: TableRow


class _Read:
    """Cache of values parsed from rows, shared by a table and those taken from it."""

    def __init__(self) -> None:
        self.architectures: dict[tuple[str, str], Architecture] = {}  # by name and text
        self.fidelities: dict[str, Fidelity] = {}  # by text
        self.reduced: dict[tuple[str, str], str | None] = {}  # by ids of architecture and fidelity


class Table:
    """Trainings of designs. `source` is its name in errors.

    Rungs are numbered as in the ladder that the table was made with; -1 is long training, ten times the samples of the
    last rung.
    """

    def __init__(self, rows: Iterable[TableRow], source: str = "table") -> None:
        self.content, self.source = tuple(rows), source
        self._read = _Read()

    def __len__(self) -> int:
        """How many trainings."""
        return len(self.content)

    def __repr__(self) -> str:
        return f"Table({self.source!r}, {len(self)} trainings of {len(self.ids)} designs)"

    def rows(self) -> pd.DataFrame:
        """One line a training; accuracies are shares, `rung` is empty where the ladder has no such fidelity."""
        import pandas as pd

        frame = pd.DataFrame([row.model_dump() for row in self.content], columns=list(TableRow.model_fields))
        return frame.astype({"rung": "Int64"})

    def where(self, **fields: object) -> Table:
        """The rows that have these values: `table.where(split="test", data_id=...)`."""
        unknown = [name for name in fields if name not in TableRow.model_fields]
        if unknown:
            raise UserError(f"a table has no column {shown(unknown[0])}; it has {', '.join(TableRow.model_fields)}")
        return self._taken(
            row for row in self.content if all(getattr(row, name) == value for name, value in fields.items())
        )

    def _taken(self, rows: Iterable[TableRow]) -> Table:
        """A table of some of the rows, with the same cache."""
        taken = Table(rows, self.source)
        taken._read = self._read
        return taken

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """The designs, each once."""
        return tuple(dict.fromkeys(row.architecture_id for row in self.content))

    @cached_property
    def fidelities(self) -> dict[str, Fidelity]:
        """Id -> fidelity of all that the table holds."""
        found: dict[str, Fidelity] = {}
        for row in self.content:
            if row.fidelity not in found:
                read, key = self._read.fidelities, row.fidelity_fields
                if key not in read:
                    source = f"{self.source}: fidelity {row.fidelity}"
                    read[key] = Fidelity.from_dict(self._json(row, "fidelity_fields"), source)
                found[row.fidelity] = read[key]
        return found

    @cached_property
    def architectures(self) -> dict[str, Architecture]:
        """Id -> design of all that the table holds."""
        found: dict[str, Architecture] = {}
        for row in self.content:
            if row.architecture_id not in found:
                read, key = self._read.architectures, (row.name, row.architecture)
                if key not in read:
                    content = {"name": row.name, **self._json(row, "architecture")}
                    source = f"{self.source}: architecture {row.architecture_id}"
                    read[key] = Architecture.from_dict(content, source)
                found[row.architecture_id] = read[key]
        return found

    @cached_property
    def rungs(self) -> tuple[int, ...]:
        """The rungs that it has rows of, long training last."""
        return tuple(sorted({row.rung for row in self.content if row.rung is not None}, key=_long_last))

    def fidelity(self, rung: int) -> Fidelity:
        """The fidelity of a rung; UserError where it is unknown or ambiguous."""
        ids = {row.fidelity for row in self.content if row.rung == rung}
        if len(ids) == 1:
            return self.fidelities[ids.pop()]
        if rung == LONG_RUNG and not ids and self.rungs:
            return self.fidelity(self.rungs[-1]).longer
        known = ", ".join(map(str, self.rungs)) or "none"
        what = "several fidelities are called that" if ids else f"rungs with rows: {known}"
        raise UserError(f"{self.source}: rung {rung!r}: {what}; name another, or -1 for long training")

    @cached_property
    def current(self) -> Table:
        """Without stale rows: those whose design is reduced to another network by the present code."""
        return self._taken(row for row in self.content if self._is_current(row))

    @property
    def stale(self) -> int:
        """The number of stale rows."""
        return len(self) - len(self.current)

    def trainings(self, rung: int | None = None, split: Split | None = None) -> list[Training]:
        """The trainings of one rung or all, scored on one split or either, without stale rows."""
        return [
            Training(self.architectures[row.architecture_id], self.fidelities[row.fidelity], row.accuracy, row)
            for row in self.current.content
            if rung in (None, row.rung) and split in (None, row.split)
        ]

    def noise(self, rung: int = 0) -> SeedNoise | None:
        """The standard deviation over seeds, pooled over the designs that were trained more than once at a rung.

        Only scores of one split, images and numerics are compared. None where nothing was trained twice.
        """
        groups: dict[tuple[str, ...], list[float]] = defaultdict(list)
        for row in self.content:
            if row.rung == rung:
                groups[(row.architecture_id, row.fidelity, row.split, row.data_id, row.numerics)].append(row.accuracy)
        return pooled(groups.values())

    def predict(self, archs: Sequence[Architecture], rung: int = 0) -> Prediction:
        """Expected accuracies at a rung, by a surrogate fitted to the rows: `.mean` and `.std`, (archs,) each.

        On validation images, in [0, 1]. UserError where the table has several sets of images (see `where`).
        """
        return self.surrogate.predict(list(archs), self.fidelity(rung))

    @cached_property
    def surrogate(self) -> Surrogate:
        """Fitted to the trainings that are scored on validation images; its default is the longest of them."""
        from nasbench.surrogate import fit

        images = {row.data_id: row.data for row in self.content}
        if len(images) > 1:
            told = ", ".join(f"{data} ({key})" for key, data in images.items())
            raise UserError(f"{self.source}: rows of several sets of images: {told}; choose with where(data_id=...)")
        known = self.trainings(split=VALIDATION)
        if not known:
            raise UserError(f"{self.source}: no training that counts is scored on validation images; collect some")
        return fit(
            [each.architecture for each in known],
            [each.fidelity for each in known],
            [each.accuracy for each in known],
        )

    def _is_current(self, row: TableRow) -> bool:
        """Whether the present reduction gives the network that was trained."""
        known, key = self._read.reduced, (row.architecture_id, row.fidelity)
        if key not in known:
            known[key] = _reduced_id(self.architectures[key[0]], self.fidelities[key[1]])
        same_design = self.architectures[row.architecture_id].id == row.architecture_id
        return same_design and known[key] == row.proxy_id

    def _json(self, row: TableRow, column: str) -> dict[str, Any]:
        try:
            content = json.loads(getattr(row, column))
        except (ValueError, RecursionError):
            content = None
        if not isinstance(content, dict):
            place = f"architecture {row.architecture_id}, {column}"
            raise UserError(f"{self.source}: {place}: not a JSON object; put back a copy of the file")
        return content


def _reduced_id(arch: Architecture, fidelity: Fidelity) -> str | None:
    """The id of the reduced network that is trained for a design; None where it cannot be reduced."""
    try:
        return reduced(arch, fidelity).id
    except UserError:
        return None


def _long_last(rung: int) -> tuple[bool, int]:
    return rung == LONG_RUNG, rung
