"""How many networks a space holds, and going through them: checked against brute force over every raw choice."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from shared_spaces import FIXED, SMALL
from tiny_spaces import TINY, brute_force, contents

from nasbench.errors import UserError
from nasbench.space import SearchSpace
from nasbench.space.shipped import load_space


@pytest.mark.parametrize("name", TINY)
def test_size_is_the_number_of_different_networks(name):
    holds_exactly(SearchSpace.from_dict({"name": name, **TINY[name]}), brute_force(TINY[name]))


def holds_exactly(space, ids):
    members = [arch.id for arch in space]
    assert len(members) == len(set(members)) == space.size()
    assert set(members) == ids


@settings(max_examples=60)
@given(contents())
def test_any_space_holds_what_brute_force_finds(content):
    try:
        space = SearchSpace.from_dict(content)
    except UserError as error:
        empty = "no architecture" in str(error)  # else it is one of `checks`
        assert not (empty and brute_force(content))
        return
    holds_exactly(space, brute_force(content))


def test_a_space_of_one_is_that_architecture():
    emo = FIXED["emo_1m"]
    space = SearchSpace.from_dict(emo.to_dict())
    assert space.size() == 1
    assert [arch.id for arch in space] == [emo.id]
    assert space.sample(0).id == emo.id


def test_the_default_space_is_counted_fast():
    space = load_space("metablock")
    start = time.process_time()
    assert space.size() > 10**26
    assert time.process_time() - start < 2  # 0.4 s on an idle core


def test_the_small_space_is_what_its_size_says():
    assert SMALL.size() == len({arch.id for arch in SMALL}) == 4608
