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
from nasbench.architecture import Architecture
from nasbench.errors import UserError
from nasbench.files import write_atomic
from nasbench.key_names import foreign_names, layouts
from nasbench.model import Model, build, reparameterise

# Where training scripts keep the weights. An exponential moving average comes first: published accuracies are its.
WRAPPERS = ("net_E", "state_dict_ema", "model_ema", "ema_state_dict", "state_dict", "model", "net")
PREFIXES = ("module.", "_orig_mod.")  # DistributedDataParallel, torch.compile
COUNTER = "num_batches_tracked"  # used in training only, and absent from old files
SHOWN = 12  # keys in one line of an error
LAYOUTS = ("auto", "official", "timm", "nasbench")

Names = dict[str, tuple[str, ...]]


class WeightsError(UserError):
    """A checkpoint that does not fit; `missing`, `left_over` and `wrong_shape` list all keys as the file calls them."""

    def __init__(
        self, what: str, missing: list[str], left_over: list[str], wrong_shape: list[str], remedy: str
    ) -> None:
        self.missing, self.left_over, self.wrong_shape = missing, left_over, wrong_shape
        lists = {"missing": missing, "left over": left_over, "wrong shape": wrong_shape}
        found = "; ".join(f"{title} ({len(keys)}): {_shown(keys)}" for title, keys in lists.items() if keys)
        super().__init__(f"{what}: {found}; {remedy}")


def load_weights(model: Model, weights: Mapping[str, Any] | Path | str, layout: str = "auto") -> None:
    """Put `weights`, a state dict or the path of a .safetensors or torch file, into `model`.

    layout: "official" (MobileViT, EMO, FastViT), "timm" (MobileViT, FastViT), "nasbench", or "auto" to decide by the
    keys. A file of merged branches goes into a re-parameterised model. Every tensor must find its place: a key that is
    missing or left over, or a wrong shape, is a UserError that lists it, and the model stays as it was.
    """
    state = unwrap(weights if isinstance(weights, Mapping) else read_state_dict(weights))
    names, title = _names(model, state, layout)
    tensors = _matched(model, state, names, title)
    own = model.state_dict()
    with torch.no_grad():
        for key, tensor in tensors.items():
            own[key].copy_(tensor.reshape(own[key].shape))


def read_state_dict(path: Path | str) -> dict[str, Any]:
    """The content of a .safetensors file, or of a torch file, of which nothing but plain data is unpickled."""
    path = Path(path)
    try:
        if path.suffix == ".safetensors":
            return _read_safetensors(path)[0]
        # Training scripts often store their command line beside the weights.
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}; give a .safetensors or .pt file") from None
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        reason = str(error).splitlines()[0]
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
        keys = _shown([str(key) for key in content])
        raise UserError(f"no tensors among the keys {keys}; give a state dict, or one under {', '.join(WRAPPERS)}")
    for prefix in PREFIXES:
        if all(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state


def _names(model: Model, state: Mapping[str, Tensor], layout: str) -> tuple[Names, str]:
    """Our keys -> accepted names in the file, and what to call this naming."""
    if layout not in LAYOUTS:
        raise UserError(f"unknown layout {layout!r}; known are {', '.join(LAYOUTS)}")
    named, gaps = _candidates(model, layout)
    if not named:
        raise UserError(
            f"layout {layout!r} does not name every part of {model.arch.label} ({'; '.join(gaps)}); use 'nasbench'"
        )
    if layout != "auto":
        return max(named, key=lambda candidate: _overlap(candidate[0], state))
    names, title = max(named, key=lambda candidate: _overlap(candidate[0], state))
    if _overlap(names, state) < 0.5:
        tried = ", ".join(title for _, title in named)
        raise UserError(
            f"the weights' keys ({_shown(list(state))}) fit none of the layouts known for {model.arch.label} "
            f"({tried}); check that they belong to this architecture"
        )
    return names, title


def _candidates(model: Model, layout: str) -> tuple[list[tuple[Names, str]], list[str]]:
    """The namings under this layout's name that cover the whole model, and a gap in each of the others."""
    named: list[tuple[Names, str]] = []
    gaps = []
    if layout in ("auto", "nasbench"):
        named.append(({key: (key,) for key in model.state_dict()}, "nasbench"))
    for one in layouts():
        if layout in ("auto", one.name):
            names, unnamed = foreign_names(model, one)
            if unnamed:
                gaps.append(f"{one.family} has no name for {unnamed[0]}")
            else:
                named.append((names, f"{one.name} {one.family}"))
    return named, gaps


def _overlap(names: Names, state: Mapping[str, Tensor]) -> float:
    """The share of tensors that model and file have in common under these names, of the smaller of the two."""
    needed = [accepted for key, accepted in names.items() if not key.endswith(COUNTER)]
    common = sum(any(name in state for name in accepted) for accepted in needed)
    return common / min(len(needed), sum(not name.endswith(COUNTER) for name in state) or 1)


def _matched(model: Model, state: Mapping[str, Tensor], names: Names, title: str) -> dict[str, Tensor]:
    """Our keys -> the file's tensors; an error if anything is missing, left over or of a wrong shape."""
    own = model.state_dict()
    found: dict[str, str] = {}
    missing, wrong_shape = [], []
    for key, accepted in names.items():
        name = next((name for name in accepted if name in state), None)
        if name is None:
            missing += [] if key.endswith(COUNTER) else [" or ".join(accepted)]
            continue
        found[key] = name
        if _squeezed(state[name].shape) != _squeezed(own[key].shape):
            wrong_shape.append(
                f"{name} is {_size(state[name].shape)} in the file, {_size(own[key].shape)} in the model"
            )
    used = set(found.values())
    left_over = [name for name in state if name not in used and not name.endswith(COUNTER)]
    if missing or left_over or wrong_shape:
        _check_classes(model, state, found)
        what = (
            f"weights in layout {title} do not fit {model.arch.label} ({'deploy' if model.deployed else 'train'} form)"
        )
        raise WeightsError(what, missing, left_over, wrong_shape, _remedy(model, missing, left_over))
    return {key: state[name] for key, name in found.items()}


def _check_classes(model: Model, state: Mapping[str, Tensor], found: Mapping[str, str]) -> None:
    name = found.get("head.classifier.bias")
    if name and state[name].ndim == 1 and len(state[name]) != model.num_classes:
        classes = len(state[name])
        raise UserError(
            f"the weights have {classes} classes, the model {model.num_classes}; "
            f"build it with num_classes={classes}, and change the classifier afterwards"
        )


def _remedy(model: Model, missing: list[str], left_over: list[str]) -> str:
    if missing and left_over and model.deployed:
        return "if these are not merged weights, load them into the train form and re-parameterise that"
    if missing and left_over:
        return "if these are merged weights, load them into nasbench.reparameterise(model)"
    return "check that they belong to this architecture"


def _squeezed(shape: torch.Size) -> tuple[int, ...]:
    """A shape without trailing ones: a linear layer is a 1x1 convolution."""
    sizes = list(shape)
    while sizes and sizes[-1] == 1:
        sizes.pop()
    return tuple(sizes)


def _size(shape: torch.Size) -> str:
    return "x".join(map(str, shape)) or "a scalar"


def _shown(keys: list[str]) -> str:
    rest = f" and {len(keys) - SHOWN} more" if len(keys) > SHOWN else ""
    return ", ".join(keys[:SHOWN]) + rest


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
