"""Checkpoints of flax networks, such as the .npz files of the original ViT: tensors converted to torch's axis order."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nasbench.errors import UserError

# Of every parameter's name in files that hold the optimiser's state too.
FLAX_PREFIXES = ("opt/target/", "params/")
KERNEL, OUT = "/kernel", "/out/kernel"
PER_CHANNEL = ("/scale", "/bias")


def read_npz(path: Path) -> dict[str, Tensor]:
    """The arrays of an .npz file, with their own names; a file with pickled objects is refused."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: _tensor(file[name]) for name in file.files}
    except (ValueError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise UserError(
            f"{path}: not an .npz file of plain arrays ({str(error).splitlines()[0]}); give one that numpy.savez wrote"
        ) from None


def _tensor(array: np.ndarray) -> Tensor:
    if array.dtype.kind == "V" and array.dtype.itemsize == 2:  # what numpy makes of a bfloat16
        return torch.from_numpy(array.view("int16").copy()).view(torch.bfloat16)
    return torch.as_tensor(array)


def is_flax(state: Mapping[str, Tensor]) -> bool:
    """Whether these weights have flax's names."""
    return any(name.endswith(KERNEL) for name in state)


def parameters(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The parameters alone, under their names without prefix, in torch's order of axes."""
    for prefix in FLAX_PREFIXES:
        if any(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    return {name: torch_order(name, tensor) for name, tensor in state.items()}


def torch_order(name: str, tensor: Tensor) -> Tensor:
    """Convolution (H, W, in, out) -> (out, in, H, W); dense (in, out) -> (out, in), heads beside each other.

    Queries, keys and values are (in, heads, dim), the output projection is (heads, dim, out). Group norms may be
    (1, 1, 1, C), biases of queries (heads, dim).
    """
    if name.endswith(PER_CHANNEL):
        return tensor.flatten()
    if not name.endswith(KERNEL):
        return tensor
    if tensor.ndim == 4:
        return tensor.permute(3, 2, 0, 1)
    if tensor.ndim == 3:
        tensor = tensor.flatten(0, 1) if name.endswith(OUT) else tensor.flatten(1)
    return tensor.T if tensor.ndim == 2 else tensor
