"""Which names a network's tensors have in a checkpoint, and which of the networks in it is meant."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor

from nasbench.arch.metablock import Conv, Network
from nasbench.errors import UserError
from nasbench.nn.model import Model
from nasbench.weights.key_names import Names, Source, foreign_names, layouts
from nasbench.weights.wrappers import Found

COUNTER = "num_batches_tracked"  # used in training only, and absent from old files
CHOICES = ("auto", "official", "timm", "nasbench")
SAMPLES = 8
HALF = 0.5  # of a network's tensors: below it, a file is of something else


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
        return self.coverage(state) * len(self.learned) / min(len(self.learned), sum(map(self.counts, state)) or 1)

    def coverage(self, state: Mapping[str, Tensor]) -> float:
        """The share of the model's tensors that the file has under these names."""
        common = sum(any(all(name in state for name in source) for source in sources) for sources in self.learned)
        return common / len(self.learned)

    @functools.cached_property
    def learned(self) -> list[tuple[Source, ...]]:
        """Where each tensor may lie, counters aside."""
        return [sources for key, sources in self.names.items() if not key.endswith(COUNTER)]

    def samples(self) -> set[str]:
        """A few names, from all over the model, by which a prefix before them is found."""
        chosen = self.learned[:: max(1, len(self.learned) // SAMPLES)]
        return {source[0] for sources in chosen for source in sources}


@dataclass(frozen=True)
class Candidate:
    """Tensors of the file read under one naming, and the share of the model's tensors that they hold."""

    found: Found
    naming: Naming
    share: float


def chosen(model: Model, found: Sequence[Found], layout: str) -> Candidate:
    """The tensors of the file that are meant, and their naming; its share says how much of the model they hold.

    Of those that hold at least half of it the likeliest place, an average before others, and then the fullest. A
    UserError where two different networks are alike in both.
    """
    namings = namings_of(model, layout)
    options = [_best_naming(part, namings) for one in found for part in _parts(one, namings)]
    fitting = [option for option in options if option.share >= HALF]
    if not fitting:  # a part of a network: judged by what there is of it
        whole = [Candidate(one, naming, naming.overlap(one.state)) for one in found for naming in namings]
        return max(whole, key=lambda option: option.share)
    best = min(fitting, key=lambda option: (option.found.rank, -option.share))
    for other in (option for option in fitting if option.found.where != best.found.where):
        if (other.found.rank, other.share) == (best.found.rank, best.share) and not _alike(other.found, best.found):
            raise UserError(
                f"two networks in the file fit: {best.found.place} and {other.found.place}; "
                "save the one that you mean in a file of its own"
            )
    return best


def _parts(found: Found, namings: Sequence[Naming]) -> list[Found]:
    """These tensors, and those under each prefix that stands before names of the model."""
    prefixes = dict.fromkeys(chain.from_iterable(found.prefixes(naming.samples()) for naming in namings))
    return [found.under(prefix) for prefix in prefixes]


def _best_naming(found: Found, namings: Sequence[Naming]) -> Candidate:
    options = (Candidate(found, naming, naming.coverage(found.state)) for naming in namings)
    return max(options, key=lambda option: option.share)


def _alike(one: Found, other: Found) -> bool:
    return one.state.keys() == other.state.keys() and all(
        tensor.shape == other.state[name].shape and torch.equal(tensor.nan_to_num(), other.state[name].nan_to_num())
        for name, tensor in one.state.items()
    )


def namings_of(model: Model, layout: str) -> list[Naming]:
    """The namings under this layout's name that cover the whole model; a UserError where there is none."""
    if layout not in CHOICES:
        raise UserError(f"unknown layout {layout!r}; known are {', '.join(CHOICES)}")
    namings, gaps = _candidates(model, layout)
    if namings:
        return namings
    if merged_standardisation(model):
        raise UserError(
            f"published weights of {model.arch.label} have filters that are not standardised yet; "
            "load them into the train form and re-parameterise that"
        )
    raise UserError(
        f"layout {layout!r} does not name every part of {model.arch.label} ({'; '.join(gaps)}); use 'nasbench'"
    )


def _candidates(model: Model, layout: str) -> tuple[list[Naming], list[str]]:
    """The namings under this layout's name that cover the whole model, and a gap in each of the others."""
    namings, gaps = [], []
    if layout in ("auto", "nasbench"):
        namings.append(Naming("nasbench", {key: ((key,),) for key in model.state_dict()}))
    foreign = () if merged_standardisation(model) else layouts()
    for one in foreign:
        if layout in ("auto", *one.names):
            names, unnamed = foreign_names(model, one)
            if unnamed:
                gaps.append(f"{one.family} has no name for {unnamed}")
            else:
                namings.append(Naming(one.title, names, one.ignored, one.resize))
    return namings, gaps


def merged_standardisation(model: Model) -> bool:
    """Whether filters are standardised for good: under the same names, but other numbers than anyone publishes."""
    return model.deployed and _standardises(model.arch.network)


def _standardises(network: Network) -> bool:
    blocks = chain(network.stem, *network.stages)
    mixers = chain.from_iterable((*b.before, b.expand, *b.mix, *b.project, b.skip) for b in blocks)
    return any(isinstance(mixer, Conv) and mixer.standardise is not None for mixer in mixers)
