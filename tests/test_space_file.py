"""A space's file: what is wrong is told in one line, and a space read back is the same space."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_spaces import spaces

from nasbench.errors import UserError
from nasbench.space import SearchSpace
from nasbench.space.shipped import load_space, shipped_spaces

STAGE = {"channels": [16, 24], "depth": [1, 2]}
BAD_FILES = [
    ({}, "key 'resolution' is missing; add it"),
    ({"resolution": 64, "stages": [STAGE], "name": "a\nb"}, r"name = 'a\nb': control characters are no text; leave"),
    ({"resolution": 64}, "stages = None: a space needs at least one [[stages]] table; add it"),
    ({"resolution": 64, "stages": [STAGE], "epochs": 3}, "unknown key 'epochs'; a search space has the keys"),
    ({"resolution": 64, "stages": [{"channels": 16}]}, "key 'stages[0].depth' is missing; add it"),
    (
        {"resolution": 64, "stages": [STAGE | {"kernels": 3}]},
        "unknown key 'stages[0].kernels'; known keys: downsample, stride",
    ),
    (
        {"resolution": 64, "stages": [STAGE | {"kernel": []}]},
        "stages[0].kernel = []: no choice is left; name at least one value",
    ),
    ({"resolution": 64, "stages": [STAGE | {"kernel": [3, 5, 3]}]}, "stages[0].kernel: 3 is listed twice; keep one"),
    (
        {"resolution": 64, "stages": [STAGE | {"kernel": [3, "5"]}]},
        "stages[0].kernel = '5': must be a whole number; write it without quotes",
    ),
    (
        {"resolution": 64, "stages": [STAGE | {"depth": [1, 2.5]}]},
        "stages[0].depth = 2.5: input should be a valid integer",
    ),
    (
        {"resolution": 64, "stages": [STAGE | {"block": "mbconv2"}]},
        "stages[0].block = 'mbconv2': input should be 'mbconv'",
    ),
    ({"resolution": [64, True], "stages": [STAGE]}, "resolution = True: a resolution is a whole number from 8 to 4096"),
    ({"resolution": 64, "stem": 3, "stages": [STAGE]}, "stem = 3: write a table of keys"),
    (
        {"resolution": 64, "stages": [STAGE], "constraints": {"depth": 3}},
        "unknown constraint 'depth'; known constraints: channels, attention, width, stride",
    ),
    (
        {"resolution": 64, "stages": [STAGE], "constraints": {"channels": "up"}},
        "constraints.channels = 'up': unknown value; known orders: non-decreasing, increasing",
    ),
    (
        {"resolution": 64, "stages": [STAGE], "constraints": {"attention": 2}},
        'constraints.attention = 2: unknown value; write for example "last 2 stages"',
    ),
    (
        {"resolution": 64, "stages": [STAGE], "constraints": {"stride": 32}},
        "constraints.stride = 32: no architecture of the space meets it; change it or the choices",
    ),
    (
        {"resolution": 64, "stages": [STAGE], "constraints": {"width": 2}},
        'constraints.width = 2: unknown value; write for example "at most 2x channels"',
    ),
    (
        {"resolution": 64, "stages": [STAGE | {"block": "encoder", "tokens": [0, 1]}, STAGE]},
        "stages[0].tokens = [0, 1]: a row of tokens has no map for the next stage; offer them in the last stage",
    ),
    (
        {"resolution": 64, "stages": [STAGE, STAGE], "head": {"kind": ["linear", "decoder"]}},
        "head.kind = 'decoder' with 2 stages: it hides positions of one row and needs exactly one stage; leave it out",
    ),
    (
        {
            "resolution": 64,
            "stages": [STAGE | {"block": "separable", "patch": 3}, STAGE | {"block": "swin", "window": [4, 8]}],
        },
        "stages[1].window = [4, 8]: which of these differ hangs on the side of the map, which stages[0].block",
    ),
    (
        {"resolution": 66, "stages": [STAGE]},
        "no architecture can be built from these choices; check that resolutions are multiples",
    ),
]


@pytest.mark.parametrize(("content", "text"), BAD_FILES)
def test_bad_files_are_told_in_one_line(content, text):
    with pytest.raises(UserError) as caught:
        SearchSpace.from_dict(content, "mine.toml")
    assert str(caught.value).startswith(f"mine.toml: {text}")
    assert "\n" not in str(caught.value)


def copies(space):
    """The space read back from its content, and as another process gets it; checked to be called the same."""
    found = SearchSpace.from_dict(space.to_dict()), pickle.loads(pickle.dumps(space))
    for other in found:
        assert (other.name, other.id, other.to_dict()) == (space.name, space.id, space.to_dict())
    return found


@pytest.mark.parametrize("name", shipped_spaces())
def test_shipped_files_round_trip(name):
    space = load_space(name)
    assert space.name == name
    assert len(copies(space)) == 2


@given(spaces(most=1000), st.integers(0, 2**32))
def test_any_space_read_back_draws_the_same(space, seed):
    for other in copies(space):
        assert other.sample(seed).id == space.sample(seed).id


def test_ids_of_spaces_ignore_names_and_order():
    one = SearchSpace.from_dict({"name": "a", "resolution": [64, 96], "stages": [STAGE]})
    two = SearchSpace.from_dict(
        {"name": "b", "resolution": [96, 64], "stages": [{"depth": [2, 1], "channels": [24, 16]}]}
    )
    other = SearchSpace.from_dict({"resolution": [96, 64], "stages": [{"depth": [2, 1], "channels": [24, 32]}]})
    assert one.id == two.id != other.id
