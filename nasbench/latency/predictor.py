"""Latency as a non-negative weighted sum of features, its interval, and when not to believe it.

Weights come from non-negative least squares on relative error, drawn towards a coarser model in which all kinds share
one cost a multiply-add and one a byte: with 20 networks that took the error from 11.6 to 10.0 %, with 40 it is idle.
The interval is conformal: a quantile of the absolute
log residuals of networks that the fit did not see. Both hold for networks like the fitted ones; a network whose
operators, total or mix lie outside what was fitted is marked as extrapolating, and its interval widened.

Weights are collinear: they rank and predict, they don't describe the hardware.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls
from scipy.stats import spearmanr

from nasbench.latency.features import kind_of

FOLDS = 10
COVERAGE = 0.9
MIN_NETWORKS = 8
SHRINKAGE = 0.3  # best of 0 to 8 for 14 to 55 measured networks
# Beyond the fitted range the interval is widened so: from convolutional to hybrid networks the mean error grew from
# 4.9 % to 20 %. No coverage is promised there.
EXTRAPOLATION_WIDENING = 4.0
TOTAL_SLACK = 1.25  # a total this much outside the fitted range is still inside
SHARE_SLACK = 0.1  # likewise for a kind's share of the time, absolute

Features = Mapping[str, float]


@dataclass(frozen=True)
class Prediction:
    """Arrays of length n, ms; `low_ms` to `high_ms` covers about 90 % where `extrapolating` is false."""

    latency_ms: np.ndarray
    low_ms: np.ndarray
    high_ms: np.ndarray
    extrapolating: np.ndarray  # bool
    reasons: tuple[str, ...]  # why each extrapolates, "" where it doesn't

    def __len__(self) -> int:
        return len(self.latency_ms)

    def __getitem__(self, index: int | slice) -> Prediction:
        at = slice(index, index + 1 or None) if isinstance(index, int) else index
        return Prediction(
            self.latency_ms[at], self.low_ms[at], self.high_ms[at], self.extrapolating[at], self.reasons[at]
        )


@dataclass(frozen=True)
class HeldOut:
    """How well networks were predicted by a fit that had not seen them, over all folds."""

    spearman: float
    mape: float  # mean absolute relative error, as a share
    within_10_percent: float  # share of networks


@dataclass(frozen=True)
class Predictor:
    """A fitted model: plain numbers, all of them stored in the profile."""

    weights: Mapping[str, float]  # ms per unit of each feature seen in fitting
    log_error: float  # half-width of the interval in log latency
    total_range: tuple[float, float]  # ms, of the fitted predictions
    share_range: Mapping[str, tuple[float, float]]  # per kind, its share of the predicted time
    held_out: HeldOut

    def predict(self, networks: Sequence[Features]) -> Prediction:
        """One latency and interval a network, from `features(operators)` of each."""
        totals, reasons = np.zeros(len(networks)), []
        for i, network in enumerate(networks):
            times = _times_by_kind(network, self.weights)
            totals[i] = sum(times.values())
            reasons.append(self._outside(network, times))
        extrapolating = np.array([bool(r) for r in reasons], dtype=bool)
        factor = np.exp(self.log_error * np.where(extrapolating, EXTRAPOLATION_WIDENING, 1.0))
        return Prediction(totals, totals / factor, totals * factor, extrapolating, tuple(reasons))

    def _outside(self, network: Features, times: Mapping[str, float]) -> str:
        unseen = sorted({kind_of(f) for f, amount in network.items() if amount and f not in self.weights})
        if unseen:
            return f"operator kinds that the profile never measured: {', '.join(unseen)}"
        total = sum(times.values())
        low, high = self.total_range
        if not low / TOTAL_SLACK <= total <= high * TOTAL_SLACK:
            return f"{total:.2f} ms lies outside the measured range of {low:.2f} to {high:.2f} ms"
        for kind, (least, most) in self.share_range.items():
            share = times.get(kind, 0.0) / total
            if not least - SHARE_SLACK <= share <= most + SHARE_SLACK:
                return f"{kind} takes {share:.0%} of the time; measured networks had {least:.0%} to {most:.0%}"
        return ""


def fit(
    networks: Sequence[Features], latency_ms: Sequence[float], seed: int = 0, shrinkage: float = SHRINKAGE
) -> Predictor:
    """Fit features to measured latencies (ms); errors are relative, so small networks count as much as large ones."""
    if len(networks) < MIN_NETWORKS:
        raise ValueError(f"{len(networks)} measured networks; a predictor needs at least {MIN_NETWORKS}: measure more")
    names = sorted({name for network in networks for name, amount in network.items() if amount})
    amounts = np.array([[network.get(name, 0.0) for name in names] for network in networks])  # (networks, features)
    measured = np.asarray(latency_ms, dtype=float)
    groups = _groups(names)
    weights = dict(zip(names, map(float, _solve(amounts, measured, groups, shrinkage)), strict=True))
    times = [_times_by_kind(network, weights) for network in networks]
    errors = held_out_log_errors(amounts, measured, groups, shrinkage, seed)
    return Predictor(
        weights=weights,
        log_error=_conformal(np.abs(errors)),
        total_range=_span([sum(t.values()) for t in times]),
        share_range={
            kind: _span([t.get(kind, 0.0) / sum(t.values()) for t in times])
            for kind in sorted({kind_of(name) for name in names})
        },
        held_out=accuracy(np.exp(errors) * measured, measured),
    )


def accuracy(predicted: np.ndarray, measured: np.ndarray) -> HeldOut:
    """How well `predicted` tells `measured`, both (n,) in ms."""
    relative = np.abs(predicted / measured - 1)
    rank = float(spearmanr(predicted, measured).statistic)
    return HeldOut(rank, float(relative.mean()), float((relative <= 0.1).mean()))


def held_out_log_errors(
    amounts: np.ndarray, measured: np.ndarray, groups: np.ndarray, shrinkage: float, seed: int = 0
) -> np.ndarray:
    """log(predicted / measured) of each network by a fit without its fold; amounts (n, k), measured (n,) in ms."""
    order = np.random.default_rng(seed).permutation(len(measured))
    errors = np.zeros(len(measured))
    for fold in np.array_split(order, min(FOLDS, len(measured))):
        rest = np.setdiff1d(order, fold)
        predicted = amounts[fold] @ _solve(amounts[rest], measured[rest], groups, shrinkage)
        errors[fold] = np.log(np.maximum(predicted, 1e-6) / measured[fold])
    return errors


def _solve(amounts: np.ndarray, measured: np.ndarray, groups: np.ndarray, shrinkage: float) -> np.ndarray:
    """Non-negative weights (k,) of least squared relative error, drawn to those of the grouped columns.

    groups (k, g): which columns share one weight in the coarse model. Columns are scaled to mean 1, so that a step of a
    weight is one of the mean share of the time that its feature takes.
    """
    relative = amounts / measured[:, None]
    scale = np.where(amounts.any(axis=0), relative.mean(axis=0), 1.0)
    coarse = (groups @ _nnls(relative @ groups, np.ones(len(measured)))) * scale
    pull = np.sqrt(shrinkage) * np.eye(len(scale))
    targets = np.concatenate([np.ones(len(measured)), pull @ coarse])
    return _nnls(np.vstack([relative / scale, pull]), targets) / scale


def _groups(names: Sequence[str]) -> np.ndarray:
    """(k, g) of 0 and 1: `pointwise.macs` with all other `.macs`, `act:gelu.bytes` with all other `.bytes`."""
    measures = [name.rsplit(".", 1)[-1] for name in names]
    return np.array([[float(measure == group) for group in sorted(set(measures))] for measure in measures])


def _nnls(columns: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Non-negative least squares with columns scaled, as they span 1 to 1e9."""
    scale = np.abs(columns).max(axis=0)
    scale[scale == 0] = 1.0
    return nnls(columns / scale, targets, maxiter=100 * columns.shape[1])[0] / scale


def _conformal(errors: np.ndarray, coverage: float = COVERAGE) -> float:
    """The smallest bound that a further exchangeable error meets with probability `coverage`."""
    rank = min(int(np.ceil((len(errors) + 1) * coverage)), len(errors))
    return float(np.sort(errors)[rank - 1])


def _times_by_kind(network: Features, weights: Mapping[str, float]) -> dict[str, float]:
    times: dict[str, float] = {}
    for name, amount in network.items():
        kind = kind_of(name)
        times[kind] = times.get(kind, 0.0) + amount * weights.get(name, 0.0)
    return times


def _span(values: Sequence[float]) -> tuple[float, float]:
    return (float(min(values)), float(max(values)))
