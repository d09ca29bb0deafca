"""A stand-in for training in a collection: accuracies worked out from costs, so that every figure is known."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from nasbench.costs.analytic import cost
from nasbench.proxy.reduction import reduced
from nasbench.study.task import Task

RUNNER = """
kind = "serial"

[[ladder]]
name = "screen"
trials = 4
samples = 64
evaluate = 50

[[ladder]]
name = "full"
trials = 2
samples = 128
evaluate = 50
"""


class ToyImages:
    id = "toy"
    uneven = False


def accuracy(task: Task) -> float:
    """Grows with the logarithm of the multiply-adds and of the samples; a seed moves it a little."""
    size = math.log10(cost(task.architecture).macs) / 20 + math.log10(task.fidelity.samples) / 50
    return size + 0.001 * (task.seed % 10)


def evaluate(task: Task) -> dict[str, Any]:
    own = {"accuracy": accuracy(task), "loss": 1 - accuracy(task), "train_loss_tail": 2.0, "cpu_seconds": 1.5}
    return {**own, "train_seconds": 2.0, "scored_images": 50, "proxy_id": reduced(task.architecture, task.fidelity).id}


def with_toys(patch: pytest.MonkeyPatch, folder: Path) -> str:
    """Trainings are toys -> the file of a runner for them, in `folder`."""
    patch.setattr("nasbench.table.start.EVALUATE", "table_toys:evaluate")
    patch.setattr("nasbench.proxy.evaluate.prepare", lambda *_: ToyImages)
    patch.setattr("nasbench.proxy.evaluate.dataset", lambda *_: ToyImages)
    patch.setenv("NASBENCH_CACHE", str(folder / "cache"))
    (folder / "toys.toml").write_text(RUNNER)
    return str(folder / "toys.toml")
