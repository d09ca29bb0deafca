"""Weights in and out: official and timm state dicts into our networks, safetensors with the architecture inside out."""

from __future__ import annotations

import argparse
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import nasbench
from nasbench.arch.architecture import Architecture
from nasbench.errors import UserError
from nasbench.files import write_atomic
from nasbench.nn.model import Model, build, reparameterise
from nasbench.weights.flax import is_flax, parameters, read_npz
from nasbench.weights.matching import WeightsError, listed, matched

__all__ = ["WeightsError", "load_model", "load_weights", "read_state_dict", "save_weights", "unwrap"]

# Where training scripts keep the weights. An exponential moving average comes first: published accuracies are its.
WRAPPERS = ("net_E", "state_dict_ema", "model_ema", "ema_state_dict", "state_dict", "model", "net")
WRAPPER_PREFIXES = ("module.", "_orig_mod.")  # DistributedDataParallel, torch.compile


def load_weights(model: Model, weights: Mapping[str, Any] | Path | str, layout: str = "auto") -> None:
    """Put `weights`, a state dict or the path of a .safetensors, torch or .npz file, into `model`.

    layout: "official", "timm", "nasbench", or "auto" to decide by the keys. A file of merged branches goes into a
    re-parameterised model. Position embeddings and bias tables of another resolution are resized as the published codes
    do it. Every tensor must find its place: a key that is missing or left over, or a wrong shape, is a UserError that
    lists it, and the model stays as it was.
    """
    state = unwrap(weights if isinstance(weights, Mapping) else read_state_dict(weights))
    tensors, own = matched(model, state, layout), model.state_dict()
    with torch.no_grad():
        for key, tensor in tensors.items():
            own[key].copy_(tensor.reshape(own[key].shape))


def read_state_dict(path: Path | str) -> dict[str, Any]:
    """The content of a .safetensors, .npz or torch file, of which nothing but plain data is unpickled."""
    path = Path(path)
    try:
        if path.suffix == ".safetensors":
            return _read_safetensors(path)[0]
        if path.suffix == ".npz":
            return read_npz(path)
        # Training scripts often store their command line beside the weights.
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read: {error.strerror or error}; give a .safetensors, .pt or .npz file"
        ) from None
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        reason = (str(error).splitlines() or ["the file is empty or cut off"])[0]
        raise UserError(
            f"{path}: not a file of plain tensors ({reason}); save the state dict alone, best as .safetensors"
        ) from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds a {type(content).__name__}, not a state dict; save model.state_dict()")
    return content


def unwrap(content: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors of a checkpoint, out of its wrappers and without a prefix that all keys share."""
    for wrapper in WRAPPERS:
        if isinstance(content.get(wrapper), Mapping):
            return unwrap(content[wrapper])
    state = {key: torch.as_tensor(value) for key, value in content.items() if hasattr(value, "shape")}
    if not state:
        keys = listed([str(key) for key in content])
        raise UserError(f"no tensors among the keys {keys}; give a state dict, or one under {', '.join(WRAPPERS)}")
    for prefix in WRAPPER_PREFIXES:
        if all(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): value for key, value in state.items()}
    return parameters(state) if is_flax(state) else state


def save_weights(model: Model, path: Path | str) -> None:
    """Write a .safetensors file of the weights with the architecture as metadata; `load_model` reads it back."""
    from safetensors.torch import save

    metadata = {
        "format": "pt",
        "nasbench": nasbench.__version__,
        "architecture": model.arch.to_toml(),
        "num_classes": str(model.num_classes),
        "form": "deploy" if model.deployed else "train",
    }
    tensors = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    try:
        write_atomic(path, save(tensors, metadata))
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}; choose another place") from None


def load_model(path: Path | str) -> Model:
    """The network that `save_weights` wrote, in its form, precision and with its weights, in eval mode."""
    try:
        state, metadata = _read_safetensors(Path(path))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}; give a .safetensors file") from None
    if "architecture" not in metadata:
        raise UserError(f"{path}: has no architecture inside; build the model yourself and use load_weights")
    arch = Architecture.from_toml(metadata["architecture"], str(path))
    model = build(arch, int(metadata["num_classes"]))
    model = reparameterise(model) if metadata["form"] == "deploy" else model
    model = model.to(next(tensor.dtype for tensor in state.values() if tensor.is_floating_point()))
    load_weights(model, state, "nasbench")
    return model.eval()


def _read_safetensors(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118, no mapping
    except SafetensorError as error:
        raise UserError(f"{path}: not a safetensors file ({error}); give a whole .safetensors file") from None
