"""Rows read from a folder of trials: a collection, or a search's study."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import NamedTuple

from nasbench.errors import UserError
from nasbench.proxy.images import Images
from nasbench.study import environment
from nasbench.study.objective import SUPERVISED
from nasbench.study.store import FILE as TRIALS
from nasbench.study.store import TrialStore
from nasbench.study.study import FILE as STUDY
from nasbench.study.study import Study
from nasbench.study.trials import Trial
from nasbench.table.collection import FILE as COLLECTION
from nasbench.table.collection import Collection
from nasbench.table.rows import Circumstances, TableRow, row_of


class FolderRows(NamedTuple):
    """The rows of a folder, the name of its space, and the number of trials left out, by reason."""

    rows: list[TableRow]
    space: str
    left_out: Counter[str]


def rows_of_folder(folder: Path) -> FolderRows:
    """The trials of a study or a collection as rows."""
    space, data_id, circumstances = _circumstances(folder)
    if not (folder / TRIALS).is_file():
        return FolderRows([], space, Counter())
    left_out: Counter[str] = Counter()
    rows = []
    with TrialStore(folder, read_only=True) as store:
        for trial in store.trials:
            reason = _why_not(trial, data_id)
            if reason is None:
                rows.append(row_of(trial, circumstances))
            else:
                left_out[reason] += 1
    return FolderRows(rows, space, left_out)


def _circumstances(folder: Path) -> tuple[str, str | None, Circumstances]:
    """The space's name, the id of the images, and the circumstances of the folder's trials."""
    runs = environment.read(folder)
    if (folder / COLLECTION).is_file():
        made = Collection.open(folder)
        label = Images(made.data, made.data_id).label
        return made.space.name, made.data_id, Circumstances(label, made.numerics, made.ladder, runs)
    if not (folder / STUDY).is_file():
        raise UserError(f"{folder}: holds neither {STUDY} nor {COLLECTION}; give the folder of a search or of a table")
    study = Study.open(folder)
    if study.objective != SUPERVISED:
        raise UserError(
            f"{folder}: a study of the objective {study.objective.name}, whose score is no accuracy; give studies of "
            f"the objective {SUPERVISED.name}"
        )
    label = Images(study.data, str(study.data_id)).label
    return study.space.name, study.data_id, Circumstances(label, study.runner.numerics.text, study.ladder, runs)


def _why_not(trial: Trial, data_id: str | None) -> str | None:
    """Why a trial is left out; None where it is a row."""
    if not trial.finished:
        return "unfinished"
    if not trial.complete:
        return "failed"
    if "proxy_id" not in trial.metrics or "accuracy" not in trial.metrics:
        return "of before trials told which network was trained"
    if trial.origin.cost is None:
        return "without the design's cost"
    if data_id is None or trial.data != data_id:
        return "of images without an id"
    return None
