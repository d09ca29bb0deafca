"""The scores of an audit as they lie on disk: `scores.jsonl`, one line a training, or an untrained network's scores.

A row is known by network, fidelity, samples, seed and data, so an audit trains nothing that a row already tells. One
whose reduced network is no longer today's (`proxy_id`) tells of something else, and does not count.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import Field

from nasbench.errors import UserError
from nasbench.files import data_dir
from nasbench.study.journal import Journal
from nasbench.study.standing import Count
from nasbench.values import Value

FILE = "scores.jsonl"
SHIPPED = "results/audit"  # in a checkout; an installed package has no rows
ZERO_COST = ("jacobian_covariance", "gradient_norm", "snip")
TRAINED = ("accuracy", "loss", "train_loss_tail", "cpu_seconds", "proxy_macs", "proxy_params", "proxy_resolution")


Amount = Annotated[int, Field(ge=0, le=10**24)]
Share = Annotated[float, Field(ge=0, le=1)]
Score = Annotated[float, Field(ge=-1e30, le=1e30)]


class RowKey(NamedTuple):
    """What makes two rows the same measurement."""

    network: str
    fidelity: str
    samples: Count
    seed: Count
    data_id: str
    numerics: str


class ScoreRow(Value):
    """One network at one fidelity with one seed, scored on test images. `samples` is 0 where it was not trained."""

    network: str
    fidelity: str  # its id
    samples: Count
    seed: Count
    data_id: str
    proxy_id: str
    recipe: str = ""  # its name, for people
    numerics: str = "cpu float32"
    macs: Amount  # of the deploy form, at the design's own resolution
    params: Amount
    accuracy: Share | None = None
    loss: Score | None = None
    train_loss_tail: Score | None = None
    cpu_seconds: Score | None = None
    proxy_macs: Amount | None = None
    proxy_params: Amount | None = None
    proxy_resolution: Count | None = None
    scored_images: Count | None = None
    jacobian_covariance: Score | None = None
    gradient_norm: Score | None = None
    snip: Score | None = None

    @property
    def key(self) -> RowKey:
        return RowKey(self.network, self.fidelity, self.samples, self.seed, self.data_id, self.numerics)


def rows_of(journal: Journal) -> dict[RowKey, ScoreRow]:
    """The rows by key, a later one over an earlier of the same key. UserError: the number of a line that is none."""
    rows = []
    for number, record in journal.lines:
        if record is None:
            raise UserError(f"{journal.path}, line {number}: not JSON; delete that line to go on without it")
        rows.append(ScoreRow.from_dict(record, f"{journal.path}, line {number}"))
    return {row.key: row for row in rows}


def read_rows(folder: Path) -> dict[RowKey, ScoreRow]:
    """What `folder` holds; nothing where it has no file of scores. A torn last line is left out."""
    path = folder / FILE
    return rows_of(Journal(path, read_only=True)) if path.is_file() else {}


def shipped_rows() -> dict[RowKey, ScoreRow]:
    """The rows that come with a checkout, in results/audit and its sub-folders."""
    folders = sorted(path.parent for path in (data_dir("search_spaces").parent / SHIPPED).rglob(FILE))
    return {key: row for folder in folders for key, row in read_rows(folder).items()}
