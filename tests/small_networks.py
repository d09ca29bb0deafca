"""A few small architectures for every block, transition, stem and head there is, an addition included on arrival."""

from __future__ import annotations

from typing import Any

from nasbench.architecture import BLOCK_FIELDS, STRIDING_BLOCKS, Architecture
from nasbench.presets import BLOCKS, HEADS, STEMS, TRANSITIONS

ANY_BRANCHES = ("none", "repvgg", "acb", "dbb", "mobileone")
# Every field of a stage that a block may read, set to something that is not its default.
STAGE: dict[str, Any] = {
    "channels": 16, "expansion": 1.5, "se": 0.25, "attention": True, "head_dim": 8, "heads": 2, "width": 24,
    "patch": 2, "window": 4, "cpe": True,
}  # fmt: skip
SLOTS = [{"c_in": 16, "c_out": 16, "mix": [{"c_in": 16, "c_out": 16, "kernel": 3}], "skip": "identity"}]


def network(resolution: int = 36, stem: Any = None, head: Any = None, **stage: Any) -> Architecture:
    """Stem stride 2, then one stage, which strides: at 36 px its maps are odd, 9 x 9."""
    stage = {"downsample": "conv", "block": "mbconv", **STAGE, **stage}
    stage["depth"] = 2 if stage["downsample"] == "block" else 1
    if stage["block"] == "slots":
        stage["slots"] = SLOTS
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
    for transition in TRANSITIONS:
        for stride in (1, 2):
            block = "repmixer" if transition == "mbconv" else "mbconv"  # an mbconv strides by itself
            found[f"{transition}-s{stride}"] = network(block=block, downsample=transition, stride=stride)
    for stem in STEMS:
        for stride in (1, 2, 4) if stem == "mobileone" else (1, 2):
            found[f"stem-{stem}-s{stride}"] = network(40, {"kind": stem, "channels": 8, "stride": stride})
    for head in HEADS:
        for expansion in (1, 2.5):
            found[f"head-{head}-x{expansion}"] = network(head={"kind": head, "expansion": expansion})
    return found


NETWORKS = networks()
