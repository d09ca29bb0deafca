"""A network starts from the weights of a trained relative: widths by slicing or duplication, depths by quiet blocks,
kernels by centre crop or padding, everything else drawn anew.

What is copied is found by where it stands: the stage, then transition, entry, position or the number of the block, and
the kind of block; a stage that is added or changed does not shift the others. Duplication keeps the function as
Net2Net does (arXiv:1511.05641): whoever reads a channel that is there several times shares its weights out among the
copies, unevenly, so that these do not stay alike. It is exact but where a norm spans channels that are not all there
equally often, or attention gets other heads.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from nasbench.arch.architecture import Architecture
from nasbench.arch.parts import Stage
from nasbench.arch.presets import stage_units
from nasbench.blocks.attention import AttentionModule
from nasbench.blocks.branches import ConvBranch, grouped_identity
from nasbench.blocks.conv import ConvModule
from nasbench.blocks.metablock import MetaBlockModule
from nasbench.blocks.norm import FOLDABLE
from nasbench.blocks.separable import SeparableAttentionModule
from nasbench.nn.model import Model
from nasbench.proxy.initial import scale_residual_branches

UNEVEN = 0.5  # shares of copies are drawn between 1 - this and 1 + this before they are made to sum up to 1
Place = tuple[object, ...]
Axis = tuple[int, ...]  # sizes of the pieces that lie one after another along an axis


def inherit(child: Model, parent: Model, images: Tensor, seed: int) -> float:
    """Give `child` the weights of `parent` in place -> the share of its weights that come from there.

    `images`: a normalised batch (B, 3, R, R) of the child's size; where branches were merged, norms are set by it.
    """
    copying = _Copying(torch.Generator().manual_seed(seed), _axes(child), _axes(parent))
    theirs = dict(_places(parent, _numbers(child.arch, parent.arch)))
    for place, module in _places(child, range(len(_stages(child.arch)))):
        if place in theirs:
            copying.take(module, theirs[place])
        elif isinstance(module, MetaBlockModule) and place[0] not in ("stem", "head"):
            copying.make_quiet(module)
    if copying.uncalibrated:
        _calibrate(child, images, copying.uncalibrated)
    return copying.copied / sum(parameter.numel() for parameter in child.parameters())


# Where parts stand.


def _stages(arch: Architecture) -> list[Stage]:
    return [stage for stage in arch.stages if stage.depth]


def _numbers(child: Architecture, parent: Architecture) -> list[int]:
    """For each stage of the parent the child's stage that it becomes, -1 for none: those that differ in fewest fields,
    in order."""
    ours, theirs = _stages(child), _stages(parent)
    count = min(len(ours), len(theirs))
    pairings = itertools.product(
        itertools.combinations(range(len(ours)), count), itertools.combinations(range(len(theirs)), count)
    )

    def alike(pairing: tuple[Sequence[int], Sequence[int]]) -> int:
        return sum(
            getattr(ours[i], name) == getattr(theirs[j], name) for i, j in zip(*pairing) for name in Stage.model_fields
        )

    found = dict(zip(*reversed(max(pairings, key=alike))))
    return [found.get(index, -1) for index in range(len(theirs))]


def _places(model: Model, numbers: Sequence[int]) -> Iterator[tuple[Place, nn.Module]]:
    """Each meta-block of a network with where it stands, and what its head has beside them."""
    arch = model.arch
    yield from ((("stem", index), block) for index, block in enumerate(model.stem))
    channels = arch.stem.channels
    for number, stage, blocks in zip(numbers, _stages(arch), model.stages):
        units = stage_units(stage, channels, 1 << 10)
        places: list[Place] = [(number, "transition", stage.downsample, k) for k in range(len(units.transition))]
        places += [(number, "position", k) for k in range(len(units.position))]
        entries = stage.downsample == "block"
        for index, block in enumerate(units.blocks):
            where: Place = ("entry",) if entries and index == 0 else ("block", index - entries)
            places += [(number, stage.block, *where, k) for k in range(len(block))]
        yield from zip(places, blocks)
        channels = stage.channels
    head = model.head
    yield from ((("head", arch.head.kind, index), block) for index, block in enumerate(head.blocks))
    yield ("head", arch.head.kind, "norm"), head.norm
    yield ("head", arch.head.kind, "classifier"), head.classifier


def _axes(model: nn.Module) -> dict[nn.Module, tuple[Axis, Axis]]:
    """The pieces of which outputs and inputs of a layer consist, of layers where they are several."""
    found: dict[nn.Module, tuple[Axis, Axis]] = {}
    for module in model.modules():
        if isinstance(module, AttentionModule):
            c = module.spec.channels
            for name, layer in module.named_children():
                if name in ("qkv", "key_value"):
                    found[layer] = ((c,) * (layer.weight.shape[0] // c), (c,))
        elif isinstance(module, SeparableAttentionModule):
            c = module.spec.channels
            found[module.qkv] = ((1, c, c), (c,))
        elif isinstance(module, MetaBlockModule) and module.spec.skip == "concat":
            both = module.project[-1].spec.c_in
            for layer in module.project[-1].modules():
                if isinstance(layer, nn.Conv2d) and layer.in_channels == both:
                    found[layer] = ((layer.out_channels,), (module.spec.c_in, both - module.spec.c_in))
    return found


def origins(new: Axis, old: Axis) -> np.ndarray:
    """(sum of new,) for each position of an axis the old one that it comes from: the first ones, then all in turn."""
    starts = np.cumsum([0, *old])
    return np.concatenate([start + np.arange(n) % size for n, size, start in zip(new, old, starts)])


# Tensors.


def resized_kernel(kernel: Tensor, height: int, width: int) -> Tensor:
    """(o, i, h, w) with zeros around it, or its middle, as (o, i, height, width)."""
    rows, columns = (height - kernel.shape[2]) // 2, (width - kernel.shape[3]) // 2
    return nn.functional.pad(kernel, (columns, columns, rows, rows))  # negative: cropped


def _dense(kernel: Tensor, groups: int) -> Tensor:
    """(o, i / groups, h, w) -> (o, i, h, w), 0 where a group does not see."""
    outputs, each = kernel.shape[:2]
    whole = kernel.new_zeros(outputs, each * groups, *kernel.shape[2:])
    for group in range(groups):
        rows = slice(group * outputs // groups, (group + 1) * outputs // groups)
        whole[rows, group * each : (group + 1) * each] = kernel[rows]
    return whole


def widened(
    kernel: Tensor, old_groups: int, groups: int, out_of: np.ndarray, in_of: np.ndarray, generator: torch.Generator
) -> Tensor:
    """(o, i / old_groups, h, w) for outputs and inputs that come from those at `out_of` and `in_of`."""
    if kernel.shape[1] == 1 and old_groups == kernel.shape[0] and groups == len(in_of) == len(out_of):
        return kernel[out_of]
    whole = _dense(kernel, old_groups)[out_of][:, in_of]
    sees = _dense(torch.ones(len(out_of), len(in_of) // groups, 1, 1), groups)[..., 0, 0]  # (o, i)
    shares = sees * (1 + UNEVEN * (2 * torch.rand(len(in_of), generator=generator) - 1))
    same = torch.from_numpy(in_of[:, None] == in_of[None]).float()
    shares = shares / (shares @ same).clamp_min(1e-9)
    whole = whole * shares[:, :, None, None].to(whole.dtype)
    each = len(in_of) // groups
    rows = np.arange(len(out_of))
    first = rows * groups // len(out_of) * each
    return whole[rows[:, None], first[:, None] + np.arange(each)]


@dataclass
class _Copying:
    """One child's way to its parent's weights; `uncalibrated` are norms behind a layer, and what their output gets."""

    generator: torch.Generator
    ours: dict[nn.Module, tuple[Axis, Axis]]
    theirs: dict[nn.Module, tuple[Axis, Axis]]
    copied: int = 0
    uncalibrated: dict[nn.Module, tuple[nn.Module, Tensor]] = field(default_factory=dict)

    @torch.no_grad()
    def take(self, child: nn.Module, parent: nn.Module) -> None:
        """What the two have in common; of what the parent lacks, meta-blocks become quiet and the rest stays fresh."""
        if type(child) is not type(parent):
            return
        if isinstance(child, ConvModule) and isinstance(parent, ConvModule) and _branches(child) != _branches(parent):
            self._merge(child, parent)
            self.take(child.se, parent.se)
            return
        if isinstance(child, (nn.Conv2d, nn.Linear)):
            self._layer(child, parent)
            return
        self._vectors(child, parent)
        others = dict(parent.named_children())
        for name, module in child.named_children():
            if name in others:
                self.take(module, others[name])
            elif isinstance(module, MetaBlockModule):
                self.make_quiet(module)

    def _layer(self, child: nn.Module, parent: nn.Module) -> None:
        weight, groups = parent.weight, getattr(parent, "groups", 1)
        old = self._axes_of(parent, True)
        kernel = weight if weight.ndim == 4 else weight[..., None, None]
        if self._set(child, kernel, groups, old) and child.bias is not None and parent.bias is not None:
            self._put(child.bias, parent.bias[origins(self._axes_of(child)[0], old[0])])

    def _set(self, child: nn.Module, kernel: Tensor, groups: int, old: tuple[Axis, Axis]) -> bool:
        """Whether a layer could take its weight from a kernel (o, i / groups, h, w) whose axes consist of `old`."""
        new = self._axes_of(child)
        if [len(axis) for axis in new] != [len(axis) for axis in old]:
            return False
        out_of, in_of = (origins(*pair) for pair in zip(new, old))
        height, width = child.kernel_size if isinstance(child, nn.Conv2d) else (1, 1)
        kernel = resized_kernel(kernel, height, width)
        made = widened(kernel, groups, getattr(child, "groups", 1), out_of, in_of, self.generator)
        self._put(child.weight, made if child.weight.ndim == 4 else made[..., 0, 0])
        return True

    def _axes_of(self, layer: nn.Module, parent: bool = False) -> tuple[Axis, Axis]:
        shape, groups = layer.weight.shape, getattr(layer, "groups", 1)
        return (self.theirs if parent else self.ours).get(layer, ((shape[0],), (shape[1] * groups,)))

    def _vectors(self, child: nn.Module, parent: nn.Module) -> None:
        """A module's own tensors by channel: affine and statistics of norms, layer scales."""
        known = dict(itertools.chain(parent.named_parameters(recurse=False), parent.named_buffers(recurse=False)))
        own = itertools.chain(child.named_parameters(recurse=False), child.named_buffers(recurse=False))
        for name, tensor in own:
            old = known.get(name)
            if old is None or old.ndim != tensor.ndim or old.shape[1:] != tensor.shape[1:]:
                continue
            if tensor.ndim:
                old = old[origins((len(tensor),), (len(old),))]
            self._put(tensor, old)

    def _put(self, tensor: Tensor, value: Tensor) -> None:
        tensor.copy_(value)
        self.copied += tensor.numel() if isinstance(tensor, nn.Parameter) else 0

    def _merge(self, child: ConvModule, parent: ConvModule) -> None:
        """All of the parent's branches into the child's main one; the child's others add nothing at first."""
        layer, norm = _main(child)
        if layer is None:
            return
        if parent.spec.branches:
            kernel, bias = parent.merged_kernel()
            old = ((parent.spec.c_out,), (parent.spec.c_in,))
            self._set(layer, kernel, parent.spec.groups, old)
            self._to_calibrate(layer, norm, bias[origins((child.spec.c_out,), (parent.spec.c_out,))])
        else:
            self.take(layer, parent.conv)
            self.take(norm, parent.norm)
        _silence_others(child)

    def _to_calibrate(self, layer: nn.Module, norm: nn.Module, bias: Tensor) -> None:
        if type(norm) in FOLDABLE:
            self.uncalibrated[layer] = (norm, bias)
        elif layer.bias is not None:
            layer.bias.copy_(bias)

    @torch.no_grad()
    def make_quiet(self, block: MetaBlockModule) -> None:
        """The identity, where the shape stays and no skip is a concatenation; it still learns."""
        spec = block.spec
        if spec.layer_scale is not None:
            block.layer_scale.zero_()
        elif spec.skip == "identity":
            scale_residual_branches(block, 0.0)
        elif spec.skip is None and spec.c_in == spec.c_out and len(block.mix) == 1 and not block.project:
            (unit,) = block.mix
            if isinstance(unit, ConvModule) and unit.spec.stride == 1:
                self._make_identity(unit)

    def _make_identity(self, unit: ConvModule) -> None:
        layer, norm = _main(unit)
        if layer is None:
            return
        spec = unit.spec
        layer.weight.copy_(grouped_identity(spec.c_out, spec.groups, layer.kernel_size[0], layer.weight))
        self._to_calibrate(layer, norm, torch.zeros(spec.c_out))
        _silence_others(unit)


def _branches(unit: ConvModule) -> list[tuple[str, int]]:
    return [(branch.kind, branch.sign) for branch in unit.spec.branches]


def _main_branch(unit: ConvModule) -> nn.Module | None:
    """The first branch with the whole kernel; the unit itself where it has no branches."""
    if not unit.spec.branches:
        return unit
    pairs = zip(unit.spec.branches, unit.branches)
    whole = (module for branch, module in pairs if branch.kind == "kxk" and branch.kernel is None and branch.sign > 0)
    return next((module for module in whole if isinstance(module, ConvBranch)), None)


def _main(unit: ConvModule) -> tuple[nn.Module | None, nn.Module]:
    """The convolution that can hold all of a unit's linear part, and its norm."""
    branch = _main_branch(unit)
    conv = getattr(branch, "conv", None)
    return (conv if isinstance(conv, (nn.Conv2d, nn.Linear)) else None), getattr(branch, "norm", nn.Identity())


def _silence_others(unit: ConvModule) -> None:
    main = _main_branch(unit)
    for branch in unit.branches if unit.spec.branches else ():
        if branch is not main and type(branch.norm) in FOLDABLE:
            nn.init.zeros_(branch.norm.weight)
            nn.init.zeros_(branch.norm.bias)


def _calibrate(model: Model, images: Tensor, norms: dict[nn.Module, tuple[nn.Module, Tensor]]) -> None:
    """Set batch norms so that, in training too, they give what the layer before them gives, and a summand (C,)."""

    def look(layer: nn.Module, _: object, y: Tensor) -> None:
        norm, bias = norms[layer]
        variance, mean = torch.var_mean(y, (0, 2, 3), unbiased=False)
        norm.weight.copy_((variance + norm.eps).sqrt())
        norm.bias.copy_(mean + bias)
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)

    kept = {name: buffer.clone() for name, buffer in model.named_buffers()}
    hooks = [layer.register_forward_hook(look) for layer in norms]
    was_training = model.training
    with torch.no_grad():
        model.train()
        model(images)
        set_by_data = {id(buffer) for norm, _ in norms.values() for buffer in norm.buffers()}
        for name, buffer in model.named_buffers():
            if id(buffer) not in set_by_data:  # one batch teaches the other norms nothing
                buffer.copy_(kept[name])
    for hook in hooks:
        hook.remove()
    model.train(was_training)
