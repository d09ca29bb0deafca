"""Search spaces: what is in them, counted and drawn; checked against brute force over every raw choice."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import time

import numpy as np
import pytest

from nasbench.architecture import Architecture, Head, Stage, Stem
from nasbench.budget import Budget
from nasbench.errors import UserError
from nasbench.library import fixed_points, load_space, shipped_spaces
from nasbench.metablock import canonical
from nasbench.presets import lower_stage
from nasbench.space import RejectionCounter, SearchSpace

FIXED = fixed_points()
DEFAULT = load_space("metablock")
SMALL = load_space("small")


# Small spaces that each show one thing that makes counting hard.
TINY = {
    "expansions that round to one width": {
        "resolution": 64,
        "stem": {"channels": [8, 16]},
        "stages": [
            {
                "downsample": "block",
                "channels": [8, 16],
                "depth": [1, 2],
                "expansion": [1, 2, 2.1, 3],
                "se": [0, 0.1, 0.12, 0.25],
            }
        ],
        "constraints": {"channels": "non-decreasing"},
    },
    "branches that vanish at kernel 1": {
        "resolution": 64,
        "stem": {"channels": [8, 16]},
        "stages": [
            {
                "downsample": ["block", "none", "conv"],
                "stride": [1, 2],
                "block": ["mbconv", "repvgg", "mobileone", "repmixer"],
                "channels": [8, 16],
                "depth": [1, 2],
                "kernel": [1, 3],
                "branches": ["none", "repvgg", "acb", "dbb", "mobileone"],
                "se": [0, 0.25],
            }
        ],
    },
    "one transition by two names": {
        "resolution": [32, 64],
        "stem": {"kind": ["conv", "mobileone"], "channels": [16]},
        "stages": [
            {
                "downsample": ["block", "mbconv", "conv"],
                "downsample_expansion": [2, 4],
                "block": ["mbconv", "irmb"],
                "channels": [16, 24],
                "depth": [1, 2, 3],
                "expansion": [2, 4],
                "kernel": [3, 5],
                "branches": ["none", "acb"],
            },
            {"channels": [24, 32], "depth": [0, 1], "block": "irmb", "downsample": ["mbconv"], "expansion": [2, 4]},
        ],
        "constraints": {"stride": 8},
    },
    "attention that may be idle": {
        "resolution": 64,
        "stem": {"channels": 24},
        "stages": [
            {
                "downsample": ["block", "patch_embed"],
                "block": "irmb",
                "channels": [24, 32],
                "depth": [1, 2],
                "expansion": [0.5, 1, 2],
                "attention": [False, True],
                "head_dim": [8, 12, 16],
                "window": [4, 7],
                "se": [0, 1],
            },
        ],
    },
    "attention in late stages": {
        "resolution": 64,
        "stages": [
            {
                "block": ["irmb", "transformer"],
                "channels": [16, 24],
                "depth": 1,
                "attention": [False, True],
                "head_dim": 8,
            },
            {
                "downsample": ["conv", "block"],
                "block": ["irmb", "transformer", "mobilevit"],
                "channels": [24, 32],
                "depth": [1, 2],
                "attention": True,
                "head_dim": [12, 16],
                "heads": [2, 4],
                "width": [30, 32],
                "patch": [1, 2],
            },
        ],
        "constraints": {"channels": "increasing", "attention": "last 1 stage"},
    },
    "several optional stages": {
        "resolution": 64,
        "stem": {"channels": [8, 16]},
        "stages": [
            {"depth": [0, 1], "channels": [16, 24], "downsample": ["block", "none"], "stride": [1, 2]},
            {"depth": [0, 1, 2], "channels": [16, 24], "downsample": "block", "kernel": [3, 5]},
            {"depth": [0, 1], "channels": [24], "downsample": ["block", "conv"], "block": ["mbconv", "repvgg"]},
        ],
        "head": {"kind": ["conv", "mobileone"], "expansion": [2, 2.2, 100]},
        "constraints": {"channels": "non-decreasing"},
    },
    "stride by the stem": {
        "resolution": [64, 80],
        "stem": {"kind": ["conv", "conv_bias", "mobileone"], "channels": [8], "stride": [1, 2, 4]},
        "stages": [
            {"depth": [1, 2], "channels": 16, "stride": [1, 2], "act": ["relu", "silu"], "block": ["repvgg", "mbconv"]},
            {
                "depth": [0, 1],
                "channels": [16, 32],
                "stride": [1, 2],
                "block": ["mobileone"],
                "downsample": ["block", "none"],
            },
        ],
        "constraints": {"stride": 16},
    },
}


def listed(value):
    return value if isinstance(value, list) else [value]


def settings(table):
    """Every raw setting of a table, sensible or not."""
    return [dict(zip(table, values)) for values in itertools.product(*(listed(value) for value in table.values()))]


def meets(content, stages, arch):
    """The constraints once more, written down independently."""
    rules = content.get("constraints", {})
    widths = [stage["channels"] for stage in stages if stage["depth"]]
    pairs = list(itertools.pairwise(widths))
    if rules.get("channels") == "non-decreasing" and any(a > b for a, b in pairs):
        return False
    if rules.get("channels") == "increasing" and any(a >= b for a, b in pairs):
        return False
    if "attention" in rules:
        last = int(rules["attention"].split()[1])
        if any(Stage(**stage).attends for stage in stages[:-last]):
            return False
    return arch.total_stride == rules.get("stride", arch.total_stride)


def brute_force(content):
    """The ids of everything that can be built from the choices: no cleverness but for stages, which are made once."""
    ids = set()
    tables = [settings(stage) for stage in content["stages"]]
    for stages in itertools.product(*tables):
        if not any(stage["depth"] for stage in stages):
            continue
        for stem in settings(content.get("stem", {})):
            for head in settings(content.get("head", {})):
                for resolution in listed(content["resolution"]):
                    arch = Architecture.model_construct(
                        resolution=resolution,
                        stem=Stem(**stem),
                        stages=tuple(Stage.model_construct(**stage) for stage in stages),
                        head=Head(**head),
                    )
                    if arch.problem() is None and meets(content, stages, arch):
                        ids.add(arch.id)
    return ids


@pytest.mark.parametrize("name", TINY)
def test_size_is_the_number_of_different_networks(name):
    space = SearchSpace.from_dict({"name": name, **TINY[name]})
    ids = brute_force(TINY[name])
    members = list(space)
    assert len(members) == len({arch.id for arch in members})
    assert {arch.id for arch in members} == ids
    assert space.size() == len(ids)
