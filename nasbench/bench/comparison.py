"""Which differences between strategies are significant: paired tests over seeds, corrected for their number."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np

from nasbench.bench.curves import Curves

DECIDED = 0.05  # family-wise error rate of all comparisons of a table
FEWEST = 6  # common seeds: with fewer no difference is significant at 5 %
ALL, END = "over all evaluations", "at the end"  # the mean of a curve, and its last value


class Comparison(NamedTuple):
    """Two strategies on the seeds that both have: `difference` is the median of `better` minus `worse`, `p` Wilcoxon's
    signed-rank test after Holm's correction; NaN where too few seeds are common."""

    measure: str
    better: str
    worse: str
    seeds: int
    difference: float
    p: float

    @property
    def is_decided(self) -> bool:
        return self.p < DECIDED


def compare(curves: Curves) -> list[Comparison]:
    """Every pair, by the whole curve and by its end; each measure is corrected by itself."""
    found: list[Comparison] = []
    for measure in (ALL, END):
        pairs = [_pair(curves, measure, a, b) for a, b in combinations(curves.strategies, 2)]
        corrected = holm([pair.p for pair in pairs])
        found += [pair._replace(p=p) for pair, p in zip(pairs, corrected)]
    return found


def _pair(curves: Curves, measure: str, a: str, b: str) -> Comparison:
    common = sorted(set(curves.seeds[a]) & set(curves.seeds[b]))
    one, other = (_measured(curves, measure, name, common) for name in (a, b))
    sign = 1.0 if curves.is_regret else -1.0
    if np.sum(sign * one) > np.sum(sign * other):
        a, b, one, other = b, a, other, one
    difference = float(np.median(one - other)) if common else float("nan")
    return Comparison(measure, a, b, len(common), difference, _wilcoxon(one - other))


def _measured(curves: Curves, measure: str, strategy: str, seeds: Sequence[int]) -> np.ndarray:
    rows = [curves.seeds[strategy].index(seed) for seed in seeds]
    values = curves.values[strategy][rows]
    return np.asarray(values.mean(1) if measure == ALL else values[:, -1])


def _wilcoxon(differences: np.ndarray) -> float:
    from scipy.stats import wilcoxon

    if len(differences) < FEWEST:
        return float("nan")
    if not differences.any():
        return 1.0
    return float(wilcoxon(differences, zero_method="zsplit").pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction (1979); NaNs are no tests and stay."""
    p = np.array(p_values, float)
    order = [int(i) for i in np.argsort(p) if not np.isnan(p[i])]
    highest = 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * float(p[place])))
        p[place] = highest
    return p.tolist()
