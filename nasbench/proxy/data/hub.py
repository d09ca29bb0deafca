"""Data sets of Hugging Face's `datasets` library: `hf:NAME`, from the hub or a folder, cached by that library."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nasbench.errors import UserError, shown
from nasbench.proxy.data.encoded import Rows, data_of_rows
from nasbench.proxy.data.images import ImageData
from nasbench.proxy.data.parquet import LABELS
from nasbench.proxy.data.splits import ROLES, Role

HUB = "hf"


@dataclass(frozen=True, eq=False)
class Cells:
    """The image column of a table on disk; cells are read when needed."""

    table: Any  # datasets.Dataset
    column: str
    places: np.ndarray

    def __len__(self) -> int:
        return len(self.places)

    def content(self, index: int) -> bytes:
        cell = self.table[int(self.places[index])][self.column]
        if cell["bytes"] is not None:
            return bytes(cell["bytes"])
        with open(cell["path"], "rb") as file:
            return file.read()

    def mark(self, index: int) -> bytes:
        """Its row's number: more would mean reading the cell."""
        return str(self.places[index]).encode()

    def taken(self, places: np.ndarray) -> Cells:
        return Cells(self.table, self.column, self.places[places])


def load_hub(name: str | None) -> ImageData:
    """The data set of this name on the hub, or in this folder, with its splits. UserError where there is none."""
    if not name:
        raise UserError(f"data {HUB!r} names no data set; write {HUB}:OWNER/NAME")
    if importlib.util.find_spec("datasets") is None:
        raise UserError(f"data '{HUB}:{name}': needs datasets; run `pip install 'nasbench[datasets]'`")
    tables = _tables(name)
    unknown = [split for split in tables if split.casefold() not in ROLES]
    parts = [(_role(split), _rows(table, f"{HUB}:{name}")) for split, table in tables.items() if split not in unknown]
    if not parts:
        raise UserError(f"data '{HUB}:{name}': its splits {', '.join(unknown)} are none of train, validation and test")
    return data_of_rows(f"{HUB}:{name}", name.rpartition("/")[2], parts)


def _role(split: str) -> Role:
    return ROLES[split.casefold()]


def _tables(name: str) -> dict[str, Any]:
    import datasets

    try:
        return dict(datasets.load_dataset(name))
    except Exception as error:  # errors of network, hub and files share no base class
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise UserError(
            f"data '{HUB}:{name}': cannot be had ({shown(reason)}); check the name and the network, or fetch it "
            f"elsewhere with `hf download --repo-type dataset {name} --local-dir DIR` and give --data DIR"
        ) from None


def _rows(table: Any, spec: str) -> Rows:
    import datasets

    images = [name for name, kind in table.features.items() if isinstance(kind, datasets.Image)]
    label = next((name for name in LABELS if name in table.features), None)
    if not images or label is None:
        have = shown(", ".join(table.features))
        raise UserError(f"data {spec!r}: no column of images and one of labels among {have}; give another data set")
    kind = table.features[label]
    names: Sequence[str] = getattr(kind, "names", None) or ()
    cells = table.cast_column(images[0], datasets.Image(decode=False))
    labels = [str(value) for value in table[label]]
    return Rows(Cells(cells, images[0], np.arange(len(labels))), labels, tuple(names))
