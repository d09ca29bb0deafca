"""A folder in which a table is collected: `collection.toml`, and trials as in a study."""

from __future__ import annotations

from pathlib import Path

from typing_extensions import Self

from nasbench import __version__
from nasbench.errors import UserError, shown
from nasbench.files import read_toml, require_new_or_empty, write_toml
from nasbench.study.fidelity import Fidelity
from nasbench.study.journal import locked
from nasbench.study.study import SpaceRecord, StoredLadder
from nasbench.study.trials import Split
from nasbench.table.rows import LONG_RUNG
from nasbench.values import Value

FILE = "collection.toml"
PACKED = "table.csv.gz"  # the folder's rows as one file, written when a collection ends


class Collection(Value):
    """What all rows of a folder have in common."""

    space: SpaceRecord
    data: str  # name or path
    data_id: str
    split: Split = "validation"
    ladder: StoredLadder
    numerics: str
    version: str = __version__

    @classmethod
    def open(cls, folder: Path | str) -> Self:
        path = Path(folder) / FILE
        return cls.from_dict(read_toml(path), str(path))

    @property
    def identity(self) -> dict[str, object]:
        """Name -> value of what may not change while rows are added."""
        rungs = ", ".join(rung.fidelity.id for rung in self.ladder.rungs)
        return {
            "space": self.space.id,
            "images": self.data_id,
            "split": self.split,
            "fidelities of the rungs": rungs,
            "numerics": self.numerics,
        }

    def fidelity(self, rung: int) -> Fidelity:
        """How a rung of the table trains; -1 is long training."""
        return self.ladder.rungs[-1].fidelity.longer if rung == LONG_RUNG else self.ladder.rungs[rung].fidelity

    def create(self, folder: Path) -> None:
        """Write the collection to `folder`; UserError unless that is new, empty or of the same identity."""
        if (folder / FILE).is_file():
            return self._must_equal(Collection.open(folder), folder)
        try:
            require_new_or_empty(folder, FILE)
            with locked(folder):  # of two processes that begin here at once, one finds the other's collection
                if not (folder / FILE).is_file():
                    write_toml(folder / FILE, self.to_dict())
        except OSError as error:
            raise UserError(f"{folder}: cannot write: {error.strerror}; give another folder with --out") from None
        self._must_equal(Collection.open(folder), folder)

    def _must_equal(self, other: Collection, folder: Path) -> None:
        for name, value in self.identity.items():
            there = other.identity[name]
            if there != value:
                raise UserError(
                    f"{folder}: holds rows of other {name}: {shown(there)} there, {shown(value)} here; give another "
                    "folder with --out"
                )
