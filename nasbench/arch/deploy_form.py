"""What re-parameterisation makes of a network, as a value: same function, fewer operators."""

from __future__ import annotations

from functools import lru_cache

from nasbench.arch.metablock import Conv, MetaBlock, Mixer, Nest, Network, changed


def deploy_conv(conv: Conv) -> Conv:
    """What a convolution becomes when its branches are merged and its filters are standardised for good."""
    if conv.standardise is not None:
        conv = changed(conv, standardise=None)
    if not conv.branches:
        return conv
    return changed(conv, branches=(), norm=None, bias=True)


def folds_into_one_conv(block: MetaBlock) -> bool:
    """Whether X + γ · conv(X) is itself one convolution (RepMixer, conditional position encoding)."""
    if block.skip != "identity" or block.pre_norm or block.before or block.expand or block.project:
        return False
    if len(block.mix) != 1 or not isinstance(block.mix[0], Conv):
        return False
    conv = block.mix[0]
    linear = bool(conv.branches) or conv.norm is None
    return (
        linear
        and not conv.linear
        and conv.act is None
        and conv.se is None
        and not conv.residual
        and (conv.stride, conv.padding, conv.standardise) == (1, "half", None)
    )


@lru_cache(1 << 12)
def deploy_block(block: MetaBlock) -> MetaBlock:
    """The block after re-parameterisation: same function, fewer operators."""
    if folds_into_one_conv(block):
        conv = block.mix[0]
        assert isinstance(conv, Conv)
        merged = changed(deploy_conv(conv), bias=True)
        return changed(block, mix=(merged,), skip=None, layer_scale=None)
    own = (block.before, block.expand, block.mix, block.project, block.skip)
    before, mix, project = _deployed(block.before), _deployed(block.mix), tuple(map(deploy_conv, block.project))
    expand = block.expand and deploy_conv(block.expand)
    skip = deploy_conv(block.skip) if isinstance(block.skip, Conv) else block.skip
    if (before, expand, mix, project, skip) == own:
        return block
    return changed(block, before=before, expand=expand, mix=mix, project=project, skip=skip)


def _deployed(mixers: tuple[Mixer, ...]) -> tuple[Mixer, ...]:
    return tuple(map(deploy_mixer, mixers))


def deploy_mixer(mixer: Mixer) -> Mixer:
    """A mixer after re-parameterisation; one that has nothing to merge is itself."""
    if isinstance(mixer, Conv):
        return deploy_conv(mixer)
    if isinstance(mixer, Nest):
        blocks = deploy_blocks(mixer.blocks)
        return mixer if blocks == mixer.blocks else changed(mixer, blocks=blocks)
    return mixer


def deploy_blocks(blocks: tuple[MetaBlock, ...]) -> tuple[MetaBlock, ...]:
    """Each block's deploy form; repeated blocks are one object and stay one."""
    done = {id(block): block for block in blocks}
    done = {key: deploy_block(block) for key, block in done.items()}
    return tuple(done[id(block)] for block in blocks)


def deploy_network(network: Network) -> Network:
    """The network after re-parameterisation, as a value."""
    stages = tuple(map(deploy_blocks, network.stages))
    head = changed(network.head, blocks=deploy_blocks(network.head.blocks))
    return Network(deploy_blocks(network.stem), stages, head)
