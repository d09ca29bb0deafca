"""Scaling a design: valid networks within 2 % of the target, whatever the design, the rule and the direction."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nasbench.arch.architecture import Architecture
from nasbench.arch.library import fixed_points, load
from nasbench.costs.analytic import cost
from nasbench.costs.budget import Budget
from nasbench.errors import UserError
from nasbench.scaling.family import make_family, parse_targets, side_by_side
from nasbench.scaling.resize import is_tied, resize
from nasbench.scaling.rules import RULES, Factors, Rule
from nasbench.scaling.target import TOLERANCE, scale_to
from nasbench.scaling.target_metric import metric_of
from nasbench.space.shipped import load_space


def flops(arch: Architecture) -> float:
    return float(cost(arch).flops)


def scaled(arch: Architecture, factor: float, rule: str = "fast") -> Architecture:
    target = Budget.parse(f"{factor * flops(arch) / 1e6:.3f}MFLOP")
    return scale_to(arch, target, RULES[rule], metric_of(target)).arch


def random_designs(count: int) -> list[Architecture]:
    space, rng = load_space("metablock"), np.random.default_rng(5)
    limits = [Budget.parse("4GFLOP")]
    found: list[Architecture] = []
    while len(found) < count:
        arch = space.sample(rng, limits)
        if flops(arch) > 2e8:  # half of less leaves too few channels to halve
            found.append(arch)
    return found


def test_random_designs_scale_up_and_down() -> None:
    rules = list(RULES)[:3]
    for number, arch in enumerate(random_designs(45)):
        for factor in (0.5, 3.0):
            small = scaled(arch, factor, rules[number % len(rules)])
            assert small.problem() is None
            assert abs(flops(small) / (factor * flops(arch)) - 1) <= TOLERANCE
            assert Architecture.from_toml(small.to_toml()).id == small.id
            for own, new in zip(arch.stages, small.stages):
                assert (own.block, own.downsample, own.stride, own.kernel) == (
                    new.block,
                    new.downsample,
                    new.stride,
                    new.kernel,
                )
                assert own.attends == new.attends


@pytest.mark.parametrize("name", sorted(fixed_points()))
def test_every_fixed_point_scales_by_the_usual_rules(name: str) -> None:
    spelled = "slots" in (load(name).stem.kind, *(stage.block for stage in load(name).stages))  # no width of its own
    for rule in ("fast",) if spelled or flops(load(name)) > 2e10 else ("compound", "fast", "width"):
        assert abs(flops(scaled(load(name), 2.0, rule)) / (2 * flops(load(name))) - 1) <= TOLERANCE


def test_unit_factors_change_nothing() -> None:
    for arch in fixed_points().values():
        assert resize(arch, Factors()).id == arch.id


@pytest.mark.parametrize("name", ["emo_5m", "mobilevit_s", "fastvit_sa12"])
def test_a_rule_moves_what_it_names(name: str) -> None:
    arch = load(name)
    wide, deep, fine = (resize(arch, RULES[rule].factors(4.0)) for rule in ("width", "depth", "resolution"))
    assert [s.depth for s in wide.stages] == [s.depth for s in arch.stages]
    assert wide.resolution == deep.resolution == arch.resolution
    assert [s.channels for s in deep.stages] == [s.channels for s in fine.stages] == [s.channels for s in arch.stages]
    assert [s.channels for s in wide.stages] == pytest.approx([2 * s.channels for s in arch.stages], rel=0.05)
    assert [s.depth for s in deep.stages] == [4 * s.depth for s in arch.stages]
    assert fine.resolution == 2 * arch.resolution


def test_rules_cost_what_they_say() -> None:
    for rule in RULES.values():
        factors = rule.factors(3.0)
        assert factors.depth * factors.width**2 * factors.resolution**2 == pytest.approx(3.0)
    compound = RULES["compound"].factors(2.0)  # arXiv:1905.11946: bases 1.2, 1.1, 1.15 for about twice the cost
    assert (compound.depth, compound.width, compound.resolution) == pytest.approx((1.2, 1.1, 1.15), rel=0.02)
    with pytest.raises(ValueError, match="add up to 1"):
        Rule("wrong", 0.5, 0.5, 0.5)


def test_tied_stages_follow_the_stem_and_heads_divide_channels() -> None:
    big = scaled(load("fastvit_sa12"), 2.5)
    assert is_tied(big, 0)
    assert big.stages[0].channels == big.stem.channels
    last = big.stages[-1]
    assert last.channels % last.head_dim == 0
    assert 1 / 1.5 <= last.head_dim / 32 <= 1.5


def test_params_and_activations_are_targets_too() -> None:
    for text in ("3Mparams", "20MACT"):
        target = Budget.parse(text)
        found = scale_to(load("emo_5m"), target, RULES["fast"], metric_of(target))
        assert abs(found.off) <= TOLERANCE


def test_what_cannot_be_reached_is_said() -> None:
    target = Budget.parse("3Mparams")
    with pytest.raises(UserError, match=r"rule 'resolution' does not change params; choose another"):
        scale_to(load("emo_5m"), target, RULES["resolution"], metric_of(target))
    huge = Budget.parse("1e20FLOP")
    with pytest.raises(UserError, match=r"cannot be resized so far: \S+ channels, 65536 at most; choose another"):
        scale_to(load("emo_1m"), huge, RULES["width"], metric_of(huge))
    tiny = Budget.parse("10MFLOP")
    with pytest.raises(UserError, match=r"emo_5m to 10MFLOP: the nearest design along rule 'depth' has "):
        scale_to(load("emo_5m"), tiny, RULES["depth"], metric_of(tiny))


def test_a_sibling_is_a_target_and_stands_beside() -> None:
    targets, siblings = parse_targets(["1GFLOP", "fastvit_sa24"])
    assert siblings[0] is None
    assert targets[1].limit == flops(load("fastvit_sa24"))
    member = make_family(load("fastvit_sa12"), targets[1:], RULES["depth"], check=False)[0]
    assert member.scaled.arch.name == "fastvit_sa12-fastvit_sa24"
    assert member.scaled.arch.id == load("fastvit_sa24").id  # SA24 is SA12 twice as deep
    assert side_by_side(member.scaled.arch, load("fastvit_sa24")) == []
    rows = {row["differs"]: row for row in side_by_side(load("fastvit_sa12"), load("fastvit_sa24"))}
    assert rows["depth"] == {"differs": "depth", "fastvit_sa12": "2-2-6-2", "fastvit_sa24": "4-4-12-4"}
    assert "block" not in rows
    with pytest.raises(UserError, match="neither a budget such as 2GFLOP, 3Mparams or 5ms nor a design"):
        parse_targets(["nonsense"])


def test_members_build_and_step() -> None:
    member = make_family(load("emo_1m"), [Budget.parse("150MFLOP")], RULES["fast"])[0]
    assert member.step_loss is not None
    assert math.isfinite(member.step_loss)
    assert member.row()["off"].endswith("%")
