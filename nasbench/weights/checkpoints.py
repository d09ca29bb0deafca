"""Load official and timm state dicts into our networks; save and load safetensors with the architecture inside."""

from __future__ import annotations

import json
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, overload

import torch
from torch import Tensor, nn

import nasbench
from nasbench.arch.architecture import Architecture
from nasbench.blocks.conv import set_exactly
from nasbench.errors import UserError, require
from nasbench.files import write_atomic
from nasbench.nn.backbone import Backbone
from nasbench.nn.finite import damage
from nasbench.nn.model import Model, build, reparameterise
from nasbench.weights.flax import read_npz
from nasbench.weights.matching import WeightsError, listed, matched
from nasbench.weights.saved import KEY, About, opened
from nasbench.weights.torch_files import class_of, read_torch
from nasbench.weights.wrappers import unwrap

__all__ = ["WeightsError", "load_model", "load_weights", "read_state_dict", "save_weights", "unwrap"]


class Loaded(NamedTuple):
    """What `load_weights` did not load as it is, by keys."""

    fresh: tuple[str, ...]  # the model's, left as they were
    passed_over: tuple[str, ...]  # the file's, not used
    adapted: tuple[str, ...] = ()  # the model's, converted to other input channels

    def lines(self, in_channels: int) -> Iterator[str]:
        """The same in words for the user, one line each; none where everything was loaded as it is."""
        if self.fresh or self.passed_over:
            over = f"; passed over in the file: {listed(list(self.passed_over))}" if self.passed_over else ""
            yield f"left as they were: {listed(list(self.fresh))}{over}"
        if self.adapted:
            yield f"adapted to {in_channels} input channels: {listed(list(self.adapted))}"


def load_weights(
    model: nn.Module,
    weights: Mapping[str, Any] | Path | str,
    layout: str = "auto",
    fresh_head: bool = False,
    adapt_stem: bool = False,
) -> Loaded:
    """Put `weights`, a state dict or the path of a .safetensors, torch or .npz file, into `model`.

    layout: "official", "timm", "nasbench", or "auto" to decide by the keys. The weights may lie in nested dicts and
    have prefixes in their names; of several networks that fit an average (EMA, SWA) is preferred. A file of merged
    branches needs a re-parameterised model. Position embeddings and bias tables of another resolution are resized as
    the published codes do it.

    fresh_head: the classifier, and what else of the head is not in the file, stays as it is; modules of the file that
    the encoder does not have are not used. adapt_stem: first convolutions for other numbers of image channels are
    converted, see `resizing.with_channels`. Warnings and the result name all keys concerned.

    Otherwise every tensor has to match: a key that is missing or left over, a wrong shape, or a number beyond the
    model's precision is a UserError, and the model stays as it was.
    """
    model = bare(model)
    content = weights if isinstance(weights, Mapping) else read_state_dict(weights)
    fit, own = matched(model, content, layout, fresh_head, adapt_stem), model.state_dict()
    for key, tensor in fit.tensors.items():
        set_exactly(own[key], tensor, key)
    loaded = Loaded(tuple(fit.fresh), tuple(fit.passed_over), tuple(fit.adapted))
    for line in loaded.lines(model.arch.in_channels):
        warnings.warn(line, stacklevel=2)
    return loaded


def load_deployed(
    model: Model, weights: Path | str, layout: str = "auto", fresh_head: bool = False, adapt_stem: bool = False
) -> tuple[Model, Loaded]:
    """The deploy form of `model`, a train form, with the weights of a file of either form; see `load_weights`."""
    content = read_state_dict(weights)
    try:
        loaded = load_weights(model, content, layout, fresh_head, adapt_stem)
    except WeightsError as error:
        if error.cause != "form":
            raise
        deploy = reparameterise(model)
        return deploy, load_weights(deploy, content, layout, fresh_head, adapt_stem)
    return reparameterise(model), loaded


def bare(model: nn.Module) -> Model:
    """The network inside wrappers such as DistributedDataParallel, torch.compile, AveragedModel; TypeError for none."""
    inner: Any = model
    while not isinstance(inner, Model):
        held = inner._modules.get("module", inner._modules.get("_orig_mod")) if isinstance(inner, nn.Module) else None
        if held is None:
            raise TypeError(f"a {type(model).__name__} holds no network that nasbench.build returned")
        inner = held
    return inner


def read_state_dict(path: Path | str) -> dict[str, Any]:
    """The content of a .safetensors, .npz or torch file; plain data only, no code in it is run. UserError."""
    path = Path(path)
    try:
        if path.suffix == ".safetensors":
            return _read_safetensors(path)[0]
        content = read_npz(path) if path.suffix == ".npz" else read_torch(path)
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read: {error.strerror or error}; give a .safetensors, .pt or .npz file"
        ) from None
    if not isinstance(content, dict) or (not content and hasattr(content, "class_name")):
        raise UserError(f"{path}: holds a {class_of(content)}, not a state dict; save model.state_dict()")
    return content


def save_weights(model: nn.Module, path: Path | str, about: About | None = None) -> None:
    """Write a .safetensors file of the weights with the architecture as metadata; `load_model` reads it back.

    The number of classes is that of the classifier as it is. UserError for a network that was changed in any other way
    after it was built, as its architecture no longer describes it. about: further metadata; by default what the model
    was loaded with. A warning names weights that are NaN or infinite.
    """
    from safetensors.torch import save

    model = bare(model)
    _require_as_built(model)
    problem = damage(model)
    if problem:
        warnings.warn(f"{path}: {problem}; the file can be neither exported nor published", stacklevel=2)
    metadata = {
        "format": "pt",
        "nasbench": nasbench.__version__,
        "architecture": model.arch.to_toml(),
        "num_classes": str(model.num_classes),
        "form": "deploy" if model.deployed else "train",
    }
    about = about or About.of(model)
    if about != About():
        metadata[KEY] = json.dumps(about.to_dict(), allow_nan=False)
    tensors = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    try:
        write_atomic(path, save(tensors, metadata))
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}; choose another place") from None


@overload
def load_model(path: Path | str, features_only: Literal[False] = False) -> Model: ...


@overload
def load_model(
    path: Path | str, features_only: Literal[True], out_indices: Sequence[int] | None = None
) -> Backbone: ...


def load_model(
    path: Path | str, features_only: bool = False, out_indices: Sequence[int] | None = None
) -> Model | Backbone:
    """The network that `save_weights` wrote, in the same form and precision, in eval mode; metadata in its `about`.

    features_only: a `Backbone`, which gives the maps of the stages `out_indices` (all by default) instead of logits.
    UserError where the file is no saved model or is damaged.
    """
    require("name or path", path=path)
    state, metadata = _read_safetensors(Path(path))
    if "architecture" not in metadata:
        raise UserError(f"{path}: has no architecture inside; build the model yourself and use load_weights")
    arch = Architecture.from_toml(metadata["architecture"], str(path))
    model = build(arch, _classes(metadata, state, path))
    model = reparameterise(model) if metadata.get("form") == "deploy" else model
    _take_types(model, state)
    load_weights(model, state, "nasbench")
    model.about = About.from_metadata(metadata, str(path))
    return Backbone(model, out_indices).eval() if features_only else model.eval()


def _classes(metadata: Mapping[str, str], state: Mapping[str, Tensor], path: Path | str) -> int:
    """The classes of the classifier in the file; for one without, those that the file says it was built with."""
    if "head.classifier.bias" in state:
        return max(1, state["head.classifier.bias"].numel())
    text = metadata.get("num_classes", "")
    if not text.isascii() or not text.isdigit() or not 1 <= len(text) <= 9 or int(text) < 1:
        raise UserError(f"{path}: its metadata say num_classes {text!r}, which is no number of classes; save it again")
    return int(text)


def _take_types(model: Model, state: Mapping[str, Tensor]) -> None:
    """Convert each tensor of the model to its type in the file, which may mix types: float32 norms in bfloat16."""
    sizes = Counter[torch.dtype]()
    for tensor in state.values():
        if tensor.is_floating_point():
            sizes[tensor.dtype] += tensor.numel()
    if not sizes:
        return  # no weights: `load_weights` says so
    model.to(sizes.most_common(1)[0][0])  # for buffers that are not in files: they are computed by the architecture
    for key, tensor in (*model.named_parameters(), *model.named_buffers()):
        if key in state and tensor.is_floating_point() and state[key].is_floating_point():
            tensor.data = tensor.data.to(state[key].dtype)


def _require_as_built(model: Model) -> None:
    """UserError unless the tensors' names and shapes are those that the architecture builds."""
    with torch.device("meta"):
        built = build(model.arch, model.num_classes)
        built = reparameterise(built) if model.deployed else built
    shapes = {key: tensor.shape for key, tensor in built.state_dict().items()}
    own = {key: tensor.shape for key, tensor in model.state_dict().items()}
    other = [key for key in {**shapes, **own} if shapes.get(key) != own.get(key)]
    if other:
        raise UserError(
            f"the network was changed after it was built ({listed(other)}), so that its architecture cannot say how to "
            "build it again; only the number of classes may change: save the rest with torch.save(model.state_dict())"
        )


def _read_safetensors(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    with opened(path) as file:
        return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118, no mapping
