"""The names that a network's tensors can have in a checkpoint, and the choice among several networks in one."""

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

COUNTER = "num_batches_tracked"  # of batch norms; not used in inference, and absent from old files
CHOICES = ("auto", "official", "timm", "nasbench")
SAMPLES = 8  # names by which a prefix is found
HALF = 0.5  # share of the model's tensors; with fewer, a file is taken to be of another network


@dataclass(frozen=True)
class Naming:
    """One way to name the model's tensors: our keys with their sources in a file.

    ignored: last parts of names in the file that need no place. resize: how positions are resized; None: the default.
    """

    title: str
    names: Names
    ignored: tuple[str, ...] = ()
    resize: str | None = None

    def counts(self, name: str) -> bool:
        """Whether a tensor of this name in the file must go somewhere."""
        return name.rpartition(".")[2] not in (COUNTER, *self.ignored)

    def overlap(self, state: Mapping[str, Tensor]) -> float:
        """The tensors that model and file have in common, as a share of those of the smaller of the two."""
        return self.coverage(state) * len(self.learned) / min(len(self.learned), sum(map(self.counts, state)) or 1)

    def coverage(self, state: Mapping[str, Tensor]) -> float:
        """The share of the model's tensors that the file has under these names."""
        common = sum(any(all(name in state for name in source) for source in sources) for sources in self.learned)
        return common / len(self.learned)

    @functools.cached_property
    def learned(self) -> list[tuple[Source, ...]]:
        """The sources of each of the model's tensors but for counters."""
        return [sources for key, sources in self.names.items() if not key.endswith(COUNTER)]

    def samples(self) -> set[str]:
        """A few names from all over the model, to find a prefix that stands before them in a file."""
        chosen = self.learned[:: max(1, len(self.learned) // SAMPLES)]
        return {source[0] for sources in chosen for source in sources}


@dataclass(frozen=True)
class Candidate:
    """Tensors of the file under one naming, and the share of the model's tensors among them."""

    found: Found
    naming: Naming
    share: float


def chosen(model: Model, found: Sequence[Found], layout: str) -> Candidate:
    """The tensors of the file to load, with their naming.

    Of those that hold at least half of the model's, those in the likeliest place (see `Found.rank`), and among these
    the most complete. UserError where two different networks are equal in both.
    """
    namings = namings_of(model, layout)
    options = [_best_naming(part, namings) for one in found for part in _parts(one, namings)]
    fitting = [option for option in options if option.share >= HALF]
    if not fitting:  # only a part of the network, or another one
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
    """These tensors, and those under each prefix that is found before names of the model."""
    prefixes = dict.fromkeys(chain.from_iterable(found.prefixes(naming.samples()) for naming in namings))
    return [found.under(prefix) for prefix in prefixes]


def _best_naming(found: Found, namings: Sequence[Naming]) -> Candidate:
    options = (Candidate(found, naming, naming.coverage(found.state)) for naming in namings)
    return max(options, key=lambda option: option.share)


def _alike(one: Found, other: Found) -> bool:
    """Whether both hold the same names and numbers."""
    return one.state.keys() == other.state.keys() and all(
        tensor.shape == other.state[name].shape and torch.equal(tensor.nan_to_num(), other.state[name].nan_to_num())
        for name, tensor in one.state.items()
    )


def namings_of(model: Model, layout: str) -> list[Naming]:
    """The namings in this layout that name all of the model's tensors; UserError where there is none."""
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
    """The namings in this layout that name all of the model's tensors, and a missing name of each of the others."""
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
    """Whether weight standardisation is merged into the filters: their names are as published, not their numbers."""
    return model.deployed and _standardises(model.arch.network)


def _standardises(network: Network) -> bool:
    blocks = chain(network.stem, *network.stages)
    mixers = chain.from_iterable((*b.before, b.expand, *b.mix, *b.project, b.skip) for b in blocks)
    return any(isinstance(mixer, Conv) and mixer.standardise is not None for mixer in mixers)
