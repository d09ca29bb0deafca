"""The profile likelihood of an exponent: its interval with the other parameters fitted anew at each value."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nasbench.scaling.laws import ALPHA_RANGE, Fit, jacobian, log_residuals

LEVEL = 0.90  # coverage of all intervals about laws


def likelihood_interval(fit: Fit, index: int, seed_noise: float) -> tuple[float, float]:
    """The interval of the exponent of variable `index` by a likelihood ratio test.

    seed_noise: lower bound of the noise in ln(error). An end at a bound of ALPHA_RANGE means that the data do not bound
    the exponent on that side.
    """
    from scipy.special import fdtri  # scipy.stats.f.ppf would take half a second to import

    data = fit.data
    freedom = max(1, len(data.y) - data.parameters)
    best = float((fit.residuals**2).sum())
    allowed = best + max(best / freedom, seed_noise**2) * fdtri(1, freedom, LEVEL)
    own, ends = float(fit.law.exponents[index]), []
    for bound in ALPHA_RANGE:
        ends.append(_crossing(_profile_loss(fit, index), allowed, np.log(own), np.log(bound)))
    return float(np.exp(ends[0])), float(np.exp(ends[1]))


def _crossing(loss: Callable[[float], float], allowed: float, inside: float, bound: float) -> float:
    """The ln(exponent) between `inside` and `bound` where the loss exceeds `allowed`, searched in growing steps.

    `bound` where it does not.
    """
    from scipy.optimize import brentq

    def excess(log_alpha: float) -> float:
        return loss(float(np.exp(log_alpha))) - allowed

    step = 0.1 if bound > inside else -0.1
    while (bound - inside) * step > 0:
        outside = inside + step if abs(bound - inside) > abs(step) else bound
        if excess(outside) > 0:
            return float(brentq(excess, inside, outside, xtol=5e-3)) if excess(inside) < 0 else inside
        inside, step = outside, 1.6 * step
    return bound


def _profile_loss(fit: Fit, index: int) -> Callable[[float], float]:
    """Least sum of squared log residuals as a function of one exponent; each call starts where the last one ended."""
    from scipy.optimize import least_squares

    data, k = fit.data, len(fit.data.variables)
    z, target = np.log(data.x / data.reference), np.log(data.y)
    held, high = 1 + k + index, data.y.max()
    lower = np.delete(np.concatenate([[0.0], np.full(k, np.log(1e-9 * high)), np.full(k, ALPHA_RANGE[0])]), held)
    upper = np.delete(np.concatenate([[high], np.full(k, np.log(1e3 * high)), np.full(k, ALPHA_RANGE[1])]), held)
    last = np.delete(fit.law.vector, held)

    def loss(alpha: float) -> float:
        nonlocal last
        found = least_squares(
            lambda free: log_residuals(np.insert(free, held, alpha), z, target),
            np.clip(last, lower + 1e-9, upper - 1e-9),
            lambda free: np.delete(jacobian(np.insert(free, held, alpha), z, target), held, axis=1),
            bounds=(lower, upper), max_nfev=60, xtol=1e-6, ftol=1e-7,
        )  # fmt: skip
        last = found.x
        return 2 * float(found.cost)

    return loss
