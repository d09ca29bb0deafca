"""A few small architectures for every block, transition, stem and head there is, an addition included on arrival."""

from __future__ import annotations

from typing import Any

from nasbench.arch.architecture import Architecture
from nasbench.arch.parts import BLOCK_FIELDS, STEM_STRIDES, STRIDING_BLOCKS
from nasbench.arch.presets import BLOCKS, HEADS, STEMS, TRANSITIONS

ANY_BRANCHES = ("none", "repvgg", "acb", "dbb", "mobileone")
# Every field of a stage that a block may read, set to something that is not its default.
STAGE: dict[str, Any] = {
    "channels": 16, "expansion": 1.5, "se": 0.25, "attention": True, "head_dim": 8, "heads": 2, "width": 24,
    "patch": 2, "window": 4, "cpe": True, "reduction": 2, "position": "learned",
}  # fmt: skip
SLOTS = [{"c_in": 16, "c_out": 16, "mix": [{"c_in": 16, "c_out": 16, "kernel": 3}], "skip": "identity"}]


ENTRY = [{"c_in": 8, "c_out": 16, "mix": [{"c_in": 8, "c_out": 16, "kernel": 3, "stride": 2, "padding": "same"}]}]
STEM_SLOTS = [
    {
        "c_in": 3,
        "c_out": 8,
        "mix": [
            {"c_in": 3, "c_out": 8, "kernel": 7, "padding": "same", "standardise": 1e-5, "norm": {"kind": "gn"}},
            {"channels": 8, "kernel": 3, "stride": 2, "padding": "same"},
        ],
    }
]


def network(resolution: int = 36, stem: Any = None, head: Any = None, **stage: Any) -> Architecture:
    """Stem stride 2, then one stage, which strides: at 36 px its maps are odd, 9 x 9."""
    stage = {"downsample": "conv", "block": "mbconv", "depth": 1, **STAGE, **stage}
    if stage["downsample"] == "block":
        stage["depth"] = 2
    if stage.get("tokens"):
        stage["reduction"] = 1  # a row of tokens is no map to reduce
    if stage["block"] == "slots":
        stage["slots"] = SLOTS
    if stage["downsample"] == "slots":
        stage["entry"] = ENTRY
    content = {"resolution": resolution, "stages": [stage]}
    content |= {key: value for key, value in (("stem", stem or {"channels": 8}), ("head", head)) if value}
    return Architecture.from_dict(content)


def networks() -> dict[str, Architecture]:
    """Name -> architecture."""
    found = {}
    for block in BLOCKS:
        for branches in ANY_BRANCHES if "branches" in BLOCK_FIELDS[block] else ("none",):
            for kernel in (3, 5) if "kernel" in BLOCK_FIELDS[block] else (3,):
                found[f"{block}-{branches}-k{kernel}"] = network(block=block, branches=branches, kernel=kernel)
    for block in STRIDING_BLOCKS:
        for branches in ("none", "dbb"):
            for attention in (False, True) if "attention" in BLOCK_FIELDS[block] else (False,):
                stage = {"block": block, "branches": branches, "attention": attention, "downsample": "block"}
                found[f"{block}-{branches}-{attention}-strides"] = network(**{**stage, "expansion": 2 + attention})
                found[f"{block}-{branches}-{attention}-strides-unexpanded"] = network(**{**stage, "expansion": 1})
    found["transformer-plain"] = network(block="transformer", patch=1, cpe=False, kernel=1)
    found["swin-shifted"] = network(block="swin", depth=3, window=3)
    found["swin-whole-map"] = network(block="swin", depth=2, window=16)
    for tokens, position in ((1, "learned"), (2, "sine"), (0, "interpolated"), (1, "none")):
        tokenised = {"block": "encoder", "reduction": 1, "tokens": tokens, "position": position}
        found[f"encoder-{tokens}-{position}"] = network(head={"kind": "token"}, **tokenised)
        found[f"encoder-{tokens}-{position}-pooled"] = network(head={"kind": "pooled_norm"}, **tokenised)
    for transition in TRANSITIONS:
        for stride in (1, 2) if transition != "slots" else (2,):
            block = "repmixer" if transition == "mbconv" else "mbconv"  # an mbconv strides by itself
            found[f"{transition}-s{stride}"] = network(block=block, downsample=transition, stride=stride)
    for stem in STEMS:
        for stride in STEM_STRIDES.get(stem, (2,)):
            slots = {"slots": STEM_SLOTS} if stem == "slots" else {"norm": True, "stride": stride}
            found[f"stem-{stem}-s{stride}"] = network(40, {"kind": stem, "channels": 8, **slots})
    for head in HEADS:
        for expansion in (1, 2.5) if head != "decoder" else ():
            found[f"head-{head}-x{expansion}"] = network(head={"kind": head, "expansion": expansion})
    return found


NETWORKS = networks()
