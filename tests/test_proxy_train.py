"""nasbench.proxy.train and evaluate: one trial from design to metrics."""

from __future__ import annotations

import dataclasses
import json
import pickle
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import nn

from nasbench.arch.architecture import Architecture
from nasbench.arch.library import load
from nasbench.arch.metablock import Branch, Conv, MetaBlock, Norm, SqueezeExcite
from nasbench.blocks.branches import IdentityBranch
from nasbench.blocks.conv import ConvModule
from nasbench.blocks.metablock import MetaBlockModule
from nasbench.blocks.squeeze_excite import SqueezeExciteModule
from nasbench.costs.analytic import cost
from nasbench.proxy import evaluate as evaluation
from nasbench.proxy.data.augment import normalisation
from nasbench.proxy.data.pool import MemoryPool
from nasbench.proxy.evaluate import (
    SCORED,
    CostMismatch,
    DeployMismatch,
    checked_cost,
    evaluate,
    seeded_model,
)
from nasbench.proxy.initial import (
    open_identity_branches,
    scale_linear_layers,
    scale_residual_branches,
    set_layer_scale,
)
from nasbench.proxy.masked import LR_FACTORS
from nasbench.proxy.muon import Muon, is_matrix, orthogonalised
from nasbench.proxy.reduction import reduced
from nasbench.proxy.train import OPTIMISERS, Diverged, make_optimiser, one_cycle, score, train
from nasbench.study.fidelity import FORMER, Fidelity, load_recipe
from nasbench.study.objective import OBJECTIVES
from nasbench.study.runner import RunnerSpec
from nasbench.study.task import DataSplit, Task
from nasbench.study.trials import Split

HYBRID = Architecture.from_dict({
    "name": "hybrid",
    "resolution": 128,
    "stem": {"kind": "conv", "channels": 32},
    "stages": [
        {"block": "mbconv", "downsample": "block", "channels": 32, "depth": 1, "expansion": 2},
        {"block": "repmixer", "downsample": "patch_embed", "channels": 48, "depth": 1, "branches": "repvgg"},
        {"block": "irmb", "downsample": "block", "channels": 64, "depth": 2, "attention": True, "head_dim": 16},
        {"block": "mobilevit", "downsample": "mbconv", "channels": 64, "depth": 1, "width": 64, "patch": 2},
    ],
    "head": {"kind": "linear"},
})  # fmt: skip
FIDELITY = load_recipe(FORMER).at(1024, pool=400, evaluate=100)
CPU = RunnerSpec()


@pytest.fixture(scope="module")
def blobs(tmp_path_factory):
    """An archive of 32 px images whose class is the place and colour of a blob."""
    rng, path = np.random.default_rng(0), tmp_path_factory.mktemp("data") / "blobs.npz"
    arrays = {}
    for split, count in (("train", 500), ("test", 200)):
        labels = np.arange(count) % 4
        pixels = rng.integers(0, 80, (count, 32, 32, 3))
        for index, label in enumerate(labels):
            top, left = divmod(int(label), 2)
            pixels[index, 6 + 12 * top : 14 + 12 * top, 4:28, left] += 150
        arrays |= {f"x_{split}": pixels.astype(np.uint8), f"y_{split}": labels}
    np.savez(path, **arrays)
    return f"cifar10:{path}"


def task(data: str, seed: int = 1, fidelity: Fidelity = FIDELITY, split: Split = "validation", **more: Any) -> Task:
    return Task(HYBRID, fidelity, seed, DataSplit(data, split=split), **{"runner": CPU, **more})


@pytest.fixture(scope="module")
def metrics(blobs):
    return evaluate(task(blobs))


@pytest.mark.exhaustive
def test_a_hybrid_learns_and_reports_plain_finite_metrics(metrics):
    assert metrics["accuracy"] > 0.5
    assert metrics["samples"] == 1024
    assert metrics["scored_images"] == 100
    assert metrics["proxy_resolution"] == 16
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics


def test_the_counts_are_those_of_the_reduced_network_in_its_train_form(metrics):
    small = reduced(HYBRID, FIDELITY)
    figures = cost(small, 10, deploy=False)
    for count in ("proxy", "fvcore"):
        assert (metrics[f"{count}_params"], metrics[f"{count}_macs"]) == (figures.params, figures.macs)
    assert figures.params > cost(small, 10, deploy=True).params
    assert metrics["proxy_id"] == small.id


def test_the_deploy_form_of_a_trained_network_is_equal(metrics):
    assert 0 < metrics["deploy_difference"] < 1e-9


@pytest.mark.exhaustive
def test_same_seed_same_result_whatever_the_process_drew_before(blobs, metrics):
    torch.rand(7)
    timed = ("train_seconds", "cpu_seconds")
    again = evaluate(task(blobs))
    assert {k: v for k, v in again.items() if k not in timed} == {k: v for k, v in metrics.items() if k not in timed}
    other = evaluate(task(blobs, seed=2))
    assert other["train_loss_tail"] != metrics["train_loss_tail"]


def test_the_standard_recipe_learns_and_repeats_itself(blobs):
    fidelity = load_recipe().at(512, pool=400, evaluate=100)
    first, again = (evaluate(task(blobs, fidelity=fidelity)) for _ in range(2))
    assert first["accuracy"] > 0.5
    assert first["deploy_difference"] < 1e-9
    assert (first["accuracy"], first["train_loss_tail"]) == (again["accuracy"], again["train_loss_tail"])


def test_the_test_split_is_another_set_of_images(blobs, metrics):
    tested = evaluate(task(blobs, split="test", fidelity=FIDELITY.replace(evaluate=200)))
    assert tested["scored_images"] == 200
    assert tested["train_loss_tail"] == metrics["train_loss_tail"]


def test_a_wrong_cost_fails_the_trial_loudly(blobs, monkeypatch):
    real = evaluation.count_fvcore
    monkeypatch.setattr(evaluation, "count_fvcore", lambda m, r: real(m, r) | {"macs": 1})
    monkeypatch.setattr(evaluation, "_checked", {})
    with pytest.raises(CostMismatch, match=r"hybrid .*macs is \d+ analytically and 1 by fvcore"):
        evaluate(task(blobs))


def test_each_design_is_checked_once_whatever_its_seed(monkeypatch):
    counted, real = [], evaluation.count_fvcore
    monkeypatch.setattr(evaluation, "count_fvcore", lambda m, r: counted.append(r) or real(m, r))
    monkeypatch.setattr(evaluation, "_checked", {})
    small = HYBRID.with_resolution(32)
    first, again = (checked_cost(small, seeded_model(small, 4, seed), 4) for seed in (0, 1))
    assert first == again
    assert counted == [32, 32]  # its train form and its deploy form
    checked_cost(HYBRID.with_resolution(64), seeded_model(HYBRID.with_resolution(64), 4, 0), 4)
    checked_cost(small, seeded_model(small, 5, 0), 5)
    assert counted == [32, 32, 64, 64, 32, 32]


def test_a_wrong_deploy_form_fails_the_trial(blobs, monkeypatch):
    real, images = evaluation.reparameterise, torch.zeros(2, 16, 16, 3, dtype=torch.uint8)

    def broken(model):
        merged = real(model)
        merged.head.classifier.weight.data.mul_(1.001)
        return merged

    monkeypatch.setattr(evaluation, "reparameterise", broken)
    pool = MemoryPool(images, torch.zeros(2, dtype=torch.int64))
    model = seeded_model(HYBRID.with_resolution(32), 4, 0)
    with pytest.raises(DeployMismatch, match="changes the trained network's logits"):
        evaluation.deploy_difference(model, pool, normalisation(pool))


@pytest.mark.exhaustive
def test_the_precision_is_the_runners(blobs, metrics):
    lower = evaluate(task(blobs, runner=RunnerSpec(precision="bf16")))
    assert lower["train_loss_tail"] == pytest.approx(metrics["train_loss_tail"], rel=0.2)
    assert lower["train_loss_tail"] != metrics["train_loss_tail"]


def test_the_cut_into_training_and_validation_images_is_that_of_its_seed(blobs, metrics):
    short = FIDELITY.replace(samples=64)
    cuts = [evaluate(Task(HYBRID, short, 1, DataSplit(blobs, seed=seed), CPU)) for seed in (0, 0, 1)]
    assert cuts[0]["loss"] == cuts[1]["loss"] != cuts[2]["loss"]


def test_unknown_splits_and_objectives_are_refused(blobs):
    with pytest.raises(ValueError, match="unknown split 'all'; known: validation, test"):
        DataSplit(blobs, split="all")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="unknown objective 'mased'; known: supervised, masked"):
        task(blobs, objective="mased")


def test_every_objective_can_be_scored():
    assert SCORED.keys() == OBJECTIVES.keys()


# The loop itself


def _pool(count=64):
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (count, 8, 8, 3), dtype=np.uint8))
    return MemoryPool(pixels, torch.arange(count) % 4)


class _Tiny(nn.Module):
    def __init__(self, gain: float = 1.0) -> None:
        super().__init__()
        self.gain, self.layer = gain, nn.Linear(192, 4)
        self.layer_scale = nn.Parameter(torch.full((4,), 1e-5))

    def forward(self, x):
        return self.layer(x.flatten(1)) * self.layer_scale * self.gain


def test_divergence_names_the_step_and_crosses_processes():
    pool = _pool()
    with pytest.raises(Diverged, match="diverged: training loss is nan at step 0 of 4") as error:
        train(_Tiny(float("nan")), pool, FIDELITY.replace(samples=128), normalisation(pool), 0, CPU)
    copy = pickle.loads(pickle.dumps(error.value))
    assert (copy.step, str(copy)) == (error.value.step, str(error.value))


def test_layer_scales_are_set_and_nothing_else():
    model = _Tiny()
    weight = model.layer.weight.clone()
    set_layer_scale(model, 0.5)
    assert torch.equal(model.layer_scale, torch.full((4,), 0.5))
    assert torch.equal(model.layer.weight, weight)


def test_only_weights_of_more_than_one_dimension_decay():
    model = seeded_model(HYBRID, 4, 0)
    optimiser, _, steps = make_optimiser(model, FIDELITY.replace(samples=320))
    decaying, rest = ({id(p) for p in group["params"]} for group in optimiser.param_groups)
    names = {id(p): name for name, p in model.named_parameters()}
    assert steps == 10
    assert decaying | rest == set(names)
    assert all("weight" in names[p] for p in decaying)
    assert all(p.numel() == max(p.shape) for p in model.parameters() if id(p) in rest)


def test_one_cycle_rises_to_the_peak_and_ends_near_nothing():
    rates = [one_cycle(step, 100, 0.25) for step in range(101)]
    assert rates[0] == pytest.approx(0.04)
    assert max(rates) == pytest.approx(1) == rates[25]
    assert rates[:25] == sorted(rates[:25])
    assert rates[25:] == sorted(rates[25:], reverse=True)
    assert rates[-1] < 1e-3


def test_score_counts_every_image_once():
    pool = _pool(300)
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 4))
    norm = normalisation(pool)
    result = score(model, pool, norm)
    logits = model(norm.apply(pool.pixels))
    assert result.images == 300
    assert result.accuracy == pytest.approx((logits.argmax(1) == pool.labels).double().mean().item())
    assert result.loss == pytest.approx(nn.functional.cross_entropy(logits, pool.labels).item(), rel=1e-5)


@pytest.mark.parametrize("channels_last", [True, False])
def test_the_memory_layout_is_the_one_asked_for(channels_last):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 4))
    pool = _pool()
    runner = RunnerSpec(channels_last=channels_last)
    train(model, pool, FIDELITY.replace(samples=64), normalisation(pool), 0, runner)
    assert model[0].weight.is_contiguous(memory_format=torch.channels_last) is channels_last


# Muon


def test_every_optimiser_has_a_rate_for_masks():
    assert set(LR_FACTORS) == set(OPTIMISERS) == set(get_args(Fidelity.model_fields["optimiser"].annotation))


@pytest.mark.parametrize("shape", [(3, 5, 12), (2, 12, 5)])
def test_orthogonalised_keeps_the_directions_and_evens_out_the_singular_values(shape):
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    left, before, right = torch.linalg.svd(matrices, full_matrices=False)
    inside = left.mT @ orthogonalised(matrices) @ right.mT  # diagonal where the directions are kept
    singular = inside.diagonal(dim1=1, dim2=2)
    assert (inside - torch.diag_embed(singular)).abs().max() < 1e-4
    assert (before[:, 0] / before[:, -1]).max() > 3
    assert 0.4 < singular.min() <= singular.max() < 1.3


def test_a_matrix_steps_by_its_rate_whatever_the_gradients_scale():
    gradient, steps = torch.randn(8, 4, 3, 3, generator=torch.Generator().manual_seed(0)), []
    for scale in (1e-3, 1.0, 1e3):
        weight = nn.Parameter(torch.zeros(8, 4, 3, 3))
        optimiser = Muon([{"params": [weight], "matrices": True}], lr=0.5, momentum=0.9)
        weight.grad = scale * gradient
        optimiser.step()
        steps.append(weight.detach())
    assert torch.allclose(steps[0], steps[1], rtol=1e-3, atol=1e-5)
    assert torch.allclose(steps[2], steps[1], rtol=1e-3, atol=1e-5)
    assert (steps[1] * gradient).sum() < 0
    assert steps[1].square().mean().sqrt() == pytest.approx(0.2 * 0.5, rel=0.3)  # AdamW's step at this rate


def test_what_is_no_matrix_learns_as_by_adam():
    rng = torch.Generator().manual_seed(0)
    ours, theirs = (nn.Parameter(torch.ones(6)) for _ in range(2))
    mine = Muon([{"params": [ours, nn.Parameter(torch.ones(2))]}], lr=0.15, momentum=0.9)  # one never has a gradient
    adam = torch.optim.Adam([theirs], lr=0.02, betas=(0.9, 0.99))
    for _ in range(5):
        ours.grad = torch.randn(6, generator=rng)
        theirs.grad = ours.grad.clone()
        mine.step()
        adam.step()
    assert torch.allclose(ours, theirs, atol=1e-6)
    assert torch.equal(mine.param_groups[0]["params"][1].detach(), torch.ones(2))


@pytest.mark.parametrize("name", sorted(OPTIMISERS))
def test_every_optimiser_takes_every_parameter_once_and_follows_the_cycle(name):
    model = seeded_model(HYBRID, 4, 0)
    fidelity = FIDELITY.replace(samples=320, optimiser=name, weight_decay=0.25)
    optimiser, _, _ = make_optimiser(model, fidelity)
    held = [id(p) for group in optimiser.param_groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in model.parameters())
    decays = {id(p): group["weight_decay"] for group in optimiser.param_groups for p in group["params"]}
    assert all(decays[id(p)] == (0.25 if min(p.shape[0], p[0].numel()) > 1 else 0) for p in model.parameters())
    peak = [group["initial_lr"] for group in optimiser.param_groups]
    assert [group["lr"] for group in optimiser.param_groups] == pytest.approx([0.04 * rate for rate in peak])
    assert max(peak) == fidelity.lr


def test_depthwise_kernels_and_vectors_are_no_matrices():
    shapes = {(8, 4, 3, 3): True, (8, 4): True, (8, 1, 3, 3): False, (1, 4, 8): False, (8, 1, 1): False, (8,): False}
    assert {shape: is_matrix(nn.Parameter(torch.zeros(shape))) for shape in shapes} == shapes


@pytest.mark.parametrize("adam_gates", [False, True])
def test_gates_step_as_matrices_only_where_the_recipe_says_so(adam_gates):
    model = nn.Sequential(SqueezeExciteModule(SqueezeExcite(16, 4)), nn.Conv2d(16, 8, 1))
    optimiser, _, _ = make_optimiser(model, load_recipe("proxy").at(32, adam_gates=adam_gates))
    stepped = [p for group in optimiser.param_groups if group["matrices"] for p in group["params"]]
    gates = [model[0].reduce.weight, model[0].expand.weight]
    assert [any(gate is p for p in stepped) for gate in gates] == [not adam_gates] * 2
    assert any(model[1].weight is p for p in stepped)
    held = sorted(id(p) for group in optimiser.param_groups for p in group["params"])
    assert held == sorted(id(p) for p in model.parameters())


# The start

BN = Norm("bn")
PROJECTED = MetaBlock(8, 8, expand=Conv(8, 16, norm=BN, act="silu"), project=(Conv(16, 8, norm=BN),), skip="identity")
UNNORMED = MetaBlock(8, 8, project=(Conv(8, 8, bias=True),), skip="identity")
PLAIN_SUM = Conv(8, 8, 3, norm=BN, branches=(Branch("kxk"), Branch("1x1"), Branch("identity")))


@pytest.mark.parametrize("block", [PROJECTED, UNNORMED, MetaBlock(8, 8, mix=(PLAIN_SUM,))])
def test_only_what_is_added_to_a_skip_is_scaled(block):
    torch.manual_seed(0)
    module, x = MetaBlockModule(block), torch.randn(4, 8, 6, 6)
    kept = module.mix[0].branches[2](x) if block.mix else x
    added = module(x) - kept
    scale_residual_branches(module, 0.2)
    assert torch.allclose(module(x) - kept, 0.2 * added, atol=1e-5)


@pytest.mark.parametrize("changes", [{"skip": None}, {"layer_scale": 0.5}])
def test_without_a_skip_or_with_a_layer_scale_a_block_stays(changes):
    torch.manual_seed(0)
    module, x = MetaBlockModule(dataclasses.replace(PROJECTED, **changes)), torch.randn(4, 8, 6, 6)
    before = module(x)
    scale_residual_branches(module, 0.2)
    assert torch.equal(module(x), before)


def test_what_goes_into_a_stack_of_norms_and_relus_comes_out_of_it():
    """Cut to its upper half by every unit, an image is nothing but outliers after twenty of them."""
    x = torch.randn(64, 8, 4, 4, generator=torch.Generator().manual_seed(0))
    above_zero = {}
    for bias in (0.0, 1.0):
        units = nn.Sequential(*(ConvModule(dataclasses.replace(PLAIN_SUM, act="relu")) for _ in range(20)))
        scale_residual_branches(units, 0.0)
        open_identity_branches(units, bias)
        above_zero[bias] = float((units(x) > 0).float().mean())
    assert above_zero[0.0] < 0.1 < 0.7 < above_zero[1.0]


def test_only_identities_before_an_activation_are_opened():
    relu, plain = ConvModule(dataclasses.replace(PLAIN_SUM, act="relu")), ConvModule(PLAIN_SUM)
    for module in (relu, plain):
        open_identity_branches(module, 1.0)
    assert [float(branch.norm.bias.detach().mean()) for branch in relu.branches] == [0, 0, 1]
    assert [float(branch.norm.bias.detach().mean()) for branch in plain.branches] == [0, 0, 0]


@pytest.mark.parametrize("name", ["mobileone_s0", "mobileone_s1", "repvgg_a0", "repvgg_b0"])
def test_the_activation_may_stand_behind_the_block(name):
    model = seeded_model(reduced(load(name), load_recipe().at(1)), 10, 0)
    open_identity_branches(model, 1.0)
    identities = [module for module in model.modules() if isinstance(module, IdentityBranch)]
    assert len(identities) > 15
    assert {float(value) for branch in identities for value in branch.norm.bias.detach()} == {1.0}


def test_linear_layers_of_blocks_start_at_xaviers_deviation():
    model = seeded_model(load("deit_ti").with_resolution(32), 10, 0)
    classifier = model.head.classifier.weight.clone()
    scale_linear_layers(model, 1.0)
    layers = [m for stage in model.stages for m in stage.modules() if isinstance(m, nn.Linear)]
    assert len(layers) >= 4 * 12
    for layer in layers:
        assert layer.weight.std().item() == pytest.approx((2 / sum(layer.weight.shape)) ** 0.5, rel=0.15)  # cut at 2
    assert torch.equal(model.head.classifier.weight, classifier)
