"""Scores of untrained networks against values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from nasbench.arch.library import load
from nasbench.proxy.reduction import reduced
from nasbench.proxy.zero_cost import gradient_scores, jacobian, jacobian_covariance, zero_cost
from nasbench.study.fidelity import load_recipe
from nasbench.study.runner import RunnerSpec
from nasbench.study.task import DataSplit, Task

CPU = RunnerSpec(kind="serial")


def test_images_that_a_network_answers_differently_score_highest() -> None:
    """Uncorrelated rows: all eigenvalues are 1, so the score is minus their number. Equal rows score far lower."""
    apart = torch.tensor([[1.0, -1, 1, -1], [1.0, 1, -1, -1], [1.0, -1, -1, 1]])
    assert jacobian_covariance(apart) == pytest.approx(-3, abs=1e-4)
    alike = torch.tensor([[1.0, 2, 4]]).repeat(3, 1)
    eigenvalues = [3 + 1e-5, 1e-5, 1e-5]
    assert jacobian_covariance(alike) == pytest.approx(-sum(math.log(v) + 1 / v for v in eigenvalues), rel=1e-3)
    assert math.isnan(jacobian_covariance(torch.zeros(3, 4)))


def test_the_jacobian_is_of_each_image_alone() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 5, bias=False))
    rows = jacobian(model, torch.randn(3, 3, 2, 2))
    assert torch.allclose(rows, model[1].weight.sum(0).expand(3, 12))


def test_gradients_of_a_linear_classifier() -> None:
    """Two classes, zero weights: the gradient of class c is the mean of (1/2 - [y = c]) x over the batch."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(3, 2))
    with torch.no_grad():
        model[1].weight.zero_()
        model[1].bias.zero_()
    images, labels = torch.tensor([[3.0, 0, 4]]).reshape(1, 3, 1, 1), torch.tensor([1])
    scores = gradient_scores(model, images, labels)
    assert scores == pytest.approx({"gradient_norm": math.sqrt(2 * 2.5**2), "snip": 0})
    with torch.no_grad():
        model[1].weight.fill_(2.0)  # both logits alike, so the gradient is the same
    assert gradient_scores(model, images, labels)["snip"] == pytest.approx(2 * 2 * (1.5 + 2.0))


def test_a_task_is_scored_the_same_again() -> None:
    fidelity = load_recipe().at(64, pool=64, evaluate=10)
    task = Task(load("emo_1m"), fidelity, 3, DataSplit(), CPU)
    scores = zero_cost(task)
    assert scores == zero_cost(task)
    assert scores["proxy_id"] == reduced(task.architecture, fidelity).id
    assert all(math.isfinite(scores[key]) for key in ("jacobian_covariance", "gradient_norm", "snip"))
    assert scores["jacobian_covariance"] < -60  # at most minus the number of images
