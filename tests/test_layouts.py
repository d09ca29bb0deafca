"""Every layout in both directions, every way not to fit, and other resolutions; a new layout is tested on arrival."""

from __future__ import annotations

import functools
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from foreign_weights import FIXED_POINTS, MEMBERS, foreign_weights, fresh, small
from golden_recipe import image, value
from scipy.ndimage import zoom

from nasbench.arch.deploy_form import deploy_network
from nasbench.errors import UserError
from nasbench.nn.model import Model, build, reparameterise
from nasbench.weights.checkpoints import WeightsError, load_model, load_weights, save_weights
from nasbench.weights.key_names import Layout, foreign_names, layouts

OFFICIAL_NAMES = json.loads((Path(__file__).parent / "key_names.json").read_text())
CASES = [
    pytest.param(layout, arch, id=f"{name}-{layout.names[0]}")
    for layout in layouts()
    for name, arch in MEMBERS[layout.family].items()
]
ONE_EACH = [
    pytest.param(layout, next(iter(MEMBERS[layout.family].values())), id=layout.title.replace(" ", "-"))
    for layout in layouts()
]


def the_layout(family: str, name: str = "official") -> Layout:
    return next(layout for layout in layouts() if layout.family == family and name in layout.names)


@functools.cache
def source(arch) -> Model:
    return fresh(arch)


def outputs(model: Model, seed: int = 1) -> torch.Tensor:
    """Logits, or the pixels that a masked autoencoder predicts with a fixed mask."""
    pixels = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(seed))
    torch.manual_seed(seed)
    with torch.no_grad():
        found = model.eval()(pixels)
    return found if isinstance(found, torch.Tensor) else found[1]


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("layout", "name"),
    [(layout, name) for layout, names in OFFICIAL_NAMES.items() for name in names if "sha256" in names[name]],
)
def test_the_names_are_those_of_the_code_itself(layout, name):
    with torch.device("meta"):
        model = build(FIXED_POINTS[name])
    found = []
    for one in layouts():
        names, unnamed = foreign_names(model, one)
        for spelling in (0, -1) if layout in one.names and not unnamed else ():
            learned = {key: sources for key, sources in names.items() if not key.endswith("num_batches_tracked")}
            spoken = sorted(part for sources in learned.values() for part in sources[spelling])
            assert len(set(spoken)) == len(spoken)
            found.append((len(spoken), hashlib.sha256("\n".join(spoken).encode()).hexdigest()[:16]))
    expected = OFFICIAL_NAMES[layout][name]
    assert (expected["count"], expected["sha256"]) in found


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("layout", "name"),
    [(layout, name) for layout, names in OFFICIAL_NAMES.items() for name in names if "logits" in names[name]],
)
def test_the_logits_are_those_of_the_code_itself(layout, name):
    expected = OFFICIAL_NAMES[layout][name]["logits"]
    model = build(FIXED_POINTS[name].with_resolution(expected["resolution"])).double().eval()
    one = next(one for one in layouts() if layout in one.names and not foreign_names(model, one)[1])
    state = {key: x for key, x in foreign_weights(model, one).items() if x.is_floating_point()}
    load_weights(model, {key: value(key, list(x.shape)) for key, x in state.items()}, layout)
    with torch.no_grad():
        logits = model(image(expected["resolution"]))[0]
    assert (logits[:4] - torch.tensor(expected["first4"], dtype=torch.float64)).abs().max() < 1e-9 * logits.abs().max()
    assert abs(logits.abs().sum() - expected["abs_sum"]) < 1e-9 * expected["abs_sum"]


@pytest.mark.exhaustive
@pytest.mark.parametrize(("layout", "arch"), CASES)
def test_each_layout_in_both_directions_and_forms(layout, arch, tmp_path):
    forms = [source(arch)]
    if deploy_network(arch.network) != arch.network and "slots" not in arch.stem.kind:
        forms.append(reparameterise(forms[0]))
    for model in forms:
        state, expected = foreign_weights(model, layout), outputs(model)
        target = build(arch, 10)
        target = reparameterise(target) if model.deployed else target
        for asked in (*layout.names, "auto"):
            with torch.no_grad():
                for tensor in target.state_dict().values():
                    tensor.zero_()
            load_weights(target, {"model": state}, asked)
            assert torch.equal(outputs(target), expected)
        save_weights(target, tmp_path / "m.safetensors")
        assert torch.equal(outputs(load_model(tmp_path / "m.safetensors")), expected)


@pytest.mark.exhaustive
@pytest.mark.parametrize(("layout", "arch"), ONE_EACH)
def test_each_way_not_to_fit_names_the_key(layout, arch):
    model = source(arch)
    state = foreign_weights(model, layout)
    learned = [name for name in state if not name.endswith("num_batches_tracked")]
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    lost, bent = learned[len(learned) // 2], learned[len(learned) // 3]
    wrong = {name: tensor + 1 for name, tensor in state.items() if name != lost}
    wrong |= {"elsewhere.weight": torch.zeros(3), bent: torch.zeros(7, 5, 3, 2)}
    with pytest.raises(WeightsError) as caught:
        load_weights(model, wrong, layout.names[0])
    error = caught.value
    assert [part for part in error.missing[0].split(" or ") if part == lost] == [lost]
    assert error.left_over == ["elsewhere.weight"]
    assert any(f"{bent} is " in line for line in error.wrong_shape)
    assert (len(error.missing), len(error.wrong_shape)) == (1, 1)
    assert layout.title in str(error)
    assert all(torch.equal(before[key], tensor) for key, tensor in model.state_dict().items())


def test_buffers_that_hold_nothing_learned_are_passed_over():
    layout, arch = the_layout("Swin"), MEMBERS["Swin"]["swin"]
    state = foreign_weights(source(arch), layout)
    extra = {
        "layers.0.blocks.1.attn_mask": torch.zeros(4, 49, 49),
        "layers.0.blocks.0.attn.relative_position_index": torch.zeros(49, 49, dtype=torch.long),
    }
    load_weights(build(arch, 10), state | extra)


def test_published_weights_do_not_go_into_filters_that_are_standardised_for_good():
    arch = MEMBERS["ViT hybrid"]["hybrid"]
    merged = reparameterise(source(arch))
    state = foreign_weights(source(arch), the_layout("ViT (JAX)"))
    with pytest.raises(UserError, match="not standardised yet; load them into the train form"):
        load_weights(merged, state, "official")
    with pytest.raises(UserError, match=r"the weights are of the train form.*; load them into the train form"):
        load_weights(merged, state)


@pytest.mark.parametrize("prefix", ["", "opt/target/", "params/"])
@pytest.mark.parametrize("spelling", [0, 1])
def test_flax_files(tmp_path, prefix, spelling):
    arch = MEMBERS["ViT (JAX)"]["vit"]
    state = foreign_weights(source(arch), the_layout("ViT (JAX)"), spelling)
    norms = {name.split("/")[2] for name in state if name.startswith("Transformer/encoderblock_0/LayerNorm")}
    assert norms == {"LayerNorm_0", f"LayerNorm_{2 - spelling}"}
    arrays = {prefix + name: tensor.numpy() for name, tensor in state.items()}
    np.savez(tmp_path / "vit.npz", **arrays, **({"opt/state/step": np.zeros(1)} if prefix else {}))
    model = build(arch, 10)
    load_weights(model, tmp_path / "vit.npz")
    assert torch.equal(outputs(model), outputs(source(arch)))


def test_flax_files_in_bfloat16_and_with_objects(tmp_path):
    arch = MEMBERS["ViT (JAX)"]["vit"]
    state = foreign_weights(source(arch), the_layout("ViT (JAX)"))
    halves = {name: tensor.bfloat16().view(torch.int16).numpy().view("V2") for name, tensor in state.items()}
    np.savez(tmp_path / "half.npz", **halves)
    model = build(arch, 10)
    load_weights(model, tmp_path / "half.npz")
    own = source(arch).state_dict()
    assert all(torch.equal(own[key].bfloat16().float(), x) for key, x in model.state_dict().items())
    np.savez(tmp_path / "evil.npz", a=np.array([{}], dtype=object))
    (tmp_path / "noise.npz").write_bytes(b"no archive")
    for name in ("evil.npz", "noise.npz"):
        with pytest.raises(UserError, match=f"{name}: not an .npz file of plain arrays"):
            load_weights(model, tmp_path / name)
    with pytest.raises(UserError, match=r"none.npz: cannot be read: No such file"):
        load_weights(model, tmp_path / "none.npz")


def loaded_at(family: str, member: str, resolution: int, name: str = "official") -> tuple[dict, dict]:
    """The small member's own tensors, and what its weights become in a model for another resolution."""
    arch = MEMBERS[family][member]
    model = build(arch.with_resolution(resolution), 10)
    load_weights(model, foreign_weights(source(arch), the_layout(family, name)))
    return source(arch).state_dict(), model.state_dict()


def grown(tensor: torch.Tensor, tokens: int, side: int, mode: str) -> torch.Tensor:
    old = round((tensor.shape[1] - tokens) ** 0.5)
    grid = tensor[0, tokens:].T.reshape(1, -1, old, old)
    rows = F.interpolate(grid, size=(side, side), mode=mode, align_corners=False).flatten(2)[0].T
    return torch.cat((tensor[0, :tokens], rows))[None]


@pytest.mark.parametrize(("member", "tokens"), [("deit", 1), ("deit_distilled", 2), ("mae_fine_tuned", 1), ("mae", 1)])
@pytest.mark.parametrize("resolution", [32, 96])
def test_positions_are_resized_bicubically_for_deit_and_mae(member, tokens, resolution):
    own, other = loaded_at("ViT (torch)", member, resolution)
    keys = [key for key in own if key.endswith(".position")]
    assert len(keys) == (2 if member == "mae" else 1)
    for key in keys:
        assert torch.equal(other[key], grown(own[key], tokens, resolution // 16, "bicubic"))
    assert all(torch.equal(own[key], other[key]) for key in own if key not in keys)


@pytest.mark.parametrize("resolution", [32, 96])
def test_positions_are_zoomed_as_scipy_does_for_vit(resolution):
    own, other = loaded_at("ViT (JAX)", "vit", resolution)
    key, side = "stages.0.0.mix.0.position", resolution // 16
    zoomed = zoom(own[key][0, 1:].reshape(4, 4, -1).double().numpy(), (side / 4, side / 4, 1), order=1)
    assert torch.equal(own[key][:, :1], other[key][:, :1])
    assert np.abs(other[key][0, 1:].numpy() - zoomed.reshape(side**2, -1)).max() < 1e-6


@pytest.mark.parametrize("resolution", [32, 96])
def test_positions_are_resized_bilinearly_in_all_stages_of_pvt(resolution):
    own, other = loaded_at("PVT", "pvt", resolution)
    keys = [key for key in own if key.endswith(".position")]
    assert len(keys) == 4
    for stage, key in enumerate(keys):
        expected = grown(own[key], int(stage == 3), resolution // 4 // 2**stage, "bilinear")
        assert torch.equal(other[key], expected)


@pytest.mark.parametrize("name", ["official", "timm"])
def test_bias_tables_follow_the_window(name):
    own, other = loaded_at("Swin", "swin", 32, name)  # maps of 8, 4, 2 and 1; windows of 7, 7, 4 and 2 before
    tables = [key for key in own if key.endswith("relative_bias.table")]
    sides = [round(len(other[key]) ** 0.5) for key in tables]
    assert sides == [13, 13, 7, 7, 3, 3, 1, 1]
    for key, side in zip(tables, sides):
        old = round(len(own[key]) ** 0.5)
        grid = own[key].T.reshape(1, -1, old, old)
        expected = F.interpolate(grid, size=(side, side), mode="bicubic").flatten(2)[0].T if side != old else own[key]
        assert torch.equal(other[key], expected)


def test_own_files_are_resized_too(tmp_path):
    arch = MEMBERS["ViT (torch)"]["deit"]
    save_weights(source(arch), tmp_path / "m.safetensors")
    model = build(arch.with_resolution(96), 10)
    load_weights(model, tmp_path / "m.safetensors")
    key = "stages.0.0.mix.0.position"
    assert torch.equal(model.state_dict()[key], grown(source(arch).state_dict()[key], 1, 6, "bicubic"))


def test_positions_that_are_no_square_are_of_a_wrong_shape():
    distilled, plain = MEMBERS["ViT (torch)"]["deit_distilled"], MEMBERS["ViT (torch)"]["deit"]
    state = foreign_weights(source(distilled), the_layout("ViT (torch)"))
    with pytest.raises(WeightsError) as caught:
        load_weights(build(plain, 10), state)
    assert caught.value.wrong_shape == ["pos_embed is 1x18x64 in the file, 1x17x64 in the model"]
    assert caught.value.left_over == ["dist_token", "head_dist.weight", "head_dist.bias"]


def test_a_stage_that_goes_on_from_the_one_before_shares_its_number():
    arch = small("mobileone_s4", depth=2, channels=32, stem=32)
    names, _ = foreign_names(build(arch, 10), the_layout("MobileOne"))
    spoken = {source[0] for sources in names.values() for source in sources}
    assert "stage3.7.se.reduce.weight" in spoken  # 2 x 2 convolutions without a gate, then 2 x 2 with one
    assert "stage3.3.se.reduce.weight" not in spoken
    assert not any(name.startswith("stage5") for name in spoken)
