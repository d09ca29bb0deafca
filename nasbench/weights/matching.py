"""Assigns a checkpoint's tensors to a network's, and explains what is wrong where they do not fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from nasbench.blocks.conv import require_held
from nasbench.errors import UserError
from nasbench.nn.model import Model, build, reparameterise
from nasbench.weights.key_names import AND, Source
from nasbench.weights.naming import COUNTER, HALF, Candidate, chosen, merged_standardisation, namings_of
from nasbench.weights.resizing import joined, resize_mode, resized, takes_images, with_channels
from nasbench.weights.wrappers import Found, networks

LISTED_KEYS = 12  # keys in one line of an error
CLASSIFIERS = ("head.classifier.", "head.more_classifiers.")
REMEDY = "check that they belong to this architecture"


class WeightsError(UserError):
    """A checkpoint that does not fit; `missing`, `left_over` and `wrong_shape` list all keys as in the file.

    cause: "form" (weights of the other form), "classes" (of another number, `classes`), "headless" (no head),
    "channels" (other image channels), or "" for none of these.
    """

    def __init__(self, what: str, fit: Fit | None = None, remedy: str = REMEDY, cause: str = "") -> None:
        self.what, self.cause, self.classes = what, cause, 0
        self.missing, self.left_over, self.wrong_shape = (
            (fit.missing, fit.left_over, fit.wrong_shape) if fit else ([], [], [])
        )
        lists = {"missing": self.missing, "left over": self.left_over, "wrong shape": self.wrong_shape}
        found = "; ".join(f"{title} ({len(keys)}): {listed(keys)}" for title, keys in lists.items() if keys)
        super().__init__(f"{what}: {found}; {remedy}" if found else f"{what}; {remedy}")


@dataclass
class Fit:
    """Which tensors of a file go into a model: our keys -> tensors of our shapes, and what does not fit."""

    tensors: dict[str, Tensor] = field(default_factory=dict)
    sources: dict[str, Source] = field(default_factory=dict)  # our keys -> names in the file
    fresh: list[str] = field(default_factory=list)  # our keys that stay as they are
    adapted: list[str] = field(default_factory=list)  # our keys whose tensors were converted to other input channels
    passed_over: list[str] = field(default_factory=list)  # names in the file of modules that the encoder does not have
    missing: list[str] = field(default_factory=list)
    left_over: list[str] = field(default_factory=list)
    wrong_shape: list[str] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        return not (self.missing or self.left_over or self.wrong_shape)


def matched(
    model: Model, content: Mapping[str, Any], layout: str, fresh_head: bool = False, adapt_stem: bool = False
) -> Fit:
    """The checkpoint's tensors for the model; UserError for one missing, left over, of wrong shape or beyond its type.

    fresh_head: the classifier stays as it is, and so does what of the head is not in the file. adapt_stem: weights of
    the first convolution are converted to the model's number of image channels.
    """
    found = networks(content)
    candidate = chosen(model, found, layout)
    if layout == "auto" and candidate.share < HALF:
        _check_form(model, found, layout)
        tried = ", ".join(one.title for one in namings_of(model, layout))
        raise UserError(
            f"the weights' keys ({listed(list(candidate.found.state))}) fit none of the layouts known for "
            f"{model.arch.label} ({tried}); {REMEDY}"
        )
    fit = fitted(model, candidate, fresh_head, adapt_stem)
    if not fit.whole:
        _explain(model, found, layout, candidate, fit)
    own = model.state_dict()
    for key, tensor in fit.tensors.items():
        name, dtype = AND.join(fit.sources[key]), own[key].dtype
        if dtype.is_floating_point and not tensor.is_floating_point():
            raise UserError(f"{name}: numbers of type {tensor.dtype} are no weights; give floating-point ones")
        require_held(tensor, dtype, name)
    return fit


def fitted(model: Model, candidate: Candidate, fresh_head: bool, adapt_stem: bool = False) -> Fit:
    """Assign the candidate's tensors to the model's, and list what does not fit."""
    state, naming, own = candidate.found.state, candidate.naming, model.state_dict()
    fit, used = Fit(), set[str]()
    mode = naming.resize or resize_mode(model)
    for key, sources in naming.names.items():
        source, absent = _source(sources, state)
        used.update(source)
        if fresh_head and (key.startswith(CLASSIFIERS) or (absent and key.startswith("head."))):
            fit.fresh.append(key)
        elif absent:
            fit.missing += [] if key.endswith(COUNTER) else absent
        else:
            fit.sources[key] = source
            tensor = joined([state[name] for name in source], own[key].shape)
            tensor = resized(model, key, tensor, mode) if tensor is not None else None
            if adapt_stem and tensor is not None and tensor.ndim == 4 and takes_images(model, key):
                fit.adapted += [key] if tensor.shape[1] != own[key].shape[1] else []
                tensor = with_channels(tensor, own[key].shape[1])
            if tensor is None or _squeezed(tensor.shape) != _squeezed(own[key].shape):
                sizes = ", ".join(f"{name} is {_size(state[name].shape)}" for name in source)
                fit.wrong_shape.append(f"{sizes} in the file, {_size(own[key].shape)} in the model")
            else:
                fit.tensors[key] = tensor.reshape(own[key].shape)
    left = [name for name in state if name not in used and naming.counts(name) and not _scalar(name, state[name])]
    encoder = {name.partition(".")[0] for key, source in fit.sources.items() if key[:5] != "head." for name in source}
    for name in left:
        beside = fresh_head and name.partition(".")[0] not in encoder
        (fit.passed_over if beside else fit.left_over).append(name)
    return fit


def _scalar(name: str, tensor: Tensor) -> bool:
    """Whether this is a single number that belongs to no module, such as the count of averaged models."""
    return tensor.numel() == 1 and "." not in name and "/" not in name


def _source(sources: tuple[Source, ...], state: Mapping[str, Tensor]) -> tuple[Source, list[str]]:
    """The first source that the file has whole; else the most complete one, and which of its names are absent."""
    for source in sources:
        if all(name in state for name in source):
            return source, []
    most = max(sources, key=lambda source: sum(name in state for name in source))
    absent = [name for name in most if name not in state]
    if len(absent) < len(most):
        return most, absent
    return (), [" or ".join(AND.join(source) for source in sources)]


def _explain(model: Model, found: list[Found], layout: str, candidate: Candidate, fit: Fit) -> None:
    """Raise an error: the single cause of all that does not fit, where there is one; else a list of it."""
    label = model.arch.label
    if not fit.missing and not fit.left_over:
        _check_classes(model, candidate.found.state, fit)
    _check_channels(model, candidate, fit)
    _check_form(model, found, layout)
    if fit.missing and not fit.wrong_shape and fitted(model, candidate, fresh_head=True).whole:
        what = f"the weights have no head for {label}"
        raise WeightsError(what, fit, "load them with fresh_head=True to leave the rest of the head fresh", "headless")
    form, remedy = "deploy" if model.deployed else "train", _remedy(model, found, layout, candidate)
    place = f" under {candidate.found.place}" if candidate.found.place else ""
    raise WeightsError(
        f"weights in layout {candidate.naming.title}{place} do not fit {label} ({form} form)", fit, remedy
    )


def _remedy(model: Model, found: list[Found], layout: str, candidate: Candidate) -> str:
    """Names other weights in the file that fit, as where an average has no batch norm statistics; else REMEDY."""
    others = [one for one in found if candidate.found.where[: len(one.where)] != one.where]
    if others:
        other = chosen(model, others, layout)
        if fitted(model, other, fresh_head=False).whole:
            return f"those under {other.found.place or 'no key'} do: save them in a file of their own"
    return REMEDY


def _check_classes(model: Model, state: Mapping[str, Tensor], fit: Fit) -> None:
    """A WeightsError where nothing but the number of classes differs."""
    name, *_ = fit.sources.get("head.classifier.bias", ("",))
    heads = [key for key in fit.sources if key.startswith(CLASSIFIERS)]
    if not name or state[name].ndim != 1 or len(state[name]) == model.num_classes:
        return
    if len(fit.wrong_shape) <= len(heads):
        classes = len(state[name])
        error = WeightsError(
            f"the weights have {classes} classes, the model {model.num_classes}",
            remedy=f"build it with num_classes={classes}, or load them with fresh_head=True to leave the classifier "
            "fresh",
            cause="classes",
        )
        error.classes = classes
        raise error


def _check_channels(model: Model, candidate: Candidate, fit: Fit) -> None:
    """A WeightsError where nothing but the number of image channels differs."""
    state, own = candidate.found.state, model.state_dict()
    entries = [key for key in fit.sources if key not in fit.tensors and takes_images(model, key)]
    theirs = {state[name].shape[1] for key in entries for name in fit.sources[key] if state[name].ndim == 4}
    if len(theirs) != 1 or theirs == {model.arch.in_channels}:
        return
    fitting = [fresh for fresh in (False, True) if fitted(model, candidate, fresh, adapt_stem=True).whole]
    if not fitting:
        return
    does = "sums" if own[entries[0]].shape[1] < min(theirs) else "shares"
    wanted, also = own[entries[0]].shape[1], "" if fitting[0] is False else " and fresh_head=True for its own head"
    raise WeightsError(
        f"the weights are of images with {counted(*theirs)}, {model.arch.label} takes {wanted}",
        remedy=f"load them with adapt_stem=True, which {does} the stem's weights over the "
        f"channels{also}, or give the architecture in_channels = {min(theirs)}",
        cause="channels",
    )


def counted(channels: int) -> str:
    return f"{channels} channel" if channels == 1 else f"{channels} channels"


def _check_form(model: Model, found: list[Found], layout: str) -> None:
    """A WeightsError where the file holds all weights of the model's other form."""
    other = _other_form(model)
    if other is None:
        return
    try:
        candidate = chosen(other, found, layout)
    except UserError:  # no such layout for it
        return
    fit = fitted(other, candidate, fresh_head=False)
    if fit.missing or fit.left_over or candidate.share < HALF:
        return
    if model.deployed:
        what = "the weights are of the train form, the model is the deploy form, whose branches are merged"
        raise WeightsError(what, None, "load them into the train form and re-parameterise that", "form")
    what = "the weights are of the deploy form, whose branches are merged, the model is the train form"
    raise WeightsError(what, None, "load them into nasbench.reparameterise(model)", "form")


def _other_form(model: Model) -> Model | None:
    """The model's other form, train or deploy, on the meta device; None where both have the same tensors."""
    with torch.device("meta"):
        train = build(model.arch, model.num_classes)
        deploy = reparameterise(train)
    other = train if model.deployed else deploy
    same = other.state_dict().keys() == model.state_dict().keys() and not merged_standardisation(model)
    return None if same else other


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
