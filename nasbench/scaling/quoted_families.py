"""Published families as quoted tables, and laws fitted to them. Nothing here was trained by this project."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nasbench.errors import UserError
from nasbench.files import read_toml
from nasbench.scaling.intervals import DRAWS, LawFit, analyse
from nasbench.scaling.laws import Data

FILE = Path(__file__).with_name("quoted_families.toml")
PRINTED_TO = 0.001  # in error: tables round to a tenth of a per cent, and a second run differs by about as much
UNITS = {"flops": 1e9, "params": 1e6}


@dataclass(frozen=True)
class Family:
    """Quoted figures of one published family: multiply-adds, parameters and top-1 error (0 to 1), smallest first."""

    key: str
    title: str
    source: str
    counted: str  # how multiply-adds were counted, in words
    trained: str  # how the networks were trained, in words
    names: tuple[str, ...]
    flops: np.ndarray
    params: np.ndarray
    error: np.ndarray

    def over(self, variable: str) -> np.ndarray:
        """(n,) the sizes: flops or params; UserError for another variable."""
        if variable not in UNITS:
            raise UserError(f"--over {variable}: published tables hold {' and '.join(UNITS)}; choose one of them")
        return np.asarray(getattr(self, variable))


def families() -> dict[str, Family]:
    """Every published family that is shipped, by its key."""
    return {key: _family(key, content) for key, content in read_toml(FILE).items()}


def family(key: str) -> Family:
    """The published family with this key, in any case of letters; UserError for an unknown one."""
    known, key = families(), key.lower()
    if key not in known:
        raise UserError(f"unknown published family {key!r}; known: {', '.join(known)}")
    return known[key]


def fit_published(found: Family, over: str = "flops", hold_out: bool = False, draws: int = DRAWS) -> LawFit:
    """A law of top-1 error over a family's sizes; with `hold_out` without the largest network."""
    sizes = found.over(over)
    kept = sizes < sizes.max() if hold_out else np.ones(len(sizes), bool)
    noise = PRINTED_TO / float(found.error.mean())
    return analyse(Data.of((over,), sizes[kept], found.error[kept]), draws, name=found.title, least_noise=noise)


def _family(key: str, content: dict[str, Any]) -> Family:
    networks = sorted(content["networks"], key=lambda network: network["flops"])
    columns = {name: np.array([network[name] for network in networks], float) for name in ("flops", "params", "top1")}
    return Family(
        key,
        content["title"],
        content["source"],
        content["flops"],
        content["trained"],
        tuple(network["name"] for network in networks),
        columns["flops"] * UNITS["flops"],
        columns["params"] * UNITS["params"],
        1 - columns["top1"] / 100,
    )
