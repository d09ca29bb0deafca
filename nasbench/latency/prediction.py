"""A predicted latency with its interval, and the accuracy of predictions on networks that were held out."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, overload

import numpy as np
from typing_extensions import Self

from nasbench.latency.ranges import STRICT, Amount, Share, Signed

COVERAGE = 0.9


@dataclass(frozen=True, eq=False)
class Columns(Sequence[Any]):
    """A sequence whose fields are columns of one length, arrays and tuples; each of its items is one row of them.

    A row is again of this type, with columns of length 1. Equal where all fields are.
    """

    def _columns(self) -> dict[str, Any]:
        own = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in own.items() if isinstance(value, (np.ndarray, tuple))}

    def __len__(self) -> int:
        return len(next(iter(self._columns().values())))

    @overload
    def __getitem__(self, index: int) -> Self: ...
    @overload
    def __getitem__(self, index: slice) -> Self: ...
    def __getitem__(self, index: int | slice) -> Self:
        if not isinstance(index, slice):
            place = range(len(self))[operator.index(index)]  # IndexError beyond the end, from which a loop knows it
            index = slice(place, place + 1)
        return replace(self, **{name: column[index] for name, column in self._columns().items()})

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(np.array_equal(getattr(self, field.name), getattr(other, field.name)) for field in fields(self))

    __hash__ = None  # type: ignore[assignment]  # arrays can change


@dataclass(frozen=True, eq=False)
class Prediction(Columns):
    """Arrays of length n, ms; `low_ms` to `high_ms` covers about 90 % where `extrapolating` is false."""

    latency_ms: np.ndarray
    low_ms: np.ndarray
    high_ms: np.ndarray
    extrapolating: np.ndarray  # bool
    reasons: tuple[str, ...]  # why each extrapolates, "" where it doesn't


@dataclass(frozen=True)
class HeldOut:
    """How well networks were predicted by a fit that had not seen them, over all folds."""

    __pydantic_config__ = STRICT

    spearman: Signed
    mape: Amount  # mean absolute relative error, as a share
    within_10_percent: Share  # share of networks


def accuracy(predicted: np.ndarray, measured: np.ndarray) -> HeldOut:
    """How well `predicted` tells `measured`, both (n,) in ms."""
    from scipy.stats import spearmanr

    relative = np.abs(predicted / measured - 1)
    varied = min(np.ptp(predicted), np.ptp(measured)) > 0  # else no correlation is defined
    rank = float(spearmanr(predicted, measured).statistic) if varied else 0.0
    return HeldOut(rank, float(relative.mean()), float((relative <= 0.1).mean()))


def conformal(errors: np.ndarray) -> float:
    """The bound that a share COVERAGE of the absolute errors (n,) keep to.

    Of cross-validated errors, which come of fits to fewer networks than the final one and so are a little too large.
    The (n + 1) of split conformal prediction on top covered 93 to 96 % where 90 was asked for, this 91 to 92 %.
    """
    return float(np.quantile(errors, COVERAGE))
