"""Identity comes from the network that a file builds; a wrong file is named in one line."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from pydantic import TypeAdapter
from small_networks import NETWORKS, STAGE, network

import nasbench
from nasbench.arch.architecture import Architecture
from nasbench.arch.deploy_form import deploy_network
from nasbench.arch.library import fixed_points
from nasbench.arch.metablock import MetaBlock, Network, canonical, canonical_json
from nasbench.arch.parts import BLOCK_FIELDS, Stage, effective_fields
from nasbench.arch.presets import ALTERNATING_BLOCKS, BLOCKS, Place, stage_units
from nasbench.errors import UserError

FIXED_POINTS = fixed_points()
# Ids stand in stored studies: they may change only when what they build does.
IDS = {"mobilevit_s": "2f0d060d06115d95", "emo_1m": "d18c9a715b712487", "fastvit_sa12": "2d962424ec6d4c0f"}


@pytest.mark.parametrize("arch", [*FIXED_POINTS.values(), *NETWORKS.values()], ids=[*FIXED_POINTS, *NETWORKS])
def test_files_round_trip(arch, tmp_path):
    for again in (
        Architecture.from_toml(arch.to_toml()),
        Architecture.from_dict(json.loads(json.dumps(arch.to_dict()))),
    ):
        assert again.id == arch.id
        assert again.to_dict() == arch.to_dict()
        assert again.network == arch.network


def test_a_file_without_a_name_is_called_after_itself(tmp_path):
    content = network().to_dict()
    (tmp_path / "mine.json").write_text(json.dumps(content))
    (tmp_path / "yours.toml").write_text(network().to_toml())
    assert nasbench.load(tmp_path / "mine.json").name == "mine"
    assert nasbench.load(tmp_path / "yours.toml").name == "yours"
    (tmp_path / "two\nlines.toml").write_text(network().to_toml())
    assert nasbench.load(tmp_path / "two\nlines.toml").name == "two?lines"
    assert nasbench.load(tmp_path / "mine.json").id == nasbench.load(str(tmp_path / "yours.toml")).id == network().id


@pytest.mark.parametrize("name", IDS)
def test_ids_are_pinned(name):
    assert nasbench.load(name).id == IDS[name]


def test_ids_do_not_depend_on_the_process():
    code = "import nasbench; print(nasbench.load('fastvit_sa12').id)"
    found = {subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)}).stdout.strip()
             for seed in ("1", "2")}  # fmt: skip
    assert found == {IDS["fastvit_sa12"]}


def test_names_and_the_order_of_keys_are_not_part_of_the_id():
    arch = nasbench.load("emo_1m")
    shuffled = {key: arch.to_dict()[key] for key in ("stages", "head", "name", "resolution", "stem")}
    shuffled["stages"] = [dict(reversed(stage.items())) for stage in shuffled["stages"]]
    assert Architecture.from_dict(shuffled).id == arch.id
    assert arch.replace(name="other").id == arch.id
    assert arch.with_resolution(256).id != arch.id


# An entry block strides, which slots leave to the transition.
# Tokens are no slot's: they make a row of the map, and only the head can follow.
SPELLABLE = [
    name for name, arch in NETWORKS.items() if arch.stages[0].downsample != "block" and not arch.stages[0].tokens
]


@pytest.mark.parametrize("name", SPELLABLE)
def test_slots_that_spell_a_preset_out_are_the_same_network(name):
    arch = NETWORKS[name]
    transition = stage_units(arch.stages[0], arch.stem.channels, 18).transition
    blocks = arch.network.stages[0][len(transition) :]
    content = arch.to_dict()
    spelled = {
        "block": "slots",
        "depth": 1,
        "slots": TypeAdapter(tuple[MetaBlock, ...]).dump_python(blocks, mode="json"),
    }
    plain = ("downsample", "downsample_expansion", "stride", "channels", "entry")
    content["stages"] = [{key: x for key, x in content["stages"][0].items() if key in plain} | spelled]
    again = Architecture.from_dict(content)
    assert again.network == arch.network
    assert again.id == arch.id == Architecture.from_toml(again.to_toml()).id


# A second value for every field that a stage can have, each different from what `network` gives.
OTHER: dict[str, Any] = {
    "downsample_expansion": 2.0, "expansion": 2.0, "kernel": 5, "branches": "repvgg", "se": 0.5, "act": "hardswish",
    "attention": False, "head_dim": 4, "heads": 4, "width": 32, "patch": 3, "window": 5, "cpe": False,
    "reduction": 3, "tokens": 1, "position": "sine",
}  # fmt: skip


@pytest.mark.parametrize("field", OTHER)
@pytest.mark.parametrize("block", [block for block in BLOCK_FIELDS if block != "slots"])
def test_a_field_changes_the_id_exactly_where_it_has_an_effect(block, field):
    arch = network(block=block, downsample="patch_embed")
    other = network(block=block, downsample="patch_embed", **{field: OTHER[field]})
    has_effect = field in effective_fields(other.stages[0])
    assert (arch.id != other.id) == has_effect
    assert (arch.to_dict() != other.to_dict()) == has_effect
    assert has_effect == (field in BLOCK_FIELDS[block])


def test_every_field_is_tried():
    shape = {"downsample", "stride", "block", "channels", "depth", "slots", "entry"}
    assert set(OTHER) | shape == set(Stage.model_fields)
    assert {*STAGE, "downsample_expansion", "kernel", "branches", "act", "tokens"} - {"channels"} == set(OTHER)


def test_absent_stages_and_idle_fields_leave_no_trace():
    arch = network(block="irmb", attention=False)
    content = arch.to_dict()
    absent = {"channels": 99, "depth": 0, "block": "mobilevit", "stride": 1}
    assert Architecture.from_dict({**content, "stages": [absent, *content["stages"], absent]}).id == arch.id
    idle = {**content["stages"][0], "head_dim": 3, "window": 9, "patch": 7, "cpe": True, "downsample_expansion": 9.0}
    assert Architecture.from_dict({**content, "stages": [idle]}).to_dict() == content
    head = {"kind": "linear", "expansion": 3.0}
    assert Architecture.from_dict({**content, "head": head}).id == arch.id


def test_defaults_written_out_are_the_defaults():
    content = {"resolution": 32, "stages": [{"channels": 16, "depth": 1, "block": "mobilevit"}]}
    full = {"stem": {"kind": "conv", "channels": 16, "stride": 2}, "head": {"kind": "linear"}}
    wide = [{**content["stages"][0], "width": 24, "heads": 4, "patch": 1, "downsample": "conv"}]
    assert Architecture.from_dict(content).id == Architecture.from_dict({**content, **full, "stages": wide}).id


def test_architectures_are_frozen_values():
    arch = network()
    with pytest.raises(ValueError, match="frozen"):
        arch.resolution = 5
    assert arch == network()
    assert isinstance(arch.network, Network)
    assert deploy_network(deploy_network(arch.network)) == deploy_network(arch.network)
    assert (arch.label, arch.replace(name="mine").label) == (arch.id[:8], "mine")
    assert nasbench.load("fastvit_t8").total_stride == 32


S = {"channels": 16, "depth": 1}
SLOT = {"c_in": 16, "c_out": 16}


def slot(**content: Any) -> dict[str, Any]:
    return {"stages": [{**S, "block": "slots", "slots": [{**SLOT, **content}]}]}


WRONG = {
    r"name = 'a\x1b[31m': control characters are no text; leave them out of the name": {"name": "a\x1b[31m"},
    "unknown key 'foo'; known keys: head, in_channels, name, resolution, stages, stem": {"foo": 1},
    "unknown key 'stages[0].chanels'; known keys: act, attention, block, branches, channels, cpe, depth, downsample, "
    "downsample_expansion, entry, expansion, head_dim, heads, kernel, patch, position, reduction, se, slots, stride, "
    "tokens, width, window": {"stages": [{**S, "chanels": 3}]},
    "unknown key 'stages[0].slots[0].foo'; known keys: before, c_in, c_out, expand, layer_scale, mix, post, pre_norm, "
    "project, skip": slot(foo=2),
    "key 'stages[0].channels' is missing; add it": {"stages": [{"depth": 1}]},
    "stages[0].channels = 'wide': must be a whole number": {"stages": [{**S, "channels": "wide"}]},
    "stages[0].kernel = '3': must be a whole number; write it without quotes": {"stages": [{**S, "kernel": "3"}]},
    "stages[0].kernel = True: must be a whole number": {"stages": [{**S, "kernel": True}]},
    "stages[0].kernel = 3.5: input should be a valid integer, got a number with a fractional part":
        {"stages": [{**S, "kernel": 3.5}]},
    "stages[0].se = '0.25': must be a number; write it without quotes": {"stages": [{**S, "se": "0.25"}]},
    "stages[0].stride = True: must be a number": {"stages": [{**S, "stride": True}]},
    "stages[0].cpe = 1: must be true or false": {"stages": [{**S, "block": "transformer", "cpe": 1}]},
    "stages[0].cpe = 'true': must be true or false; write it without quotes":
        {"stages": [{**S, "block": "transformer", "cpe": "true"}]},
    "stages[0].slots[0].c_in = '16': must be a whole number; write it without quotes": slot(c_in="16"),
    "stages[0].slots[0].layer_scale = '1e-6': must be a number; write it without quotes": slot(layer_scale="1e-6"),
    "stages[0].channels = [16, 32]: input should be a valid integer": {"stages": [{**S, "channels": [16, 32]}]},
    "stages = {'channels': 16, 'depth': 1}: must be a list; tables in it are headed [[stages]]": {"stages": S},
    "stem = 'conv': must be a table of keys and values": {"stem": "conv"},
    "stages[0].stride = 3: input should be 1 or 2": {"stages": [{**S, "stride": 3}]},
    "stages[0].se = 2: input should be less than or equal to 1": {"stages": [{**S, "se": 2}]},
    "stages[0].expansion = nan: input should be a finite number": {"stages": [{**S, "expansion": float("nan")}]},
    "resolution 30 is not a multiple of the total stride 4; use 32": {"resolution": 30},
    "every stage has depth 0; give at least one stage a depth of 1 or more": {"stages": [{**S, "depth": 0}]},
    "stages[0]: kernel 4 is even: only odd kernels keep the map's size; use 5": {"stages": [{**S, "kernel": 4}]},
    "stages[0]: channels 16 is not a multiple of head_dim 5; change one of them":
        {"stages": [{**S, "block": "transformer", "head_dim": 5}]},
    "stages[0]: width 30 is not a multiple of heads 4; change one of them":
        {"stages": [{**S, "block": "mobilevit", "width": 30}]},
    "stages[0]: downsample 'block' with block 'repmixer', which keeps its shape; use conv, mbconv or patch_embed, or "
    "one of the blocks mbconv, irmb, repvgg, mobileone, basic":
        {"stages": [{**S, "block": "repmixer", "downsample": "block"}]},
    "stages[0]: downsample 'none' with stride 2 from 16 to 16 channels: without a transition stride must be 1 and "
    "channels stay; choose conv, mbconv, patch_embed, patch, merge or block": {"stages": [{**S, "downsample": "none"}]},
    "stages[0]: block 'slots' without [[stages.slots]]; spell out at least one meta-block":
        {"stages": [{**S, "block": "slots"}]},
    "stages[0]: slots[0]: c_in 8 where 16 channels arrive; make them equal": slot(c_in=8),
    "stages[0]: slots[0]: c_out 8, but its last part writes 16 channels; make them equal": slot(c_out=8),
    "stages[0]: the slots stride by 2, but a repeated block keeps the map's size; stride in `entry`":
        slot(mix=[{**SLOT, "stride": 2}]),
    "stages[0]: slots[0]: mix[0]: c_in 8 where 16 channels arrive; make them equal":
        slot(mix=[{"c_in": 8, "c_out": 16}]),
    "stages[0]: stride 2, but the meta-blocks spelled out stride by 1; make them equal":
        {"stages": [{**S, "downsample": "slots", "entry": [SLOT]}]},
    "stages[0]: 'slots' without meta-blocks; spell out at least one": {"stages": [{**S, "downsample": "slots"}]},
    "stem: 'slots' without meta-blocks; spell out at least one": {"stem": {"kind": "slots"}},
    "stem: entry ends with 8 channels, not 16; make them equal":
        {"stem": {"kind": "slots", "slots": [{"c_in": 3, "c_out": 8, "mix": [{"c_in": 3, "c_out": 8}]}]}},
    "stem kind 'conv' strides by 1 or 2, not 4; use 'mobileone', 'patch' or 'resnet' for 4":
        {"stem": {"kind": "conv", "stride": 4}},
    "stages[0]: entry[0]: skip 'identity' around a branch that strides by 2; use a convolution as the skip":
        {"stages": [{**S, "downsample": "slots",
                     "entry": [{**SLOT, "mix": [{**SLOT, "stride": 2}], "skip": "identity"}]}]},
    "stages[0]: slots[0]: mix[0]: kernel 2 is even: padded by half of it, only odd kernels keep the map's size; use 3, "
    "or padding 'valid'": slot(mix=[{**SLOT, "kernel": 2}]),
    "stages[0]: slots[0]: mix[0]: linear with a kernel, stride, groups, branches or standardise: a linear layer has "
    "none; leave it out": slot(mix=[{**SLOT, "kernel": 3, "linear": True}]),
    "stages[0]: slots[0]: mix[0]: Pool of 8 channels where 16 arrive; make them equal":
        slot(mix=[{"channels": 8, "kernel": 3, "stride": 1}]),
    "stages[0]: tokens 1 before the last stage: a row has no map for the next; use 0":
        {"stages": [{**S, "block": "encoder", "head_dim": 8, "tokens": 1}, S]},
    "stages[0]: tokens 1 with reduction 2: a row has no map to reduce; use reduction 1 or tokens 0":
        {"stages": [{**S, "block": "encoder", "head_dim": 8, "tokens": 1, "reduction": 2}]},
    "head kind 'decoder' hides positions of one row: it needs exactly one stage, of block 'encoder' and with tokens 1; "
    "use another head": {"head": {"kind": "decoder"}},
    "head width 20 is not a multiple of 4 and of heads 3; change one of them":
        {"head": {"kind": "decoder", "width": 20, "heads": 3},
         "stages": [{**S, "block": "encoder", "head_dim": 8, "tokens": 1}]},
    "stages[0]: slots[0]: mix[0]: groups 3 must divide c_in 16 and c_out 16; use for example 1":
        slot(mix=[{**SLOT, "groups": 3}]),
    "stages[0]: slots[0]: mix[0]: channels 16 is not a multiple of heads 3; change one of them":
        slot(mix=[{"channels": 16, "heads": 3}]),
    "stages[0]: slots[0]: mix[0]: norm 'ln' beside branches, each of which has a batch norm of its own; leave it out":
        slot(mix=[{**SLOT, "norm": {"kind": "ln"}, "branches": [{"kind": "kxk"}]}]),
    "stages[0]: slots[0]: mix[0]: branches[1]: kernel 5 must be odd, and at most the convolution's 3; change it":
        slot(mix=[{**SLOT, "kernel": 3, "branches": [{"kind": "kxk"}, {"kind": "kxk", "kernel": 5}]}]),
    "stages[0]: slots[0]: project[0]: c_in 16 where 32 channels arrive; make them equal":
        slot(project=[SLOT], skip="concat"),
    "stages[0]: slots[0]: mix[0]: blocks[0]: 16 to 8 channels, but in a nest all 16 stay; keep them":
        slot(mix=[{"patch": 2, "blocks": [{"c_in": 16, "c_out": 8}]}]),
    "stages[0]: slots[0]: post[0]: squeeze-excite of 4 channels where 16 arrive; make them equal":
        slot(post=[{"channels": 4, "hidden": 2}]),
}  # fmt: skip


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_is_said_in_one_line(text):
    with pytest.raises(UserError) as caught:
        Architecture.from_dict({"resolution": 32, "stages": [S], **WRONG[text]}, "my.toml")
    assert str(caught.value) == f"my.toml: {text}"


def test_files_that_are_no_architecture(tmp_path):
    with pytest.raises(UserError, match="unknown architecture ''; give the path"):
        nasbench.load("")
    with pytest.raises(UserError, match=r"here: \[1\] is no table of keys and values"):
        Architecture.from_dict([1], "here")
    (tmp_path / "broken.toml").write_text("resolution = = 3")
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "list.json").write_text("[1]")
    with pytest.raises(
        UserError, match=r"broken.toml: not valid TOML: Invalid value \(at line 1, column 14\); compare"
    ):
        nasbench.load(tmp_path / "broken.toml")
    with pytest.raises(UserError, match=r"broken.json: not valid JSON: .*; compare with a file in search_spaces/"):
        nasbench.load(tmp_path / "broken.json")
    with pytest.raises(UserError, match=r"list.json: holds a list, not an object with keys; see search_spaces/"):
        nasbench.load(tmp_path / "list.json")
    with pytest.raises(UserError, match=r"none.toml: cannot be read: No such file or directory; give the path"):
        nasbench.load(tmp_path / "none.toml")
    with pytest.raises(
        UserError,
        match=r"unknown architecture 'mobilevit'; give the path of a .toml file, or a name such as mobilevit_s, ",
    ):
        nasbench.load("mobilevit")


@pytest.mark.parametrize("block", sorted(BLOCKS))
def test_blocks_look_at_their_turn_only_where_they_are_said_to_alternate(block: str) -> None:
    stages = [stage for arch in FIXED_POINTS.values() for stage in arch.stages if stage.block == block]
    differ = False
    for stage in stages:
        first, second = (BLOCKS[block](stage, Place(stage.channels, side=56, turn=turn)) for turn in (0, 1))
        differ |= first != second
    assert differ == (block in ALTERNATING_BLOCKS)


@pytest.mark.parametrize("name", ["emo_1m", "mobilevit_s", "swin_t", "mae_vit_base"])
def test_the_text_that_ids_are_made_of_is_that_of_the_whole_network(name: str) -> None:
    whole = FIXED_POINTS[name].network
    assert canonical_json(whole) == json.dumps(canonical(whole), sort_keys=True)
