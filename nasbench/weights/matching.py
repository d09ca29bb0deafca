"""Which tensors of a checkpoint belong where in a network, and what is wrong where they do not fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor

from nasbench.arch.metablock import Conv, Network
from nasbench.blocks.embedding import EmbeddingModule, resized_positions
from nasbench.blocks.windows import RelativeBias, resized_bias
from nasbench.errors import UserError
from nasbench.nn.model import Model
from nasbench.weights.key_names import AND, Names, Source, foreign_names, layouts

COUNTER = "num_batches_tracked"  # used in training only, and absent from old files
LISTED_KEYS = 12  # keys in one line of an error
CHOICES = ("auto", "official", "timm", "nasbench")


class WeightsError(UserError):
    """A checkpoint that does not fit; `missing`, `left_over` and `wrong_shape` list all keys as the file calls them."""

    def __init__(
        self, what: str, missing: list[str], left_over: list[str], wrong_shape: list[str], remedy: str
    ) -> None:
        self.missing, self.left_over, self.wrong_shape = missing, left_over, wrong_shape
        lists = {"missing": missing, "left over": left_over, "wrong shape": wrong_shape}
        found = "; ".join(f"{title} ({len(keys)}): {listed(keys)}" for title, keys in lists.items() if keys)
        super().__init__(f"{what}: {found}; {remedy}")


@dataclass(frozen=True)
class Naming:
    """Our keys -> where a file has the tensor, what in it may be left out, and how its positions are resized."""

    title: str
    names: Names
    ignored: tuple[str, ...] = ()
    resize: str | None = None

    def counts(self, name: str) -> bool:
        """Whether a tensor of this name in the file has to find a place."""
        return name.rpartition(".")[2] not in (COUNTER, *self.ignored)

    def overlap(self, state: Mapping[str, Tensor]) -> float:
        """The share of tensors that model and file have in common under these names, of the smaller of the two."""
        needed = [sources for key, sources in self.names.items() if not key.endswith(COUNTER)]
        common = sum(any(all(name in state for name in source) for source in sources) for sources in needed)
        return common / min(len(needed), sum(map(self.counts, state)) or 1)


def matched(model: Model, state: Mapping[str, Tensor], layout: str) -> dict[str, Tensor]:
    """Our keys -> tensors with as many elements; an error if one is missing, left over or of a wrong shape."""
    naming = _naming(model, state, layout)
    own, mode = model.state_dict(), naming.resize or _resize_mode(model)
    found: dict[str, Source] = {}
    tensors: dict[str, Tensor] = {}
    missing, wrong_shape = [], []
    used: set[str] = set()
    for key, sources in naming.names.items():
        source, absent = _source(sources, state)
        used.update(source)
        if absent:
            missing += [] if key.endswith(COUNTER) else absent
            continue
        tensor = _joined([state[name] for name in source], own[key].shape)
        tensor = resized(model, key, tensor, mode) if tensor is not None else None
        found[key] = source
        if tensor is None or _squeezed(tensor.shape) != _squeezed(own[key].shape):
            sizes = ", ".join(f"{name} is {_size(state[name].shape)}" for name in source)
            wrong_shape.append(f"{sizes} in the file, {_size(own[key].shape)} in the model")
        else:
            tensors[key] = tensor
    left_over = [name for name in state if name not in used and naming.counts(name)]
    if missing or left_over or wrong_shape:
        _check_classes(model, state, found)
        form = "deploy" if model.deployed else "train"
        what = f"weights in layout {naming.title} do not fit {model.arch.label} ({form} form)"
        raise WeightsError(what, missing, left_over, wrong_shape, _remedy(model, missing, left_over))
    return tensors


def _naming(model: Model, state: Mapping[str, Tensor], layout: str) -> Naming:
    if layout not in CHOICES:
        raise UserError(f"unknown layout {layout!r}; known are {', '.join(CHOICES)}")
    namings, gaps = _candidates(model, layout)
    if not namings:
        if _merged_standardisation(model):
            raise UserError(
                f"published weights of {model.arch.label} have filters that are not standardised yet; "
                "load them into the train form and re-parameterise that"
            )
        raise UserError(
            f"layout {layout!r} does not name every part of {model.arch.label} ({'; '.join(gaps)}); use 'nasbench'"
        )
    naming = max(namings, key=lambda one: one.overlap(state))
    if layout == "auto" and naming.overlap(state) < 0.5:
        tried = ", ".join(one.title for one in namings)
        raise UserError(
            f"the weights' keys ({listed(list(state))}) fit none of the layouts known for {model.arch.label} "
            f"({tried}); check that they belong to this architecture"
        )
    return naming


def _candidates(model: Model, layout: str) -> tuple[list[Naming], list[str]]:
    """The namings under this layout's name that cover the whole model, and a gap in each of the others."""
    namings, gaps = [], []
    if layout in ("auto", "nasbench"):
        namings.append(Naming("nasbench", {key: ((key,),) for key in model.state_dict()}))
    foreign = () if _merged_standardisation(model) else layouts()
    for one in foreign:
        if layout in ("auto", *one.names):
            names, unnamed = foreign_names(model, one)
            if unnamed:
                gaps.append(f"{one.family} has no name for {unnamed}")
            else:
                namings.append(Naming(one.title, names, one.ignored, one.resize))
    return namings, gaps


def _merged_standardisation(model: Model) -> bool:
    """Whether filters are standardised for good: under the same names, but other numbers than anyone publishes."""
    return model.deployed and _standardises(model.arch.network)


def _standardises(network: Network) -> bool:
    blocks = chain(network.stem, *network.stages)
    mixers = chain.from_iterable((*b.before, b.expand, *b.mix, *b.project, b.skip) for b in blocks)
    return any(isinstance(mixer, Conv) and mixer.standardise is not None for mixer in mixers)


def _source(sources: tuple[Source, ...], state: Mapping[str, Tensor]) -> tuple[Source, list[str]]:
    """The first source that the file has, or the most of one, and what is absent."""
    for source in sources:
        if all(name in state for name in source):
            return source, []
    most = max(sources, key=lambda source: sum(name in state for name in source))
    absent = [name for name in most if name not in state]
    if len(absent) < len(most):
        return most, absent
    return (), [" or ".join(AND.join(source) for source in sources)]


def _joined(pieces: list[Tensor], shape: torch.Size) -> Tensor | None:
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


def _resize_mode(model: Model) -> str:
    """Where an embedding is resized bilinearly in every pass (PVT), so are the others; else as DeiT and MAE do it."""
    embeddings = (module for module in model.modules() if isinstance(module, EmbeddingModule))
    return "bilinear" if any(module.spec.position == "interpolated" for module in embeddings) else "bicubic"


def _check_classes(model: Model, state: Mapping[str, Tensor], found: Mapping[str, Source]) -> None:
    name, *_ = found.get("head.classifier.bias", ("",))
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


def listed(keys: list[str]) -> str:
    """The first keys, and how many more there are."""
    rest = f" and {len(keys) - LISTED_KEYS} more" if len(keys) > LISTED_KEYS else ""
    return ", ".join(keys[:LISTED_KEYS]) + rest
