"""Scores of untrained networks against values worked out by hand."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from torch import nn

from nasbench.arch.library import load
from nasbench.cli import main
from nasbench.proxy.reduction import reduced
from nasbench.proxy.untrained import (
    ZEN_STEP,
    activity,
    gradient_scores,
    jacobian,
    jacobian_covariance,
    naswot,
    swap,
    synflow,
    zen,
    zico,
)
from nasbench.proxy.zero_cost import SCORES, all_scores, zero_cost
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


def linear(inputs: int, classes: int) -> nn.Sequential:
    model = nn.Sequential(nn.Flatten(), nn.Linear(inputs, classes))
    with torch.no_grad():
        model[1].weight.zero_()
        model[1].bias.zero_()
    return model


def test_gradients_of_a_linear_classifier() -> None:
    """Two classes, zero weights: the gradient of class c is the mean of (1/2 - [y = c]) x over the batch."""
    model = linear(3, 2)
    images, labels = torch.tensor([[3.0, 0, 4]]).reshape(1, 3, 1, 1), torch.tensor([1])
    scores = gradient_scores(model, images, labels)
    assert scores == pytest.approx({"gradient_norm": math.sqrt(2 * 2.5**2), "snip": 0})
    with torch.no_grad():
        model[1].weight.fill_(2.0)  # both logits alike, so the gradient is the same
    assert gradient_scores(model, images, labels)["snip"] == pytest.approx(2 * 2 * (1.5 + 2.0))


def test_zico_is_the_mean_over_the_deviation_of_gradients_between_batches() -> None:
    """|g| of the two batches is x / 2: 1 and 2, then 3 and 2; the third never varies and is left out."""
    images = torch.tensor([[2.0, 6, 4], [4.0, 4, 4]]).reshape(2, 3, 1, 1)
    expected = 2 * (1.5 / 0.5 + 2.5 / 0.5)  # for either class alike
    assert zico(linear(3, 2), images, torch.tensor([1, 0])) == pytest.approx(math.log(expected))
    assert zico(linear(3, 2), images[:1].repeat(2, 1, 1, 1), torch.tensor([1, 1])) == 0


def test_synflow_is_a_product_of_absolute_weights_and_sees_no_data() -> None:
    """Without biases each layer's sum of theta dR/dtheta is R = 1 |W3| |W2| |W1| 1, as the paper's law says."""
    torch.manual_seed(0)
    layers = [nn.Linear(4, 5, bias=False), nn.Linear(5, 6, bias=False), nn.Linear(6, 2, bias=False)]
    model = nn.Sequential(nn.Flatten(), layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])
    total = torch.ones(4, 1, dtype=torch.float64)
    for layer in layers:
        total = layer.weight.detach().double().abs() @ total
    assert synflow(model, (1, 2, 2)) == pytest.approx(math.log(3 * float(total.sum())))
    with torch.no_grad():
        layers[1].weight.mul_(-1)
    assert synflow(model, (1, 2, 2)) == pytest.approx(math.log(3 * float(total.sum())))


def test_codes_of_two_units_by_hand() -> None:
    """Codes 10, 11 and 01 over three images: two images agree in both units, in one, or in none."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(2, 2, bias=False), nn.ReLU())
    with torch.no_grad():
        model[1].weight.copy_(torch.eye(2))
    images = torch.tensor([[1.0, -1], [1.0, 1], [-1.0, 1]]).reshape(3, 2, 1, 1)
    active = activity(model, images)
    assert active.tolist() == [[True, False], [True, True], [False, True]]
    agree = [[2, 1, 0], [1, 2, 1], [0, 1, 2]]
    assert naswot(active) == pytest.approx(math.log(np.linalg.det(agree)))
    assert naswot(active[[0, 0]]) == -math.inf
    assert swap(active) == 2
    assert swap(np.concatenate([active, active, ~active], axis=1)) == 4  # units of one pattern count once


def test_zen_takes_back_what_norms_divide_by() -> None:
    """A norm hides a layer's scale of root 3, and its deviation brings it back, but for how channels scatter."""
    plain = nn.Sequential(nn.Conv2d(3, 64, 1, bias=False))
    normed = nn.Sequential(plain[0], nn.BatchNorm2d(64))
    shape = (16, 3, 8, 8)
    assert zen(normed, shape, 0) == pytest.approx(zen(plain, shape, 0), abs=0.25)
    # Weights and steps are normal: each output moves by alpha times a sum of three products.
    assert zen(plain, shape, 1) == pytest.approx(math.log(ZEN_STEP * math.sqrt(3) * 2 / math.pi), abs=0.3)
    before = plain[0].weight.clone()
    assert zen(plain, shape, 0) == zen(plain, shape, 0) != zen(plain, shape, 1)
    assert torch.equal(before, plain[0].weight)


def test_a_task_is_scored_the_same_again() -> None:
    fidelity = load_recipe().at(64, pool=64, evaluate=10)
    task = Task(load("emo_1m"), fidelity, 3, DataSplit(), CPU)
    scores = zero_cost(task)
    assert scores["proxy_id"] == reduced(task.architecture, fidelity).id
    assert scores["jacobian_covariance"] < -60  # at most minus the number of images
    found = all_scores(task)
    assert tuple(found) == SCORES
    assert all(math.isfinite(value) for value in found.values())
    assert {name: found[name] for name in ("jacobian_covariance", "gradient_norm", "snip")}.items() <= scores.items()
    assert found == all_scores(task)


def test_the_command_line_tells_each_seed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def stand_in(task: Task) -> dict[str, float]:
        return dict.fromkeys(SCORES, float(task.seed)) | {"naswot": -math.inf}

    monkeypatch.setattr("nasbench.proxy.zero_cost.all_scores", stand_in)
    assert main(["score", "mobileone_s0", "emo_1m", "--seeds", "3", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["networks"]
    assert [one["name"] for one in told] == ["mobileone_s0", "emo_1m"]
    assert told[0]["macs"] > told[0]["params"] > 0
    assert [one["snip"] for one in told[0]["scores"]] == [0, 1, 2]
    assert all(one["naswot"] is None for one in told[0]["scores"])
    assert main(["score", "emo_1m", "--seeds", "3"]) == 0
    assert "1 ± 1" in capsys.readouterr().out
    assert main(["score", "no_such"]) == 2
    assert main(["score", "emo_1m", "--rung", "99"]) == 2
    assert "--rung 99" in capsys.readouterr().err
