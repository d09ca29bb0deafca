"""Networks for images of other than three channels: every family, every way in and out."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
import torch
from foreign_weights import MEMBERS, foreign_weights, fresh
from small_networks import NETWORKS

import nasbench
from nasbench import cli
from nasbench.arch.library import fixed_points, swaps
from nasbench.costs.counted import count_fvcore
from nasbench.errors import UserError
from nasbench.latency.device import Settings
from nasbench.latency.export import deploy_form, export_onnx, onnx_difference
from nasbench.latency.runtimes import open_module
from nasbench.nn.model import build, reparameterise
from nasbench.proxy.data.augment import normalisation
from nasbench.proxy.data.pool import MemoryPool
from nasbench.proxy.masked import MaskedImageModel
from nasbench.scaling.family import training_step
from nasbench.weights.checkpoints import WeightsError, load_model, load_weights, save_weights
from nasbench.weights.key_names import layouts

COUNTED = ("params", "macs", "flops", "activations")
FAMILIES = {name: arch for members in MEMBERS.values() for name, arch in members.items()}
STEMS = {name: arch for name, arch in NETWORKS.items() if name.startswith("stem-")}
SHIPPED = {**fixed_points(), **swaps()}


@pytest.mark.parametrize("name", [*FAMILIES, *STEMS])
@pytest.mark.parametrize("channels", [1, 4])
def test_every_family_takes_images_of_other_channels(name, channels):
    arch = {**FAMILIES, **STEMS}[name].with_in_channels(channels)
    model, cost = build(arch, 10).eval(), nasbench.cost(arch, 10)
    # Counting takes its time: only what other channels change, each stem's and the decoder's layers.
    if channels == 1 and (name in STEMS or arch.head.kind == "decoder"):
        counted = count_fvcore(reparameterise(model), arch.resolution)
        assert {key: getattr(cost, key) for key in COUNTED} == counted
    assert cost.params == sum(parameter.numel() for parameter in reparameterise(model).parameters())
    images = torch.randn(2, channels, arch.resolution, arch.resolution)
    with torch.no_grad():
        given = model(images)
    if arch.head.kind == "decoder":
        assert given[1].shape[2] == channels * arch.total_stride**2
    else:
        assert given.shape == (2, 10)


@pytest.mark.parametrize("name", SHIPPED)
def test_only_other_channels_change_the_identity_and_the_file(name):
    arch = SHIPPED[name]
    assert "in_channels" not in arch.to_dict()
    for channels in (1, 4):
        other = arch.with_in_channels(channels)
        assert other.id != arch.id
        assert other.with_in_channels(3).id == arch.id
        assert nasbench.Architecture.from_toml(other.to_toml()).id == other.id


@pytest.mark.parametrize(("name", "channels"), [("vit", 1), ("hybrid", 4), ("fastvit_t", 1), ("mobilenetv2", 4)])
def test_exported_files_take_the_same_images(name, channels):
    arch = FAMILIES[name].with_in_channels(channels)
    deploy = deploy_form(arch, 10)
    content = export_onnx(deploy, arch.resolution)
    (given,) = onnx.load_from_string(content).graph.input
    side = arch.resolution
    assert [size.dim_value for size in given.type.tensor_type.shape.dim] == [1, channels, side, side]
    assert onnx_difference(deploy, content, side) < 1e-4


def test_weights_of_colour_images_go_into_every_family_where_asked():
    for turn, layout in enumerate(layouts()):
        arch, channels = list(MEMBERS[layout.family].values())[-1], (1, 4)[turn % 2]
        source, other = fresh(arch), arch.with_in_channels(channels)
        state = foreign_weights(source, layout)
        model = build(other, 10).eval()
        with pytest.raises(WeightsError, match=r"with 3 channels, .* takes [14]; load them with adapt_stem"):
            load_weights(model, state)
        with pytest.warns(UserWarning, match="adapted to"):
            load_weights(model, state, adapt_stem=True)
        grey = torch.randn(1, 1, arch.resolution, arch.resolution)
        with torch.no_grad():  # a picture whose channels are all alike is seen as before
            expected, found = source(grey.repeat(1, 3, 1, 1)), model(grey.repeat(1, channels, 1, 1))
        if arch.stem.kind != "slots":  # standardised filters are not scaled by what is put into them
            assert torch.allclose(found, expected, rtol=1e-3, atol=1e-3)


def test_other_classes_and_other_channels_at_once_are_told_and_the_advice_works():
    arch = FAMILIES["emo"]
    state, model = fresh(arch).state_dict(), build(arch.with_in_channels(1), 7)
    with pytest.raises(WeightsError, match=r"3 channels, .* adapt_stem=True.*fresh_head=True"):
        load_weights(model, state)
    with pytest.warns(UserWarning, match="left as they were|adapted to 1"):
        load_weights(model, state, adapt_stem=True, fresh_head=True)


def test_files_of_our_own_bring_their_channels(tmp_path):
    model = build(FAMILIES["emo"].with_in_channels(1), 10)
    save_weights(model, tmp_path / "grey.safetensors")
    assert load_model(tmp_path / "grey.safetensors").arch.in_channels == 1


def test_the_command_line_profiles_exports_and_measures_grey_networks(tmp_path, capsys):
    arch, file = FAMILIES["emo"].with_in_channels(1), tmp_path / "grey.toml"
    file.write_text(arch.to_toml(), encoding="utf-8")
    assert cli.main(["profile", str(file)]) == 0
    assert "64 px, 1 channel" in capsys.readouterr().out
    assert cli.main(["profile", str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["in_channels"] == 1
    torch.save(fresh(FAMILIES["emo"]).state_dict(), tmp_path / "colour.pt")
    export = ["export", str(file), "--classes", "10", "--weights", str(tmp_path / "colour.pt")]
    assert cli.main([*export, "-o", str(tmp_path / "grey.onnx")]) == 2
    assert "give --adapt-stem" in capsys.readouterr().err
    assert cli.main([*export, "--adapt-stem", "-o", str(tmp_path / "grey.onnx")]) == 0
    assert "stem adapted to 1 channel" in capsys.readouterr().out
    open_module(build(arch, 10), arch.resolution, Settings("torch"))()  # feeds what the network takes


def test_channels_out_of_range_name_the_rule():
    with pytest.raises(UserError, match="in_channels = 0"):
        FAMILIES["emo"].with_in_channels(0)
    with pytest.raises(UserError, match=r"stem: slots\[0\] takes 3 channels and images have in_channels 1"):
        nasbench.Architecture.from_dict({**FAMILIES["convnext"].to_dict(), "in_channels": 1})


def test_trainings_feed_grey_images_to_networks_of_one_channel():
    pixels = torch.randint(0, 256, (40, 8, 8, 3), dtype=torch.uint8)
    norm = normalisation(MemoryPool(pixels, torch.zeros(40, dtype=torch.int64)), 1)
    images = norm.apply(pixels)
    assert images.shape == (40, 1, 8, 8)
    grey = pixels.double() @ torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64)
    assert torch.allclose(images[:, 0].double(), (grey - grey.mean()) / grey.std(), rtol=1e-4, atol=1e-4)
    assert np.isfinite(training_step(FAMILIES["emo"].with_in_channels(4)))
    for name in ("vit", "emo"):  # of tokens and of maps
        masked = MaskedImageModel(build(FAMILIES[name].with_in_channels(1), 10), 16)
        hidden = torch.arange(masked.grid**2).reshape(1, masked.grid, masked.grid) % 2 == 0
        assert masked(torch.zeros(1, 1, 64, 64), hidden).shape == (1, 1, 64, 64)


def test_what_no_training_has_images_for_is_refused_before_anything_is_written(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "deep.toml").write_text(FAMILIES["emo"].with_in_channels(4).to_toml(), encoding="utf-8")
    space = {"name": "deep", "resolution": 64, "in_channels": 4, "stages": [{"channels": 16, "depth": [1, 2]}]}
    with pytest.raises(UserError, match="space 'deep' takes images of in_channels = 4"):
        nasbench.search(_space(tmp_path, space), out="study")
    assert cli.main(["proxy", "deep.toml"]) == 2
    assert "train it with in_channels = 3" in capsys.readouterr().err
    assert cli.main(["scale", "train", "deep.toml", "--to", "30MFLOP", "--out", "family"]) == 2
    assert {path.name for path in tmp_path.iterdir()} == {"deep.toml", "space.toml"}


def _space(folder, content):
    import tomli_w

    (folder / "space.toml").write_text(tomli_w.dumps(content), encoding="utf-8")
    return folder / "space.toml"


def test_a_space_of_grey_images_holds_grey_networks():
    content = {"resolution": [32, 64], "in_channels": 1, "stages": [{"channels": [16, 24], "depth": [1, 2]}]}
    space = nasbench.SearchSpace.from_dict(content)
    assert nasbench.SearchSpace.from_dict(space.to_dict()).id == space.id
    assert space.id != nasbench.SearchSpace.from_dict({**content, "in_channels": 3}).id
    members = list(space)
    assert len({arch.id for arch in members}) == space.size() == len(members)
    assert all(arch.in_channels == 1 and arch in space for arch in members)
    assert space.mutate(space.sample(0), 1).in_channels == 1
    assert "in_channels = 3: the space offers 1" in str(space.outside(members[0].with_in_channels(3)))
    with pytest.raises(UserError, match=r"in_channels = \[1, 3\]: all designs see the same images"):
        nasbench.SearchSpace.from_dict({**content, "in_channels": [1, 3]})
