"""Every network builds, runs on odd maps, and is the same function after re-parameterisation."""

from __future__ import annotations

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
    with pytest.raises(TypeError, match=r"reparameterise takes what nasbench.build returns, not a Linear"):
        reparameterise(nn.Linear(2, 2))


@pytest.mark.parametrize(
    ("options", "text"),
    [
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


@pytest.mark.parametrize("name", EXPORTED)
def test_exported_networks_compute_the_same(name):
    from nasbench.latency.export import export_onnx, onnx_difference

    arch = NETWORKS[name]
    model = nasbench.build(arch, num_classes=5)
    randomise_norms(model, torch.Generator().manual_seed(0))
    deploy = nasbench.reparameterise(model)
    assert onnx_difference(deploy, export_onnx(deploy, arch.resolution), arch.resolution) < 1e-4


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore:.torch.jit.trace. is deprecated")
@pytest.mark.parametrize("name", EXPORTED)
def test_what_was_traced_at_one_batch_size_serves_every_other(name):
    model = trained(NETWORKS[name]).eval()
    resolution = NETWORKS[name].resolution
    traced = torch.jit.trace(model, image(resolution, 2))  # checks itself by a second trace
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
