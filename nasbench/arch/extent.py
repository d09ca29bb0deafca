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
    """A map with equal sides."""
    return Extent(side, side)


def round_up(size: int, multiple: int) -> int:
    """The least multiple that is not below `size`."""
    return (size + multiple - 1) // multiple * multiple  # no negative division: exporters truncate it


def windowed(size: int, kernel: int, stride: int, padding: str) -> int:
    """What a convolution or pooling leaves of a side."""
    if padding == "same":
        return -(-size // stride)
    return (size + (kernel // 2 * 2 if padding == "half" else 0) - kernel) // stride + 1


def mixer_extent(mixer: Mixer, extent: Extent) -> Extent:
    """The extent of a mixer's output."""
    if isinstance(mixer, (Conv, Pool)):
        kernel, stride, padding = mixer.kernel, mixer.stride, mixer.padding
        if stride == 1 and (kernel == 1 or (kernel % 2 and padding != "valid")):
            return extent
        height, width = extent
        return Extent(windowed(height, kernel, stride, padding), windowed(width, kernel, stride, padding))
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
    unchanged: set[int] = set()  # ids of blocks, which repeat, that leave this extent as it is
    for block in blocks:
        if id(block) in unchanged:
            continue
        before = extent
        for mixer in mixers_of(block):
            extent = mixer_extent(mixer, extent)
        if extent == before:
            unchanged.add(id(block))
        else:
            unchanged.clear()
    return extent


def stride_of(blocks: Iterable[MetaBlock]) -> int:
    """By what these blocks divide a map's side."""
    stride = 1
    for block in blocks:
        for mixer in mixers_of(block):
            stride *= mixer.size if isinstance(mixer, SpaceToDepth) else getattr(mixer, "stride", 1)
    return stride
