"""The shipped fixed points have exactly the figures that the official code measured."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from foreign_weights import MEMBERS

import nasbench
from nasbench.arch.deploy_form import deploy_network
from nasbench.arch.library import fixed_points
from nasbench.costs.counted import count_fvcore
from nasbench.errors import UserError
from nasbench.files import read_toml
from nasbench.published.reproduce import FIGURES, Figures, Form, blank, difference, reproduce

FACTS = read_toml(Path(nasbench.__file__).parent / "published" / "published.toml")
ARCHITECTURES = fixed_points()


def test_every_fixed_point_has_its_facts_and_its_name():
    assert set(FACTS) == set(ARCHITECTURES)
    assert all(arch.name == name for name, arch in ARCHITECTURES.items())
    assert all(arch.resolution == FACTS[name]["resolution"] for name, arch in ARCHITECTURES.items())


@pytest.mark.parametrize("deploy", [False, True], ids=["train", "deploy"])
@pytest.mark.parametrize("name", FACTS)
def test_analytic_cost_is_what_the_official_code_measured(name, deploy):
    measured = FACTS[name].get("deploy", FACTS[name]["train"]) if deploy else FACTS[name]["train"]
    cost = nasbench.cost(ARCHITECTURES[name], deploy=deploy)
    assert {key: getattr(cost, key) for key in FIGURES} == measured


@pytest.mark.parametrize("name", [name for name in FACTS if "at_384" in FACTS[name]])
def test_another_resolution_costs_what_the_official_code_measured(name):
    cost = nasbench.cost(ARCHITECTURES[name].with_resolution(384))
    assert {key: getattr(cost, key) for key in FIGURES} == FACTS[name]["at_384"]


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", FACTS)
def test_built_networks_have_the_measured_parameters(name):
    arch = ARCHITECTURES[name]
    with torch.device("meta"):
        model = nasbench.build(arch)
    assert sum(x.numel() for x in model.parameters()) == FACTS[name]["train"]["params"]
    if deploy_network(arch.network) != arch.network:
        deploy = FACTS[name].get("deploy", FACTS[name]["train"])  # a hybrid only standardises its weights for good
        assert sum(x.numel() for x in nasbench.reparameterise(model).parameters()) == deploy["params"]


# Small members of each family; `nasbench reproduce` counts all shipped networks at their own size.
KINDS = {name: arch for members in MEMBERS.values() for name, arch in members.items()}


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", KINDS)
def test_fvcore_counts_the_analytic_cost(name):
    arch = KINDS[name]
    model = blank(arch)
    train, deploy = nasbench.cost(arch, deploy=False), nasbench.cost(arch, deploy=True)
    assert count_fvcore(model, 64) == {key: getattr(train, key) for key in (*FIGURES, "activations")}
    if deploy != train:  # else nothing folds, and the same modules would be traced twice
        folded = count_fvcore(nasbench.reparameterise(model), 64)
        assert folded == {key: getattr(deploy, key) for key in (*FIGURES, "activations")}


def test_a_reproduction_in_full():
    result = reproduce(["fastvit_t8"])[0]
    assert result.exact
    assert result.table_rows()[1] == {
        "network": "fastvit_t8",
        "px": 256,
        "form": "deploy",
        "params": 3996040,
        "macs": 685160448,
        "flops": 686880768,
        "published": "3.6M / 0.7G",
        "official code": "exact",
    }
    content = result.to_dict()
    assert content["deploy"]["counted"] == {"params": 3996040, "macs": 685160448, "flops": 686880768}
    assert content["exact"] is content["train"]["exact"] is True


def test_figures_at_384_px_come_too():
    assert [(result.resolution, result.exact) for result in reproduce(["vit_ti16"])] == [(224, True), (384, True)]


def test_a_difference_is_said():
    own = Figures(params=1_000, macs=5_000, flops=6_000)
    assert Form(own, own, own).exact
    assert difference(Form(own, own, own)) == "exact"
    other = Form(measured=Figures(1_000, 6_000, 6_000), analytic=own, counted=Figures(1_000, 6_000, 6_010))
    assert not other.exact
    assert difference(other) == "analytic macs -1,000, fvcore flops +10"


def test_only_networks_with_published_figures():
    with pytest.raises(
        UserError, match="no published figures for resnet50; `nasbench list` names the shipped networks"
    ):
        reproduce(["resnet50"])
