"""Which architectures a space holds, what keeps the others out, and their codes."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
from hypothesis import given
from shared_spaces import DEFAULT, FIXED, SMALL
from tiny_spaces import TINY, spaces

from nasbench.arch.parts import Head, Stem
from nasbench.errors import UserError
from nasbench.space import SearchSpace
from nasbench.space.genotype import express
from nasbench.space.shipped import load_space, shipped_spaces

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


@given(spaces(most=100))
def test_every_member_of_any_space_is_found_again_with_a_code_of_its_own(space):
    members = list(itertools.islice(space, 60))
    assert all(express(space.locate(arch)).id == arch.id for arch in members)
    codes = np.array([space.encode(arch) for arch in members])
    assert codes.shape == (len(members), len(space.feature_names))
    assert len(np.unique(codes, axis=0)) == len(members)
    assert ((codes >= 0) & (codes <= 1)).all()


@given(spaces(most=100), spaces(most=100))
def test_a_member_of_another_space_is_told_from_ones_own(one, other):
    held = {arch.id for arch in itertools.islice(one, 300)}
    for arch in itertools.islice(other, 20):
        assert one.contains(arch) is (arch.id in held)


EMO, FASTVIT = FIXED["emo_1m"], FIXED["fastvit_t8"]


def changed(arch, index, **values):
    stages = list(arch.stages)
    stages[index] = stages[index].model_copy(update=values)
    return arch.model_copy(update={"stages": tuple(stages)})


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


def test_a_name_is_no_member():
    with pytest.raises(UserError, match="'emo_1m' is no architecture"):
        load_space("small").contains("emo_1m")


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


def test_one_network_alone_is_looked_for_in_every_space(capsys):
    from nasbench.cli import main

    assert main(["space", "contains", "mobilenetv2_100"]) == 0
    lines = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())
    assert set(lines) == set(shipped_spaces())
    assert lines["mobilenet"] == "yes"
    assert lines["metablock"] == "no, stem.act = 'relu6': the space offers only the default"
