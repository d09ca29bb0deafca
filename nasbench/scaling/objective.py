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
from nasbench.costs.budget import Budget
from nasbench.errors import UserError
from nasbench.report.rows import SEARCHED
from nasbench.scaling.measures import measure
from nasbench.scaling.rules import RULES
from nasbench.scaling.target import scale_to
from nasbench.study.trials import Trial

PREFIX = "predicted@"
PROBE_SHARES = (0.5, 0.25)  # of the design's own FLOPs
PROBE_RUNG = -1
PROBE = "probe"  # how a probe came about; its origin names the design that it stands for
DEFAULT_NOISE = 0.04  # in ln(error), until there are designs with three trainings
PRIOR_SLOPE, PRIOR_SPREAD = -0.15, 0.1  # of ln(error) over ln(FLOPs), until the study has its own
MIN_DESIGNS = 4  # from which on the study's own slopes are used
Z90 = 1.645


@dataclass(frozen=True)
class Reach:
    """Where designs are compared: a size in multiply-adds."""

    target: Budget

    @classmethod
    def parse(cls, text: str) -> Reach:
        """From `predicted@4GFLOP`."""
        target = Budget.parse(text.removeprefix(PREFIX))
        if target.metric != "flops":
            raise UserError(
                f"objective {text!r}: designs are extrapolated over FLOPs; write for example {PREFIX}4GFLOP"
            )
        return cls(target)

    @classmethod
    def of(cls, objectives: Sequence[str]) -> Reach | None:
        """The study's, where one of its objectives is a prediction."""
        return next((cls.parse(text) for text in objectives if text.startswith(PREFIX)), None)


@dataclass(frozen=True)
class Predicted:
    """An error at the target: the estimate, and its 90 % interval."""

    error: float
    low: float
    high: float


def split_objective(text: str) -> tuple[str, tuple[str, ...]]:
    """`--objective` as what is trained and what is extrapolated: `predicted@4GFLOP` is supervised, ranked there."""
    if not text.startswith(PREFIX):
        return text, ()
    Reach.parse(text)
    return "supervised", (text,)


def probes(arch: Architecture, classes: int = 1000) -> list[Architecture]:
    """`arch` at a half and a quarter of its FLOPs; those that it cannot be scaled to are left out."""
    from nasbench.costs.analytic import cost

    flops, found = cost(arch, classes).flops, []
    for share in PROBE_SHARES:
        target = Budget("flops", share * flops, f"{share:g}x", "MFLOP")
        try:
            found.append(scale_to(arch, target, RULES["fast"], measure(target, classes)).arch)
        except UserError:
            continue
    return found


def lines(trials: Iterable[Trial]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Architecture id -> ln(FLOPs), ln(error) of a design's own lowest-rung training and of its probes."""
    found: dict[str, list[tuple[float, float]]] = {}
    for trial in trials:
        rung = int(trial.origin.get("rung", 0))
        if trial.state != "complete" or rung > 0 or trial.split != "validation":
            continue
        owner = trial.origin.get("of", trial.architecture_id)
        error = max(1e-6, 1 - float(trial.metrics["accuracy"]))
        found.setdefault(owner, []).append((math.log(trial.origin["cost"]["flops"]), math.log(error)))
    return {key: (np.array([x for x, _ in pairs]), np.array([y for _, y in pairs])) for key, pairs in found.items()}


def predict_all(points: Mapping[str, tuple[np.ndarray, np.ndarray]], reach: Reach) -> dict[str, Predicted]:
    """Every design's error at the target."""
    slope, spread, noise = _population(points)
    far = math.log(reach.target.limit)
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


def _predict(x: np.ndarray, y: np.ndarray, far: float, slope: float, spread: float, noise: float) -> Predicted:
    own, square, _ = _own(x, y)
    error = noise**2 / square if square > 0 else math.inf
    share = spread**2 / (spread**2 + error) if math.isfinite(error) else 0.0
    best = slope + share * (own - slope)
    variance = spread**2 * (1 - share)
    distance = far - float(x.mean())
    centre = float(y.mean()) + best * distance
    deviation = math.sqrt(noise**2 / len(x) + variance * distance**2)
    ends = (math.exp(centre - Z90 * deviation), math.exp(centre + Z90 * deviation))
    return Predicted(math.exp(centre), ends[0], min(1.0, ends[1]))


def next_probe(
    trials: Sequence[Trial], known: Iterable[str], fidelity: Mapping[str, object], seed: int, classes: int = 1000
) -> Trial | None:
    """The next probe to train: of the oldest complete lowest-rung design that lacks one; None where all have theirs.

    `known` are the keys of trials that there are already.
    """
    from nasbench.costs.analytic import cost

    keys = set(known)
    for trial in trials:
        for arch in _probes_of(trial, classes):
            made = Trial.new(
                arch.to_dict(), arch.id, fidelity=fidelity, seed=seed, data=trial.data, split=trial.split,
                origin={
                    "rung": PROBE_RUNG, "how": PROBE, "kind": SEARCHED, "of": trial.architecture_id,
                    "cost": cost(arch, classes).to_dict(),
                },
            )  # fmt: skip
            if made.key not in keys:
                return made
    return None


@lru_cache(maxsize=4096)
def _probes_by_content(content: str, classes: int) -> tuple[Architecture, ...]:
    return tuple(probes(Architecture.from_dict(json.loads(content)), classes))


def _probes_of(trial: Trial, classes: int) -> tuple[Architecture, ...]:
    return _probes_by_content(json.dumps(trial.architecture, sort_keys=True), classes) if _complete(trial) else ()


def _complete(trial: Trial) -> bool:
    return trial.state == "complete"


def errors_at(trials: Sequence[Trial], wanted: Sequence[Trial], reach: Reach) -> dict[str, float]:
    """Key -> predicted error at the target of each of `wanted`, from all of the study's `trials`.

    A higher rung's own error is carried over by what the lowest rung's line says of the way to the target.
    """
    points = lines(trials)
    slope, spread, noise = _population(points)
    far, found = math.log(reach.target.limit), {}
    for trial in wanted:
        x, y = points.get(trial.architecture_id) or _alone(trial)
        error = _predict(x, y, far, slope, spread, noise).error
        if int(trial.origin["rung"]) > 0:
            here = math.log(trial.origin["cost"]["flops"])
            error *= (1 - float(trial.metrics["accuracy"])) / _predict(x, y, here, slope, spread, noise).error
        found[trial.key] = min(1.0, error)
    return found


def _alone(trial: Trial) -> tuple[np.ndarray, np.ndarray]:
    error = max(1e-6, 1 - float(trial.metrics["accuracy"]))
    return np.array([math.log(trial.origin["cost"]["flops"])]), np.array([math.log(error)])
