"""How long the analytic cost of an architecture takes: the shipped networks, and random members of a search space.

    python benchmarks/cost_speed.py
    python benchmarks/cost_speed.py --space fastvit --members 500

Each architecture is fresh: nothing that an earlier call worked out is kept, and lowering it to meta-blocks is part of
the time. Printed are the median, the slowest and the number over the architectures, each the median of its repeats.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Iterable

import numpy as np

import nasbench
from nasbench.arch.architecture import Architecture
from nasbench.arch.library import fixed_points
from nasbench.costs.analytic import cost
from nasbench.hardware import cpu_cores, cpu_model
from nasbench.space.shipped import load_space


def milliseconds(arch: Architecture, repeats: int) -> float:
    """The median time of one cost."""
    times = []
    for _ in range(repeats):
        fresh = arch.model_copy()  # drops the lowered network
        start = time.perf_counter()
        cost(fresh)
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)


def report(name: str, architectures: Iterable[Architecture], repeats: int) -> None:
    """Print one line on the times of these architectures."""
    times = [milliseconds(arch, repeats) for arch in architectures]
    print(f"{name:<40}{statistics.median(times):.3f} ms median, {max(times):.3f} ms slowest, of {len(times)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--macs", type=float, default=5e9, help="shipped networks up to these (default: 5e9)")
    parser.add_argument("--space", default="metablock", help="whose members are drawn (default: metablock)")
    parser.add_argument("--members", type=int, default=200, help="how many (default: 200)")
    parser.add_argument("--repeats", type=int, default=7, help="costs of each (default: 7)")
    parser.add_argument("--seed", type=int, default=0, help="of the draw (default: 0)")
    options = parser.parse_args()

    print(f"nasbench {nasbench.__version__}, Python {platform.python_version()}, {cpu_model()}, {cpu_cores()} cores")
    shipped = [arch for arch in fixed_points().values() if cost(arch).macs <= options.macs]
    report(f"shipped, up to {options.macs / 1e9:g} GMAC", shipped, options.repeats)
    space, rng = load_space(options.space), np.random.default_rng(options.seed)
    members = [space.sample(rng) for _ in range(options.members)]
    report(f"random members of {options.space}", members, options.repeats)


if __name__ == "__main__":
    main()
