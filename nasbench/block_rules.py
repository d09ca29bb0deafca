"""Whether a meta-block that a file spells out can be built. Problems are `place: value: rule; remedy`, None is fine."""

from __future__ import annotations

from collections.abc import Iterator

from nasbench.metablock import Act, Attention, Conv, MetaBlock, Mixer, Nest, Norm, SqueezeExcite

Problem = str | None


def slots_problem(slots: tuple[MetaBlock, ...], channels: int) -> Problem:
    """Why these meta-blocks cannot be repeated on a map of `channels`."""
    if not slots:
        return "block 'slots' without [[stages.slots]]; spell out at least one meta-block"
    width = channels
    for index, slot in enumerate(slots):
        if slot.c_in != width:
            return f"slots[{index}]: c_in {slot.c_in} where {width} channels arrive; make them equal"
        problem = block_problem(slot)
        if problem:
            return f"slots[{index}]: {problem}"
        width = slot.c_out
    return (
        None
        if width == channels
        else f"the slots end with {width} channels, the stage says {channels}; make them equal"
    )


def block_problem(block: MetaBlock) -> Problem:
    """Follow channels and stride through the block; it must keep its map's size, since transitions stride."""
    channels = block.c_in
    problem = norm_problem(block.pre_norm, channels)
    if problem:
        return f"pre_norm: {problem}"
    for place, mixer in _in_order(block):
        arriving = channels
        if block.skip == "concat" and place == f"project[{len(block.project) - 1}]":
            arriving += block.c_in
        problem = mixer_problem(mixer, arriving)
        if problem:
            return f"{place}: {problem}"
        channels = mixer.c_out if isinstance(mixer, Conv) else channels
    return _ends_problem(block, channels)


def _in_order(block: MetaBlock) -> Iterator[tuple[str, Mixer]]:
    for name, mixers in (("before", block.before), ("mix", block.mix), ("project", block.project)):
        if name == "mix" and block.expand:
            yield "expand", block.expand
        for index, mixer in enumerate(mixers):
            yield f"{name}[{index}]", mixer


def _ends_problem(block: MetaBlock, channels: int) -> Problem:
    if channels != block.c_out:
        return f"c_out {block.c_out}, but its last part writes {channels} channels; make them equal"
    if block.skip == "identity" and block.c_in != block.c_out:
        return f"skip 'identity' from {block.c_in} to {block.c_out} channels: they must be equal; leave the skip out"
    if block.skip == "concat" and not block.project:
        return "skip 'concat' without a convolution in `project` that reads both; add one"
    for index, item in enumerate(block.post):
        problem = None if isinstance(item, Act) else _gate_or_norm_problem(item, channels)
        if problem:
            return f"post[{index}]: {problem}"
    return None


def _gate_or_norm_problem(item: Norm | SqueezeExcite, channels: int) -> Problem:
    return norm_problem(item, channels) if isinstance(item, Norm) else gate_problem(item, channels)


def mixer_problem(mixer: Mixer, channels: int) -> Problem:
    """Why this mixer cannot follow `channels` channels."""
    if isinstance(mixer, Conv):
        return conv_problem(mixer, channels)
    if isinstance(mixer, SqueezeExcite):
        return gate_problem(mixer, channels)
    return attention_problem(mixer, channels) if isinstance(mixer, Attention) else nest_problem(mixer, channels)


def conv_problem(conv: Conv, channels: int) -> Problem:
    sizes = (("c_in", conv.c_in), ("c_out", conv.c_out), ("kernel", conv.kernel), ("groups", conv.groups))
    for name, value in sizes:
        if value < 1:
            return min_problem(name, value)
    if conv.c_in != channels:
        return f"c_in {conv.c_in} where {channels} channels arrive; make them equal"
    if conv.stride != 1:
        return f"stride {conv.stride}: slots keep the map's size; let the stage's downsample stride"
    if conv.kernel % 2 == 0:
        return f"kernel {conv.kernel} is even: only odd kernels keep the map's size; use {conv.kernel + 1}"
    if conv.c_in % conv.groups or conv.c_out % conv.groups:
        return f"groups {conv.groups} must divide c_in {conv.c_in} and c_out {conv.c_out}; use for example 1"
    if conv.residual and conv.c_in != conv.c_out:
        return f"residual from {conv.c_in} to {conv.c_out} channels: they must be equal; leave it out"
    gate = gate_problem(conv.se, conv.c_out) if conv.se else None
    return gate or norm_problem(conv.norm, conv.c_out) or branches_problem(conv)


def branches_problem(conv: Conv) -> Problem:
    if conv.branches and (conv.bias or (conv.norm and conv.norm.kind != "bn")):
        what = "bias true" if conv.bias else f"norm {conv.norm.kind!r}" if conv.norm else ""
        return f"{what} beside branches, each of which has a batch norm of its own; leave it out"
    for index, branch in enumerate(conv.branches):
        place = f"branches[{index}]"
        if branch.kind == "identity" and conv.c_in != conv.c_out:
            return f"{place}: identity from {conv.c_in} to {conv.c_out} channels: they must be equal; leave it out"
        if branch.kernel is not None and not (0 < branch.kernel <= conv.kernel and branch.kernel % 2):
            return (
                f"{place}: kernel {branch.kernel} must be odd, and at most the convolution's {conv.kernel}; change it"
            )
        if branch.kind in ("avg", "1x1_kxk") and not branch.norm:
            return f"{place}: {branch.kind!r} without norm: its norms are part of it; leave `norm` out"
    return None


def attention_problem(attention: Attention, channels: int) -> Problem:
    if attention.channels != channels:
        return f"channels {attention.channels} where {channels} arrive; make them equal"
    if attention.heads < 1 or channels % attention.heads:
        return f"channels {channels} is not a multiple of heads {attention.heads}; change one of them"
    return min_problem("partition.size", attention.partition.size)


def gate_problem(gate: SqueezeExcite, channels: int) -> Problem:
    if gate.channels != channels:
        return f"squeeze-excite of {gate.channels} channels where {channels} arrive; make them equal"
    return min_problem("hidden", gate.hidden)


def norm_problem(norm: Norm | None, channels: int) -> Problem:
    if norm and norm.eps <= 0:
        return f"eps {norm.eps} must be greater than 0; use for example 1e-5"
    if norm and norm.kind == "gn" and (norm.groups < 1 or channels % norm.groups):
        return f"group norm's groups {norm.groups} must divide {channels} channels; use for example 1"
    return None


def nest_problem(nest: Nest, channels: int) -> Problem:
    if not nest.blocks:
        return "a nest without blocks; spell out at least one"
    for index, block in enumerate(nest.blocks):
        if block.c_in != channels or block.c_out != channels:
            return (
                f"blocks[{index}]: {block.c_in} to {block.c_out} channels, but in a nest all {channels} stay; keep them"
            )
        problem = block_problem(block)
        if problem:
            return f"blocks[{index}]: {problem}"
    return min_problem("patch", nest.patch) or norm_problem(nest.norm, channels)


def min_problem(name: str, value: int) -> Problem:
    return f"{name} {value} must be at least 1; change it" if value < 1 else None
