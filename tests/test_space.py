"""Search spaces: what is in them, counted and drawn; checked against brute force over every raw choice."""

from __future__ import annotations

import itertools
import pickle
import re
import sys
import time
from pathlib import Path

import numpy as np
import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib
from small_networks import ENTRY, SLOTS, STEM_SLOTS

from nasbench.arch.architecture import Architecture
from nasbench.arch.library import fixed_points
from nasbench.arch.parts import (
    INNER_BLOCKS,
    Head,
    Stage,
    Stem,
    effective_fields,
    effective_head_fields,
    effective_stem_fields,
)
from nasbench.costs.budget import Budget
from nasbench.errors import UserError
from nasbench.space import RejectionCounter, SearchSpace
from nasbench.space.genotype import express
from nasbench.space.shipped import load_space, shipped_spaces
from nasbench.space.steering import readable

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
    "resolutions and strides": {
        "resolution": [32, 36, 64],
        "stem": {"kind": ["conv", "mobileone"], "channels": [16]},
        "stages": [
            {
                "downsample": ["block", "mbconv", "conv"],
                "downsample_expansion": [2, 2.1, 4],
                "block": ["mbconv", "irmb"],
                "channels": [16, 24],
                "stride": [1, 2],
                "depth": [1, 2],
                "expansion": [2, 4],
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
        "stem": {"channels": 16},
        "stages": [
            {"depth": [0, 1], "channels": [16, 24], "downsample": ["block", "none"], "stride": [1, 2]},
            {"depth": [0, 1, 2], "channels": [16, 24], "downsample": "block", "kernel": [3, 5]},
            {"depth": [0, 1], "channels": [24], "downsample": ["block", "conv"], "block": ["mbconv", "repvgg"]},
        ],
        "head": {"kind": ["conv", "mobileone"], "expansion": [2, 2.2]},
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


TINY |= tomllib.loads((Path(__file__).parent / "tiny_spaces.toml").read_text(encoding="utf-8"))
TINY["spelled out"] = {
    "resolution": [32, 40],
    "stem": {"kind": ["slots", "conv"], "channels": [8, 16], "slots": STEM_SLOTS},
    "stages": [
        {
            "block": ["slots", "mbconv"],
            "downsample": ["slots", "block", "conv"],
            "channels": [16, 24],
            "depth": [1, 2],
            "slots": SLOTS,
            "entry": ENTRY,
        }
    ],
    "head": {"kind": ["conv", "linear"], "width": [24, 32], "act": ["relu6", "silu"]},
}


def listed(value):
    return value if isinstance(value, list) else [value]


def settings(table):
    """Every raw setting of a table, sensible or not."""
    choices = [[value] if name in ("slots", "entry") else listed(value) for name, value in table.items()]
    return [dict(zip(table, values)) for values in itertools.product(*choices)]


def meets(content, stages, arch):
    """The constraints once more, written down independently."""
    rules = content.get("constraints", {})
    widths = [stage.channels for stage in stages if stage.depth]
    pairs = list(itertools.pairwise(widths))
    if rules.get("channels") == "non-decreasing" and any(a > b for a, b in pairs):
        return False
    if rules.get("channels") == "increasing" and any(a >= b for a, b in pairs):
        return False
    most = float(rules.get("width", "at most 1e9x channels").split()[2].split("x")[0])
    inner = [stage for stage in stages if stage.block in INNER_BLOCKS and stage.depth]
    if any(stage.inner_width > most * stage.channels for stage in inner):
        return False
    if "attention" in rules:
        last = int(rules["attention"].split()[1])
        if any(stage.attends for stage in stages[:-last]):
            return False
    return arch.total_stride == rules.get("stride", arch.total_stride)


def stages_of(table):
    """Every stage of a table, those once that differ only in fields without effect."""
    stages = [Stage(**setting) for setting in settings(table)]
    return list({tuple((name, getattr(s, name)) for name in effective_fields(s)): s for s in stages}.values())


def ends_of(kind, table, effective):
    ends = [kind(**setting) for setting in settings(table)]
    return list({tuple((name, getattr(end, name)) for name in effective(end)): end for end in ends}.values())


def brute_force(content):
    """The ids of everything that can be built from the choices: no cleverness but to leave out idle fields."""
    ids = set()
    stems = ends_of(Stem, content.get("stem", {}), effective_stem_fields)
    heads = ends_of(Head, content.get("head", {}), effective_head_fields)
    for stages in itertools.product(*map(stages_of, content["stages"])):
        if not any(stage.depth for stage in stages):
            continue
        for resolution, stem, head in itertools.product(listed(content["resolution"]), stems, heads):
            arch = Architecture.model_construct(resolution=resolution, stem=stem, stages=stages, head=head)
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


def test_a_space_of_one_is_that_architecture():
    space = SearchSpace.from_dict(FIXED["emo_1m"].to_dict())
    assert space.size() == 1
    assert [arch.id for arch in space] == [FIXED["emo_1m"].id]
    assert space.sample(0).id == FIXED["emo_1m"].id


MEMBERS = {
    "metablock": r"mobilevit.*|emo.*|fastvit.*|mobileone_s[0-3]|repvgg_(a0|a1|b0)",
    "mobilevit": r"mobilevit.*",
    "emo": r"emo.*",
    "fastvit": r"fastvit.*",
    "mobilenet": r"mobilenet.*|mobileone.*",
    "vit": r"vit_(ti|s|b)\d\d|deit.*|mae_vit_base",
    "pvt": r"pvt.*",
    "swin": r"swin_[tsb]",
    "repvgg": r"repvgg.*|acb.*|dbb.*",
    "small": "",
}
IN_DEFAULT = [name for name in FIXED if re.fullmatch(MEMBERS["metablock"], name)]


@pytest.mark.parametrize("name", shipped_spaces())
def test_a_space_holds_its_published_networks_and_says_what_keeps_the_others_out(name):
    space = load_space(name)
    for arch in FIXED.values():
        outside = space.outside(arch)
        if re.fullmatch(MEMBERS[name], arch.name):
            assert outside is None, arch.name
            genotype = space.locate(arch)
            assert express(genotype).id == arch.id
        else:
            assert re.match(r"[a-z\[\]0-9. ]+ = .+: the space('s constraint|) .+|\d stages: the space has .+", outside)


def test_every_published_network_lies_in_the_default_space_or_a_familys():
    held = {name for name in FIXED for members in MEMBERS.values() if re.fullmatch(members, name)}
    assert set(FIXED) - held == {
        *(
            "vit_l16",
            "vit_l32",
            "vit_h14",
            "mae_vit_large",
            "mae_vit_huge",
            "swin_l",
            "swin_l_384",
            "swin_b_384",
        ),  # size
        *("mae_base", "mae_large", "mae_huge"),  # with a decoder, which is never deployed
        *(name for name in FIXED if "slots" in (FIXED[name].stem.kind, FIXED[name].stages[0].block)),  # spelled out
    }


def test_the_default_space_is_counted_fast():
    space = load_space("metablock")
    start = time.process_time()
    assert space.size() > 10**26
    assert time.process_time() - start < 2  # 0.4 s on an idle core


def test_the_small_space_is_what_its_size_says():
    assert SMALL.size() == len({arch.id for arch in SMALL}) == 4608


@pytest.mark.parametrize("name", shipped_spaces())
def test_every_draw_is_a_valid_member(name):
    space = load_space(name)
    rng = np.random.default_rng(0)
    for arch in [space.sample(rng) for _ in range(40)]:
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
    space = SearchSpace.from_dict(TINY["attention in late stages"])
    assert {space.draw(rng).id for _ in range(1000)} == {arch.id for arch in space}


def test_equal_seeds_give_equal_draws():
    assert DEFAULT.sample(7).id == DEFAULT.sample(np.random.default_rng(7)).id
    assert DEFAULT.sample(7).id != DEFAULT.sample(8).id
    again = load_space("metablock")
    arch = DEFAULT.sample(7)
    assert again.mutate(arch, 3).id == DEFAULT.mutate(arch, 3).id
    assert again.crossover(arch, FIXED["emo_5m"], 3).id == DEFAULT.crossover(arch, FIXED["emo_5m"], 3).id


def test_moves_stay_inside_and_move():
    rng = np.random.default_rng(1)
    members = [*(FIXED[name] for name in IN_DEFAULT), *(DEFAULT.sample(rng) for _ in range(20))]
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


def test_codes_tell_architectures_apart():
    for space in (SMALL, SearchSpace.from_dict(TINY["branches that vanish at kernel 1"])):
        members = list(itertools.islice(space, 0, None, 7))
        codes = np.array([space.encode(arch) for arch in members])
        assert codes.shape == (len(members), len(space.feature_names))
        assert len(np.unique(codes, axis=0)) == len(members)
        assert codes.min() >= 0
        assert codes.max() <= 1


def test_equal_networks_have_equal_codes():
    arch = FIXED["emo_1m"]
    first = arch.stages[0].model_copy(
        update={"attention": True, "head_dim": 8, "patch": 4}
    )  # idle in a lone entry block
    same = arch.replace(stages=(first, *arch.stages[1:]))
    assert same.id == arch.id
    assert np.array_equal(DEFAULT.encode(same), DEFAULT.encode(arch))


def test_analytic_cost_equals_fvcore_on_draws():
    import torch

    from nasbench.costs.analytic import cost
    from nasbench.costs.counted import count_fvcore
    from nasbench.nn.model import build, reparameterise

    torch.set_num_threads(1)
    rng = np.random.default_rng(5)
    draws = [DEFAULT.draw(rng).with_resolution(64) for _ in range(150)]  # as true on small maps, and quicker
    cheap = [arch for arch in draws if cost(arch).params < 8e6 and sum(stage.depth for stage in arch.stages) < 13][:3]
    assert len(cheap) == 3
    for index, arch in enumerate(cheap):
        deploy = bool(index % 2)
        model = reparameterise(build(arch, 10)) if deploy else build(arch, 10)
        counted, own = count_fvcore(model, arch.resolution), cost(arch, 10, deploy)
        assert counted == {name: getattr(own, name) for name in counted}, arch.to_toml()


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


@pytest.mark.parametrize(
    "budgets", [["600MFLOP"], ["30MFLOP"], ["0.5Mparams"], ["30MFLOP", "0.5Mparams"], ["1GMAC", "5Mparams", "4MBpeak"]]
)
def test_draws_meet_budgets(budgets):
    from nasbench.costs.analytic import cost

    limits, rng, counter = [Budget.parse(text) for text in budgets], np.random.default_rng(0), RejectionCounter()
    found = [DEFAULT.sample(rng, limits, counter=counter) for _ in range(2)]
    assert len({arch.id for arch in found}) == 2
    for arch in found:
        assert DEFAULT.contains(arch)
        assert all(limit.violation(cost(arch).to_dict()) == 0 for limit in limits)


def test_budgets_on_a_device_use_the_predictor():
    def predict(arch):
        depth = float(sum(stage.depth for stage in arch.stages))
        return {"latency_ms": depth, "memory_bytes": 1e6 * depth, "energy_j": depth / 1e3}

    for text, metric, limit in (("9ms", "latency_ms", 9), ("9MBmem", "memory_bytes", 9e6), ("9mJ", "energy_j", 9e-3)):
        budget = [Budget.parse(text)]
        found = [DEFAULT.sample(seed, budget, predict=predict) for seed in range(5)]
        assert max(predict(arch)[metric] for arch in found) <= limit
        with pytest.raises(ValueError, match=f"a budget on {metric} needs a predictor"):
            DEFAULT.sample(0, budget)


def test_a_predictor_that_does_not_know_the_metric_is_an_error_not_a_pass():
    with pytest.raises(ValueError, match="a budget on energy_j needs a predictor"):
        DEFAULT.sample(0, [Budget.parse("9mJ")], predict=lambda arch: {"latency_ms": 1.0})


def test_the_counter_says_which_rule_rejects_most():
    counter = RejectionCounter()
    assert str(counter) == "nothing drawn yet"
    for seed in range(5):
        DEFAULT.sample(seed, [Budget.parse("600MFLOP"), Budget.parse("50Mparams")], counter=counter)
    assert counter.accepted == 5
    rule, number = counter.most
    assert rule == "budget 600MFLOP"
    assert counter.drawn - 5 <= number + counter.rejected["budget 50Mparams"]
    assert str(counter) == f"5 of {counter.drawn} random draws fit; budget 600MFLOP rejects most ({number})"


def test_a_budget_that_nobody_meets():
    with pytest.raises(UserError) as caught:
        SMALL.sample(0, [Budget.parse("1KFLOP")])
    head, tail = "budget 1KFLOP: no design of space 'small' met it; the smallest of ", "MFLOP; raise the budget"
    assert str(caught.value).startswith(head)
    assert str(caught.value).endswith(tail)


@pytest.mark.parametrize(
    ("text", "value", "shown"),
    [
        ("1KFLOP", 8.4e6, "8.4MFLOP"),
        ("1GFLOP", 2e9, "2GFLOP"),
        ("1MiB", 3 * 2**20, "3MiB"),
        ("1MB", 3e9, "3GB"),
        ("1ms", 0.25, "250us"),
        ("10ms", 1200, "1.2s"),
        ("1KBpeak", 12_000, "12KB peak"),
        ("1KBmem", 12.5e6, "12.5MB memory"),
        ("8MiBram", 2**29, "512MiB memory"),
        ("5mJ", 2.5e-4, "250uJ"),
        ("5uJ", 1.5, "1.5J"),
    ],
)
def test_values_are_shown_in_the_unit_that_suits_them(text, value, shown):
    assert readable(Budget.parse(text), value) == shown


def test_budgets_that_nobody_meets_together():
    from nasbench.costs.analytic import cost

    def predict(arch):
        return {"latency_ms": 4e6 / cost(arch).macs}  # the smaller, the slower

    text = (
        r"budgets 3MFLOP and 1ms: no design of space 'small' met all; the nearest of \d+ tried needs .*MFLOP and .*ms; "
    )
    with pytest.raises(UserError, match=text + "raise one of them"):
        SMALL.sample(0, [Budget.parse("3MFLOP"), Budget.parse("1ms")], predict=predict)


STAGE = {"channels": [16, 24], "depth": [1, 2]}
BAD_FILES = [
    ({}, "key 'resolution' is missing; add it"),
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
        "stages[0].kernel = '5': input should be a valid integer",
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


def changed(arch, index, **values):
    stages = list(arch.stages)
    stages[index] = stages[index].model_copy(update=values)
    return arch.model_copy(update={"stages": tuple(stages)})


EMO, FASTVIT = FIXED["emo_1m"], FIXED["fastvit_t8"]
OUTSIDE = [
    (EMO.with_resolution(320), "resolution = 320: the space offers 192, 224, 256"),
    (changed(EMO, 2, kernel=9), "stages[2].kernel = 9: the space offers 3, 5, 7"),
    (changed(EMO, 1, depth=5), "stages[1].depth = 5: the space offers 1, 2, 3, 4, 6"),
    (changed(EMO, 4, channels=147), "stages[4].channels = 147: the space offers 80, 96"),
    (changed(EMO, 3, head_dim=40), "stages[3].head_dim = 40: the space offers 16, 20, 24, 32"),
    (changed(EMO, 3, head_dim=7), "channels 80 is not a multiple of head_dim 7"),
    (
        changed(FASTVIT, 1, channels=32),
        'stages[1].channels = 32: the space\'s constraint channels = "non-decreasing" does not allow it',
    ),
    (
        changed(EMO, 1, attention=True, head_dim=16),
        'stages[1].attends: the space\'s constraint attention = "last 3 stages" does not allow it',
    ),
    (EMO.model_copy(update={"stages": EMO.stages[2:]}), "3 stages: the space has 4 to 5"),
    (
        EMO.model_copy(update={"stem": Stem(channels=20)}),
        "stem.channels = 20: the space offers 16, 24, 32",
    ),
    (
        EMO.model_copy(update={"head": Head(kind="conv", expansion=3)}),
        "head.expansion = 3.0: the space offers 2.0, 4.0",
    ),
    (changed(EMO, 1, stride=1), "total stride = 16: the space's constraint stride = 32 does not allow it"),
]


@pytest.mark.parametrize(("arch", "text"), OUTSIDE)
def test_outside_names_the_value(arch, text):
    assert not DEFAULT.contains(arch)
    assert text in DEFAULT.outside(arch)


def test_settings_that_a_map_makes_equal_are_members_alike():
    swin, arch = load_space("swin"), FIXED["swin_t"]  # whose last map is 7 x 7

    def with_window(window, resolution=224):
        last = arch.stages[3].model_copy(update={"window": window})
        return arch.replace(stages=(*arch.stages[:3], last), resolution=resolution)

    for window, held in ((8, True), (31, True), (6, False)):
        assert swin.contains(with_window(window)) is held
        assert (with_window(window).id == arch.id) is held
    assert np.array_equal(swin.encode(arch), swin.encode(with_window(31)))
    assert with_window(7, 256).id != with_window(8, 256).id == with_window(31, 256).id
    assert swin.contains(with_window(31, 256))
    assert not swin.contains(with_window(9, 288))


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


def test_draws_under_mobile_budgets_are_not_rare():
    from nasbench.costs.analytic import cost

    rng = np.random.default_rng(0)
    macs = np.array([cost(DEFAULT.draw(rng)).macs for _ in range(250)])
    assert np.mean(macs < 1e9) > 0.35  # 0.39 before MobileViTv2, MobileOne and RepVGG came in, 0.5 now
    assert np.mean(macs < 5e8) > 0.12  # 0.13 and 0.2


def test_moves_from_outside_are_refused():
    with pytest.raises(UserError, match="emo_1m lies outside space 'small': "):
        SMALL.mutate(FIXED["emo_1m"], 0)


@pytest.mark.parametrize("name", shipped_spaces())
def test_files_round_trip(name):
    space = load_space(name)
    again = SearchSpace.from_dict(space.to_dict())
    assert (again.name, again.id, again.to_dict()) == (name, space.id, space.to_dict())
    copied = pickle.loads(pickle.dumps(space))
    for other in (again, copied):
        assert [other.sample(seed).id for seed in range(2)] == [space.sample(seed).id for seed in range(2)]


def test_ids_of_spaces_ignore_names_and_order():
    one = SearchSpace.from_dict({"name": "a", "resolution": [64, 96], "stages": [STAGE]})
    two = SearchSpace.from_dict(
        {"name": "b", "resolution": [96, 64], "stages": [{"depth": [2, 1], "channels": [24, 16]}]}
    )
    other = SearchSpace.from_dict({"resolution": [96, 64], "stages": [{"depth": [2, 1], "channels": [24, 32]}]})
    assert one.id == two.id != other.id


def test_one_network_alone_is_looked_for_in_every_space(capsys):
    from nasbench.cli import main

    assert main(["space", "contains", "mobilenetv2_100"]) == 0
    lines = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())
    assert set(lines) == set(shipped_spaces())
    assert lines["mobilenet"] == "yes"
    assert lines["metablock"] == "no, stem.act = 'relu6': the space offers only the default"
