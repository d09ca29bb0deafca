"""How large a map is, and what each part of the meta-block leaves of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from nasbench.arch.metablock import Conv, Embedding, MetaBlock, Mixer, Pool, Resize, SpaceToDepth


class Extent(NamedTuple):
    """Height and width of a map in positions."""

    height: int
    width: int

    @property
    def area(self) -> int:
        return self.height * self.width

    def map(self, change: Callable[[int], int]) -> Extent:
        return Extent(change(self.height), change(self.width))


def square(side: int) -> Extent:
    return Extent(side, side)


def round_up(size: int, multiple: int) -> int:
    return (size + multiple - 1) // multiple * multiple  # no negative division: exporters truncate it


def windowed(size: int, kernel: int, stride: int, padding: str) -> int:
    """What a convolution or pooling leaves of a side."""
    if padding == "same":
        return -(-size // stride)
    return (size + (kernel // 2 * 2 if padding == "half" else 0) - kernel) // stride + 1


def mixer_extent(mixer: Mixer, extent: Extent) -> Extent:
    """The extent of a mixer's output."""
    if isinstance(mixer, (Conv, Pool)):
        return extent.map(lambda size: windowed(size, mixer.kernel, mixer.stride, mixer.padding))
    if isinstance(mixer, SpaceToDepth):
        return extent.map(lambda size: -(-size // mixer.size))
    if isinstance(mixer, Resize):
        return extent.map(lambda size: round_up(size, mixer.multiple))
    if isinstance(mixer, Embedding) and mixer.tokens:
        return Extent(1, mixer.tokens + extent.area)
    return extent


def mixers_of(block: MetaBlock) -> tuple[Mixer, ...]:
    """The branch of a block, in order."""
    return (*block.before, *((block.expand,) if block.expand else ()), *block.mix, *block.project)


def blocks_extent(blocks: Iterable[MetaBlock], extent: Extent) -> Extent:
    """The extent of the last block's output."""
    for block in blocks:
        for mixer in mixers_of(block):
            extent = mixer_extent(mixer, extent)
    return extent


def stride_of(blocks: Iterable[MetaBlock]) -> int:
    """By what these blocks divide a map's side."""
    stride = 1
    for block in blocks:
        for mixer in mixers_of(block):
            stride *= mixer.size if isinstance(mixer, SpaceToDepth) else getattr(mixer, "stride", 1)
    return stride
