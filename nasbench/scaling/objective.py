"""The objective `predicted@4GFLOP`: the error that a design is predicted to have when scaled there, with an interval.

Each proposed design is trained as it is and, as probes, at a half and a quarter of its own FLOPs (the fast rule). Three
noisy trainings cannot identify a floor or a curvature, so ln(error) is modelled as a line in ln(FLOPs). Its slope is
shrunk towards the mean slope of the study's designs, more so the less certain its own is (a random-slope model, fitted
by moments). The prediction's variance is that of the trainings' noise and that of the slope times the squared distance.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from nasbench.arch.architecture import Architecture
from nasbench.costs.analytic import cost
from nasbench.costs.budget import Budget
from nasbench.errors import UserError
from nasbench.scaling.rules import RULES
from nasbench.scaling.target import scale_to
from nasbench.scaling.target_metric import metric_of
from nasbench.study.fidelity import Fidelity
from nasbench.study.runner import Numerics
from nasbench.study.trials import Kind, Origin, Trial

PROBE_SHARES = (0.5, 0.25)  # of the design's own FLOPs
PROBE_RUNG = -1
PROBE = "probe"  # in a trial's origin, which also names the design that the probe belongs to
DEFAULT_NOISE = 0.04  # in ln(error), until there are designs with three trainings
PRIOR_SLOPE, PRIOR_SPREAD = -0.15, 0.1  # of ln(error) over ln(FLOPs), while the study has fewer than MIN_DESIGNS
MIN_DESIGNS = 4  # with three trainings each, from which on slopes and noise are those of the study
Z90 = 1.645


@dataclass(frozen=True)
class PredictedError:
    """The predicted error at the target and its 90 % interval."""

    error: float
    low: float
    high: float


def probes(arch: Architecture, classes: int = 1000) -> list[Architecture]:
    """`arch` at a half and a quarter of its FLOPs; those that it cannot be scaled to are left out."""
    flops, found = cost(arch, classes).flops, []
    for share in PROBE_SHARES:
        target = Budget("flops", share * flops, f"{share:g}x", "MFLOP")
        try:
            found.append(scale_to(arch, target, RULES["fast"], metric_of(target, classes)).arch)
        except UserError:
            continue
    return found


def lines(trials: Iterable[Trial]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """{architecture id: (ln(FLOPs), ln(error))} of each design's lowest-rung training and of its probes, (n,) each."""
    found: dict[str, list[tuple[float, float]]] = {}
    for trial in trials:
        if not trial.complete or trial.level.rung > 0 or trial.level.final:
            continue
        owner = trial.origin.of or trial.architecture_id
        found.setdefault(owner, []).append((math.log(trial.cost.flops), math.log(_error(trial))))
    return {key: (np.array([x for x, _ in pairs]), np.array([y for _, y in pairs])) for key, pairs in found.items()}


def predict_all(points: Mapping[str, tuple[np.ndarray, np.ndarray]], target: Budget) -> dict[str, PredictedError]:
    """Every design's error at the target."""
    slope, spread, noise = _population(points)
    at = math.log(target.limit)
    return {key: _predict(x, y, at, slope, spread, noise) for key, (x, y) in points.items()}


def curve(
    x: np.ndarray, y: np.ndarray, at: np.ndarray, points: Mapping[str, tuple[np.ndarray, np.ndarray]]
) -> np.ndarray:
    """(n, 3) error, low and high of one design over FLOPs `at` (n,)."""
    slope, spread, noise = _population(points)
    found = [_predict(x, y, math.log(place), slope, spread, noise) for place in at]
    return np.array([(p.error, p.low, p.high) for p in found])


def _line(x: np.ndarray, y: np.ndarray) -> tuple[float, float, float]:
    """Least-squares line of one design: slope, sum of squares of x about its mean, and of the residuals."""
    dx, dy = x - x.mean(), y - y.mean()
    square = float(dx @ dx)
    slope = float(dx @ dy) / square if square > 0 else 0.0
    return slope, square, float(((dy - slope * dx) ** 2).sum())


def _population(points: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> tuple[float, float, float]:
    """Mean slope of the designs, its standard deviation between them, and that of a training's noise in ln(error)."""
    own = [(*_line(x, y), len(x)) for x, y in points.values() if len(x) >= 3]
    if len(own) < MIN_DESIGNS:
        return PRIOR_SLOPE, PRIOR_SPREAD, DEFAULT_NOISE
    noise = math.sqrt(sum(rest for *_, rest, _ in own) / sum(n - 2 for *_, n in own))
    noise = max(noise, 1e-3)
    slopes, errors = np.array([s for s, *_ in own]), np.array([noise**2 / square for _, square, *_ in own])
    spread = math.sqrt(max(float(slopes.var(ddof=1) - errors.mean()), 1e-4))  # by moments, never quite zero
    weights = 1 / (spread**2 + errors)  # errors (n,): variance of each design's own slope
    return float((weights * slopes).sum() / weights.sum()), spread, noise


def _predict(x: np.ndarray, y: np.ndarray, at: float, slope: float, spread: float, noise: float) -> PredictedError:
    """One design's error at ln(FLOPs) `at`, from its points and the population's `slope`, `spread` and `noise`."""
    own, square, _ = _line(x, y)
    own_variance = noise**2 / square if square > 0 else math.inf
    share = spread**2 / (spread**2 + own_variance) if math.isfinite(own_variance) else 0.0  # weight of the own slope
    shrunk = slope + share * (own - slope)
    variance = spread**2 * (1 - share)
    distance = at - float(x.mean())
    centre = float(y.mean()) + shrunk * distance
    deviation = math.sqrt(noise**2 / len(x) + variance * distance**2)
    ends = (math.exp(centre - Z90 * deviation), math.exp(centre + Z90 * deviation))
    return PredictedError(math.exp(centre), ends[0], min(1.0, ends[1]))


def next_probe(
    trials: Sequence[Trial], known: Iterable[str], fidelity: Fidelity, seed: int, classes: int = 1000,
    numerics: Numerics | None = None,
) -> Trial | None:  # fmt: skip
    """The next probe to train, of the first of the complete `trials` that lacks one; None where none does.

    known: keys of the trials that exist. numerics: as in `Trial.new`.
    """
    keys = set(known)
    for trial in trials:
        if not trial.complete:
            continue
        for arch in _probes_of(json.dumps(trial.architecture, sort_keys=True), classes):
            origin = Origin(Kind.SEARCHED, PROBE_RUNG, PROBE, cost(arch, classes), of=trial.architecture_id)
            made = Trial.new(arch, fidelity, seed, trial.data, trial.split, origin, numerics)
            if made.key not in keys:
                return made
    return None


@lru_cache(maxsize=4096)
def _probes_of(content: str, classes: int) -> tuple[Architecture, ...]:
    """`probes` of an architecture given as JSON, cached."""
    return tuple(probes(Architecture.from_dict(json.loads(content)), classes))


def errors_at(trials: Sequence[Trial], wanted: Sequence[Trial], target: Budget) -> dict[str, float]:
    """{trial key: predicted error at the target} of each of `wanted`, from all of the study's `trials`.

    For a trial of a higher rung: its own error times the factor by which the lowest rung's line falls to the target.
    """
    points = lines(trials)
    slope, spread, noise = _population(points)
    at, found = math.log(target.limit), {}
    for trial in wanted:
        x, y = points.get(trial.architecture_id) or _alone(trial)
        error = _predict(x, y, at, slope, spread, noise).error
        if trial.level.rung > 0:
            here = math.log(trial.cost.flops)
            error *= (1 - trial.metric("accuracy")) / _predict(x, y, here, slope, spread, noise).error
        found[trial.key] = min(1.0, error)
    return found


def _alone(trial: Trial) -> tuple[np.ndarray, np.ndarray]:
    """The points of a design that only this trial is known of."""
    return np.array([math.log(trial.cost.flops)]), np.array([math.log(_error(trial))])


def _error(trial: Trial) -> float:
    return max(1e-6, 1 - trial.metric("accuracy"))
