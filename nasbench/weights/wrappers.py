"""Finds the weights in a checkpoint, below the dicts and prefixes that training code adds.

A checkpoint is a tree of dicts; some of them hold tensors, under names that may begin with a prefix.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nasbench.errors import UserError
from nasbench.weights.flax import is_flax, parameters
from nasbench.weights.torch_files import class_of

# Keys and prefixes under which training scripts keep the weights, the likelier first. Averaged weights come before all:
# published accuracies are those of averages.
WRAPPERS = (
    "state_dict", "model_state_dict", "model", "module", "net", "network", "backbone", "encoder", "student",
    "model_state", "weights", "params",
)  # fmt: skip
AVERAGED = re.compile(r"(^|[._ ])(ema|ema\d|swa|avg|averaged?|averaging|shadow|teacher|net_e)($|[._ ])")
# Parts of names that wrappers of modules add: DistributedDataParallel, compile, FSDP, checkpointing, Opacus.
MODULE_WRAPPERS = ("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_module")
# Keys of dicts with the state of a training, not of the network.
NO_WEIGHTS = re.compile(r"optimi[sz]er|(^|_)optim($|_)|scheduler|scaler|callbacks|loops")
MAX_DEPTH = 6  # of nested dicts


@dataclass(frozen=True)
class Found:
    """Tensors of one dict of a checkpoint; `where`: the keys that lead to it, then the parts of a prefix of names."""

    where: tuple[str, ...]
    state: dict[str, Tensor]

    @property
    def rank(self) -> tuple[bool, tuple[int, ...]]:
        """Orders places in a checkpoint: the lower, the likelier it holds the weights to load."""
        averaged = any(AVERAGED.search(part.lower()) for part in self.where)
        return not averaged, tuple(WRAPPERS.index(p) if p in WRAPPERS else len(WRAPPERS) for p in self.where)

    @property
    def place(self) -> str:
        return " > ".join(self.where)

    def under(self, prefix: str) -> Found:
        """The tensors whose names begin with `prefix`, such as `model.`, without it."""
        if not prefix:
            return self
        state = {name.removeprefix(prefix): tensor for name, tensor in self.state.items() if name.startswith(prefix)}
        return Found((*self.where, *prefix.rstrip(".").split(".")), state)

    def prefixes(self, names: Iterable[str]) -> list[str]:
        """The prefixes that stand before any of these names in the file, "" first."""
        ends = tuple(f".{name}" for name in names)
        hits = ((name, end) for name in self.state if name.endswith(ends) for end in ends if name.endswith(end))
        return ["", *dict.fromkeys(name[: len(name) - len(end) + 1] for name, end in hits)]


def networks(content: Mapping[str, Any]) -> list[Found]:
    """Every dict of tensors in the checkpoint, the likeliest first; UserError where there is none."""
    found = sorted(_dicts(content, ()), key=lambda one: one.rank)
    if not found:
        keys = ", ".join(map(str, list(content)[:12])) or "(none)"
        objects = [f"{key!r} is a {class_of(x)} object" for key, x in content.items() if hasattr(x, "class_name")]
        also = f" ({'; '.join(objects[:3])}, of which no weights are read)" if objects else ""
        raise UserError(f"no tensors among the keys {keys}{also}; give a state dict, or one in a dict, by any key")
    return found


def unwrap(content: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors of the likeliest dict in a checkpoint, without the parts that wrappers add to their names."""
    return networks(content)[0].state


def _dicts(content: Mapping[Any, Any], where: tuple[str, ...]) -> Iterator[Found]:
    tensors = {key: tensor for key, value in content.items() if isinstance(key, str) for tensor in _tensor(value)}
    if any(tensor.ndim for tensor in tensors.values()):
        yield Found(where, parameters(tensors) if is_flax(tensors) else _without_wrappers(tensors))
    for key, value in content.items():
        if (
            isinstance(value, Mapping)
            and isinstance(key, str)
            and len(where) < MAX_DEPTH
            and not NO_WEIGHTS.search(key)
        ):
            yield from _dicts(value, (*where, key))


def _tensor(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value.detach()
    elif isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in "biuf":
        yield torch.as_tensor(value)


def _without_wrappers(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under names without the parts of MODULE_WRAPPERS, unless two names would become equal."""
    shortened = {
        ".".join(p for p in name.split(".") if p not in MODULE_WRAPPERS) or name: tensor
        for name, tensor in state.items()
    }
    return shortened if len(shortened) == len(state) else state
