"""Latency of whole networks: a non-negative weighted sum of features, its interval, and when not to believe it.

Features are either the roofline's (work, traffic, launches per kind) or, where kernels have been timed, on this device
or on another whose profile serves as a prior, the kernels' predicted times per kind. Weights come from non-negative
least squares on relative error, drawn towards a coarser model in which all kinds share one weight a measure: with
kernel times that is one common factor between devices, which ten networks are enough for. What is left, a Gaussian
process on the shares of the time corrects, where cross-validation says that it helps.

The interval is conformal: a quantile of the absolute log residuals of networks that the fit did not see. Both hold for
networks like the fitted ones; a network whose kernels, total or mix lie outside what was fitted is marked as
extrapolating, and its interval widened. Weights are collinear: they rank and predict, they don't describe the hardware.
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
from nasbench.latency.ranges import STRICT, Amount, HalfWidth, Positive, Share
from nasbench.latency.residual import Residual, fit_residual

FOLDS = 10
MIN_NETWORKS = 8
FEW_NETWORKS = 20  # below which timed kernels, a prior's too, are preferred to the roofline alone
SHRINKAGES = (0.3, 3.0, 30.0)  # tried by cross-validation; the roofline likes the first, kernel times the last
ROOFLINE_SHARE = 0.2  # of the roofline beside kernel times; with 50 networks 4.0 % error instead of 4.2 %
HELPS = 0.97  # an addition is kept where it brings the cross-validated error below this share
# Beyond the fitted range the interval is widened so: from convolutional to hybrid networks the mean error grew from
# 4.9 % to 20 %. No coverage is promised there.
EXTRAPOLATION_WIDENING = 4.0
MOST_CORRECTION = 10.0  # in the logarithm, whatever a file says
LEAST = 1e-9  # of a prediction: weights may all be 0
TOTAL_SLACK = 1.25  # a total this much outside the fitted range is still inside
SHARE_SLACK = 0.1  # likewise for a kind's share of the time, absolute

WHOLE = {"ms": "time", "MB": "memory", "mJ": "energy"}  # unit of what is predicted -> what it measures

Unit = Annotated[str, Field(pattern="^(ms|MB|mJ)$")]
Features = Mapping[str, float]


@dataclass(frozen=True)
class Predictor:
    """A fitted model: plain numbers, all of them stored in the profile."""

    __pydantic_config__ = STRICT

    weights: Mapping[str, Amount]  # ms per unit of each feature seen in fitting
    log_error: HalfWidth  # half-width of the interval in log latency
    total_range: tuple[Positive, Positive]  # ms, of the fitted predictions
    share_range: Mapping[str, tuple[Share, Share]]  # per kind, its share of the predicted time
    held_out: HeldOut
    shrinkage: Amount = SHRINKAGES[0]
    kinds: tuple[str, ...] = ()  # of kernels seen in fitting
    kernel_model: KernelModel | None = None
    from_prior: bool = False  # whether the kernel model is another device's
    roofline: Mapping[str, Amount] | None = None  # weights of a roofline that is mixed in beside kernel times
    residual: Residual | None = None
    unit: Unit = "ms"  # those of WHOLE, where other figures than latency are predicted

    @cached_property
    def _known(self) -> dict[Kernel, float]:
        return {}

    def predict_networks(self, networks: Sequence[NetworkKernels]) -> Prediction:
        mixed_in = None if self.roofline is None else np.array([self._roofline_ms(network) for network in networks])
        return self.predict([self.features_of(network) for network in networks], mixed_in)

    def _roofline_ms(self, network: NetworkKernels) -> float:
        """The roofline's own figure; kernels met before are looked up."""
        known, weights = self._known, self.roofline or {}
        total = weights.get("nets", 0.0)
        for kernel in network.kernels:
            if kernel not in known:
                known[kernel] = weighted(network_features([kernel], network.runtime), weights) - weights.get(
                    "nets", 0.0
                )
            total += known[kernel]
        return total

    def features_of(self, network: NetworkKernels) -> Features:
        return _features(network, self.kernel_model, self.from_prior)

    def predict(self, networks: Sequence[Features], mixed_in: np.ndarray | None = None) -> Prediction:
        """One latency and interval a network, from the features of each; `mixed_in` (n,) is the roofline's figure."""
        totals, reasons = np.zeros(len(networks)), []
        times = [times_by_kind(network, self.weights) for network in networks]
        for i, (network, parts) in enumerate(zip(networks, times, strict=True)):
            totals[i] = sum(parts.values())
            reasons.append(self._outside(network, parts))
        if mixed_in is not None:
            totals = _mixed(totals, mixed_in)
        if self.residual is not None:
            totals = totals * np.exp(np.clip(self.residual.predict(times), -MOST_CORRECTION, MOST_CORRECTION))
        totals = np.maximum(totals, LEAST)
        extrapolating = np.array([bool(r) for r in reasons], dtype=bool)
        factor = np.exp(self.log_error * np.where(extrapolating, EXTRAPOLATION_WIDENING, 1.0))
        return Prediction(totals, totals / factor, totals * factor, extrapolating, tuple(reasons))

    def _outside(self, network: Features, times: Mapping[str, float]) -> str:
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
                whole = WHOLE[self.unit]
                return f"{kind} takes {share:.0%} of the {whole}; measured networks had {least:.0%} to {most:.0%}"
        return ""


def fit_networks(
    networks: Sequence[NetworkKernels], latency_ms: Sequence[float], prior: KernelModel | None = None, seed: int = 0
) -> Predictor:
    """The best of what can be fitted, by cross-validation: timed kernels, the prior's kernels, the roofline alone.

    With few networks the roofline alone is not asked: one odd network decides such a comparison.
    """
    measured = np.asarray(latency_ms, dtype=float)
    if len(measured) < MIN_NETWORKS:
        raise UserError(f"{len(measured)} measured networks; a predictor needs at least {MIN_NETWORKS}: measure more")

    def learnt(rows: np.ndarray) -> KernelModel | None:
        times = [pair for i in rows for pair in scaled(networks[i].kernels, networks[i].reported, measured[i])]
        return fit_kernels(times, networks[0].runtime, seed)

    found = []
    if any(network.reported for network in networks):
        found.append(_fit_kernel_times(networks, measured, learnt, False, seed))
    if prior is not None and all(network.prior_kernels for network in networks):
        found.append(_fit_kernel_times(networks, measured, lambda rows: prior, True, seed))
    candidates = [predictor for predictor in found if predictor is not None]
    if len(measured) >= FEW_NETWORKS or not candidates:
        candidates.append(fit([_features(network, None, False) for network in networks], latency_ms, seed))
    return min(candidates, key=lambda predictor: predictor.held_out.mape)


def _fit_kernel_times(
    networks: Sequence[NetworkKernels],
    measured: np.ndarray,
    learn: Callable[[np.ndarray], KernelModel | None],
    from_prior: bool,
    seed: int,
) -> Predictor | None:
    """On kernel times that `learn` gives for rows of the networks; for each fold it learns without the fold."""
    everything = learn(np.arange(len(networks)))
    if everything is None:
        return None
    rows = [_features(network, everything, from_prior) for network in networks]
    plain = [_features(network, None, False) for network in networks]
    errors = np.zeros(len(measured))
    for fold in _folds(len(measured), seed):
        rest = np.setdiff1d(np.arange(len(measured)), fold)
        model = learn(rest) or everything
        weights = _fit_weights(
            [_features(networks[i], model, from_prior) for i in rest], measured[rest], SHRINKAGES[-1]
        )
        roofline = _fit_weights([plain[i] for i in rest], measured[rest], SHRINKAGES[1])
        totals = np.array([weighted(_features(networks[i], model, from_prior), weights) for i in fold])
        totals = _mixed(totals, np.array([weighted(plain[i], roofline) for i in fold]))
        errors[fold] = np.log(np.maximum(totals, 1e-6) / measured[fold])
    fitted = _with_residual(_predictor(rows, measured, SHRINKAGES[-1], errors), rows, measured, errors, seed)
    roofline = _fit_weights(plain, measured, SHRINKAGES[1])
    return replace(fitted, kernel_model=everything, from_prior=from_prior, roofline=roofline)


def _mixed(kernels_ms: np.ndarray, roofline_ms: np.ndarray) -> np.ndarray:
    """Geometric mean of the two, the kernels' weighing more: their errors are not the same ones."""
    return kernels_ms ** (1 - ROOFLINE_SHARE) * np.maximum(roofline_ms, 1e-6) ** ROOFLINE_SHARE


def _features(network: NetworkKernels, model: KernelModel | None, from_prior: bool) -> Features:
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

    `shrinkage` is chosen by cross-validation where it is not given. `unit`: of other figures than latencies, see WHOLE.
    """
    if len(networks) < MIN_NETWORKS:
        raise UserError(f"{len(networks)} measured networks; a predictor needs at least {MIN_NETWORKS}: measure more")
    measured = np.asarray(latency_ms, dtype=float)
    tried = {
        s: held_out_log_errors(networks, measured, s, seed)
        for s in ([shrinkage] if shrinkage is not None else SHRINKAGES)
    }
    best = min(tried, key=lambda s: float(np.abs(tried[s]).mean()))
    found = replace(_predictor(networks, measured, best, tried[best]), unit=unit)
    return _with_residual(found, networks, measured, tried[best], seed)


def _predictor(networks: Sequence[Features], measured: np.ndarray, shrinkage: float, errors: np.ndarray) -> Predictor:
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
    """With a Gaussian process on the cross-validated log errors, if it lowers them where it has not seen them."""
    times = [times_by_kind(network, fitted.weights) for network in networks]
    left = errors.copy()
    for fold in _folds(len(measured), seed + 1):
        rest = np.setdiff1d(np.arange(len(measured)), fold)
        part = fit_residual([times[i] for i in rest], -errors[rest])
        left[fold] = errors[fold] + part.predict([times[i] for i in fold])
    if np.abs(left).mean() > HELPS * np.abs(errors).mean():
        return fitted
    held_out, width = accuracy(np.exp(left) * measured, measured), conformal(np.abs(left))
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
    return np.array_split(np.random.default_rng(seed).permutation(n), min(FOLDS, n))


def _fit_weights(networks: Sequence[Features], measured: np.ndarray, shrinkage: float) -> dict[str, float]:
    names = sorted({name for network in networks for name, amount in network.items() if amount})
    amounts = np.array([[network.get(name, 0.0) for name in names] for network in networks])  # (networks, features)
    return dict(zip(names, shrunk_nnls(amounts, measured, groups_of(names), shrinkage).tolist(), strict=True))


def weighted(network: Features, weights: Mapping[str, float]) -> float:
    """The weighted sum, in ms."""
    return sum(amount * weights.get(name, 0.0) for name, amount in network.items())


def times_by_kind(network: Features, weights: Mapping[str, float]) -> dict[str, float]:
    """Milliseconds of the prediction that each kind of kernel takes."""
    times: dict[str, float] = {}
    for name, amount in network.items():
        kind = kind_of(name)
        times[kind] = times.get(kind, 0.0) + amount * weights.get(name, 0.0)
    return times


def _span(values: Sequence[float]) -> tuple[float, float]:
    return (float(min(values)), float(max(values)))
