"""Predicts the latency of whole networks: a non-negative weighted sum of features, with an interval.

Features are either the roofline's (multiply-adds, traffic, launches per kind of kernel) or, where kernels have been
timed on this device or on another whose profile serves as a prior, the predicted times of the kernels, summed per kind.
Weights come from non-negative least squares on relative error, with a ridge penalty towards a coarser model in which
all kinds share one weight for each measure: with kernel times that is one common factor between devices, which ten
networks are enough to fit. A Gaussian process on each kind's share of the time corrects the sum, where
cross-validation says that it helps.

The interval is conformal: a quantile of the absolute log errors on networks that were held out of the fit. It holds for
networks like the fitted ones; a network whose kinds of kernels, total or shares lie outside the fitted ranges is marked
as extrapolating, and its interval widened. Features are collinear, so single weights say nothing about the hardware.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated

import numpy as np
from pydantic import Field

from nasbench.errors import UserError
from nasbench.latency.features import kind_of, network_features
from nasbench.latency.kernels import KernelModel, fit_kernels, scaled
from nasbench.latency.launches import Kernel
from nasbench.latency.linear import groups_of, shrunk_nnls
from nasbench.latency.lowering import NetworkKernels
from nasbench.latency.prediction import HeldOut, Prediction, accuracy, conformal
from nasbench.latency.ranges import STRICT, Amount, LogHalfWidth, Positive, Share
from nasbench.latency.residual import Residual, fit_residual

FOLDS = 10
MIN_NETWORKS = 8
FEW_NETWORKS = 20  # with fewer, kernel times (a prior's too) are used without comparing them with the roofline alone
SHRINKAGES = (0.3, 3.0, 30.0)  # ridge penalties tried; the roofline does best with the first, kernel times the last
ROOFLINE_SHARE = 0.2  # weight of the roofline beside kernel times; with 50 networks 4.0 % error instead of 4.2 %
MAX_ERROR_RATIO = 0.97  # the Gaussian process is kept where it cuts the cross-validated error to this share or less
# Factor on the interval's logarithm where a network extrapolates: from convolutional to hybrid networks the mean error
# grew from 4.9 % to 20 %. No coverage is promised there.
EXTRAPOLATION_WIDENING = 4.0
MAX_LOG_CORRECTION = 10.0  # of the Gaussian process, so that a damaged file cannot overflow
MIN_PREDICTION = 1e-9  # ms: weights may all be 0
TOTAL_SLACK = 1.25  # a total outside the fitted range by up to this factor is no extrapolation
SHARE_SLACK = 0.1  # the same for a kind's share of the time, absolute

QUANTITIES = {"ms": "time", "MB": "memory", "mJ": "energy"}  # unit of what is predicted -> its quantity

Unit = Annotated[str, Field(pattern="^(ms|MB|mJ)$")]
Features = Mapping[str, float]


@dataclass(frozen=True)
class Predictor:
    """A fitted model: plain numbers, all of them stored in the profile."""

    __pydantic_config__ = STRICT

    weights: Mapping[str, Amount]  # ms per unit of each feature seen in fitting
    log_error: LogHalfWidth  # half-width of the interval in log latency
    total_range: tuple[Positive, Positive]  # ms, of the predictions for the fitted networks
    share_range: Mapping[str, tuple[Share, Share]]  # per kind, its share of the predicted time
    held_out: HeldOut
    shrinkage: Amount = SHRINKAGES[0]
    kinds: tuple[str, ...] = ()  # of features seen in fitting
    kernel_model: KernelModel | None = None
    from_prior: bool = False  # whether the kernel model is another device's
    roofline: Mapping[str, Amount] | None = None  # weights of the roofline model that is mixed with kernel times
    residual: Residual | None = None
    unit: Unit = "ms"  # of the prediction, one of QUANTITIES; the fields say ms whichever it is

    @cached_property
    def _roofline_cache(self) -> dict[Kernel, float]:
        """The roofline's milliseconds of kernels met before."""
        return {}

    def predict_networks(self, networks: Sequence[NetworkKernels]) -> Prediction:
        """Latency and interval of each network."""
        roofline_ms = None if self.roofline is None else np.array([self._roofline_ms(network) for network in networks])
        return self.predict([self.features_of(network) for network in networks], roofline_ms)

    def _roofline_ms(self, network: NetworkKernels) -> float:
        """Latency by the roofline model alone; kernels met before are looked up."""
        cache, weights = self._roofline_cache, self.roofline or {}
        per_call = weights.get("nets", 0.0)  # once in a network's total, so not in a single kernel's
        total = per_call
        for kernel in network.kernels:
            if kernel not in cache:
                cache[kernel] = weighted(network_features([kernel], network.runtime), weights) - per_call
            total += cache[kernel]
        return total

    def features_of(self, network: NetworkKernels) -> Features:
        return _features(network, self.kernel_model, self.from_prior)

    def predict(self, networks: Sequence[Features], roofline_ms: np.ndarray | None = None) -> Prediction:
        """Latency and interval of each network from its features.

        roofline_ms (n,): what the roofline model predicts, to be mixed in.
        """
        totals, reasons = np.zeros(len(networks)), []
        times = [times_by_kind(network, self.weights) for network in networks]
        for i, (network, parts) in enumerate(zip(networks, times, strict=True)):
            totals[i] = sum(parts.values())
            reasons.append(self._outside(network, parts))
        if roofline_ms is not None:
            totals = _mixed(totals, roofline_ms)
        if self.residual is not None:
            totals = totals * np.exp(np.clip(self.residual.predict(times), -MAX_LOG_CORRECTION, MAX_LOG_CORRECTION))
        totals = np.maximum(totals, MIN_PREDICTION)
        extrapolating = np.array([bool(r) for r in reasons], dtype=bool)
        factor = np.exp(self.log_error * np.where(extrapolating, EXTRAPOLATION_WIDENING, 1.0))
        return Prediction(totals, totals / factor, totals * factor, extrapolating, tuple(reasons))

    def _outside(self, network: Features, times: Mapping[str, float]) -> str:
        """Why predicting the network is extrapolation, or ""."""
        unseen = sorted({kind_of(f) for f in network if self.kinds and kind_of(f) not in self.kinds})
        unseen += sorted({kind_of(f) for f, amount in network.items() if amount and f not in self.weights} - {*unseen})
        if unseen:
            return f"operator kinds that the profile never measured: {', '.join(unseen)}"
        total = sum(times.values())
        low, high = self.total_range
        if not low / TOTAL_SLACK <= total <= high * TOTAL_SLACK:
            return f"{total:.2f} {self.unit} lies outside the measured range of {low:.2f} to {high:.2f} {self.unit}"
        for kind, (least, most) in self.share_range.items():
            share = times.get(kind, 0.0) / total
            if not least - SHARE_SLACK <= share <= most + SHARE_SLACK:
                quantity = QUANTITIES[self.unit]
                return f"{kind} takes {share:.0%} of the {quantity}; measured networks had {least:.0%} to {most:.0%}"
        return ""


def fit_networks(
    networks: Sequence[NetworkKernels], latency_ms: Sequence[float], prior: KernelModel | None = None, seed: int = 0
) -> Predictor:
    """The predictor with the least cross-validated error of three: timed kernels, the prior's, the roofline alone.

    With fewer than FEW_NETWORKS the roofline alone is left out while there is another: a single network could decide
    the comparison.
    """
    measured = np.asarray(latency_ms, dtype=float)
    _require_enough(len(measured))

    def own_kernels(rows: np.ndarray) -> KernelModel | None:
        times = [pair for i in rows for pair in scaled(networks[i].kernels, networks[i].reported, measured[i])]
        return fit_kernels(times, networks[0].runtime, seed)

    found = []
    if any(network.reported for network in networks):
        found.append(_fit_kernel_times(networks, measured, own_kernels, False, seed))
    if prior is not None and all(network.prior_kernels for network in networks):
        found.append(_fit_kernel_times(networks, measured, lambda rows: prior, True, seed))
    candidates = [predictor for predictor in found if predictor is not None]
    if len(measured) >= FEW_NETWORKS or not candidates:
        candidates.append(fit([_features(network, None, False) for network in networks], latency_ms, seed))
    return min(candidates, key=lambda predictor: predictor.held_out.mape)


def _require_enough(networks: int) -> None:
    if networks < MIN_NETWORKS:
        raise UserError(f"{networks} measured networks; a predictor needs at least {MIN_NETWORKS}: measure more")


def _fit_kernel_times(
    networks: Sequence[NetworkKernels],
    measured: np.ndarray,
    fit_model: Callable[[np.ndarray], KernelModel | None],
    from_prior: bool,
    seed: int,
) -> Predictor | None:
    """A predictor on kernel times; None where no kernel model can be fitted.

    fit_model: the kernel model from the networks at these indices. For each fold of the cross-validation it is fitted
    without the fold's networks, or is that of all networks where the rest is too few.
    """
    everything = fit_model(np.arange(len(networks)))
    if everything is None:
        return None
    rows = [_features(network, everything, from_prior) for network in networks]
    plain = [_features(network, None, False) for network in networks]
    errors = np.zeros(len(measured))
    for fold in _folds(len(measured), seed):
        rest = np.setdiff1d(np.arange(len(measured)), fold)
        model = fit_model(rest) or everything
        weights = _fit_weights(
            [_features(networks[i], model, from_prior) for i in rest], measured[rest], SHRINKAGES[-1]
        )
        roofline = _fit_weights([plain[i] for i in rest], measured[rest], SHRINKAGES[1])
        totals = np.array([weighted(_features(networks[i], model, from_prior), weights) for i in fold])
        totals = _mixed(totals, np.array([weighted(plain[i], roofline) for i in fold]))
        errors[fold] = np.log(np.maximum(totals, 1e-6) / measured[fold])
    fitted = _with_residual(_without_residual(rows, measured, SHRINKAGES[-1], errors), rows, measured, errors, seed)
    roofline = _fit_weights(plain, measured, SHRINKAGES[1])
    return replace(fitted, kernel_model=everything, from_prior=from_prior, roofline=roofline)


def _mixed(kernels_ms: np.ndarray, roofline_ms: np.ndarray) -> np.ndarray:
    """Geometric mean of two predictions of each network, weighted by ROOFLINE_SHARE: their errors differ."""
    return kernels_ms ** (1 - ROOFLINE_SHARE) * np.maximum(roofline_ms, 1e-6) ** ROOFLINE_SHARE


def _features(network: NetworkKernels, model: KernelModel | None, from_prior: bool) -> Features:
    """The times of the network's kernels per kind, by `model`; without one, the roofline's features."""
    if model is None:
        return network_features(network.kernels, network.runtime)
    kernels = network.prior_kernels if from_prior else network.kernels
    times = {f"{kind}.ms": ms for kind, ms in model.times_ms(kernels).items()}
    return {**times, "nets": 1.0, "launches": float(len(kernels))}


def fit(
    networks: Sequence[Features],
    latency_ms: Sequence[float],
    seed: int = 0,
    shrinkage: float | None = None,
    unit: Unit = "ms",
) -> Predictor:
    """Fit features to measured latencies (ms); errors are relative, so small networks count as much as large ones.

    shrinkage: the ridge penalty; chosen by cross-validation where it is not given. unit: of the measured values where
    these are not latencies, one of QUANTITIES.
    """
    _require_enough(len(networks))
    measured = np.asarray(latency_ms, dtype=float)
    tried = {
        s: held_out_log_errors(networks, measured, s, seed)
        for s in ([shrinkage] if shrinkage is not None else SHRINKAGES)
    }
    best = min(tried, key=lambda s: float(np.abs(tried[s]).mean()))
    found = replace(_without_residual(networks, measured, best, tried[best]), unit=unit)
    return _with_residual(found, networks, measured, tried[best], seed)


def _without_residual(
    networks: Sequence[Features], measured: np.ndarray, shrinkage: float, errors: np.ndarray
) -> Predictor:
    """Weights fitted to all networks; interval and held-out accuracy from the cross-validated log errors (n,)."""
    weights = _fit_weights(networks, measured, shrinkage)
    times = [times_by_kind(network, weights) for network in networks]
    kinds = sorted({kind_of(name) for network in networks for name, amount in network.items() if amount})
    return Predictor(
        weights=weights,
        log_error=conformal(np.abs(errors)),
        total_range=_span([sum(t.values()) for t in times]),
        share_range={kind: _span([t.get(kind, 0.0) / sum(t.values()) for t in times]) for kind in kinds},
        held_out=accuracy(np.exp(errors) * measured, measured),
        shrinkage=shrinkage,
        kinds=tuple(kinds),
    )


def _with_residual(
    fitted: Predictor, networks: Sequence[Features], measured: np.ndarray, errors: np.ndarray, seed: int
) -> Predictor:
    """`fitted` with a Gaussian process on the cross-validated log errors, if the process lowers them on held-out folds.

    Else `fitted` as it is.
    """
    times = [times_by_kind(network, fitted.weights) for network in networks]
    corrected = errors.copy()
    for fold in _folds(len(measured), seed + 1):
        rest = np.setdiff1d(np.arange(len(measured)), fold)
        part = fit_residual([times[i] for i in rest], -errors[rest])
        corrected[fold] = errors[fold] + part.predict([times[i] for i in fold])
    if np.abs(corrected).mean() > MAX_ERROR_RATIO * np.abs(errors).mean():
        return fitted
    held_out, width = accuracy(np.exp(corrected) * measured, measured), conformal(np.abs(corrected))
    return replace(fitted, residual=fit_residual(times, -errors), held_out=held_out, log_error=width)


def held_out_log_errors(
    networks: Sequence[Features], measured: np.ndarray, shrinkage: float, seed: int = 0
) -> np.ndarray:
    """log(predicted / measured) of each network by a fit without its fold; measured (n,) in ms."""
    errors = np.zeros(len(measured))
    for fold in _folds(len(measured), seed):
        rest = np.setdiff1d(np.arange(len(measured)), fold)
        weights = _fit_weights([networks[i] for i in rest], measured[rest], shrinkage)
        for i in fold:
            errors[i] = np.log(max(sum(times_by_kind(networks[i], weights).values()), 1e-6) / measured[i])
    return errors


def _folds(n: int, seed: int) -> list[np.ndarray]:
    """Up to FOLDS random index arrays that together hold 0 to n - 1 once each."""
    return np.array_split(np.random.default_rng(seed).permutation(n), min(FOLDS, n))


def _fit_weights(networks: Sequence[Features], measured: np.ndarray, shrinkage: float) -> dict[str, float]:
    """{feature: weight} by `shrunk_nnls`."""
    names = sorted({name for network in networks for name, amount in network.items() if amount})
    amounts = np.array([[network.get(name, 0.0) for name in names] for network in networks])  # (networks, features)
    return dict(zip(names, shrunk_nnls(amounts, measured, groups_of(names), shrinkage).tolist(), strict=True))


def weighted(network: Features, weights: Mapping[str, float]) -> float:
    """The weighted sum of the features, in ms; a feature without a weight counts 0."""
    return sum(amount * weights.get(name, 0.0) for name, amount in network.items())


def times_by_kind(network: Features, weights: Mapping[str, float]) -> dict[str, float]:
    """The weighted sum in its parts: predicted milliseconds per kind of kernel."""
    times: dict[str, float] = {}
    for name, amount in network.items():
        kind = kind_of(name)
        times[kind] = times.get(kind, 0.0) + amount * weights.get(name, 0.0)
    return times


def _span(values: Sequence[float]) -> tuple[float, float]:
    return float(min(values)), float(max(values))
