"""`predicted@4GFLOP`: rank designs by the error they should have when scaled there, with how sure that is.

Each proposed design is trained as it is and, as probes, at a half and a quarter of its own FLOPs (the fast rule). Three
noisy trainings cannot tell a floor or a curvature, so ln(error) is taken as a line in ln(FLOPs), whose slope is drawn
towards that of all designs of the study by as much as its own is uncertain (a random-slope model, by moments). The
prediction's variance has the noise of the trainings and the uncertainty of the slope, which grows with the distance.
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
PROBE = "probe"  # how a probe came about; its origin names the design that it stands for
DEFAULT_NOISE = 0.04  # in ln(error), until there are designs with three trainings
PRIOR_SLOPE, PRIOR_SPREAD = -0.15, 0.1  # of ln(error) over ln(FLOPs), until the study has its own
MIN_DESIGNS = 4  # from which on the study's own slopes are used
Z90 = 1.645


@dataclass(frozen=True)
class PredictedError:
    """An error at the target: the estimate, and its 90 % interval."""

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
    """Architecture id -> ln(FLOPs), ln(error) of a design's own lowest-rung training and of its probes."""
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
    far = math.log(target.limit)
    return {key: _predict(x, y, far, slope, spread, noise) for key, (x, y) in points.items()}


def curve(
    x: np.ndarray, y: np.ndarray, at: np.ndarray, points: Mapping[str, tuple[np.ndarray, np.ndarray]]
) -> np.ndarray:
    """(n, 3) error, low and high of one design over FLOPs `at` (n,)."""
    slope, spread, noise = _population(points)
    found = [_predict(x, y, math.log(place), slope, spread, noise) for place in at]
    return np.array([(p.error, p.low, p.high) for p in found])


def _own(x: np.ndarray, y: np.ndarray) -> tuple[float, float, float]:
    """Slope, sum of squares of x about its mean, and sum of squared residuals of one design's line."""
    dx, dy = x - x.mean(), y - y.mean()
    square = float(dx @ dx)
    slope = float(dx @ dy) / square if square > 0 else 0.0
    return slope, square, float(((dy - slope * dx) ** 2).sum())


def _population(points: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> tuple[float, float, float]:
    """Mean slope, its spread between designs, and the noise of one training, all in ln(error)."""
    own = [(*_own(x, y), len(x)) for x, y in points.values() if len(x) >= 3]
    if len(own) < MIN_DESIGNS:
        return PRIOR_SLOPE, PRIOR_SPREAD, DEFAULT_NOISE
    noise = math.sqrt(sum(rest for *_, rest, _ in own) / sum(n - 2 for *_, n in own))
    noise = max(noise, 1e-3)
    slopes, errors = np.array([s for s, *_ in own]), np.array([noise**2 / square for _, square, *_ in own])
    spread = math.sqrt(max(float(slopes.var(ddof=1) - errors.mean()), 1e-4))  # by moments, never quite zero
    weights = 1 / (spread**2 + errors)
    return float((weights * slopes).sum() / weights.sum()), spread, noise


def _predict(x: np.ndarray, y: np.ndarray, far: float, slope: float, spread: float, noise: float) -> PredictedError:
    own, square, _ = _own(x, y)
    error = noise**2 / square if square > 0 else math.inf
    share = spread**2 / (spread**2 + error) if math.isfinite(error) else 0.0
    best = slope + share * (own - slope)
    variance = spread**2 * (1 - share)
    distance = far - float(x.mean())
    centre = float(y.mean()) + best * distance
    deviation = math.sqrt(noise**2 / len(x) + variance * distance**2)
    ends = (math.exp(centre - Z90 * deviation), math.exp(centre + Z90 * deviation))
    return PredictedError(math.exp(centre), ends[0], min(1.0, ends[1]))


def next_probe(
    trials: Sequence[Trial], known: Iterable[str], fidelity: Fidelity, seed: int, classes: int = 1000,
    numerics: Numerics | None = None,
) -> Trial | None:  # fmt: skip
    """The next probe to train: of the oldest complete lowest-rung design that lacks one; None where all have theirs.

    `known` are the keys of trials that there are already; `numerics` as in `Trial.new`.
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
    """The probes of an architecture given as JSON, made once."""
    return tuple(probes(Architecture.from_dict(json.loads(content)), classes))


def errors_at(trials: Sequence[Trial], wanted: Sequence[Trial], target: Budget) -> dict[str, float]:
    """Key -> predicted error at the target of each of `wanted`, from all of the study's `trials`.

    A higher rung's own error is carried over by what the lowest rung's line says of the way to the target.
    """
    points = lines(trials)
    slope, spread, noise = _population(points)
    far, found = math.log(target.limit), {}
    for trial in wanted:
        x, y = points.get(trial.architecture_id) or _alone(trial)
        error = _predict(x, y, far, slope, spread, noise).error
        if trial.level.rung > 0:
            here = math.log(trial.cost.flops)
            error *= (1 - trial.metric("accuracy")) / _predict(x, y, here, slope, spread, noise).error
        found[trial.key] = min(1.0, error)
    return found


def _alone(trial: Trial) -> tuple[np.ndarray, np.ndarray]:
    return np.array([math.log(trial.cost.flops)]), np.array([math.log(_error(trial))])


def _error(trial: Trial) -> float:
    return max(1e-6, 1 - trial.metric("accuracy"))
