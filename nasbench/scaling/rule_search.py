"""Find a scaling rule by training: which way a design grows best, tried on its own scaled versions on the proxy.

The design is made twice as expensive in seven ways (all in depth, width or resolution, halves of two, thirds of all)
and each is trained briefly. A mixture model (Scheffé's quadratic, with a ridge) of log error over the shares gives the
best shares. Few short trainings are noisy, so these are shrunk towards the fast rule, all the way where the gain over
it is not significant.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from nasbench.arch.architecture import Architecture
from nasbench.costs.analytic import cost
from nasbench.costs.budget import Budget
from nasbench.errors import UserError
from nasbench.scaling.rules import RULES, SEARCHED, Rule
from nasbench.scaling.target import scale_to
from nasbench.scaling.target_metric import metric_of
from nasbench.study.fidelity import Fidelity, load_recipe
from nasbench.study.runner import LAPTOP, load_runner
from nasbench.study.task import DataSplit, Task

GROWTH = 2.0  # times the design's FLOPs at which the shares are compared
SHARES = ((1, 0, 0), (0, 1, 0), (0, 0, 1), (0.5, 0.5, 0), (0.5, 0, 0.5), (0, 0.5, 0.5), (1 / 3, 1 / 3, 1 / 3))
RIDGE = 0.05  # of the interaction terms, in units of their squared coefficients
BEST_OF_MANY = 2.0  # standard errors by which the best of many shares may seem better by chance
GRID = 20  # steps of a share, where the model is evaluated
SAMPLES = 1600  # training images seen
SCORED = 2500  # validation images
Evaluate = Callable[[Architecture, Fidelity, int], float]


@dataclass(frozen=True)
class Tried:
    """One point of the search: shares of depth, width, resolution, and the errors of its seeds."""

    shares: tuple[float, float, float]
    errors: tuple[float, ...]


@dataclass(frozen=True)
class FoundRule:
    """The rule, the trainings that it was found from, and its gain over the fast rule."""

    rule: Rule
    tried: tuple[Tried, ...]
    gain: float  # expected fall of ln(error) against the fast rule at twice the cost
    scatter: float  # standard error of that


def search_rule(
    arch: Architecture, seeds: int = 1, data: str = "fashion-on-earth",
    evaluate: Evaluate | None = None, progress: Callable[[str], None] | None = None,
) -> FoundRule:  # fmt: skip
    """Train `arch` at each of the shares and fit the rule."""
    flops = cost(arch).flops
    target = Budget.parse(f"{GROWTH * flops / 1e6:.1f}MFLOP")
    fidelity, run = load_recipe().at(SAMPLES, evaluate=SCORED), evaluate or _train_on(data)
    tried = []
    for shares in SHARES:
        try:
            grown = scale_to(arch, target, Rule("trial", *shares), metric_of(target)).arch
        except UserError:
            continue  # shares that this design cannot grow by: a network of slots has no width
        tried.append(Tried(shares, tuple(run(grown, fidelity, seed) for seed in range(seeds))))
        if progress:
            progress(f"depth, width, resolution {_shown(shares)}: error {np.mean(tried[-1].errors):.3f}")
    if len(tried) < 3:
        raise UserError(
            f"{arch.label}: only {len(tried)} of {len(SHARES)} ways to grow reach {target}; use another rule"
        )
    return fit_shares(tried)


def fit_shares(tried: Sequence[Tried]) -> FoundRule:
    """The shares of least expected error by a ridge-fitted quadratic mixture model, shrunk towards the fast rule."""
    points = np.array([t.shares for t in tried for _ in t.errors])
    y = np.log([error for t in tried for error in t.errors])
    design = _terms(points)
    penalty = np.diag([0.0] * 3 + [RIDGE] * 3) + 1e-9 * np.eye(6)
    inverse = np.linalg.inv(design.T @ design + penalty)
    weights = inverse @ design.T @ y
    freedom = max(1.0, len(y) - float(np.trace(design @ inverse @ design.T)))
    sigma = float(np.sqrt(((y - design @ weights) ** 2).sum() / freedom))
    grid = np.array([(d, w, GRID - d - w) for d, w in itertools.product(range(GRID + 1), repeat=2) if d + w <= GRID])
    grid = grid / GRID
    best = grid[int(np.argmin(_terms(grid) @ weights))]
    fast = np.array([RULES["fast"].depth, RULES["fast"].width, RULES["fast"].resolution])
    step = (_terms(fast[None]) - _terms(best[None]))[0]
    gain, scatter = float(step @ weights), sigma * float(np.sqrt(step @ inverse @ step))
    trust = max(0.0, 1 - (BEST_OF_MANY * scatter / gain) ** 2) if gain > 0 else 0.0
    shares = fast + trust * (best - fast)
    depth, width, resolution = map(float, shares)
    return FoundRule(Rule(SEARCHED, depth, width, resolution, "found on the proxy"), tuple(tried), gain, scatter)


def _terms(shares: np.ndarray) -> np.ndarray:
    """Scheffé's quadratic: the shares and their products, (n, 6)."""
    d, w, r = shares.T
    return np.stack([d, w, r, d * w, d * r, w * r], axis=1)


def _train_on(data: str) -> Evaluate:
    from nasbench.proxy.evaluate import evaluate

    def run(arch: Architecture, fidelity: Fidelity, seed: int) -> float:
        return 1 - evaluate(Task(arch, fidelity, seed, DataSplit(data), load_runner(LAPTOP)))["accuracy"]

    return run


def _shown(shares: tuple[float, float, float]) -> str:
    return " ".join(f"{share:.2f}" for share in shares)
