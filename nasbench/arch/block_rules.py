"""Whether a meta-block that a file spells out can be built. Problems are `place: value: rule; remedy`, None is fine."""

from __future__ import annotations

from collections.abc import Iterator

from nasbench.arch.extent import stride_of
from nasbench.arch.metablock import (
    Act,
    Attention,
    Conv,
    Embedding,
    MetaBlock,
    Mixer,
    Nest,
    Norm,
    SpaceToDepth,
    SqueezeExcite,
)

Problem = str | None


def slots_problem(slots: tuple[MetaBlock, ...], channels: int) -> Problem:
    """Why these meta-blocks cannot be repeated on a map of `channels`."""
    if not slots:
        return "block 'slots' without [[stages.slots]]; spell out at least one meta-block"
    if stride_of(slots) != 1:
        return f"the slots stride by {stride_of(slots)}, but a repeated block keeps the map's size; stride in `entry`"
    return chain_problem(slots, "slots", channels, channels)


def entry_problem(entry: tuple[MetaBlock, ...], c_in: int, channels: int, stride: int) -> Problem:
    """Why these meta-blocks cannot lead from `c_in` channels to a stem's or stage's `channels` at this stride."""
    if not entry:
        return "'slots' without meta-blocks; spell out at least one"
    if stride_of(entry) != stride:
        return f"stride {stride}, but the meta-blocks spelled out stride by {stride_of(entry)}; make them equal"
    return chain_problem(entry, "entry", c_in, channels)


def chain_problem(blocks: tuple[MetaBlock, ...], name: str, c_in: int, channels: int) -> Problem:
    """Why these meta-blocks cannot follow one another from `c_in` to `channels` channels."""
    width = c_in
    for index, block in enumerate(blocks):
        if block.c_in != width:
            return f"{name}[{index}]: c_in {block.c_in} where {width} channels arrive; make them equal"
        problem = block_problem(block)
        if problem:
            return f"{name}[{index}]: {problem}"
        width = block.c_out
    return None if width == channels else f"{name} ends with {width} channels, not {channels}; make them equal"


def block_problem(block: MetaBlock) -> Problem:
    """Follow channels through the block."""
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
        channels = channels_after(mixer, channels)
    return _ends_problem(block, channels) or _skip_problem(block)


def channels_after(mixer: Mixer, channels: int) -> int:
    """How many channels a mixer leaves."""
    if isinstance(mixer, Conv):
        return mixer.c_out
    return channels * mixer.size**2 if isinstance(mixer, SpaceToDepth) else channels


def _skip_problem(block: MetaBlock) -> Problem:
    """The skip must arrive with the branch's channels and size."""
    stride, skip = stride_of((block,)), block.skip
    if isinstance(skip, Conv):
        problem = conv_problem(skip, block.c_in)
        if problem:
            return f"skip: {problem}"
        if skip.c_out != block.c_out or skip.stride != stride:
            return (
                f"skip: {skip.c_out} channels at stride {skip.stride} beside a branch with {block.c_out} at {stride}; "
                "make them equal"
            )
    elif skip and stride != 1:
        return f"skip {skip!r} around a branch that strides by {stride}; use a convolution as the skip"
    return None


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
    if isinstance(mixer, Nest):
        return nest_problem(mixer, channels)
    if mixer.channels != channels:
        kind = "squeeze-excite" if isinstance(mixer, SqueezeExcite) else type(mixer).__name__
        return f"{kind} of {mixer.channels} channels where {channels} arrive; make them equal"
    if isinstance(mixer, Attention):
        return attention_problem(mixer, channels)
    for name in ("hidden", "kernel", "stride", "size", "multiple", "patch", "side"):
        problem = min_problem(name, getattr(mixer, name, 1))
        if problem:
            return problem
    return _embedding_problem(mixer) if isinstance(mixer, Embedding) else None


def _embedding_problem(embedding: Embedding) -> Problem:
    if embedding.tokens:
        return (
            f"tokens {embedding.tokens} among slots: a row of tokens is what `tokens` of block 'encoder' makes; use 0"
        )
    if embedding.position == "sine" and embedding.channels % 4:
        return f"position 'sine' with {embedding.channels} channels: they must be a multiple of 4; change one of them"
    return None


def conv_problem(conv: Conv, channels: int) -> Problem:
    """Why this convolution cannot follow `channels` channels."""
    for name in ("c_in", "c_out", "kernel", "groups", "stride"):
        problem = min_problem(name, getattr(conv, name))
        if problem:
            return problem
    if conv.c_in != channels:
        return f"c_in {conv.c_in} where {channels} channels arrive; make them equal"
    if conv.kernel % 2 == 0 and (conv.padding == "half" or conv.branches):
        return (
            f"kernel {conv.kernel} is even: padded by half of it, only odd kernels keep the map's size; "
            f"use {conv.kernel + 1}, or padding 'valid'"
        )
    if conv.c_in % conv.groups or conv.c_out % conv.groups:
        return f"groups {conv.groups} must divide c_in {conv.c_in} and c_out {conv.c_out}; use for example 1"
    if conv.residual and (conv.c_in != conv.c_out or conv.stride != 1):
        return (
            f"residual from {conv.c_in} to {conv.c_out} channels at stride {conv.stride}: both must stay; leave it out"
        )
    gate = gate_problem(conv.se, conv.c_out) if conv.se else None
    return gate or norm_problem(conv.norm, conv.c_out) or _form_problem(conv) or branches_problem(conv)


def _form_problem(conv: Conv) -> Problem:
    """What the special forms of a convolution exclude."""
    plain = (conv.kernel, conv.stride, conv.groups) == (1, 1, 1) and not conv.branches and conv.standardise is None
    if conv.linear and not plain:
        return "linear with a kernel, stride, groups, branches or standardise: a linear layer has none; leave it out"
    if conv.branches and (conv.padding != "half" or conv.standardise is not None):
        return "branches with standardise or another padding than 'half' do not merge; leave one out"
    if conv.standardise is not None and conv.standardise < 0:
        return f"standardise {conv.standardise} must not be negative; use for example 1e-5"
    return None


def branches_problem(conv: Conv) -> Problem:
    """Why this convolution's branches cannot be merged."""
    if conv.branches and (conv.bias or (conv.norm and conv.norm.kind != "bn")):
        what = "bias true" if conv.bias else f"norm {conv.norm.kind!r}" if conv.norm else ""
        return f"{what} beside branches, each of which has a batch norm of its own; leave it out"
    for index, branch in enumerate(conv.branches):
        place = f"branches[{index}]"
        if branch.kind == "identity" and (conv.c_in != conv.c_out or conv.stride != 1):
            return (
                f"{place}: identity from {conv.c_in} to {conv.c_out} channels at stride {conv.stride}: "
                "both must stay; leave it out"
            )
        if branch.kernel is not None and not (0 < branch.kernel <= conv.kernel and branch.kernel % 2):
            return (
                f"{place}: kernel {branch.kernel} must be odd, and at most the convolution's {conv.kernel}; change it"
            )
        if branch.kind in ("avg", "1x1_kxk") and not branch.norm:
            return f"{place}: {branch.kind!r} without norm: its norms are part of it; leave `norm` out"
    return None


def attention_problem(attention: Attention, channels: int) -> Problem:
    """Why this attention cannot be made of `channels` channels."""
    if attention.heads < 1 or channels % attention.heads:
        return f"channels {channels} is not a multiple of heads {attention.heads}; change one of them"
    partition = attention.partition
    if partition.shift and (partition.kind != "windows" or not 0 < partition.shift < partition.size):
        return f"partition.shift {partition.shift}: only windows shift, by less than their size; use 0"
    if attention.relative_bias and partition.kind != "windows":
        return f"relative_bias with partition {partition.kind!r}: it belongs to windows; leave it out"
    if attention.reduction != 1 and (partition.kind != "global" or attention.values == "input"):
        return f"reduction {attention.reduction} goes with global attention and projected values only; use 1"
    return min_problem("partition.size", partition.size) or min_problem("reduction", attention.reduction)


def gate_problem(gate: SqueezeExcite, channels: int) -> Problem:
    """Why this gate cannot stand on `channels` channels."""
    if gate.channels != channels:
        return f"squeeze-excite of {gate.channels} channels where {channels} arrive; make them equal"
    return min_problem("hidden", gate.hidden)


def norm_problem(norm: Norm | None, channels: int) -> Problem:
    """Why this norm cannot stand on `channels` channels."""
    if norm and norm.eps <= 0:
        return f"eps {norm.eps} must be greater than 0; use for example 1e-5"
    if norm and norm.kind == "gn" and (norm.groups < 1 or channels % norm.groups):
        return f"group norm's groups {norm.groups} must divide {channels} channels; use for example 1"
    return None


def nest_problem(nest: Nest, channels: int) -> Problem:
    """Why these nested blocks cannot stand on `channels` channels."""
    if not nest.blocks:
        return "a nest without blocks; spell out at least one"
    for index, block in enumerate(nest.blocks):
        if block.c_in != channels or block.c_out != channels:
            return (
                f"blocks[{index}]: {block.c_in} to {block.c_out} channels, but in a nest all {channels} stay; keep them"
            )
        problem = block_problem(block)
        if problem or stride_of((block,)) != 1:
            return f"blocks[{index}]: {problem or 'it strides, but in a nest the map stays'}"
    return min_problem("patch", nest.patch) or norm_problem(nest.norm, channels)


def min_problem(name: str, value: int) -> Problem:
    """Why this value of a size or count is too small."""
    return f"{name} {value} must be at least 1; change it" if value < 1 else None
