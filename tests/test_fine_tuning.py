"""Quantisation-aware fine-tuning: what is rounded in training, and that a network learns to live with it."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nasbench.arch.library import load
from nasbench.exporting import fine_tuning
from nasbench.exporting.fine_tuning import RoundedMap, RoundedWeight, fine_tuned
from nasbench.exporting.scoring import images_of
from nasbench.nn.model import build, reparameterise
from nasbench.training.images import TrainingImages
from nasbench.weights.checkpoints import load_model
from nasbench.weights.saved import About


def test_weights_have_255_values_and_a_scale_for_each_channel() -> None:
    weight = torch.randn(3, 4, 5, 5) * torch.tensor([1e-3, 1.0, 1e3])[:, None, None, None]
    rounded = RoundedWeight()(weight)
    steps = weight.abs().amax((1, 2, 3), keepdim=True) / 127
    assert torch.allclose(rounded / steps, (rounded / steps).round(), atol=1e-3)
    assert ((rounded - weight).abs() <= steps * 0.5001).all()
    assert torch.equal(RoundedWeight()(torch.zeros(2, 3)), torch.zeros(2, 3))


def test_the_ends_of_a_map_follow_its_batches_and_0_has_a_value() -> None:
    rounded = RoundedMap()
    first = rounded(torch.linspace(2.0, 6.0, 1000))
    assert (rounded.low, rounded.high) == (0, 6)
    assert len(first.unique()) <= 256
    assert 0 < (first - torch.linspace(2.0, 6.0, 1000)).abs().max() <= 6 / 255 * 0.51
    rounded(torch.linspace(-1.0, 8.0, 1000))
    assert (round(float(rounded.low), 4), round(float(rounded.high), 4)) == (-0.05, 6.1)
    assert float(rounded(torch.zeros(1))) == 0


@pytest.mark.parametrize("name", ["emo_1m", "fastvit_t8", "mobileone_s0", "swin_t", "mobilevit_xxs", "deit_ti"])
def test_every_layer_with_weights_is_rounded_once(name: str) -> None:
    model = reparameterise(build(load(name), 10))
    ends = fine_tuning._ends(model)
    assert {part for part in model.modules() if isinstance(part, (nn.Conv2d, nn.Linear))} == set(ends)
    assert len(set(ends.values())) == len(ends)
    assert any(isinstance(last, nn.BatchNorm2d) for last in ends.values()) == (
        name in ("emo_1m", "fastvit_t8", "mobilevit_xxs")
    )


def _distance(one: nn.Module, other: nn.Module, x: Tensor) -> float:
    with torch.no_grad():
        return float((one(x).softmax(1) - other(x).softmax(1)).abs().mean())


def _rounded(model: nn.Module, x: Tensor) -> nn.Module:
    model = copy.deepcopy(model)
    for layer, last in fine_tuning._ends(model).items():
        fine_tuning._round(layer, last)
    with torch.no_grad():
        model(x)
    return model


def test_answers_in_int8_come_nearer_to_those_in_float32(
    trained: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    images, deploy = _images(trained)
    monkeypatch.setattr(fine_tuning, "MOST", 3)  # three bits in place of eight, so that something is to be learnt
    monkeypatch.setattr(fine_tuning, "RATE", 1e-3)
    x = images.norm.apply(next(iter(images.training.batches([np.arange(64)])))[0])
    seen: list[tuple[int, int]] = []
    before = {name: tensor.clone() for name, tensor in deploy.state_dict().items()}
    tuned = fine_tuned(deploy, images, 20, lambda done, total: seen.append((done, total)))
    assert all(torch.equal(before[name], tensor) for name, tensor in deploy.state_dict().items())
    assert set(tuned.state_dict()) == set(before)
    assert seen[-1] == (20 * len(images.training), 20 * len(images.training))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert _distance(_rounded(tuned, x), deploy, x) < 0.7 * _distance(_rounded(deploy, x), deploy, x)
    again = fine_tuned(deploy, images, 20, lambda done, total: None)
    assert all(torch.equal(again.state_dict()[name], tensor) for name, tensor in tuned.state_dict().items())


def _images(trained: tuple[Path, str]) -> tuple[TrainingImages, nn.Module]:
    model = load_model(trained[0])
    return images_of(trained[1], model.arch, About.of(model)), reparameterise(model)
