"""The analytic cost is what fvcore counts on the built network, and what torch's own counter says too."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest
import torch
from fvcore.nn import ActivationCountAnalysis, FlopCountAnalysis
from small_networks import NETWORKS, network
from torch.utils.flop_counter import FlopCounterMode

import nasbench
from nasbench.arch.deploy_form import deploy_network
from nasbench.costs.analytic import cost, live_elements, operators, total
from nasbench.costs.budget import Budget
from nasbench.costs.counted import FVCORE_MAC_OPERATORS, count_fvcore
from nasbench.errors import UserError
from nasbench.nn.model import build, reparameterise

COUNTED = ("params", "macs", "flops", "activations")
MULTIPLY_ADDS = ("conv", "depthwise", "grouped", "pointwise", "linear", "matmul")


# Of kernels and branches: each branch at kernel 5, where a formula that takes it for 3 shows, and kernel 3 without any.
EACH = [
    name
    for name in NETWORKS
    if not name.endswith("-k3") or "-none-" in name or name.replace("-k3", "-k5") not in NETWORKS
]


def assert_counted(arch):
    """Both forms cost what fvcore counts; one that nothing merges in is not traced a second time."""
    model, train, deploy = build(arch, 10), cost(arch, 10, deploy=False), cost(arch, 10, deploy=True)
    assert {key: getattr(train, key) for key in COUNTED} == count_fvcore(model, arch.resolution)
    if deploy_network(arch.network) == arch.network:
        assert deploy == train
    else:
        counted = count_fvcore(reparameterise(model), arch.resolution)
        assert {key: getattr(deploy, key) for key in COUNTED} == counted


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", EACH)
def test_analytic_cost_is_what_fvcore_counts_in_both_forms(name):
    assert_counted(NETWORKS[name])


@pytest.mark.parametrize("name", ["mobilevit-dbb-k3", "encoder-1-learned", "separable-none-k3"])
def test_one_trace_tells_what_both_analyses_of_fvcore_tell(name):
    arch, model = NETWORKS[name], build(NETWORKS[name], 10).eval()
    image, found = torch.zeros(1, 3, arch.resolution, arch.resolution), count_fvcore(model, arch.resolution)
    work, written = (
        each(model, image).unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
        for each in (FlopCountAnalysis, ActivationCountAnalysis)
    )
    assert found["flops"] == work.total()
    assert found["macs"] == sum(work.by_operator()[name] for name in FVCORE_MAC_OPERATORS)
    assert found["activations"] == written.total()


@pytest.mark.parametrize("name", ["mobilevit_xxs", "emo_1m", "fastvit_sa12"])
def test_torch_s_own_counter_agrees(name):
    arch = nasbench.load(name).with_resolution(64)
    with torch.device("meta"):
        model = build(arch).eval()
    for deploy, form in ((False, model), (True, reparameterise(model))):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            form(torch.zeros(1, 3, 64, 64, device="meta"))
        assert counter.get_total_flops() == 2 * cost(arch, deploy=deploy).macs  # it counts a multiply-add as 2


def test_cost_is_the_sum_of_its_operators_stage_by_stage():
    arch = nasbench.load("fastvit_sa12")
    ops = operators(arch)
    assert list(dict.fromkeys(op.stage for op in ops)) == ["stem", "stage 1", "stage 2", "stage 3", "stage 4", "head"]
    assert total(ops) == cost(arch)
    for op in ops:
        assert min(op.macs, op.flops, op.params, op.inputs, op.outputs, op.held) >= 0
        assert (op.macs > 0) == (op.kind in MULTIPLY_ADDS)
    assert cost(arch).weight_bytes == 4 * cost(arch).params
    assert cost(arch).peak_activation_bytes == 4 * max(map(live_elements, ops))


def test_merging_leaves_no_branches_and_costs_less():
    for name in ("fastvit_t8", "fastvit_sa12"):
        train, deploy = (cost(nasbench.load(name), deploy=deploy) for deploy in (False, True))
        assert all(one <= other for one, other in zip(asdict(deploy).values(), asdict(train).values()))
    assert cost(nasbench.load("emo_1m"), deploy=True) == cost(nasbench.load("emo_1m"), deploy=False)


def test_classes_change_the_classifier_alone():
    arch = nasbench.load("emo_1m")
    few, many = cost(arch, 10), cost(arch, 1000)
    assert many.macs - few.macs == 990 * 168
    assert many.params - few.params == 990 * 169


@pytest.mark.parametrize(
    ("arch", "classes", "text"),
    [
        (network(), 0, "num_classes 0: a classifier needs at least 1"),
        (network(), "10", "num_classes '10': is no whole number"),
        ("emo_1m", 10, "'emo_1m' is no architecture; load one by its name or path"),
        ([network()], 10, "is no architecture"),
    ],
)
def test_what_has_no_cost_is_told(arch, classes, text):
    with pytest.raises(UserError, match=text):
        cost(arch, classes)
    assert type(cost(network(), np.int64(10)).params) is int


def test_peak_of_a_chain_worked_by_hand():
    """A 3 -> 4 convolution at 8 px, then a residual 4 -> 4 one: input, output and the skip are alive together."""
    block = [{"c_in": 4, "c_out": 4, "mix": [{"c_in": 4, "c_out": 4, "kernel": 3}] * 2, "skip": "identity"}]
    content = {
        "resolution": 8,
        "stem": {"kind": "conv", "channels": 4, "stride": 1},
        "stages": [{"block": "slots", "downsample": "none", "stride": 1, "channels": 4, "depth": 1, "slots": block}],
    }
    found = cost(nasbench.Architecture.from_dict(content), 10)
    # The second convolution of the block reads 256 elements, writes 256, and the skip holds 256 more.
    assert found.peak_activation_bytes == 4 * 3 * 4 * 8 * 8
    assert found.macs == 64 * (27 * 4 + 2 * 9 * 16) + 4 * 10


def test_counting_leaves_the_model_as_it_was():
    model = build(network(), 10)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    count_fvcore(model, 36)
    assert model.training
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", range(4))
def test_sampled_architectures_cost_what_fvcore_counts(seed):
    """A few of the space; sixty were compared when this was written."""
    arch = nasbench.load_space("metablock").sample(np.random.default_rng(seed), [Budget.parse("100MFLOP")])
    assert_counted(arch.with_resolution(2 * arch.total_stride))
