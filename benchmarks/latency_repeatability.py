"""How far passes over the same network lie apart, by estimator, in measurements of latency_data.py or of a pack.

    python benchmarks/latency_repeatability.py results/latency/openvino.json

Prints, for the first three passes of each network, the standard deviation of a pass relative to the network's median:
pooled over networks, the median network's and the ninth decile's.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from nasbench.latency.standalone import THREAD, Pass

RATIOS = "median of paired processor-time ratios"
ESTIMATORS: dict[str, Callable[[Pass], float]] = {
    "the one used: that times sqrt(reference's time)": lambda p: p.ratio(THREAD),
    RATIOS: lambda p: float(np.median(np.divide(p.cpu_us, p.reference_cpu_us))),
    "ratio of processor-time medians": lambda p: float(np.median(p.cpu_us) / np.median(p.reference_cpu_us)),
    "ratio of processor-time lower quartiles": lambda p: _quartile(p.cpu_us) / _quartile(p.reference_cpu_us),
    "ratio of processor-time minima": lambda p: min(p.cpu_us) / min(p.reference_cpu_us),
    "ratio of wall-time minima": lambda p: min(p.wall_us) / min(p.reference_wall_us),
    "median wall time": lambda p: float(np.median(p.wall_us)),
}


def _quartile(times: tuple[int, ...]) -> float:
    return float(np.quantile(times, 0.25))


def slowing(networks: list[list[Pass]]) -> float:
    """By how much log ratio falls as the log of the reference's time rises, between passes over the same network."""
    logs = [np.log([[p.reference_ms(THREAD), ESTIMATORS[RATIOS](p)] for p in passes]) for passes in networks]
    reference, ratio = np.concatenate([pairs - pairs.mean(axis=0) for pairs in logs]).T
    return float(-np.polyfit(reference, ratio, 1)[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("measurements", type=Path, help="a file of latency_data.py, or a pack's results")
    content = json.loads(parser.parse_args().measurements.read_text(encoding="utf-8"))
    rows = content.get("records") or content["networks"]
    networks = [[Pass(**p) for p in row["passes"][:3]] for row in rows]
    gaps = [b.at - a.at for passes in networks for a, b in itertools.pairwise(passes)]
    print(f"{len(networks)} networks; {np.median(gaps):.0f} s between passes (median), up to {max(gaps):.0f} s;")
    print(f"1 % more of the reference's time goes with {slowing(networks):.2f} % less of the paired ratio\n")
    print("| estimator | pooled | median network | ninth decile |\n|---|---|---|---|")
    for name, estimate in ESTIMATORS.items():
        ratios = [np.array([estimate(p) for p in passes]) for passes in networks]
        spread = [float(np.std(r / np.median(r), ddof=1)) for r in ratios]
        pooled = float(np.sqrt(np.mean(np.square(spread))))
        print(f"| {name} | {pooled:.1%} | {np.median(spread):.1%} | {np.quantile(spread, 0.9):.1%} |")


if __name__ == "__main__":
    main()
