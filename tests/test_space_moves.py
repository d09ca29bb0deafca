"""Draws, mutation, crossover and neighbours: they stay inside the space, reach all of it and repeat with the seed."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shared_spaces import DEFAULT, FIXED, SMALL
from tiny_spaces import TINY, spaces

from nasbench.arch.architecture import Architecture
from nasbench.errors import UserError
from nasbench.space import SearchSpace
from nasbench.space.shipped import load_space, shipped_spaces

PUBLISHED = [arch for arch in FIXED.values() if DEFAULT.contains(arch)]


@pytest.mark.parametrize("name", shipped_spaces())
def test_every_draw_is_a_valid_member(name):
    space = load_space(name)
    rng = np.random.default_rng(0)
    for arch in [space.sample(rng) for _ in range(20)]:
        assert arch.problem() is None
        assert space.outside(arch) is None
        assert Architecture.from_dict(arch.to_dict()).id == arch.id


def test_draws_reach_all_blocks_and_every_member_of_a_tiny_space():
    rng = np.random.default_rng(0)
    blocks = {
        (len(arch.stages) - i, stage.block)
        for arch in (DEFAULT.draw(rng) for _ in range(200))
        for i, stage in enumerate(arch.stages)
    }
    assert {block for place, block in blocks if place == 1} == set(DEFAULT.file.stages[-1]["block"])
    for name, draws in (("attention in late stages", 1000), ("feed-forward widths that round to one", 200)):
        space = SearchSpace.from_dict(TINY[name])
        assert {space.draw(rng).id for _ in range(draws)} == {arch.id for arch in space}


def test_equal_seeds_give_equal_draws():
    assert DEFAULT.sample(7).id == DEFAULT.sample(np.random.default_rng(7)).id
    assert DEFAULT.sample(7).id != DEFAULT.sample(8).id
    again = load_space("metablock")
    arch = DEFAULT.sample(7)
    assert again.mutate(arch, 3).id == DEFAULT.mutate(arch, 3).id
    assert again.crossover(arch, FIXED["emo_5m"], 3).id == DEFAULT.crossover(arch, FIXED["emo_5m"], 3).id


@given(spaces(most=6), st.integers(0, 2**32))
def test_draws_from_any_small_space_reach_every_member(space, seed):
    rng = np.random.default_rng(seed)
    assert {space.draw(rng).id for _ in range(150)} == {arch.id for arch in space}


@given(spaces(most=1000), st.integers(0, 2**32), st.integers(1, 3))
def test_the_moves_of_any_space_stay_inside(space, seed, changes):
    rng = np.random.default_rng(seed)
    a, b = space.sample(rng), space.sample(rng)
    moved = [a, b, space.mutate(a, rng, changes), space.crossover(a, b, rng), *space.neighbours(a)]
    for arch in moved:
        assert arch.problem() is None
        assert space.outside(arch) is None
    neighbours = [arch.id for arch in moved[4:]]
    assert len({a.id, *neighbours}) == len(neighbours) + 1
    assert space.crossover(a, a, rng).id == a.id


def test_moves_stay_inside_and_move():
    rng = np.random.default_rng(1)
    members = [*PUBLISHED, *(DEFAULT.sample(rng) for _ in range(20))]
    for arch, other in zip(members, reversed(members)):
        child = DEFAULT.mutate(arch, rng)
        assert child.id != arch.id
        assert child.problem() is None
        assert DEFAULT.contains(child)
        mixed = DEFAULT.crossover(arch, other, rng)
        assert mixed.problem() is None
        assert DEFAULT.contains(mixed)


def test_crossover_of_equals_changes_nothing():
    arch = FIXED["mobilevit_s"]
    assert DEFAULT.crossover(arch, arch, 0).id == arch.id


@pytest.mark.parametrize("name", ["mobilevit_xxs", "emo_2m", "fastvit_sa12"])
def test_neighbours_differ_and_stay_inside(name):
    arch = FIXED[name]
    neighbours = list(DEFAULT.neighbours(arch))
    assert len(neighbours) > 50
    assert len({arch.id, *(other.id for other in neighbours)}) == len(neighbours) + 1
    assert all(DEFAULT.contains(other) and other.problem() is None for other in neighbours)


def test_neighbours_of_a_tiny_space_connect_it():
    space = SearchSpace.from_dict(TINY["attention that may be idle"])
    seen, queue = set(), [next(iter(space))]
    while queue:
        arch = queue.pop()
        if arch.id not in seen:
            seen.add(arch.id)
            queue.extend(space.neighbours(arch))
    assert len(seen) == space.size()


def test_pooling_that_only_a_counter_sees_is_no_move():
    arch = FIXED["mobileone_s0"]
    other = arch.replace(head=arch.head.model_copy(update={"pool": "mean"}))
    assert DEFAULT.contains(other)
    assert other.id != arch.id
    assert other.id not in {neighbour.id for neighbour in DEFAULT.neighbours(arch)}


def test_every_octave_of_widths_is_as_likely():
    """However many choices lie in it: ten more around 1024 do not make wide stages ten times as likely."""
    few, many = [16, 1024], [16, *range(1016, 1028)]
    for widths, expected in ((few, 1 / 65), (many, 12 / 76)):
        space = SearchSpace.from_dict({"resolution": 64, "stages": [{"channels": widths, "depth": 1}]})
        rng = np.random.default_rng(0)
        wide = np.mean([space.draw(rng).stages[0].channels > 16 for _ in range(2000)])
        assert abs(wide - expected) < 0.03


def test_moves_from_outside_are_refused():
    with pytest.raises(UserError, match="emo_1m lies outside space 'small': "):
        SMALL.mutate(FIXED["emo_1m"], 0)


def test_cost_and_moves_are_quick():
    from nasbench.costs.analytic import cost

    rng = np.random.default_rng(0)
    arch = DEFAULT.draw(rng)
    DEFAULT.size()
    start = time.process_time()
    for _ in range(50):
        cost(DEFAULT.draw(rng))
        arch = DEFAULT.mutate(arch, rng)
    assert (time.process_time() - start) / 100 < 0.005
