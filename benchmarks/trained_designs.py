"""Trained designs from whatever holds them, for the benchmarks of the surrogate.

A table or the folder of a collection, a folder of a study or of an audit (its scores.jsonl), or a file of JSON lines
with arch, samples, seed, accuracy, loss, tail (and recipe, by default `proxy`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nasbench.arch.architecture import Architecture
from nasbench.arch.library import fixed_points, swaps
from nasbench.auditing.rows import FILE, read_rows
from nasbench.costs.analytic import operators
from nasbench.report.results import StudyResult
from nasbench.study.fidelity import Fidelity, load_recipe
from nasbench.table.collection import FILE as COLLECTION
from nasbench.table.loading import load_table


class Training(NamedTuple):
    """One training of one design."""

    architecture: Architecture
    fidelity: Fidelity
    seed: int
    accuracy: float
    loss: float
    tail: float


def read(paths: Sequence[Path], recipe: str = "proxy-even") -> list[Training]:
    """All trainings of these sources by this recipe, the masked autoencoders' left out."""
    return [row for path in paths for row in _read(path) if row.fidelity.recipe == _plain(recipe, row.fidelity)]


def _plain(recipe: str, like: Fidelity) -> Any:
    """The recipe, scored on as many images as `like`: that changes no training."""
    return load_recipe(recipe).at(1, evaluate=like.evaluate).recipe


def _read(path: Path) -> Iterator[Training]:
    if (path / COLLECTION).is_file() or path.name.endswith(".csv.gz"):
        for arch, fidelity, accuracy, row in load_table(path).trainings(split="validation"):
            if row.loss is not None and row.train_loss_tail is not None:
                yield Training(arch, fidelity, row.seed, accuracy, row.loss, row.train_loss_tail)
    elif path.is_file():
        yield from (_of_line(json.loads(line)) for line in path.read_text().splitlines() if line.endswith("}"))
    elif (path / FILE).is_file():
        known = fixed_points() | swaps()
        for row in read_rows(path).values():
            if row.accuracy is not None and row.loss is not None and row.train_loss_tail is not None:
                fidelity = load_recipe(row.recipe).at(row.samples)
                yield Training(known[row.network], fidelity, row.seed, row.accuracy, row.loss, row.train_loss_tail)
    else:
        for trial in StudyResult.read(path).trials:
            if trial.complete:
                figures = [float(trial.metrics[name]) for name in ("accuracy", "loss", "train_loss_tail")]
                yield Training(trial.design, trial.fidelity, trial.seed, *figures)


def _of_line(row: dict[str, Any]) -> Training:
    content = json.loads(row["arch"]) if isinstance(row["arch"], str) else row["arch"]
    fidelity = load_recipe(row.get("recipe", "proxy")).at(row["samples"])
    return Training(Architecture.from_dict(content), fidelity, row["seed"], row["accuracy"], row["loss"], row["tail"])


def family(arch: Architecture) -> str:
    """The kind of block in which a design spends most of its multiply-adds."""
    work: dict[str, float] = {}
    present = [stage for stage in arch.stages if stage.depth]
    for op in operators(arch):
        if op.stage.startswith("stage "):
            block = present[int(op.stage.removeprefix("stage ")) - 1].block
            work[block] = work.get(block, 0) + op.macs
    return max(work, key=work.__getitem__)


def kendall(a: np.ndarray, b: np.ndarray) -> float:
    from scipy.stats import kendalltau

    return float(kendalltau(a, b).statistic)


def top_third(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Kendall's tau among the third that is truly best."""
    best = np.argsort(-truth)[: max(3, len(truth) // 3)]
    return kendall(predicted[best], truth[best])
