"""The profile likelihood of an exponent: how far it can move while the other parameters make up for it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nasbench.scaling.laws import ALPHA_RANGE, Fit, jacobian, log_residuals

LEVEL = 0.90  # of all intervals about laws


def likelihood_interval(fit: Fit, index: int, seed_noise: float) -> tuple[float, float]:
    """Exponents of variable `index` at which the best other parameters still explain the data, by likelihood ratio.

    `seed_noise`, in ln(error), is the least noise to reckon with. An end at the range's own bound means that the data
    do not bound it.
    """
    from scipy.special import fdtri  # scipy.stats has it by name, and takes half a second to import

    data = fit.data
    freedom = max(1, len(data.y) - data.parameters)
    best = float((fit.residuals**2).sum())
    allowed = best + max(best / freedom, seed_noise**2) * fdtri(1, freedom, LEVEL)
    own, ends = float(fit.law.exponents[index]), []
    for bound in ALPHA_RANGE:
        ends.append(_crossing(_profile_loss(fit, index), allowed, np.log(own), np.log(bound)))
    return float(np.exp(ends[0])), float(np.exp(ends[1]))


def _crossing(loss: Callable[[float], float], allowed: float, inside: float, bound: float) -> float:
    """The ln(exponent) between `inside` and `bound` where the loss passes what is allowed, looked for in growing steps;
    `bound` if it nowhere does."""
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
