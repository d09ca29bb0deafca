"""Members of a space as named values and back."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from shared_spaces import DEFAULT, FIXED
from tiny_spaces import TINY, spaces

from nasbench.errors import UserError
from nasbench.space import SearchSpace


def check(space, archs):
    """Every design comes back, no two have equal values, and each value is one of its parameter's."""
    seen = set()
    for arch in archs:
        values = space.parameters(arch)
        assert space.from_parameters(values).id == arch.id
        assert all(value in space.parameter_choices[name] for name, value in values.items())
        seen.add(tuple(sorted(values.items(), key=str)))
    assert len(seen) == len({arch.id for arch in archs})


@pytest.mark.parametrize("content", TINY.values(), ids=TINY)
def test_every_member_comes_back_from_its_parameters(content):
    space = SearchSpace.from_dict(content)
    members = list(space)
    check(space, [members[i] for i in np.random.default_rng(0).permutation(len(members))[:60]])


@given(spaces())
def test_members_of_any_space_come_back(space):
    check(space, list(space)[:20])


def test_published_and_drawn_designs_of_the_default_space_come_back():
    check(DEFAULT, [arch for arch in FIXED.values() if DEFAULT.contains(arch)] + [DEFAULT.sample(i) for i in range(15)])


def test_parameters_are_the_fields_that_have_a_choice_and_take_effect():
    block = {"block": ["irmb", "mbconv"], "channels": 16, "kernel": [3, 5], "head_dim": [8, 16]}
    space = SearchSpace.from_dict({"resolution": 64, "stages": [{**block, "attention": [False, True], "depth": 2}]})
    assert set(space.parameter_choices) == {
        f"stages[0].{name}" for name in ("block", "kernel", "head_dim", "attention")
    }
    by_block = {}
    for arch in space:
        stage = arch.stages[0]
        by_block.setdefault((stage.block, stage.attention), set(space.parameters(arch)))
    assert "stages[0].head_dim" in by_block["irmb", True]
    assert "stages[0].head_dim" not in by_block["irmb", False] | by_block["mbconv", False]


@pytest.mark.parametrize("content", TINY.values(), ids=TINY)
def test_any_values_give_a_member(content):
    space, rng = SearchSpace.from_dict(content), np.random.default_rng(0)
    for _ in range(20):
        values = {name: choices[rng.integers(len(choices))] for name, choices in space.parameter_choices.items()}
        assert space.contains(space.from_parameters(values, rng))
    assert space.contains(space.from_parameters({}, rng))


def test_a_number_that_cannot_stand_gives_way_to_the_nearest():
    """The second stage may not be narrower than the first."""
    stages = [{"channels": [16, 48], "depth": 1}, {"channels": [24, 48, 96], "depth": 1}]
    constraints = {"channels": "non-decreasing"}
    space = SearchSpace.from_dict({"resolution": 64, "stages": stages, "constraints": constraints})
    arch = space.from_parameters({"stages[0].channels": 48, "stages[1].channels": 24})
    assert [stage.channels for stage in arch.stages] == [48, 48]


class Asked(Mapping):
    """Values that are made up when they are looked up."""

    def __init__(self, choices, rng):
        self.choices, self.rng, self.given = choices, rng, {}

    def __getitem__(self, name):
        return self.given.setdefault(name, self.choices[name][self.rng.integers(len(self.choices[name]))])

    def __iter__(self):
        return iter(self.choices)

    def __len__(self):
        return len(self.choices)

    def __contains__(self, name):
        return name in self.choices


def test_values_are_looked_up_only_where_something_hangs_on_them():
    rng, idle, asked_in_all = np.random.default_rng(1), 0, 0
    for _ in range(30):
        asked = Asked(DEFAULT.parameter_choices, rng)
        used = DEFAULT.parameters(DEFAULT.from_parameters(asked, rng))
        idle += len(asked.given.keys() - used.keys())
        asked_in_all += len(asked.given)
        assert len(asked.given) < 60 < len(asked)
    assert idle < 0.05 * asked_in_all


def test_a_design_outside_has_no_parameters():
    with pytest.raises(UserError, match="lies outside space"):
        DEFAULT.parameters(FIXED["vit_ti16"])
