"""Official and timm weights give the official outputs; what does not fit is listed, and changes nothing."""

from __future__ import annotations

import argparse
import os

import golden_recipe
import pytest
import torch
from foreign_weights import FIXED_POINTS, MEMBERS, foreign_weights, small
from safetensors.torch import save_file

import nasbench
from nasbench.errors import UserError
from nasbench.nn.model import build, randomise_norms, reparameterise
from nasbench.weights.checkpoints import WeightsError, load_model, load_weights, read_state_dict, save_weights, unwrap
from nasbench.weights.key_names import foreign_names, layouts

# Some keys of each layout as its own code has them.
PINNED = {
    ("mobilevit_xs", "official"): ["conv_1.block.conv.weight", "layer_2.2.block.red_1x1.block.norm.running_var",
                                   "layer_4.1.global_rep.4.weight", "layer_3.1.fusion.block.conv.weight"],
    ("mobilevit_xs", "timm"): ["stem.bn.bias", "stages.1.2.conv2_kxk.conv.weight", "stages.3.1.norm.weight",
                               "stages.2.1.transformer.1.mlp.fc2.bias", "final_conv.conv.weight", "head.fc.bias"],
    ("emo_6m", "official"): ["stage0.0.convs.0.1.running_mean", "stage0.1.se.conv_expand.bias", "stage1.0.norm.weight",
                             "stage4.2.qk.conv.bias", "head.weight"],
    ("fastvit_ma36", "official"): ["network.6.pe.bias", "network.7.5.layer_scale_2",
                                   "network.4.17.convffn.conv.bn.bias",
                                   "network.5.proj.1.rbr_skip.running_var", "conv_exp.se.reduce.weight"],
    ("fastvit_ma36", "timm"): ["stages.3.pos_emb.pos_enc.weight", "stages.3.blocks.5.layer_scale_2.gamma",
                               "stages.1.downsample.proj.0.large_conv.bn.weight", "stem.2.identity.weight"],
}  # fmt: skip
PINNED_DEPLOYED = {
    "official": ["patch_embed.2.reparam_conv.bias", "network.1.proj.0.lkb_reparam.weight",
                 "network.1.proj.1.reparam_conv.weight", "network.6.reparam_conv.bias",
                 "network.0.1.token_mixer.reparam_conv.weight", "conv_exp.reparam_conv.weight"],
    "timm": ["stem.2.reparam_conv.bias", "stages.1.downsample.proj.0.reparam_conv.weight",
             "stages.3.pos_emb.reparam_conv.bias", "final_conv.reparam_conv.weight"],
}  # fmt: skip


def on_meta(arch: nasbench.Architecture) -> torch.nn.Module:
    with torch.device("meta"):
        return build(arch)


def the_layout(family: str, name: str):
    return next(layout for layout in layouts() if layout.family == family and name in layout.names)


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", golden_recipe.NAMES)
def test_official_weights_give_the_golden_logits_in_both_forms(name):
    model = build(nasbench.load(name)).double().eval()
    load_weights(model, golden_recipe.state_dict(name))
    deploy = reparameterise(model)
    tolerance = 1e-6 if name.startswith("mobilevit") else 1e-9
    for resolution, expected in golden_recipe.golden(name)["logits"].items():
        with torch.no_grad():
            image = golden_recipe.image(int(resolution))
            logits, merged = model(image)[0], deploy(image)[0]
        first = torch.tensor(expected["first16"], dtype=torch.float64)
        # Logits are stored with 12 digits.
        assert (logits[:16] - first).abs().max() < tolerance * first.abs().max()
        assert abs(logits.sum() - expected["sum"]) < tolerance * expected["abs_sum"]
        assert abs(logits.abs().sum() - expected["abs_sum"]) < tolerance * expected["abs_sum"]
        assert logits.argmax() == expected["argmax"]
        assert (merged - logits).abs().max() < 1e-9 * logits.abs().max()


@pytest.mark.parametrize("name", golden_recipe.NAMES)
def test_official_names_are_the_official_ones(name):
    official = {key for key in golden_recipe.golden(name)["keys"] if "num_b" not in key}
    model, found = on_meta(FIXED_POINTS[name]), []
    for layout in layouts():
        names, unnamed = foreign_names(model, layout)
        if "official" in layout.names and not unnamed:
            sources = [next((s for s in names[key] if set(s) <= official), ()) for key in names if "num_b" not in key]
            found.append({part for source in sources for part in source})
    assert official in found


@pytest.mark.parametrize(("name", "layout"), PINNED)
def test_names_of_the_code_itself(name, layout):
    family = "EMO" if name.startswith("emo") else "FastViT" if name.startswith("fastvit") else "MobileViT"
    names, unnamed = foreign_names(on_meta(FIXED_POINTS[name]), the_layout(family, layout))
    spoken = [source[0] for sources in names.values() for source in sources]
    assert not unnamed
    assert len(set(spoken)) == len(spoken)
    assert set(PINNED[name, layout]) <= set(spoken)


@pytest.mark.parametrize("layout", ["official", "timm"])
def test_merged_names(layout):
    model = on_meta(FIXED_POINTS["fastvit_sa12"])
    names, unnamed = foreign_names(reparameterise(model), the_layout("FastViT", layout))
    spoken = [source[0] for sources in names.values() for source in sources]
    assert not unnamed
    assert len(set(spoken)) == len(spoken)
    assert set(PINNED_DEPLOYED[layout]) <= set(spoken)
    assert not any("rbr_" in name or "kxk" in name or name.endswith(("pe.weight", "pos_enc.weight")) for name in spoken)


def test_a_convolution_may_be_stored_as_a_linear_layer():
    model = build(small("mobilevit_xxs", depth=1), 10)
    state = {key: x[..., 0, 0] if x.shape[2:] == (1, 1) else x for key, x in model.state_dict().items()}
    before = {key: x.clone() for key, x in model.state_dict().items()}
    load_weights(model, state)
    assert all(torch.equal(before[key], x) for key, x in model.state_dict().items())


def test_batch_counters_may_be_absent_or_there():
    model = build(small("emo_1m", depth=1), 10)
    state = model.state_dict()
    load_weights(model, {key: x for key, x in state.items() if "num_batches" not in key})
    load_weights(model, {**state, "elsewhere.num_batches_tracked": torch.tensor(3)})


def test_wrappers_and_prefixes_are_taken_off_and_averages_preferred():
    plain, average = {"a": torch.zeros(1)}, {"a": torch.ones(1)}
    assert unwrap({"net": plain, "net_E": average, "epoch": 3})["a"] == 1
    assert unwrap({"state_dict": plain})["a"] == 0
    assert unwrap({"model": {"state_dict": {"module.a": torch.ones(1)}}})["a"] == 1
    assert list(unwrap({"module.a": torch.ones(1), "module.b": torch.ones(1)})) == ["a", "b"]
    assert list(unwrap({"module.a": torch.ones(1), "b": torch.ones(1)})) == ["a", "b"]
    assert list(unwrap({"module.a": torch.ones(1), "a": torch.ones(1)})) == ["module.a", "a"]
    with pytest.raises(UserError, match="no tensors among the keys epoch, args; give a state dict, or one in a dict"):
        unwrap({"epoch": 1, "args": {}})


@pytest.fixture(scope="module")
def emo():
    model = build(small("emo_1m", depth=1), 10)
    return model, foreign_weights(model, the_layout("EMO", "official"))


def test_what_does_not_fit_is_listed_by_its_own_names_and_changes_nothing(emo):
    model, state = emo
    before = {key: x.clone() for key, x in model.state_dict().items()}
    wrong = {key: x + 1 for key, x in state.items() if key != "stage2.0.v.conv.bias"}
    wrong |= {"stage9.0.bias": torch.zeros(3), "stage0.0.convs.0.0.weight": torch.zeros(24, 3, 5, 5)}
    with pytest.raises(WeightsError) as caught:
        load_weights(model, wrong)
    assert caught.value.missing == ["stage2.0.v.conv.bias"]
    assert caught.value.left_over == ["stage9.0.bias"]
    assert str(caught.value) == (
        "weights in layout official EMO do not fit emo_1m (train form): missing (1): stage2.0.v.conv.bias; "
        "left over (1): stage9.0.bias; wrong shape (1): stage0.0.convs.0.0.weight is 24x3x5x5 in the file, 24x3x3x3 "
        "in the model; check that they belong to this architecture"
    )
    assert all(torch.equal(before[key], x) for key, x in model.state_dict().items())


def test_another_number_of_classes_is_named(emo):
    model, state = emo
    other = state | {"head.weight": torch.zeros(7, 168), "head.bias": torch.zeros(7)}
    with pytest.raises(UserError, match="the weights have 7 classes, the model 10; build it with num_classes=7"):
        load_weights(model, other)


def test_layouts_that_cannot_be(emo):
    model, state = emo
    with pytest.raises(UserError, match="unknown layout 'keras'; known are auto, official, timm, nasbench"):
        load_weights(model, state, "keras")
    with pytest.raises(UserError, match="layout 'timm' does not name every part of emo_1m"):
        load_weights(model, state, "timm")
    with pytest.raises(UserError, match=r"keys \(features.0.weight\) fit none of the layouts known for emo_1m"):
        load_weights(model, {"features.0.weight": torch.zeros(1)})


def test_merged_weights_need_a_merged_model():
    arch = small("fastvit_t8", depth=1)
    model = build(arch, 10)
    official = the_layout("FastViT", "official")
    with pytest.raises(WeightsError, match=r"load them into nasbench.reparameterise\(model\)"):
        load_weights(model, foreign_weights(reparameterise(model), official))
    with pytest.raises(WeightsError, match="load them into the train form and re-parameterise that"):
        load_weights(reparameterise(model), foreign_weights(model, official))


@pytest.mark.parametrize(
    ("family", "member", "deployed"),
    [("FastViT", "fastvit_sa", False), ("FastViT", "fastvit_sa", True), ("ViT hybrid", "hybrid", True)],
)
def test_saved_weights_bring_their_architecture(tmp_path, family, member, deployed):
    model = build(MEMBERS[family][member], 10).double().eval()
    randomise_norms(model, torch.Generator().manual_seed(0))
    model = reparameterise(model) if deployed else model
    save_weights(model, tmp_path / "m.safetensors")
    again = load_model(tmp_path / "m.safetensors")
    image = torch.rand(2, 3, 64, 64, dtype=torch.float64)
    assert again.arch.id == model.arch.id
    assert (again.deployed, again.num_classes, again.training) == (deployed, 10, False)
    with torch.no_grad():
        assert torch.equal(again(image), model(image))
    load_weights(model, tmp_path / "m.safetensors")


class Evil:
    def __reduce__(self):
        return os.mkdir, ("never",)


def test_nothing_but_data_is_unpickled(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": {"a": torch.ones(1)}, "args": argparse.Namespace(lr=0.1)}, "fine.pt")
    assert unwrap(read_state_dict("fine.pt"))["a"] == 1
    torch.save({"state_dict": {"a": torch.ones(1)}, "extra": Evil()}, "evil.pt")
    with pytest.raises(UserError, match=r"evil.pt: not a file of plain tensors .* best as .safetensors"):
        read_state_dict("evil.pt")
    assert not (tmp_path / "never").exists()


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / "half.safetensors").write_bytes(b"\x10\x00")
    (tmp_path / "noise.pt").write_bytes(b"not a checkpoint")
    torch.save([1, 2], tmp_path / "list.pt")
    save_file({"a": torch.ones(1)}, tmp_path / "bare.safetensors")
    with pytest.raises(UserError, match=r"half.safetensors: not a safetensors file"):
        read_state_dict(tmp_path / "half.safetensors")
    with pytest.raises(UserError, match=r"noise.pt: not a file of plain tensors"):
        read_state_dict(tmp_path / "noise.pt")
    with pytest.raises(UserError, match=r"list.pt: holds a list, not a state dict"):
        read_state_dict(tmp_path / "list.pt")
    for missing in ("none.pt", "none.safetensors"):
        with pytest.raises(UserError, match=f"{missing}: cannot be read: No such file or directory"):
            read_state_dict(tmp_path / missing)
    with pytest.raises(UserError, match=r"bare.safetensors: has no architecture inside; build the model yourself"):
        load_model(tmp_path / "bare.safetensors")


@pytest.mark.parametrize("tensors", [{}, {"a": torch.ones(2, dtype=torch.int64)}])
def test_a_saved_model_without_weights_is_told(tmp_path, tensors):
    metadata = {"architecture": nasbench.load("emo_1m").to_toml(), "num_classes": "10"}
    save_file(tensors, tmp_path / "empty.safetensors", metadata)
    with pytest.raises(UserError, match=r"no tensors among the keys|fit none of the layouts|do not fit"):
        load_model(tmp_path / "empty.safetensors")
