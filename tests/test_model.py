"""Every network builds, runs on odd maps, and is the same function after re-parameterisation."""

from __future__ import annotations

import copy
import re

import pytest
import torch
from small_networks import NETWORKS, network
from torch import nn

import nasbench
from nasbench.arch.deploy_form import deploy_network
from nasbench.blocks.metablock import DropPath
from nasbench.errors import UserError
from nasbench.nn.model import build, randomise_norms, reparameterise


def trained(arch: nasbench.Architecture, num_classes: int = 10) -> nn.Module:
    """In float64 and training mode, as after some steps: random norms, biases and layer scales."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    model = build(arch, num_classes).double()
    randomise_norms(model, generator)
    for name, parameter in model.named_parameters():
        if name.endswith(("layer_scale", "bias")):
            parameter.data.copy_(torch.rand(parameter.shape, generator=generator) + 0.5)
    return model


def image(resolution: int, batch: int = 2) -> torch.Tensor:
    return torch.randn(
        batch, 3, resolution, resolution, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    )


def assert_merges(model: nn.Module, resolution: int) -> nn.Module:
    before = {key: value.clone() for key, value in model.state_dict().items()}
    deploy = reparameterise(model)
    assert model.training
    assert not deploy.training
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    with torch.no_grad():
        expected, got = model.eval()(image(resolution)), deploy(image(resolution))
    assert got.dtype == torch.float64
    assert (got - expected).abs().max() <= 1e-9 * expected.abs().max()
    return deploy


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", NETWORKS)
def test_deploy_form_equals_train_form_on_odd_maps(name):
    arch = NETWORKS[name]
    deploy = assert_merges(trained(arch), arch.resolution)
    assert not any("branches" in name for name, _ in deploy.named_modules())
    specs = deploy_network(arch.network)
    assert [block.spec for stage in deploy.stages for block in stage] == [b for stage in specs.stages for b in stage]


@pytest.mark.parametrize("name", ["mobilevit_s", "emo_2m", "fastvit_s12"])
def test_deploy_form_equals_train_form_of_whole_networks(name):
    arch = nasbench.load(name).with_resolution(64)
    assert_merges(trained(arch), 64)


def test_forms_share_no_tensor():
    model = trained(network(block="irmb"))
    deploy = reparameterise(model)
    own = {tensor.data_ptr() for tensor in model.state_dict().values()}
    assert not own & {tensor.data_ptr() for tensor in deploy.state_dict().values()}
    again = reparameterise(deploy)
    with torch.no_grad():
        assert torch.equal(again(image(36)), deploy(image(36)))


# Every kind of branch in the blocks that are convolutions alone, and each other block without branches.
NORMED = [
    name for name in NETWORKS if name.endswith("-none-k3") or re.match(r"(mbconv|repmixer|mobileone)-.*-k3", name)
]


@pytest.mark.parametrize("name", NORMED)
def test_a_network_of_synchronised_norms_merges_as_one_of_plain_norms(name):
    arch = NETWORKS[name]
    plain = trained(arch)
    synchronised = nn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(plain))
    expected, got = reparameterise(plain), assert_merges(synchronised, arch.resolution)
    with torch.no_grad():
        assert torch.equal(got(image(arch.resolution)), expected(image(arch.resolution)))


class Clipped(nn.BatchNorm2d):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x).clamp(-1, 1)


@pytest.mark.parametrize(
    ("norm", "text"),
    [
        (nn.GroupNorm(1, 8), "a GroupNorm cannot be merged into a convolution: fusion knows BatchNorm2d, SyncBatch"),
        (nn.InstanceNorm2d(8), "a InstanceNorm2d cannot be merged"),
        (Clipped(8), "a Clipped cannot be merged"),
        (nn.Sequential(nn.BatchNorm2d(8)), "a Sequential cannot be merged"),
        (nn.BatchNorm2d(8, track_running_stats=False), "without running statistics cannot be merged"),
        (nn.BatchNorm2d(1), "a norm of 1 channels behind a convolution to 8"),
    ],
)
def test_a_norm_that_fusion_does_not_know_is_refused(norm, text):
    model = build(network(stem={"kind": "repvgg", "channels": 8}), 10)
    model.stem[0].mix[0].branches[0].norm = norm
    with pytest.raises(UserError, match=text):
        reparameterise(model)


def test_norms_without_affine_and_other_activations_are_merged_as_they_are():
    model = trained(network(stem={"kind": "repvgg", "channels": 8}))
    conv = model.stem[0].mix[0]
    conv.branches[0].norm, conv.act = nn.BatchNorm2d(8, affine=False).double(), nn.ELU()
    conv.branches[0].norm.running_var.fill_(3.0)
    assert isinstance(assert_merges(model, 36).stem[0].mix[0].act, nn.ELU)


def test_merged_weights_that_half_precision_cannot_hold_are_refused():
    model = build(network(stem={"kind": "repvgg", "channels": 8}), 10).half()
    norm = model.stem[0].mix[0].branches[0].norm.float()
    norm.running_var.fill_(1e10)
    norm.running_mean.fill_(-1e10)
    with pytest.raises(UserError, match=r"a merged convolution: 1e\+05 is beyond torch.float16"):
        reparameterise(model)


def test_nothing_put_on_one_form_appears_on_the_other():
    model = build(network(block="irmb"), 10)
    model.seen = []
    model.register_buffer("mean", torch.zeros(3))
    deploy = reparameterise(model)
    assert not {id(module) for module in model.modules()} & {id(module) for module in deploy.modules()}
    kinds = [key for key, value in vars(model).items() if isinstance(value, dict)]
    for key in kinds:
        assert vars(deploy)[key] is not vars(model)[key]
    deploy.register_buffer("count", torch.zeros(1))
    deploy.register_parameter("scale", nn.Parameter(torch.ones(1)))
    deploy.add_module("extra", nn.Linear(1, 1))
    deploy.register_forward_hook(lambda module, inputs, output: module.seen.append(output))
    deploy.mean += 1
    with torch.no_grad():
        model.eval()(image(36).float())
        deploy(image(36).float())
    assert (len(model.seen), len(deploy.seen)) == (0, 1)
    assert not {"count", "scale", "extra.weight"} & set(model.state_dict())
    assert model.mean.sum() == 0


def test_features_are_the_stages_maps():
    model = build(nasbench.load("mobilevit_xxs").with_resolution(64), 7).eval()
    maps = model.features(torch.rand(1, 3, 64, 64))
    assert [tuple(x.shape[1:]) for x in maps] == [(16, 32, 32), (24, 16, 16), (48, 8, 8), (64, 4, 4), (80, 2, 2)]
    assert model(torch.rand(3, 3, 64, 64)).shape == (3, 7)


def test_other_map_sizes_than_the_file_s_run_too():
    for name in ("mobilevit_xxs", "emo_1m", "fastvit_sa12"):
        model = build(nasbench.load(name), 5).eval()
        with torch.no_grad():
            assert model(torch.rand(1, 3, 96, 72)).shape == (1, 5)


def test_a_seed_fixes_the_weights():
    states = []
    for _ in range(2):
        torch.manual_seed(3)
        states.append(build(network(), 10).state_dict())
    assert all(torch.equal(states[0][key], value) for key, value in states[1].items())


def test_drop_path_grows_over_the_blocks_with_a_skip():
    model = build(nasbench.load("emo_1m"), 10, drop_path=0.1)
    rates = [module.rate for module in model.modules() if isinstance(module, DropPath)]
    assert rates == sorted(rates)
    assert (rates[0], rates[-1]) == (0.0, pytest.approx(0.1))


def test_training_reaches_every_parameter():
    for name in (
        "mobilevit-dbb-k3",
        "irmb-acb-k5",
        "repmixer-mobileone-k3",
        "transformer-none-k3",
        "mobileone-repvgg-k3",
    ):
        arch = NETWORKS[name]
        model = trained(arch).float()
        model(torch.rand(4, 3, arch.resolution, arch.resolution)).logsumexp(1).sum().backward()
        assert all(x.grad is not None and x.grad.isfinite().all() for x in model.parameters())


def test_a_model_must_be_ours_to_be_merged():
    with pytest.raises(TypeError, match=r"reparameterise takes what nasbench.build returns, not a Linear; give the"):
        reparameterise(nn.Linear(2, 2))
    model = build(network(), 10)
    model.stem[0] = nn.Conv2d(3, 8, 3, 2, 1)
    with pytest.raises(TypeError, match="a Conv2d stands where a meta-block was built"):
        reparameterise(model)


def test_the_number_of_classes_follows_the_classifier():
    model = build(network(), 10)
    model.head.classifier = nn.Linear(model.head.classifier.in_features, 4)
    assert (model.num_classes, reparameterise(model).num_classes) == (4, 4)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"num_classes": 2.5}, "num_classes 2.5: is no whole number; give the number of classes"),
        ({"num_classes": 0}, "num_classes 0: a classifier needs at least 1; give the number of classes"),
        ({"drop_path": 1.0}, r"drop_path 1.0: a rate lies in \[0, 1\); use for example 0.05"),
    ],
)
def test_impossible_options(options, text):
    with pytest.raises(UserError, match=text):
        build(network(), **options)


# One of each part: an exporter follows a trace, which loses what is written in place or chosen by shape.
EXPORTED = [
    name
    for name in NETWORKS
    if name.endswith(("-none-k3", "-s2", "-learned", "-interpolated", "-x2.5", "swin-shifted", "swin-whole-map"))
]


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", EXPORTED)
def test_exported_networks_compute_the_same(name):
    from nasbench.latency.export import export_onnx, onnx_difference

    arch = NETWORKS[name]
    model = nasbench.build(arch, num_classes=5)
    randomise_norms(model, torch.Generator().manual_seed(0))
    deploy = nasbench.reparameterise(model)
    assert onnx_difference(deploy, export_onnx(deploy, arch.resolution), arch.resolution) < 1e-4


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("key", ["stem.0.mix.0.conv.weight", "stem.0.mix.0.norm.running_var", "head.classifier.bias"])
def test_damaged_weights_are_not_exported(key, value):
    from nasbench.latency.export import export_onnx

    model = reparameterise(build(network(), 5))
    model.state_dict()[key].flatten()[-1] = value
    with pytest.raises(UserError, match=f"weights that are NaN or infinite: {key}; a training that diverged"):
        export_onnx(model, 36)


def test_logits_that_are_no_numbers_are_no_agreement():
    from nasbench.latency.export import export_onnx, onnx_difference, require_same_logits

    model = reparameterise(build(network(), 5))
    fresh = export_onnx(model, 36)
    torch.nn.init.constant_(model.head.classifier.weight, float("nan"))
    with pytest.raises(RuntimeError, match="differs from torch by nan relative"):
        require_same_logits(model, fresh, 36)
    torch.nn.init.zeros_(model.head.classifier.weight)
    torch.nn.init.zeros_(model.head.classifier.bias)
    assert onnx_difference(model, export_onnx(model, 36), 36) == 0
    with pytest.raises(RuntimeError, match="differs from torch by inf relative"):
        require_same_logits(model, fresh, 36)


@pytest.mark.exhaustive
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore:.torch.jit.trace. is deprecated")
@pytest.mark.parametrize("name", EXPORTED)
def test_what_was_traced_at_one_batch_size_serves_every_other(name):
    model = trained(NETWORKS[name]).eval()
    resolution = NETWORKS[name].resolution
    traced = torch.jit.trace(model, image(resolution, 2), check_trace=False)  # by a second trace; it is checked here
    with torch.no_grad():
        for batch in (1, 3):
            assert torch.allclose(traced(image(resolution, batch)), model(image(resolution, batch)), rtol=1e-9)


@pytest.mark.parametrize("name", [name for name in EXPORTED if name.startswith(("swin-shifted", "encoder-2", "irmb"))])
def test_one_onnx_file_serves_every_batch_size(name):
    from nasbench.latency.export import export_onnx, onnx_difference

    arch = NETWORKS[name]
    deploy = nasbench.reparameterise(nasbench.build(arch, num_classes=5))
    content = export_onnx(deploy, arch.resolution, batch=None)
    for batch in (1, 3):
        assert onnx_difference(deploy, content, arch.resolution, batch=batch) < 1e-4
