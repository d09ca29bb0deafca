"""What each attention of a network looks at in one image, and how far away.

The weights are worked out again from queries and keys, as the fused operator keeps none. Which positions attend to
which is asked of the modules themselves: a map of coordinates goes through the same partition as the image's map did.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nasbench.arch.extent import round_up
from nasbench.blocks.attention import AttentionModule
from nasbench.blocks.metablock import NestModule
from nasbench.blocks.separable import SeparableAttentionModule
from nasbench.blocks.shapes import fold, resize
from nasbench.nn.backbone import stage_maps
from nasbench.nn.model import Model


@dataclass(frozen=True)
class AttentionLayer:
    """One attention in one image.

    `map` (h, w): the attention that each position receives, 1 where all receive the same; from the first learned token
    where there are tokens, else from all positions. `distance` (heads,): pixels from a position to what it attends to,
    in the mean (arXiv:2010.11929, appendix D.7); empty for separable attention, which is the same for all positions.
    `choices`: how many positions each may attend to.
    """

    name: str
    map: np.ndarray
    distance: np.ndarray
    choices: int


class _Captured(Exception):
    """Ends a pass that was only made to see how a map is parted."""


@dataclass
class _Place:
    """Where an attention stands, and the sides of the maps that reach it and the nests around it."""

    name: str
    tokens: int
    nests: tuple[NestModule, ...]
    sides: dict[nn.Module, tuple[int, int]]


@torch.no_grad()
def attention_layers(model: Model, image: Tensor) -> list[AttentionLayer]:
    """Of `image` (1, c, R, R), in the order of the network; none for a network without attention."""
    found: list[AttentionLayer] = []
    with ExitStack() as stack:
        for module, place in _places(model):
            watch = _watched if isinstance(module, AttentionModule) else _watched_separable
            stack.enter_context(watch(module, place, image.shape[-1], found))
        model(image)
    return found


def _places(model: Model) -> Iterator[tuple[nn.Module, _Place]]:
    """Every attention, by its stage and its number there."""
    for index, (stage, given) in enumerate(zip(model.stages, stage_maps(model)), 1):
        names = dict(stage.named_modules())
        attentions = [(n, m) for n, m in names.items() if isinstance(m, (AttentionModule, SeparableAttentionModule))]
        for number, (name, module) in enumerate(attentions, 1):
            parts = name.split(".")
            around = (names[".".join(parts[:end])] for end in range(1, len(parts)))
            nests = tuple(each for each in around if isinstance(each, NestModule))
            yield module, _Place(f"stage {index}, attention {number}", given.tokens, nests, {})


@contextmanager
def _watched(module: AttentionModule, place: _Place, pixels: int, found: list[AttentionLayer]) -> Iterator[None]:
    """Within it, what the module attends to is appended to `found`."""

    def weighed(query: Tensor, key: Tensor, value: Tensor, summand: Tensor | None = None) -> Tensor:
        scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1)
        shares = (scores if summand is None else scores + summand).softmax(-1)  # groups, heads, queries, keys
        found.append(_layer(module, place, pixels, shares))
        return shares @ value

    watched: tuple[nn.Module, ...] = (module, *place.nests)
    handles = [each.register_forward_pre_hook(partial(_see, place)) for each in watched]
    module.weighed = weighed  # type: ignore[method-assign]
    try:
        yield
    finally:
        del module.weighed
        for handle in handles:
            handle.remove()


def _see(place: _Place, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    height, width = inputs[0].shape[2:]
    place.sides[module] = (height, width)


def _layer(module: AttentionModule, place: _Place, pixels: int, shares: Tensor) -> AttentionLayer:
    outer = place.nests[0] if place.nests else module
    coordinates = _coordinates(*place.sides[outer], pixels, place.tokens)
    for nest in place.nests:
        sides = [round_up(side, nest.spec.patch) for side in coordinates.shape[2:]]
        coordinates = fold(resize(coordinates, *sides), nest.spec.patch)
    queries = _parted(module, coordinates)
    reduction = module.spec.reduction
    keys = F.avg_pool2d(queries, reduction) if reduction > 1 else queries
    at_query, at_key = (each.flatten(2).transpose(1, 2) for each in (queries, keys))  # groups, positions, (y, x, real)
    side = _side(place, outer) // reduction
    return AttentionLayer(place.name, _received(shares, at_query, at_key, side, pixels, place.tokens),
                          _distance(shares, at_query, at_key), shares.shape[-1])  # fmt: skip


def _side(place: _Place, outer: nn.Module) -> int:
    height, width = place.sides[outer]
    return round((width - place.tokens) ** 0.5) if place.tokens else height


def _coordinates(height: int, width: int, pixels: int, tokens: int) -> Tensor:
    """(1, 3, H, W): where in the image each position's middle lies, down and right, and 1; 0 for tokens."""
    side = round((width - tokens) ** 0.5) if tokens else height
    down, right = torch.meshgrid(torch.arange(side), torch.arange(side if tokens else width), indexing="ij")
    scale = pixels / side
    found = torch.stack(((down + 0.5) * scale, (right + 0.5) * scale, torch.ones_like(down, dtype=torch.float)))[None]
    return F.pad(found.flatten(2), (tokens, 0)).unsqueeze(2) if tokens else found


def _parted(module: AttentionModule, coordinates: Tensor) -> Tensor:
    """The coordinates as the module parts its map into groups that attend: (groups, 3, h, w); padding is 0."""
    seen: list[Tensor] = []

    def project(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        seen.append(x)
        raise _Captured

    module.project = project  # type: ignore[method-assign]
    try:
        module.forward(coordinates)
    except _Captured:
        pass
    finally:
        del module.project
    return seen[0]


def _distance(shares: Tensor, at_query: Tensor, at_key: Tensor) -> np.ndarray:
    """(heads,): the mean distance over positions of the image, tokens and padding left out."""
    real = at_key[:, None, None, :, 2]
    apart = torch.cdist(at_query[..., :2], at_key[..., :2])[:, None]  # groups, 1, queries, keys
    weights = shares * real
    mean = (weights * apart).sum(-1) / weights.sum(-1).clamp_min(1e-12)  # groups, heads, queries
    asked = at_query[:, None, :, 2]
    return ((mean * asked).sum((0, 2)) / asked.sum()).cpu().numpy()


def _received(
    shares: Tensor, at_query: Tensor, at_key: Tensor, side: int, pixels: int, tokens: int
) -> np.ndarray:  # fmt: skip
    """(side, side): each position's share of attention over an equal one, from the first token or from all."""
    asked = at_query[..., 2].clone()
    if tokens:
        asked.zero_()[:, 0] = 1
    each = (shares.mean(1) * asked[..., None]).sum(1) / asked.sum(1, keepdim=True).clamp_min(1e-12)  # groups, keys
    real = at_key[..., 2] > 0.5
    each = each * real.sum(1, keepdim=True) / each.mul(real).sum(1, keepdim=True).clamp_min(1e-12)
    places = (at_key[..., :2] * side / pixels).long().clamp(0, side - 1)
    flat = (places[..., 0] * side + places[..., 1])[real]
    total = torch.zeros(side * side).index_add_(0, flat, each[real].float())
    count = torch.zeros(side * side).index_add_(0, flat, torch.ones(len(flat)))
    return (total / count.clamp_min(1)).reshape(side, side).cpu().numpy()


@contextmanager
def _watched_separable(
    module: SeparableAttentionModule, place: _Place, pixels: int, found: list[AttentionLayer]
) -> Iterator[None]:  # fmt: skip
    """The same for separable attention: one distribution over patches for each place within a patch."""

    def look(projection: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        patch, (height, width) = module.spec.patch, output.shape[2:]
        folded = fold(output[:1, :1], patch)  # places within a patch, 1, rows, columns
        shares = folded.flatten(1).softmax(1) * folded[0].numel()
        patches = folded.shape[2] * folded.shape[3]
        each = shares.reshape(patch, patch, height // patch, width // patch).permute(2, 0, 3, 1)
        found.append(AttentionLayer(place.name, each.reshape(height, width).cpu().numpy(), np.zeros(0), patches))

    handle = module.qkv.register_forward_hook(look)
    try:
        yield
    finally:
        handle.remove()
