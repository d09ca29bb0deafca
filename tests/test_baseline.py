"""nasbench.proxy.train.score, evaluate: accuracy stands beside what a network that has learnt nothing would reach."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from nasbench.arch.library import load
from nasbench.proxy.data.augment import normalisation
from nasbench.proxy.data.pool import MemoryPool
from nasbench.proxy.evaluate import evaluate, prepare
from nasbench.proxy.train import score
from nasbench.study.fidelity import load_recipe
from nasbench.study.runner import RunnerSpec
from nasbench.study.task import DataSplit, Task


def test_a_network_that_always_answers_one_class_is_seen_through():
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 4))
    nn.init.zeros_(model[1].weight)
    model[1].bias = nn.Parameter(torch.tensor([0.0, 9.0, 0.0, 0.0]))
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (300, 8, 8, 3), dtype=np.uint8))
    pool = MemoryPool(pixels, torch.tensor([1] * 297 + [0, 2, 2]))
    result = score(model, pool, normalisation(pool))
    assert result.accuracy == result.majority_share == pytest.approx(0.99)
    assert result.balanced_accuracy == pytest.approx(1 / 3)  # of the three classes that occur


@pytest.mark.parametrize("counts", [(100, 100, 100), (280, 20, 20)])
def test_accuracy_is_balanced_where_classes_are_uneven_and_its_baseline_stored(tmp_path, caplog, counts):
    rng, labels = np.random.default_rng(0), np.repeat(np.arange(3), counts)
    pixels = rng.integers(0, 256, (len(labels), 32, 32, 3), dtype=np.uint8)
    np.savez(tmp_path / "d.npz", x_train=pixels, y_train=labels, x_test=pixels, y_test=labels)
    fidelity, name = load_recipe().at(64, pool=400, evaluate=1000), f"cifar10:{tmp_path / 'd.npz'}"
    arch = load("emo_1m")
    prepare(name, fidelity, (arch.resolution,))
    metrics = evaluate(Task(arch, fidelity, 1, DataSplit(name, split="test"), runner=RunnerSpec()))
    uneven = counts[0] > counts[1]
    assert metrics["majority_share"] == pytest.approx(max(counts) / sum(counts))
    assert metrics["accuracy_is"] == ("balanced" if uneven else "top1")
    assert metrics["accuracy"] == metrics["balanced_accuracy" if uneven else "top1"]
    assert (metrics["balanced_accuracy"] == pytest.approx(metrics["top1"])) is not uneven
    line = "airplane has 87.5% of the training images; accuracy is the mean over classes (balanced)"
    assert (line in caplog.text) is uneven
