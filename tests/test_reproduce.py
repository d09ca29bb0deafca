"""The shipped fixed points have exactly the figures that the official code measured."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import nasbench
from nasbench.errors import UserError
from nasbench.files import read_toml
from nasbench.library import fixed_points
from nasbench.reproduce import FIGURES, Figures, Form, difference, reproduce

FACTS = read_toml(Path(nasbench.__file__).with_name("published.toml"))
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


@pytest.mark.parametrize("name", FACTS)
def test_built_networks_have_the_measured_parameters(name):
    with torch.device("meta"):
        model = nasbench.build(ARCHITECTURES[name])
    train = FACTS[name]["train"]["params"]
    deploy = FACTS[name].get("deploy", FACTS[name]["train"])["params"]
    assert sum(x.numel() for x in model.parameters()) == train
    assert sum(x.numel() for x in nasbench.reparameterise(model).parameters()) == deploy


def test_fvcore_counts_the_same_on_the_built_networks():
    results = reproduce(["mobilevit_xxs", "emo_1m", "fastvit_t8"])
    assert [result.exact for result in results] == [True] * 3
    row = results[2].table_rows()[1]
    assert row == {
        "network": "fastvit_t8",
        "form": "deploy",
        "params": 3996040,
        "macs": 685160448,
        "flops": 686880768,
        "published": "3.6M / 0.7G",
        "official code": "exact",
    }
    content = results[2].to_dict()
    assert content["deploy"]["counted"] == {"params": 3996040, "macs": 685160448, "flops": 686880768}
    assert content["exact"] is content["train"]["exact"] is True


def test_a_difference_is_said():
    own = Figures(params=1_000, macs=5_000, flops=6_000)
    assert Form(own, own, own).exact
    assert difference(Form(own, own, own)) == "exact"
    other = Form(measured=Figures(1_000, 6_000, 6_000), analytic=own, counted=Figures(1_000, 6_000, 6_010))
    assert not other.exact
    assert difference(other) == "analytic macs -1,000, fvcore flops +10"


def test_only_networks_with_published_figures():
    with pytest.raises(UserError, match="no published figures for resnet50; there are some for mobilevit_xxs, "):
        reproduce(["resnet50"])
