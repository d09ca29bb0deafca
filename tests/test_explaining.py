"""Explanations: attention that is told is the attention that was paid, distances of known cases, Grad-CAM by hand."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from small_networks import NETWORKS
from training_toys import tiny

from nasbench import cli
from nasbench.arch.library import load
from nasbench.blocks.attention import AttentionModule
from nasbench.explaining import attention
from nasbench.explaining.attention import attention_layers
from nasbench.explaining.cam import grad_cam
from nasbench.nn.model import Model, build, reparameterise
from nasbench.weights.checkpoints import save_weights
from nasbench.weights.saved import About

ATTENDING = (
    *("transformer-plain", "transformer-none-k3", "swin-shifted", "swin-whole-map", "mobilevit-none-k3"),
    *("separable-none-k3", "irmb-none-k3", "encoder-none-k3", "encoder-2-sine", "encoder-1-learned-pooled"),
)


def model_of(name: str, even: bool = False) -> Model:
    """A network with random weights; `even`: every position attends to all it can see alike."""
    torch.manual_seed(0)
    model = build(NETWORKS[name], 5).eval()
    for module in model.modules() if even else ():
        if isinstance(module, AttentionModule):
            for parameter in module.parameters():
                torch.nn.init.zeros_(parameter)
    return model


def image_of(model: Model) -> torch.Tensor:
    return torch.randn(1, 3, model.arch.resolution, model.arch.resolution, generator=torch.Generator().manual_seed(1))


def mean_distance(side: int, step: float) -> float:
    """Between all pairs of a square of `side` x `side` positions `step` pixels apart."""
    places = list(product(range(side), repeat=2))
    return step * float(np.mean([np.hypot(a - c, b - d) for (a, b), (c, d) in product(places, repeat=2)]))


@pytest.mark.parametrize("name", ATTENDING)
def test_looking_changes_nothing_and_finds_every_attention(name: str) -> None:
    model = model_of(name)
    image = image_of(model)
    with torch.no_grad():
        before = model(image)
    layers = attention_layers(model, image)
    with torch.no_grad():
        torch.testing.assert_close(model(image), before, rtol=0, atol=0)
    assert layers
    assert not any("weighed" in vars(module) or "project" in vars(module) for module in model.modules())
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in model.modules())
    for layer in layers:
        assert np.isfinite(layer.map).all()
        assert layer.map.mean() == pytest.approx(1, abs=0.25), "shares over equal ones"
        assert (layer.distance >= 0).all()


def test_even_attention_is_even_and_as_far_as_the_map() -> None:
    model = model_of("transformer-plain", even=True)
    (layer, *_) = attention_layers(model, image_of(model))
    side = layer.map.shape[0]
    np.testing.assert_allclose(layer.map, 1, atol=1e-5)
    np.testing.assert_allclose(layer.distance, mean_distance(side, model.arch.resolution / side), rtol=1e-4)


def test_windows_attend_as_far_as_they_reach() -> None:
    model = model_of("swin-shifted", even=True)
    first, shifted = attention_layers(model, image_of(model))[:2]
    step = model.arch.resolution / first.map.shape[0]
    np.testing.assert_allclose(first.distance, mean_distance(3, step), rtol=1e-4)
    assert (shifted.distance < 1.01 * mean_distance(3, step)).all(), "what the roll parts does not attend across it"


def test_a_position_that_all_attend_to_is_seen_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of("transformer-plain", even=True)
    module = next(each for each in model.modules() if isinstance(each, AttentionModule))

    def project(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        count, heads = x.shape[2] * x.shape[3], module.spec.heads
        query = torch.ones(1, heads, count, module.spec.channels // heads)
        key = torch.zeros_like(query)
        key[:, :, 5] = 100
        return query, key, torch.zeros_like(query)

    module.project = project  # type: ignore[method-assign]
    monkeypatch.setattr(attention, "_parted", lambda module, coordinates: coordinates)  # it replaces `project`, too
    layer = attention_layers(model, image_of(model))[0]
    assert layer.map.flatten().argmax() == 5
    assert layer.map.flatten()[5] == pytest.approx(layer.map.size, rel=1e-3)


def test_grad_cam_of_a_linear_head_is_its_weights_on_the_map() -> None:
    torch.manual_seed(0)
    model = build(tiny(), 4).eval()
    image = torch.randn(1, 3, 16, 16)
    for network in (model, reparameterise(model)):
        heat = grad_cam(network, image, 2)
        with torch.no_grad():
            last = network.features(image)[-1][0]
        weighted = torch.einsum(
            "c,chw->hw", network.head.classifier.weight[2].detach(), network.head.norm(last[None])[0]
        )
        expected = weighted.clamp_min(0)
        if heat.any():
            np.testing.assert_allclose(heat, expected / expected.max(), atol=1e-4)
        else:
            assert not expected.any()


@pytest.mark.parametrize("name", ["encoder-1-learned", "encoder-2-sine", "encoder-0-interpolated"])
def test_grad_cam_of_token_networks_is_a_square_map(name: str) -> None:
    model = model_of(name)
    heat = grad_cam(model, image_of(model), 1)
    assert heat.ndim == 2
    assert heat.shape[0] == heat.shape[1] > 1


def test_the_command_draws_each_image_and_tells_distances(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_weights(model_of("swin-shifted"), tmp_path / "m.safetensors", About(classes=("a", "b", "c", "d", "e")))
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 60, 3), dtype=np.uint8)).save(tmp_path / "x.png")
    words = ["explain", str(tmp_path / "m.safetensors"), str(tmp_path / "x.png"), "--out", str(tmp_path / "out")]
    assert cli.main([*words, "--class", "no"]) == 2
    assert cli.main([*words[:3], str(tmp_path / "none.png"), *words[3:]]) == 2
    assert not (tmp_path / "out").exists(), "nothing half written"
    assert "the model does not know it; its classes: a, b" in capsys.readouterr().err
    assert cli.main([*words, "--class", "c"]) == 0
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"1-x.png", "attention.csv", "attention.png", "attention.svg", "attention.pdf"}
    table = pd.read_csv(tmp_path / "out" / "attention.csv")
    assert (table["distance_px"] > 0).all()


def test_small_maps_are_told_from_and_a_single_position_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """At 32 px a last map of stride 32 has one position: no heat to see there, and nothing for attention to choose."""
    torch.manual_seed(0)
    arch = load("mobilevit_xxs").with_resolution(32)
    model = build(arch, 3).eval()
    assert grad_cam(model, image_of(model), 1).shape == (2, 2)
    choices = {layer.name: layer.choices for layer in attention_layers(model, image_of(model))}
    assert choices["stage 3, attention 1"] == 4  # patches of 2 x 2 on a map of 4 x 4
    assert choices["stage 5, attention 1"] == 1
    save_weights(model, tmp_path / "small.safetensors", About(classes=("a", "b", "c")))
    Image.new("RGB", (32, 32), "red").save(tmp_path / "x.png")
    words = [str(tmp_path / "small.safetensors"), str(tmp_path / "x.png"), "--out", str(tmp_path / "out")]
    assert cli.main(["explain", *words]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "Left out, with a single position to look at: stage 4, attention 1," in shown
    table = pd.read_csv(tmp_path / "out" / "attention.csv")
    assert set(table["layer"]) == {"stage 3, attention 1", "stage 3, attention 2"}
    assert (table["distance_px"] > 0).all()
