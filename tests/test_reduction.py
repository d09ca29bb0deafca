"""nasbench.proxy.reduction: what is trained in place of a design."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from shared_spaces import FIXED

from nasbench.arch.architecture import Architecture
from nasbench.costs.analytic import cost
from nasbench.costs.counted import count_fvcore
from nasbench.errors import UserError
from nasbench.nn.model import build
from nasbench.proxy.reduction import reduced, scaled_channels
from nasbench.space.shipped import load_space, shipped_spaces
from nasbench.study.fidelity import load_recipe
from nasbench.study.runner import runner_ladder, shipped_runners

FIDELITY = load_recipe("proxy").at(1)
ROUNDED = load_recipe("proxy-open").at(1)  # whole maps, and patches of two pixels at least
SPELLED_OUT = [name for name, arch in FIXED.items() if arch.stem.kind == "slots"]
OTHERS = sorted(set(FIXED) - set(SPELLED_OUT))


@pytest.mark.parametrize("name", OTHERS)
def test_late_maps_are_half_their_deployed_size(name: str) -> None:
    arch = FIXED[name]
    small = reduced(arch, FIDELITY)
    assert small.resolution == arch.resolution // 8
    map_side = arch.resolution / arch.total_stride / 2
    rounding = 1 if arch.stem.stride == 14 else 1 / 2  # 3.5 divides no image
    assert abs(small.resolution / small.total_stride - map_side) <= rounding
    if arch.stem.kind != "patch":
        assert small.stem.total_stride == 1
    assert [(s.block, s.depth) for s in small.stages] == [(s.block, s.depth) for s in arch.stages if s.depth]


@pytest.mark.parametrize("name", SPELLED_OUT)
def test_what_is_spelled_out_stays_and_sees_larger_images(name: str) -> None:
    arch = FIXED[name]
    small = reduced(arch, FIDELITY)
    assert small.resolution == arch.resolution // 2
    assert small.total_stride == arch.total_stride
    assert [s.channels for s in small.stages] == [s.channels for s in arch.stages]
    assert small.problem() is None or "total stride" in small.problem()


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("width", [0.25, 0.375, 0.5])
def test_channels_follow_the_width_and_heads_divide_them(name: str, width: float) -> None:
    arch = FIXED[name]
    small = reduced(arch, FIDELITY.replace(width=width))
    for stage, was in zip(small.stages, arch.stages, strict=True):
        assert stage.channels >= 8
        assert stage.channels % 4 == 0
        assert abs(stage.channels - width * was.channels) <= max(2, 8 - width * was.channels)
        if stage.block in ("irmb", "transformer", "encoder", "swin") and stage.attends:
            assert stage.channels % stage.head_dim == 0
            assert stage.head_dim >= 4
        if stage.block == "mobilevit":
            assert stage.inner_width % stage.heads == 0
    if arch.head.width:
        assert abs(small.head.width - width * arch.head.width) <= 0.1 * width * arch.head.width
    assert small.problem() is None or "total stride" in small.problem()


def test_patches_shrink_to_some_that_fill_the_image() -> None:
    sides = {name: reduced(FIXED[name], FIDELITY).stem.total_stride for name in ("vit_h14", "vit_b32")}
    assert sides == {"vit_h14": 4, "vit_b32": 7}  # of 28 px; the halves of halves are 3.5 and 8
    small = reduced(FIXED["vit_s16"].with_resolution(272), FIDELITY)
    assert (small.resolution, small.stem.total_stride) == (34, 2)


def test_keys_and_values_keep_a_map() -> None:
    stages = [s.model_copy(update={"reduction": 16}) for s in FIXED["pvt_tiny"].stages[:3]]
    small = reduced(FIXED["pvt_tiny"].replace(stages=tuple(stages)), FIDELITY)
    assert [stage.reduction for stage in small.stages] == [14, 7, 3]
    assert [stage.reduction for stage in reduced(FIXED["pvt_tiny"], FIDELITY).stages] == [8, 4, 2, 1]


TRAINED = (
    *("deit_ti", "vit_s32", "pvt_tiny", "swin_t", "mobilenetv2_100", "mobilevitv2_050"),
    *("mobileone_s0", "repvgg_a0", "acb_resnet18", *(f"one of {name}" for name in shipped_spaces())),
)


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", TRAINED)
def test_what_is_trained_has_gradients_everywhere_and_costs_what_it_says(name: str) -> None:
    arch = FIXED[name] if name in FIXED else load_space(name.removeprefix("one of ")).draw(2)
    shallow = tuple(stage.model_copy(update={"depth": min(stage.depth, 2)}) for stage in arch.stages)
    small = reduced(arch.replace(stages=shallow), FIDELITY)
    torch.manual_seed(0)
    model, own = build(small, 10), cost(small, 10, deploy=False)
    counted = count_fvcore(model, small.resolution)
    assert counted == {key: getattr(own, key) for key in counted}
    assert {"params", "macs", "flops"} <= set(counted)
    assert own.macs < 100e6
    model(torch.randn(2, 3, small.resolution, small.resolution)).logsumexp(-1).sum().backward()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in trained)


@pytest.mark.parametrize("channels", [[32, 48, 64, 80], [16, 24, 32, 48, 64, 96, 128, 160, 192, 256, 320, 512]])
def test_neighbouring_choices_stay_different(channels: list[int]) -> None:
    scaled = [scaled_channels(c, 0.25) for c in channels if c >= 32]
    assert len(set(scaled)) == len(scaled)
    assert scaled == sorted(scaled)


def test_reduction_is_not_the_design_and_the_design_stays() -> None:
    arch = FIXED["emo_1m"]
    before, small = arch.to_dict(), reduced(arch, FIDELITY)
    assert small.id != arch.id
    assert arch.to_dict() == before
    assert reduced(arch, FIDELITY.replace(width=1, resolution_scale=1, map_scale=1)).id == arch.id


def test_a_gentler_reduction_keeps_more_strides() -> None:
    small = reduced(FIXED["fastvit_t8"], FIDELITY.replace(resolution_scale=0.5, map_scale=0.5))
    assert (small.resolution, small.total_stride) == (128, 32)
    assert small.stem.total_stride == 4


@pytest.mark.parametrize("name", ["pvt_tiny", "swin_t", "deit_ti"])
def test_a_patch_embedding_sees_more_than_one_pixel(name: str) -> None:
    small = reduced(FIXED[name], ROUNDED)
    assert small.stem.total_stride >= ROUNDED.smallest_patch == 2
    assert small.resolution % small.total_stride == 0
    assert small.total_stride * 2**ROUNDED.strides_out == FIXED[name].total_stride


def test_without_a_bound_a_patch_becomes_a_pixel() -> None:
    assert reduced(FIXED["pvt_tiny"], FIDELITY).stem.total_stride == 1


def test_windows_shrink_with_the_maps() -> None:
    window = max(s.window for s in FIXED["emo_1m"].stages if s.attends)
    small = max(s.window for s in reduced(FIXED["emo_1m"], FIDELITY).stages if s.attends)
    assert small == -(-window // 2)


def test_too_small_a_design_is_one_line() -> None:
    arch = Architecture.from_dict(
        {"resolution": 64, "stages": [{"channels": 16, "depth": 1}] * 3 + [{"channels": 16, "depth": 1}] * 2}
    )
    with pytest.raises(UserError, match=r"becomes 16 px with total stride 32 .* use a larger resolution_scale"):
        reduced(arch, FIDELITY.replace(map_scale=0.25))


@pytest.mark.parametrize("path", sorted(shipped_runners().values()), ids=lambda path: path.stem)
def test_every_shipped_ladder_reduces_every_fixed_point(path: Path) -> None:
    for rung in runner_ladder(path).rungs:
        for arch in FIXED.values():
            size = rung.fidelity.image_size(arch.resolution)
            assert reduced(arch, rung.fidelity).resolution in (size, size << rung.fidelity.strides_out)
