"""What a ladder costs and how well its rungs agree: trains designs at every rung and prints a table.

    python benchmarks/proxy_ladder.py [--runner laptop] [--budget 1GFLOP] [--random 6] [--seeds 2] [--data SPEC]

Designs are the shipped networks that fit the budget and random ones of the default space. Printed: CPU seconds and
accuracy of each at each rung (one thread), the standard deviation over seeds, and Kendall's tau between rungs.
"""

from __future__ import annotations

import argparse
import itertools
import platform
import statistics

import numpy as np
import torch
from scipy.stats import kendalltau

from nasbench.arch.architecture import Architecture
from nasbench.arch.library import fixed_points
from nasbench.costs.analytic import cost
from nasbench.costs.budget import Budget
from nasbench.hardware import tune_allocator
from nasbench.proxy.evaluate import evaluate
from nasbench.space.shipped import load_space
from nasbench.study.runner import RunnerSpec, runner_ladder
from nasbench.study.task import DATA, DataSplit, Task


def chosen_designs(budget: Budget, random: int) -> list[Architecture]:
    fitting = [a for a in fixed_points().values() if budget.violation(cost(a).to_dict()) == 0]
    space, rng = load_space("metablock"), np.random.default_rng(0)
    return fitting + [space.sample(rng, budgets=[budget]) for _ in range(random)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runner", default="laptop")
    parser.add_argument("--budget", default="1GFLOP")
    parser.add_argument("--random", type=int, default=6)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--rungs", type=int, nargs="*", help="only these rungs, counted from 0")
    parser.add_argument("--data", default=DATA)
    options = parser.parse_args()
    torch.set_num_threads(1)
    tune_allocator()
    runner, ladder = RunnerSpec(), runner_ladder(options.runner)
    chosen = [r for i, r in enumerate(ladder.rungs) if options.rungs is None or i in options.rungs]
    data = DataSplit(options.data)
    means: dict[int, list[float]] = {index: [] for index in range(len(chosen))}
    print(f"{platform.processor() or platform.machine()}, torch {torch.__version__}, one thread, data {options.data}")
    for arch in chosen_designs(Budget.parse(options.budget), options.random):
        for index, rung in enumerate(chosen):
            tasks = [Task(arch, rung.fidelity, seed, data, runner) for seed in range(options.seeds)]
            runs = [evaluate(task) for task in tasks]
            scores = [run["accuracy"] for run in runs]
            means[index].append(statistics.fmean(scores))
            seconds, macs = statistics.fmean(run["cpu_seconds"] for run in runs), runs[0]["proxy_macs"] / 1e6
            spread = statistics.stdev(scores) if len(scores) > 1 else 0.0
            print(
                f"{arch.label:16s} {cost(arch).macs / 1e9:5.2f} GMAC  {rung.name or index:8} "
                f"accuracy {means[index][-1]:.3f} ± {spread:.3f}  tail {runs[0]['train_loss_tail']:.3f}  "
                f"{seconds:6.1f} CPU s  {macs:.1f} MMAC",
                flush=True,
            )
    for low, high in itertools.combinations(means, 2):
        tau = kendalltau(means[low], means[high]).statistic
        print(f"Kendall's tau, {chosen[low].name or low} against {chosen[high].name or high}: {tau:.2f}")


if __name__ == "__main__":
    main()
