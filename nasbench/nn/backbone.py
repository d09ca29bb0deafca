"""A network's stages as a pyramid of feature maps, as detection and segmentation heads take them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, nn

from nasbench.arch.extent import Extent, blocks_extent, square
from nasbench.arch.metablock import Embedding, MetaBlock
from nasbench.errors import UserError
from nasbench.nn.model import Model


class StageMap(NamedTuple):
    """What a stage gives: channels, its stride, and the learned tokens that stand before its positions."""

    channels: int
    stride: int
    tokens: int


class FeatureInfo(NamedTuple):
    """The maps of a backbone, asked for as timm's `feature_info` is."""

    maps: tuple[StageMap, ...]

    def channels(self) -> list[int]:
        return [each.channels for each in self.maps]

    def reduction(self) -> list[int]:
        """Pixels of the image a position of each map."""
        return [each.stride for each in self.maps]


class Backbone(nn.Module):
    """Images (B, c, R, R) -> one map a stage, (B, channels[i], R / strides[i], R / strides[i]), the largest first.

    It shares its weights with `model`. `out_indices`: which stages, all by default; the stages behind the last of them
    are left out. Learned tokens are no part of a map.
    """

    def __init__(self, model: Model, out_indices: Sequence[int] | None = None) -> None:
        super().__init__()
        every = stage_maps(model)
        self.out_indices = tuple(range(len(every))) if out_indices is None else tuple(out_indices)
        if not self.out_indices or not all(0 <= index < len(every) for index in self.out_indices):
            raise UserError(
                f"out_indices {list(self.out_indices)}: {model.arch.label} has stages 0 to {len(every) - 1}; take some"
            )
        self.stem, self.stages = model.stem, model.stages[: max(self.out_indices) + 1]
        self.maps = every

    @property
    def feature_info(self) -> FeatureInfo:
        return FeatureInfo(tuple(self.maps[index] for index in self.out_indices))

    @property
    def channels(self) -> list[int]:
        return self.feature_info.channels()

    @property
    def strides(self) -> list[int]:
        return self.feature_info.reduction()

    def forward(self, images: Tensor) -> list[Tensor]:
        x, found = self.stem(images), []
        for index, stage in enumerate(self.stages):
            x = stage(x)
            if index in self.out_indices:
                found.append(_as_map(x, self.maps[index], images))
        return found


def _as_map(x: Tensor, given: StageMap, images: Tensor) -> Tensor:
    if not given.tokens:
        return x
    sides = [-(-side // given.stride) for side in images.shape[2:]]
    return x[:, :, 0, given.tokens :].unflatten(-1, sides)


def stage_maps(model: Model) -> tuple[StageMap, ...]:
    """What each stage of the network gives, worked out from its architecture."""
    network, resolution = model.arch.network, model.arch.resolution
    extent, tokens, found = square(resolution), 0, []
    for block in network.stem:
        extent, tokens = _behind(block, extent, tokens)
    for stage in network.stages:
        for block in stage:
            extent, tokens = _behind(block, extent, tokens)
        found.append(StageMap(stage[-1].c_out, round(resolution / extent.height), tokens))
    return tuple(found)


def _behind(block: MetaBlock, extent: Extent, tokens: int) -> tuple[Extent, int]:
    """The map behind a block, and the tokens beside it; a block that puts tokens there keeps the positions."""
    added = sum(mixer.tokens for mixer in block.mix if isinstance(mixer, Embedding))
    if tokens or added:
        return extent, tokens + added
    return blocks_extent([block], extent), 0
