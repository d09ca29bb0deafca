"""Converts tensors of a checkpoint to the shapes of a network: joins them, and resizes them to its maps and windows."""

from __future__ import annotations

import torch
from torch import Tensor

from nasbench.blocks.embedding import EmbeddingModule, resized_positions
from nasbench.blocks.windows import RelativeBias, resized_bias
from nasbench.nn.model import Model


def joined(pieces: list[Tensor], shape: torch.Size) -> Tensor | None:
    """The pieces concatenated along the axis on which they add up to `shape`; None where there is none.

    A single piece is returned whatever its shape.
    """
    if len(pieces) == 1:
        return pieces[0]
    for axis, size in enumerate(shape):
        others = shape[:axis] + shape[axis + 1 :]
        fits = all(p.ndim == len(shape) and p.shape[:axis] + p.shape[axis + 1 :] == others for p in pieces)
        if fits and sum(p.shape[axis] for p in pieces) == size:
            return torch.cat(pieces, axis)
    return None


def resized(model: Model, key: str, tensor: Tensor, mode: str) -> Tensor:
    """A position embedding or bias table resized to the model's map or window; any other tensor as it is."""
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
    """Bilinear if the model resizes an embedding in every forward pass (PVT), else bicubic (DeiT, MAE)."""
    embeddings = (module for module in model.modules() if isinstance(module, EmbeddingModule))
    return "bilinear" if any(module.spec.position == "interpolated" for module in embeddings) else "bicubic"


def takes_images(model: Model, key: str) -> bool:
    """Whether the tensor of this key is the kernel of a convolution that reads the images themselves."""
    if not key.startswith("stem.0."):
        return False
    own = model.get_parameter(key) if key.endswith("weight") else None
    return own is not None and own.shape[1:2] == (model.arch.in_channels,)


def with_channels(kernel: Tensor, channels: int) -> Tensor:
    """A kernel (c_out, c, k, k) converted to another number of image channels.

    To fewer: channels i, i + channels, ... are summed, as timm sums three to one. To more: channels are repeated in
    turn, each divided by the number of its copies, so 3 to 4 halves the first and appends it again. Where all channels
    of an image are equal, the convolution gives the same output as before.
    """
    given = kernel.shape[1]
    if channels == given or kernel.ndim != 4:
        return kernel
    exact = kernel if kernel.dtype == torch.float64 else kernel.float()
    source = torch.arange(max(channels, given)) % min(channels, given)
    if channels < given:
        return exact.new_zeros(len(kernel), channels, *kernel.shape[2:]).index_add_(1, source, exact)
    return exact[:, source] / source.bincount()[source][:, None, None]
