"""nasbench.study.fidelity: the reduction of a design, and ladders in files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from nasbench.arch.architecture import Architecture
from nasbench.arch.library import fixed_points
from nasbench.errors import UserError
from nasbench.files import data_dir, read_toml
from nasbench.proxy.reduction import reduced, scaled_channels
from nasbench.space.shipped import load_space, shipped_spaces
from nasbench.study.fidelity import LATER, Fidelity, Ladder
from nasbench.study.trials import Trial

FIXED = fixed_points()


def test_fidelity_needs_no_torch():
    code = "import sys, nasbench.study.fidelity; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


SPELLED_OUT = [name for name, arch in FIXED.items() if arch.stem.kind == "slots"]
OTHERS = sorted(set(FIXED) - set(SPELLED_OUT))


@pytest.mark.parametrize("name", OTHERS)
def test_late_maps_are_half_their_deployed_size(name):
    arch = FIXED[name]
    small = reduced(arch, Fidelity(samples=1))
    assert small.resolution == arch.resolution // 8
    map_side = arch.resolution / arch.total_stride / 2
    assert abs(small.resolution / small.total_stride - map_side) <= (
        1 if arch.stem.stride == 14 else 1 / 2
    )  # 3.5 divides no image
    if arch.stem.kind != "patch":
        assert small.stem.total_stride == 1
    assert [(s.block, s.depth) for s in small.stages] == [(s.block, s.depth) for s in arch.stages if s.depth]


@pytest.mark.parametrize("name", SPELLED_OUT)
def test_what_is_spelled_out_stays_and_sees_larger_images(name):
    arch = FIXED[name]
    small = reduced(arch, Fidelity(samples=1))
    assert small.resolution == arch.resolution // 2
    assert small.total_stride == arch.total_stride
    assert [s.channels for s in small.stages] == [s.channels for s in arch.stages]
    assert small.problem() is None or "total stride" in small.problem()


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("width", [0.25, 0.375, 0.5])
def test_channels_follow_the_width_and_heads_divide_them(name, width):
    arch = FIXED[name]
    small = reduced(arch, Fidelity(samples=1, width=width))
    for stage, was in zip(small.stages, arch.stages, strict=True):
        assert stage.channels == max(8, stage.channels)
        assert abs(stage.channels - width * was.channels) <= max(2, 8 - width * was.channels)
        if stage.block in ("irmb", "transformer", "encoder", "swin") and stage.attends:
            assert stage.channels % stage.head_dim == 0
            assert stage.head_dim >= 4
        if stage.block == "mobilevit":
            assert stage.inner_width % stage.heads == 0
    if arch.head.width:
        assert abs(small.head.width - width * arch.head.width) <= 0.1 * width * arch.head.width
    assert small.problem() is None or "total stride" in small.problem()


def test_patches_shrink_to_some_that_fill_the_image():
    sides = {name: reduced(FIXED[name], Fidelity(samples=1)).stem.total_stride for name in ("vit_h14", "vit_b32")}
    assert sides == {"vit_h14": 4, "vit_b32": 7}  # of 28 px; the halves of halves are 3.5 and 8
    small = reduced(FIXED["vit_s16"].with_resolution(272), Fidelity(samples=1))
    assert (small.resolution, small.stem.total_stride) == (34, 2)


def test_keys_and_values_keep_a_map():
    stages = [s.model_copy(update={"reduction": 16}) for s in FIXED["pvt_tiny"].stages[:3]]
    small = reduced(FIXED["pvt_tiny"].replace(stages=tuple(stages)), Fidelity(samples=1))
    assert [stage.reduction for stage in small.stages] == [14, 7, 3]
    assert [stage.reduction for stage in reduced(FIXED["pvt_tiny"], Fidelity(samples=1)).stages] == [8, 4, 2, 1]


TRAINED = {
    **{
        name: FIXED[name] for name in ("deit_ti", "vit_s32", "pvt_tiny", "swin_t", "mobilenetv2_100", "mobilevitv2_050")
    },
    **{name: FIXED[name] for name in ("mobileone_s0", "repvgg_a0", "acb_resnet18")},
    **{f"one of {name}": load_space(name).draw(2) for name in shipped_spaces()},
}


@pytest.mark.parametrize("name", TRAINED)
def test_what_is_trained_learns_and_costs_what_it_says(name):
    import torch

    from nasbench.costs.analytic import cost
    from nasbench.costs.counted import count_fvcore
    from nasbench.nn.model import build

    torch.set_num_threads(1)
    arch = TRAINED[name]
    shallow = tuple(stage.model_copy(update={"depth": min(stage.depth, 2)}) for stage in arch.stages)
    small = reduced(arch.replace(stages=shallow), Fidelity(samples=1))
    torch.manual_seed(0)
    model, own = build(small, 10), cost(small, 10, deploy=False)
    counted = count_fvcore(model, small.resolution)
    assert counted == {key: getattr(own, key) for key in counted}
    loss = model(torch.randn(2, 3, small.resolution, small.resolution)).logsumexp(-1).sum()
    loss.backward()
    assert all(
        parameter.grad is not None and parameter.grad.isfinite().all()
        for parameter in model.parameters()
        if parameter.requires_grad
    )
    assert own.macs < 100e6


@pytest.mark.parametrize("channels", [[32, 48, 64, 80], [16, 24, 32, 48, 64, 96, 128, 160, 192, 256, 320, 512]])
def test_neighbouring_choices_stay_different(channels):
    scaled = [scaled_channels(c, 0.25) for c in channels if c >= 32]
    assert len(set(scaled)) == len(scaled)
    assert scaled == sorted(scaled)


def test_reduction_is_not_the_design_and_the_design_stays():
    arch = FIXED["emo_1m"]
    before, small = arch.to_dict(), reduced(arch, Fidelity(samples=1))
    assert small.id != arch.id
    assert arch.to_dict() == before
    assert reduced(arch, Fidelity(samples=1, width=1, resolution_scale=1, map_scale=1)).id == arch.id


def test_a_gentler_reduction_keeps_more_strides():
    small = reduced(FIXED["fastvit_t8"], Fidelity(samples=1, resolution_scale=0.5, map_scale=0.5))
    assert (small.resolution, small.total_stride) == (128, 32)
    assert small.stem.total_stride == 4


def test_windows_shrink_with_the_maps():
    window = max(s.window for s in FIXED["emo_1m"].stages if s.attends)
    small = max(s.window for s in reduced(FIXED["emo_1m"], Fidelity(samples=1)).stages if s.attends)
    assert small == -(-window // 2)


def test_too_small_a_design_is_one_line():
    arch = Architecture.from_dict(
        {"resolution": 64, "stages": [{"channels": 16, "depth": 1}] * 3 + [{"channels": 16, "depth": 1}] * 2}
    )
    with pytest.raises(UserError, match=r"becomes 16 px with total stride 32 .* use a larger resolution_scale"):
        reduced(arch, Fidelity(samples=1, map_scale=0.25))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "samples"),
        ({"samples": 10, "epochs": 3}, "unknown key 'epochs'"),
        ({"samples": 0}, "samples = 0"),
        ({"samples": 10, "width": 1.5}, "width = 1.5"),
        ({"samples": 10, "map_scale": 0.3}, "it must be 1, 2, 4"),
        ({"samples": 10, "map_scale": 0.0625}, "it must be 1, 2, 4"),
    ],
)
def test_bad_fidelities_are_one_line_with_their_source(content, message):
    with pytest.raises(UserError, match=message) as error:
        Ladder.from_list([{"trials": 3, **content}], "mine.toml")
    assert "\n" not in str(error.value)


def test_a_ladder_must_rise_and_not_be_empty():
    with pytest.raises(UserError, match="no \\[\\[ladder\\]\\] table"):
        Ladder.from_list([], "mine.toml")
    with pytest.raises(UserError, match="trains on 100 samples after 200"):
        Ladder.from_list([{"trials": 3, "samples": 200}, {"trials": 3, "samples": 100}], "mine.toml")


def test_ladders_and_fidelities_round_trip():
    ladder = Ladder.from_list([{"name": "a", "trials": 3, "samples": 200, "layer_scale": 0.3}], "x")
    assert Ladder.from_list(ladder.to_list()) == ladder
    fidelity = ladder.rungs[0].fidelity
    assert Fidelity.from_dict(fidelity.to_dict()) == fidelity
    assert fidelity.id == Fidelity.from_dict(fidelity.to_dict()).id != Fidelity(samples=201).id


@pytest.mark.parametrize("path", sorted(data_dir("runners").glob("*.toml")), ids=lambda path: path.stem)
def test_shipped_ladders_are_valid_and_reduce_every_fixed_point(path):
    tables = read_toml(path).get("ladder")
    if tables:
        for rung in Ladder.from_list(tables, path.name).rungs:
            for arch in FIXED.values():
                reduced(arch, rung.fidelity)


def test_what_is_switched_off_stays_off_in_a_stored_trial():
    off = Fidelity(samples=1, layer_scale=0, clip_norm=0)
    assert Fidelity.from_dict(off.to_dict()) == off


def test_a_stored_fidelity_keeps_its_meaning_its_id_and_its_trials_keys():
    """Both hashes were taken before the later fields existed: with others a resumed study would train all again."""
    stored = Fidelity(samples=3200, evaluate=1200).to_dict()
    assert not set(stored) & set(LATER)
    old = Fidelity.from_dict(stored)
    assert {name: getattr(old, name) for name in LATER} == {"optimiser": "sgd", "branch_gain": 1, "linear_gain": 0}
    assert old.id == "9145a9662d18"
    assert Trial.new({}, "abc", fidelity=old.to_dict(), seed=0, data="d").key == "f33dd163c961f6af"


@pytest.mark.parametrize("changes", [{"optimiser": "muon"}, {"branch_gain": 0.2}, {"linear_gain": 1.0}])
def test_a_later_field_is_stored_where_it_says_something_new(changes):
    new = Fidelity(samples=3200, **changes)
    assert new.to_dict().items() >= changes.items()
    assert Fidelity.from_dict(new.to_dict()) == new
    assert new.id != Fidelity(samples=3200).id


@pytest.mark.parametrize("study", ["default", "reference"])
def test_trials_on_disk_keep_their_keys(study):
    lines = (Path(__file__).parents[1] / "results" / study / "trials.jsonl").read_text(encoding="utf-8").splitlines()
    trials = [record for record in map(json.loads, lines) if record["kind"] == "submitted"]
    assert len(trials) > 40
    for trial in trials:
        fidelity = Fidelity.from_dict(trial["fidelity"]).to_dict()
        rest = {name: trial[name] for name in ("seed", "data", "split")}
        assert Trial.new({}, trial["architecture_id"], fidelity=fidelity, **rest).key == trial["key"]
