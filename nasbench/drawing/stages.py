"""What a drawing says of each stage of a network: map, channels, blocks, where it attends, what folds, its cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from nasbench.arch.architecture import Architecture
from nasbench.arch.deploy_form import folds_into_one_conv
from nasbench.arch.extent import Extent, blocks_extent, mixers_of, square
from nasbench.arch.metablock import (
    Attention,
    Branch,
    Conv,
    DecoderSpec,
    HeadSpec,
    MetaBlock,
    Nest,
    SeparableAttention,
)
from nasbench.arch.parts import INNER_BLOCKS, Stage, effective_fields
from nasbench.arch.presets import StageUnits, stage_units
from nasbench.blocks.op import Op
from nasbench.costs.analytic import Cost, cost, operators, total

FOLDS_NAMED = 2  # kinds of folding convolutions that are spelled out for a stage


class Unit(NamedTuple):
    """One block of a stage as it is drawn: it changes shape, it attends, branches of it fold in the deploy form."""

    entry: bool
    attends: bool
    folds: bool


@dataclass(frozen=True)
class StageFacts:
    """One stage, the stem or the head. Costs are those of the deploy form; `attends` and `folds` are empty for no."""

    name: str
    block: str
    depth: int  # blocks, or the layers inside one block
    extent: Extent  # of the map that leaves it
    stride: int  # image to map, by side
    channels: int
    settings: tuple[str, ...]
    attends: str
    folds: str
    units: tuple[Unit, ...]
    macs: int
    params: int

    @property
    def map_label(self) -> str:
        """`56 × 56`, or how many tokens there are where a map has become a row of them."""
        height, width = self.extent
        return f"{width} tokens" if height == 1 and width > 1 else f"{height} × {width}"

    @property
    def block_label(self) -> str:
        if self.name in ("stem", "head"):
            return self.block
        layers = self.block in INNER_BLOCKS
        return f"{self.block}, {self.depth} layer{'s'[: self.depth > 1]}" if layers else f"{self.block} × {self.depth}"


@dataclass(frozen=True)
class NetworkFacts:
    """A network stage by stage, stem first and head last; `cost` is that of its deploy form with `classes`."""

    label: str
    id: str
    size: str
    resolution: int
    classes: int
    cost: Cost
    stages: tuple[StageFacts, ...]


def network_facts(arch: Architecture, classes: int = 1000) -> NetworkFacts:
    ops = operators(arch, classes)
    stages = (_stem(arch, ops), *_stages(arch, ops), _head(arch, ops))
    costs = cost(arch, classes)
    return NetworkFacts(arch.label, arch.id, arch.size_label, arch.resolution, classes, costs, stages)


def stages_in_short(arch: Architecture) -> str:
    """`conv 16 · 2 mbconv 32 · 3 irmb* 64`, an asterisk where it attends."""
    stages = [
        f"{stage.depth} {stage.block}{'*' * stage.attends} {stage.channels}" for stage in arch.stages if stage.depth
    ]
    return " · ".join([f"{arch.stem.kind} {arch.stem.channels}", *stages])


def _costs(ops: Iterable[Op], name: str) -> dict[str, int]:
    own = total([op for op in ops if op.stage == name])
    return {"macs": own.macs, "params": own.params}


def _stem(arch: Architecture, ops: list[Op]) -> StageFacts:
    blocks, stem = arch.network.stem, arch.stem
    extent = blocks_extent(blocks, square(arch.resolution))
    settings = (f"stride {stem.total_stride}", *(() if stem.act is None else (stem.act,)))
    units = tuple(_unit((block,), entry=True) for block in blocks)
    return StageFacts(
        "stem", stem.kind, 1, extent, stem.total_stride, stem.channels, settings, _attention(blocks), _folds(blocks),
        units, **_costs(ops, "stem"),
    )  # fmt: skip


def _stages(arch: Architecture, ops: list[Op]) -> Iterator[StageFacts]:
    channels, extent = arch.stem.channels, blocks_extent(arch.network.stem, square(arch.resolution))
    stride = arch.stem.total_stride
    for number, stage in enumerate((stage for stage in arch.stages if stage.depth), 1):
        units = stage_units(stage, channels, extent.width)
        extent, channels, stride = blocks_extent(units.all, extent), stage.channels, stride * stage.stride
        yield StageFacts(
            f"stage {number}", stage.block, stage.depth, extent, stride, channels, _settings(stage),
            _attention(units.all), _folds(units.all), _units(stage, units), **_costs(ops, f"stage {number}"),
        )  # fmt: skip


def _head(arch: Architecture, ops: list[Op]) -> StageFacts:
    spec, head = arch.network.head, arch.head
    settings, features = ["linear classifier"], 0
    if isinstance(spec, DecoderSpec):
        settings, features = [f"paints patches of {_square(spec.patch)} px"], head.decoder_width
    elif isinstance(spec, HeadSpec):
        settings, features = [f"pool {spec.pool}", *settings], spec.features
    units = tuple(_unit((block,), entry=False) for block in spec.blocks)
    return StageFacts(
        "head", head.kind, 1, Extent(1, 1), 0, features, tuple(settings), _attention(spec.blocks), _folds(spec.blocks),
        units, **_costs(ops, "head"),
    )  # fmt: skip


# --- blocks


def _units(stage: Stage, units: StageUnits) -> tuple[Unit, ...]:
    """The transition where there is one, then each block; the first one is the transition under "block"."""
    drawn = [_unit(units.transition, entry=True)] if units.transition else []
    entry = stage.downsample == "block"
    drawn += [_unit(block, entry=entry and index == 0) for index, block in enumerate(units.blocks)]
    return tuple(drawn)


def _unit(blocks: tuple[MetaBlock, ...], entry: bool) -> Unit:
    attends = any(True for _ in _attentions(blocks))
    return Unit(entry, attends, bool(_folding(blocks)) or any(map(folds_into_one_conv, _inside(blocks))))


def _inside(blocks: Iterable[MetaBlock]) -> Iterator[MetaBlock]:
    """These blocks and those nested in them."""
    for block in blocks:
        yield block
        for mixer in mixers_of(block):
            if isinstance(mixer, Nest):
                yield from _inside(mixer.blocks)


# --- settings


def _square(side: int) -> str:
    return f"{side}×{side}"


# field of a stage -> how a drawing puts its value; "" leaves it out
SETTINGS: dict[str, Callable[[Stage], str]] = {
    "expansion": lambda stage: f"expansion {stage.expansion:g}",
    "kernel": lambda stage: f"kernel {_square(stage.kernel)}",
    "se": lambda stage: f"squeeze-excite {stage.se:g}" if stage.se else "",
    "act": lambda stage: stage.act or "",
    "width": lambda stage: f"inner width {stage.inner_width}",
    "position": lambda stage: "" if stage.position == "none" else f"{stage.position} positions",
    "tokens": lambda stage: f"{stage.tokens} learned token{'s'[: stage.tokens > 1]}" if stage.tokens else "",
    "cpe": lambda stage: "conditional positions" if stage.cpe else "",
}


def _settings(stage: Stage) -> tuple[str, ...]:
    fields = effective_fields(stage)
    told = [SETTINGS[name](stage) for name in fields if name in SETTINGS]
    entry = {"block": "", "none": "", "slots": "entry spelled out"}.get(stage.downsample, f"entry {stage.downsample}")
    return tuple(text for text in (*told, entry) if text)


# --- attention


def _attentions(blocks: Iterable[MetaBlock]) -> Iterator[tuple[Attention | SeparableAttention, int]]:
    """Every attention with the patch of the nest around it, 1 for none."""
    for block in blocks:
        for mixer in mixers_of(block):
            if isinstance(mixer, (Attention, SeparableAttention)):
                yield mixer, 1
            elif isinstance(mixer, Nest):
                yield from ((found, mixer.patch) for found, _ in _attentions(mixer.blocks))


def _attention(blocks: Iterable[MetaBlock]) -> str:
    """The forms of attention in these blocks, each once; empty without attention."""
    return "; ".join(dict.fromkeys(_among(mixer, patch) for mixer, patch in _attentions(blocks)))


def _among(mixer: Attention | SeparableAttention, patch: int) -> str:
    if isinstance(mixer, SeparableAttention):
        return f"separable, within {_square(mixer.patch)} interleaved grids"
    part = mixer.partition
    places = {
        "global": "all positions" if patch == 1 else f"within {_square(patch)} interleaved grids",
        "tokens": f"strided groups of {_square(part.size)}",
        "groups": f"{_square(part.size)} interleaved grids",
        "windows": f"{'shifted ' if part.shift else ''}windows of {_square(part.size)}",
    }
    keys = f", keys at 1/{mixer.reduction} of the side" if mixer.reduction > 1 else ""
    return f"{places[part.kind]}, {mixer.heads} head{'s'[: mixer.heads > 1]}{keys}"


# --- branches that fold


def _folding(blocks: Iterable[MetaBlock]) -> list[tuple[Conv, bool]]:
    """Convolutions with branches, and whether the block's own skip folds into them too."""
    found = []
    for block in _inside(blocks):
        convs = (*mixers_of(block), block.skip)
        with_skip = folds_into_one_conv(block)
        found += [(conv, with_skip) for conv in convs if isinstance(conv, Conv) and (conv.branches or with_skip)]
    return found


def _folds(blocks: Iterable[MetaBlock]) -> str:
    """`3×3 + 1×1 + identity → 3×3`, the commonest first; empty where nothing folds."""
    kinds = Counter(_sum_of(conv, with_skip) for conv, with_skip in _folding(blocks))
    named = [text for text, _ in kinds.most_common(FOLDS_NAMED)]
    more = len(kinds) - len(named)
    return "; ".join(named) + (f"; {more} more" if more else "")


def _sum_of(conv: Conv, with_skip: bool) -> str:
    counts = Counter(_branch_text(conv, branch) for branch in conv.branches or (Branch(),))
    parts = [text if count == 1 else f"{count}·({text})" for text, count in counts.items()]
    whole = " + ".join([*parts, *(["skip"] if with_skip else [])]).replace("+ −", "− ")
    return f"{whole} → {_square(conv.kernel)}"


def _branch_text(conv: Conv, branch: Branch) -> str:
    side = branch.kernel or conv.kernel
    texts = {
        "kxk": _square(side), "kx1": f"{side}×1", "1xk": f"1×{side}", "1x1": "1×1", "identity": "identity",
        "avg": "average", "1x1_kxk": f"1×1 then {_square(side)}",
    }  # fmt: skip
    return ("−" if branch.sign < 0 else "") + texts[branch.kind]
