"""Tensors of a checkpoint made to the shapes of a network: joined, and resized to its maps and windows."""

from __future__ import annotations

import torch
from torch import Tensor

from nasbench.blocks.embedding import EmbeddingModule, resized_positions
from nasbench.blocks.windows import RelativeBias, resized_bias
from nasbench.nn.model import Model


def joined(pieces: list[Tensor], shape: torch.Size) -> Tensor | None:
    """One after another along the axis on which they make up `shape`; None where they cannot."""
    if len(pieces) == 1:
        return pieces[0]
    for axis, size in enumerate(shape):
        others = shape[:axis] + shape[axis + 1 :]
        fits = all(p.ndim == len(shape) and p.shape[:axis] + p.shape[axis + 1 :] == others for p in pieces)
        if fits and sum(p.shape[axis] for p in pieces) == size:
            return torch.cat(pieces, axis)
    return None


def resized(model: Model, key: str, tensor: Tensor, mode: str) -> Tensor:
    """A position embedding or bias table for the model's size of map or window; any other tensor as it is."""
    path, _, leaf = key.rpartition(".")
    module = model.get_submodule(path)
    own = getattr(module, leaf)
    if tensor.shape == own.shape or tensor.ndim != own.ndim or tensor.shape[-1] != own.shape[-1]:
        return tensor
    exact = tensor if tensor.dtype == torch.float64 else tensor.float()
    try:
        if isinstance(module, EmbeddingModule) and leaf == "position":
            return resized_positions(exact, module.spec, mode)
        if isinstance(module, RelativeBias) and leaf == "table":
            return resized_bias(exact, module.size)
    except ValueError:  # not square: to be listed as of a wrong shape
        pass
    return tensor


def resize_mode(model: Model) -> str:
    """Where an embedding is resized bilinearly in every pass (PVT), so are the others; else as DeiT and MAE do it."""
    embeddings = (module for module in model.modules() if isinstance(module, EmbeddingModule))
    return "bilinear" if any(module.spec.position == "interpolated" for module in embeddings) else "bicubic"


def takes_images(model: Model, key: str) -> bool:
    """Whether the tensor of this key is the kernel of a convolution that reads the images themselves."""
    if not key.startswith("stem.0."):
        return False
    own = model.get_parameter(key) if key.endswith("weight") else None
    return own is not None and own.shape[1:2] == (model.arch.in_channels,)


def with_channels(kernel: Tensor, channels: int) -> Tensor:
    """A kernel (c_out, c, k, k) for images of other channels, numbered in turn: 3 to 1 sums, 3 to 4 halves the first.

    Fewer channels take up what the others saw, as timm sums three to one; more share it, so that the convolution gives
    what it gave wherever all channels are alike, as in a grey picture stored in colours.
    """
    given = kernel.shape[1]
    if channels == given or kernel.ndim != 4:
        return kernel
    exact = kernel if kernel.dtype == torch.float64 else kernel.float()
    turn = torch.arange(max(channels, given)) % min(channels, given)
    if channels < given:
        return exact.new_zeros(len(kernel), channels, *kernel.shape[2:]).index_add_(1, turn, exact)
    return exact[:, turn] / turn.bincount()[turn][:, None, None]
