"""Branches merge into one convolution exactly, whatever their norms hold, and their costs are what fvcore counts."""

from __future__ import annotations

import dataclasses
from typing import get_args

import pytest
import torch
from fvcore.nn import FlopCountAnalysis
from torch import Tensor, nn

from nasbench.arch.deploy_form import deploy_block, deploy_conv, folds_into_one_conv
from nasbench.arch.extent import square
from nasbench.arch.metablock import (
    Act,
    ActName,
    Attention,
    Branch,
    BranchKind,
    Conv,
    MetaBlock,
    Mixer,
    Nest,
    Norm,
    NormKind,
    Partition,
    Post,
    SqueezeExcite,
)
from nasbench.arch.presets import branches_of
from nasbench.blocks.attention import AttentionModule
from nasbench.blocks.branches import BRANCHES
from nasbench.blocks.branches_cost import BRANCH_COSTS
from nasbench.blocks.conv import ConvModule
from nasbench.blocks.conv_cost import conv_cost
from nasbench.blocks.metablock import MIXERS, POSTS, DropPath, MetaBlockModule
from nasbench.blocks.metablock_cost import MIXER_COSTS, POST_COSTS, metablock_cost
from nasbench.blocks.norm import ACTIVATIONS, NORMS, ChannelLayerNorm, make_norm
from nasbench.blocks.norm_cost import NORM_COSTS
from nasbench.blocks.op import Tape
from nasbench.blocks.shapes import fold, unfold
from nasbench.nn.model import randomise_norms

BN, LN = Norm("bn"), Norm("ln")
# groups of an 8 -> 8 convolution
GROUPINGS = {"dense": 1, "grouped": 2, "depthwise": 8}


def randomised(module: nn.Module, seed: int = 0) -> nn.Module:
    """In eval mode and float64, with random norms, biases and layer scales."""
    generator = torch.Generator().manual_seed(seed)
    module = module.double().eval()
    randomise_norms(module, generator)
    for name, parameter in module.named_parameters():
        if "layer_scale" in name:
            parameter.data.copy_(torch.rand(parameter.shape, generator=generator, dtype=torch.float64) + 0.5)
    return module


def noise(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def assert_same(module: nn.Module, merged: nn.Module, x: Tensor) -> None:
    with torch.no_grad():
        expected, got = module(x), merged(x)
    assert got.shape == expected.shape
    assert (got - expected).abs().max() <= 1e-9 * expected.abs().max()


def fvcore_flops(module: nn.Module, channels: int, size: int) -> int:
    counter = FlopCountAnalysis(module.eval(), torch.zeros(1, channels, size, size))
    counter.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
    return int(counter.total())


@pytest.mark.parametrize(
    ("modules", "formulas", "kinds"),
    [
        pytest.param(BRANCHES, BRANCH_COSTS, get_args(BranchKind), id="branches"),
        pytest.param(MIXERS, MIXER_COSTS, get_args(Mixer), id="mixers"),
        pytest.param(POSTS, POST_COSTS, get_args(Post), id="posts"),
        pytest.param(NORMS, NORM_COSTS, get_args(NormKind), id="norms"),
    ],
)
def test_every_kind_has_a_module_and_a_formula(modules, formulas, kinds):
    assert set(modules) == set(formulas) == set(kinds)


def test_every_activation_has_a_module():
    assert set(ACTIVATIONS) == set(get_args(ActName))


def branch_cases():
    for kind in BRANCHES:
        for grouping, groups in GROUPINGS.items():
            for stride in (1, 2):
                for kernel in (1, 3, 5, 7):
                    if kind != "identity" or stride == 1:
                        yield pytest.param(kind, groups, stride, kernel, id=f"{kind}-{grouping}-s{stride}-k{kernel}")


@pytest.mark.exhaustive
@pytest.mark.parametrize(("kind", "groups", "stride", "kernel"), list(branch_cases()))
def test_each_branch_kind_merges_and_costs_what_fvcore_counts(kind, groups, stride, kernel):
    # Beside a negative k x k branch, so that a lost sign or a wrong centre shows.
    spec = Conv(8, 8, kernel, stride, groups, norm=BN, branches=(Branch("kxk", sign=-1), Branch(kind)))
    module = randomised(ConvModule(spec))
    assert_same(module, module.merged(), noise(2, 8, 9, 9))
    tape = Tape()
    assert conv_cost(tape, spec, square(9)) == module(noise(1, 8, 9, 9)).shape[2:]
    assert sum(op.flops for op in tape.ops) == fvcore_flops(module.float(), 8, 9)
    assert sum(op.params for op in tape.ops) == sum(x.numel() for x in module.parameters())


@pytest.mark.parametrize("choice", ["repvgg", "mobileone", "acb", "dbb"])
@pytest.mark.parametrize(("c_in", "c_out", "groups"), [(6, 10, 1), (6, 12, 6), (6, 12, 3)])
def test_branch_choices_merge_where_channels_change(choice, c_in, c_out, groups):
    for stride in (1, 2):
        spec = Conv(c_in, c_out, 3, stride, groups, norm=BN, act="gelu", branches=branches_of(choice, 3, False))
        module = randomised(ConvModule(spec))
        assert_same(module, module.merged(), noise(2, c_in, 7, 7))


def test_dbb_pads_its_chains_with_the_image_of_zero():
    """A plain zero padding behind the first norm would not merge: the border would differ."""
    spec = Conv(4, 4, 3, norm=BN, branches=branches_of("dbb", 3, True))
    module = randomised(ConvModule(spec))
    for branch in list(module.branches)[2:]:
        branch.padded.bias.data += 3
    assert_same(module, module.merged(), noise(1, 4, 5, 5))


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("kind", ["kxk", "kx1", "1xk", "1x1", "identity"])
def test_signs_and_bare_branches(kind, norm, sign):
    spec = Conv(8, 8, 5, groups=2, norm=BN, branches=(Branch(kind, sign, norm=norm), Branch("kxk", kernel=3)))
    module = randomised(ConvModule(spec))
    assert_same(module, module.merged(), noise(2, 8, 6, 6))


def test_what_stands_around_the_branches_stays():
    gate = SqueezeExcite(8, 2, "silu")
    spec = Conv(8, 8, 3, groups=8, norm=BN, act="silu", branches=branches_of("repvgg", 3, True), se=gate, residual=True)
    module = randomised(ConvModule(spec))
    merged = module.merged()
    assert merged.spec == deploy_conv(spec) == dataclasses.replace(spec, branches=(), norm=None, bias=True)
    assert_same(module, merged, noise(2, 8, 6, 6))


def test_merging_leaves_the_trained_module_alone():
    module = randomised(ConvModule(Conv(4, 4, 3, norm=BN, act="relu", branches=branches_of("dbb", 3, True))))
    module.train()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    merged = module.merged()
    merged.conv.weight.data.zero_()
    assert module.training
    assert all(torch.equal(before[key], value) for key, value in module.state_dict().items())


def test_an_identity_needs_its_shape():
    with pytest.raises(ValueError, match=r"identity branch from 4 to 8 channels at stride 1: it needs equal channels"):
        ConvModule(Conv(4, 8, branches=(Branch("identity"),)))
    with pytest.raises(ValueError, match=r"at stride 2: it needs equal channels and stride 1; leave the branch out"):
        ConvModule(Conv(4, 4, stride=2, branches=(Branch("identity"),)))


SIGNED = (*branches_of("repvgg", 3, True), Branch("identity", sign=-1))
FOLDING = {
    "repmixer": MetaBlock(
        8, 8, mix=(Conv(8, 8, 3, groups=8, norm=BN, branches=SIGNED),), skip="identity", layer_scale=1e-5
    ),
    "position encoding": MetaBlock(8, 8, mix=(Conv(8, 8, 7, groups=8, bias=True),), skip="identity"),
    "dense": MetaBlock(8, 8, mix=(Conv(8, 8, 5, norm=BN, branches=branches_of("acb", 5, True)),), skip="identity"),
    "bare": MetaBlock(8, 8, mix=(Conv(8, 8, 3, groups=4),), skip="identity", layer_scale=0.1, post=(Act("relu"),)),
}


@pytest.mark.parametrize("name", FOLDING)
def test_a_linear_block_and_its_skip_become_one_convolution(name):
    spec = FOLDING[name]
    module = randomised(MetaBlockModule(spec))
    merged = module.merged()
    assert folds_into_one_conv(spec)
    assert merged.spec == deploy_block(spec)
    assert [type(m) for m in merged.modules() if not list(m.children())].count(nn.Conv2d) == 1
    assert not any(isinstance(m, nn.BatchNorm2d) for m in merged.modules())
    assert_same(module, merged, noise(2, 8, 9, 9))


@pytest.mark.parametrize("change", [{"act": "relu"}, {"residual": True}, {"stride": 2}, {"se": SqueezeExcite(8, 2)}])
def test_what_is_not_linear_keeps_its_skip(change):
    conv = dataclasses.replace(Conv(8, 8, 3, groups=8, norm=BN, branches=branches_of("repvgg", 3, False)), **change)
    assert not folds_into_one_conv(MetaBlock(8, 8, mix=(conv,), skip="identity"))


ATTENTIONS = [
    Attention(8, 2),
    Attention(8, 2, bias=False, values="input"),
    Attention(8, 4, partition=Partition("tokens", 4)),
    Attention(8, 2, partition=Partition("groups", 2)),
]


@pytest.mark.parametrize("size", [4, 5, 8])
@pytest.mark.parametrize("spec", ATTENTIONS, ids=lambda x: f"{x.partition.kind}-{x.values}")
def test_attention_keeps_the_map_and_costs_what_fvcore_counts(spec, size):
    module = AttentionModule(spec)
    assert module(torch.rand(2, 8, size, size)).shape == (2, 8, size, size)
    tape = Tape()
    metablock_cost(tape, MetaBlock(8, 8, mix=(spec,)), square(size))
    assert sum(op.flops for op in tape.ops) == fvcore_flops(module, 8, size)


def test_global_attention_is_the_textbook_one():
    module = AttentionModule(Attention(8, 2)).double()
    x = noise(3, 8, 4, 5)
    parts = module.qkv(x).flatten(2).unflatten(1, (3, 2, 4)).transpose(-2, -1)  # b, qkv, heads, tokens, dim
    expected = nn.functional.scaled_dot_product_attention(*parts.unbind(1)).transpose(-2, -1).reshape(x.shape)
    assert torch.allclose(module(x), expected, atol=1e-12)


@pytest.mark.parametrize("kind", ["tokens", "groups"])
def test_parted_attention_sees_its_own_strided_grid_only(kind):
    """On an 8 x 8 map both 4 tokens and 2 groups a side make pixels of equal parity attend to each other."""
    size = 4 if kind == "tokens" else 2
    module = AttentionModule(Attention(4, 1, partition=Partition(kind, size)))
    x = torch.rand(1, 4, 8, 8)
    y = x.clone()
    y[:, :, 3, 5] += 1
    changed = (module(x) - module(y)).abs().amax((0, 1)) > 1e-7
    expected = torch.zeros(8, 8, dtype=torch.bool)
    expected[1::2, 1::2] = True
    assert torch.equal(changed, expected)


def test_fold_is_undone_by_unfold():
    x = torch.rand(2, 3, 6, 9)
    assert torch.equal(unfold(fold(x, 3), 3), x)
    assert torch.equal(fold(x, 3)[1], x[0, :, ::3, 1::3])


def test_layer_norm_is_over_channels():
    x = noise(2, 5, 3, 3)
    y = ChannelLayerNorm(5).double()(x)
    assert torch.allclose(y.mean(1), torch.zeros(2, 3, 3, dtype=torch.float64), atol=1e-12)


ODD = [
    MetaBlock(8, 8, pre_norm=Norm("gn", groups=2), expand=Conv(8, 16, bias=True, act="relu6"), project=(Conv(16, 8),)),
    MetaBlock(8, 8, mix=(SqueezeExcite(8, 4), Conv(8, 8, 3, act="hardswish")), skip="identity", post=(BN, Act("relu"))),
    MetaBlock(8, 12, mix=(Conv(8, 8, 3, 2, 8, norm=BN),), project=(Conv(8, 12),), post=(SqueezeExcite(12, 3), LN)),
    MetaBlock(8, 8, mix=(Nest(2, (MetaBlock(8, 8, pre_norm=LN, mix=(Attention(8, 2),), skip="identity"),), LN),),
              project=(Conv(16, 8, norm=BN),), skip="concat"),
    MetaBlock(8, 8, mix=(Nest(2, (MetaBlock(8, 8, mix=(Conv(8, 8, 3, norm=BN, branches=SIGNED),)),)),)),
]  # fmt: skip


@pytest.mark.parametrize("size", [7, 8])
@pytest.mark.parametrize("index", range(len(ODD)))
def test_slots_that_no_preset_uses_merge_and_cost_what_fvcore_counts(index, size):
    spec = ODD[index]
    module = randomised(MetaBlockModule(spec))
    merged = module.merged()
    assert_same(module, merged, noise(2, 8, size, size))
    for form, block in ((spec, module), (deploy_block(spec), merged)):
        tape = Tape()
        assert metablock_cost(tape, form, square(size)) == block(noise(1, 8, size, size)).shape[2:]
        assert sum(op.flops for op in tape.ops) == fvcore_flops(block.float(), 8, size)
        assert sum(op.params for op in tape.ops) == sum(x.numel() for x in block.parameters())
        block.double()


def test_drop_path_drops_whole_samples_while_training_only():
    torch.manual_seed(0)
    module = DropPath(0.5)
    x = torch.ones(64, 2, 3, 3)
    kept = module(x).amax((1, 2, 3))
    assert set(kept.tolist()) == {0.0, 2.0}
    assert torch.equal(module.eval()(x), x)


@pytest.mark.parametrize("kind", NORMS)
def test_every_norm_kind_counts(kind):
    norm = Norm(kind, groups=2)
    tape = Tape()
    metablock_cost(tape, MetaBlock(8, 8, pre_norm=norm), square(6))
    assert sum(op.flops for op in tape.ops) == fvcore_flops(make_norm(norm, 8), 8, 6)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_is_free_for_fvcore(name):
    tape = Tape()
    metablock_cost(tape, MetaBlock(4, 4, post=(Act(name),)), square(6))
    assert [op.kind for op in tape.ops] == [f"act:{name}"]
    assert sum(op.flops for op in tape.ops) == fvcore_flops(ACTIVATIONS[name](), 4, 6) == 0
