"""Whether the intervals of fitted laws hold: synthetic laws with known parameters, drawn again and again.

    python benchmarks/scaling_coverage.py [--draws 200] [--first 0] [--bootstrap 300] [--cases identified unidentified]

Printed for each case: how often the 90 % bootstrap interval of E, A and alpha holds the truth, how often the
prediction for a scale four times beyond the data does, and how often the exponent was flagged as not identified.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass

import numpy as np

from nasbench.scaling.intervals import analyse
from nasbench.scaling.laws import Data, law_of


@dataclass(frozen=True)
class Case:
    """error = floor + amplitude * (x / first)^-alpha at `scales` sizes a factor `step` apart, noise in ln(error)."""

    floor: float
    amplitude: float
    alpha: float
    scales: int = 6
    step: float = 3.0
    seeds: int = 3
    noise: float = 0.015
    identifiable: bool = True


CASES = {
    "steep": Case(0.20, 0.40, 0.5),
    "typical": Case(0.18, 0.30, 0.35),
    "low floor": Case(0.08, 0.50, 0.3, scales=7),
    "no floor": Case(0.0, 0.5, 0.3),
    "heavier noise": Case(0.2, 0.5, 0.6, scales=6, step=4.0, noise=0.03, seeds=4),
    "short range": Case(0.2, 0.3, 0.3, scales=3, step=1.5, identifiable=False),
    "all noise": Case(0.3, 0.02, 0.3, scales=4, step=2.0, noise=0.03, identifiable=False),
    "three scales": Case(0.25, 0.2, 0.25, scales=3, step=2.0, noise=0.03, identifiable=False),
}


def coverage(case: Case, draws: range, resamples: int) -> dict[str, float]:
    """Shares of `draws`, each its own seed, in which the intervals held, and in which the exponent was flagged."""
    x = np.repeat(case.step ** np.arange(case.scales), case.seeds)
    truth = case.floor + case.amplitude * x**-case.alpha
    held = {"E": 0, "A": 0, "alpha": 0, "prediction": 0, "flagged": 0}
    for draw in draws:
        rng = np.random.default_rng([draw, 7])
        data = Data.of(("x",), x, truth * np.exp(case.noise * rng.standard_normal(len(x))))
        found = analyse(data, resamples, seed=draw)
        true = law_of(np.array([case.floor, 0.0, case.alpha]), data)
        wanted = {"E": case.floor, "A": case.amplitude * data.reference[0] ** -true.exponents[0], "alpha": case.alpha}
        for name, value in wanted.items():
            low, high = found.interval(name)
            held[name] += low <= value <= high
        far = 4 * x.max()
        low, high = found.band(far)
        held["prediction"] += low[0] <= case.floor + case.amplitude * far**-case.alpha <= high[0]
        held["flagged"] += not found.identified
    return {name: count / len(draws) for name, count in held.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--first", type=int, default=0, help="number of the first draw, for more of them")
    parser.add_argument("--bootstrap", type=int, default=300)
    parser.add_argument("--cases", nargs="*", default=list(CASES))
    options = parser.parse_args()
    print(f"{options.draws} draws, {options.bootstrap} bootstrap fits each; nominal 90 %")
    for name in options.cases:
        begun = time.process_time()
        shares = coverage(CASES[name], range(options.first, options.first + options.draws), options.bootstrap)
        kind = "identifiable" if CASES[name].identifiable else "unidentifiable"
        figures = "  ".join(f"{key} {100 * value:5.1f} %" for key, value in shares.items())
        print(f"{name:14} {kind:14} {figures}  ({time.process_time() - begun:.0f} CPU s)", flush=True)


if __name__ == "__main__":
    main()
