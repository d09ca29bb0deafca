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
    """A table: its array and tuple fields are columns of one length, and item i is row i.

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
            place = range(len(self))[operator.index(index)]  # IndexError beyond the end, which ends a loop
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
    """Accuracy of the cross-validated predictions: each network by a fit without its fold."""

    __pydantic_config__ = STRICT

    spearman: Signed
    mape: Amount  # mean absolute relative error, as a share
    within_10_percent: Share  # share of networks


def accuracy(predicted: np.ndarray, measured: np.ndarray) -> HeldOut:
    """Accuracy of `predicted` against `measured`, both (n,) in ms."""
    from scipy.stats import spearmanr

    relative = np.abs(predicted / measured - 1)
    varied = min(np.ptp(predicted), np.ptp(measured)) > 0  # else no correlation is defined
    rank = float(spearmanr(predicted, measured).statistic) if varied else 0.0
    return HeldOut(rank, float(relative.mean()), float((relative <= 0.1).mean()))


def conformal(errors: np.ndarray) -> float:
    """The COVERAGE quantile of the absolute errors (n,): half-width of the prediction interval.

    Without the finite-sample correction of split conformal prediction, quantile ceil((n + 1) x COVERAGE) / n: errors
    are cross-validated, so come from fits to fewer networks than the final one and are a little too large already.
    With the correction intervals covered 93 to 96 % where 90 was asked for, without it 91 to 92 %.
    """
    return float(np.quantile(errors, COVERAGE))
