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
