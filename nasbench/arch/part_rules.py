"""Whether the parts of an architecture fit each other. Problems are `value, rule, remedy`; None is fine."""

from __future__ import annotations

from collections.abc import Sequence

from nasbench.arch.block_rules import entry_problem, slots_problem
from nasbench.arch.parts import IMAGE_CHANNELS, STEM_STRIDES, STRIDING_BLOCKS, Head, Stage, Stem, effective_fields


def stage_problem(stage: Stage, c_in: int) -> str | None:
    """Why this stage cannot follow `c_in` channels, as `value, rule, remedy`; None where it can."""
    if stage.depth == 0:
        return None
    if stage.downsample == "none" and (stage.stride != 1 or stage.channels != c_in):
        return (
            f"downsample 'none' with stride {stage.stride} from {c_in} to {stage.channels} channels: without a "
            "transition stride must be 1 and channels stay; choose conv, mbconv, patch_embed, patch, merge or block"
        )
    if stage.downsample == "block" and stage.block not in STRIDING_BLOCKS:
        return (
            f"downsample 'block' with block {stage.block!r}, which keeps its shape; "
            f"use conv, mbconv or patch_embed, or one of the blocks {', '.join(STRIDING_BLOCKS)}"
        )
    if stage.downsample == stage.block == "mbconv":  # would spell most of what downsample "block" spells a second time
        return "downsample 'mbconv' with block 'mbconv': the block makes the change itself; use downsample 'block'"
    if stage.downsample == "slots":
        problem = entry_problem(stage.entry, c_in, stage.channels, stage.stride)
        if problem:
            return problem
    if stage.kernel % 2 == 0 and "kernel" in effective_fields(stage):
        return f"kernel {stage.kernel} is even: only odd kernels keep the map's size; use {stage.kernel + 1}"
    return _width_problem(stage)


def _width_problem(stage: Stage) -> str | None:
    if stage.block in ("irmb", "transformer", "encoder", "swin") and stage.attends and stage.channels % stage.head_dim:
        return f"channels {stage.channels} is not a multiple of head_dim {stage.head_dim}; change one of them"
    if stage.block == "mobilevit" and stage.inner_width % stage.heads:
        return f"width {stage.inner_width} is not a multiple of heads {stage.heads}; change one of them"
    if stage.position == "sine" and stage.block == "encoder" and stage.channels % 4:
        return f"position 'sine' with {stage.channels} channels: they must be a multiple of 4; change one of them"
    if stage.block == "slots":
        return slots_problem(stage.slots, stage.channels)
    return None


def ends_problem(stem: Stem, present: Sequence[Stage], head: Head, in_channels: int = IMAGE_CHANNELS) -> str | None:
    """What is wrong with stem, head, or where the tokens stand; `present`: the stages that have a depth."""
    if stem.kind == "slots":
        if stem.slots and stem.slots[0].c_in != in_channels:
            own = stem.slots[0].c_in
            return f"stem: slots[0] takes {own} channels and images have in_channels {in_channels}; make them equal"
        problem = entry_problem(stem.slots, in_channels, stem.channels, stem.total_stride)
        if problem:
            return f"stem: {problem}"
    allowed = STEM_STRIDES.get(stem.kind)
    if allowed and stem.total_stride not in allowed:
        strides = " or ".join(map(str, allowed))
        more = "; use 'mobileone', 'patch' or 'resnet' for 4" if stem.total_stride == 4 else ""
        return f"stem kind {stem.kind!r} strides by {strides}, not {stem.total_stride}{more}"
    for index, stage in enumerate(present[:-1]):
        if stage.block == "encoder" and stage.tokens:
            return f"stages[{index}]: tokens {stage.tokens} before the last stage: a row has no map for the next; use 0"
    last = present[-1]
    if last.block == "encoder" and last.tokens and last.reduction > 1:
        return (
            f"stages[{len(present) - 1}]: tokens {last.tokens} with reduction {last.reduction}: a row has no map to "
            "reduce; use reduction 1 or tokens 0"
        )
    if head.kind == "decoder":
        return _decoder_problem(head, last, len(present))
    return None


def _decoder_problem(head: Head, last: Stage, count: int) -> str | None:
    if count > 1 or last.block != "encoder" or not last.tokens:
        return (
            "head kind 'decoder' hides positions of one row: it needs exactly one stage, of block 'encoder' and with "
            "tokens 1; use another head"
        )
    if head.decoder_width % head.heads or head.decoder_width % 4:
        return f"head width {head.decoder_width} is not a multiple of 4 and of heads {head.heads}; change one of them"
    return None
