"""How long a strategy takes for one proposal, and how often the draws of a sampler are turned away.

    python benchmarks/proposal_time.py --trials 2000 --strategies optuna:tpe optuna:nsga2

The trials are designs drawn within the budgets, with a made-up error that falls with multiply-adds, and multiply-adds
as the second loss. Processor time of this process, median of `--repeats` proposals; the first call also works out
what is kept for the next ones (the designs' parameters, Optuna's import, the candidates of `warm`, which starts from
the space's table) and is shown apart.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from nasbench.arch.architecture import Architecture
from nasbench.costs.analytic import cost
from nasbench.costs.budget import parse_budgets
from nasbench.engine.warm_start import Known
from nasbench.space import RejectionCounter
from nasbench.space.limits import Limits
from nasbench.space.shipped import load_space
from nasbench.strategies import STRATEGIES, Candidate, Context, StrategyChoice
from nasbench.study.runner import runner_ladder
from nasbench.table.loading import load_table

LOWEST = runner_ladder("laptop").rungs[0].fidelity


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space", default="metablock")
    parser.add_argument("--budget", nargs="*", default=["1GFLOP"])
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--strategies", nargs="*", default=list(STRATEGIES))
    options = parser.parse_args()
    space, budgets, rng = load_space(options.space), parse_budgets(options.budget), np.random.default_rng(0)
    designs = {arch.id: arch for arch in (space.sample(rng, budgets) for _ in range(options.trials))}.values()
    macs = {arch.id: cost(arch).macs for arch in designs}

    def macs_of(arch: Architecture) -> float:
        """Kept, as a search keeps what it predicts."""
        if arch.id not in macs:
            macs[arch.id] = cost(arch).macs
        return float(macs[arch.id])

    trials = tuple(
        Candidate(arch, (1 / np.log(macs[arch.id]) + 0.002 * rng.normal(), macs[arch.id] / 1e9)) for arch in designs
    )
    print(f"{len(trials)} trials of {space.label} within {', '.join(options.budget)}")
    print("seconds: first, median of the others")
    for name in options.strategies:
        strategy, counter, seconds = StrategyChoice.from_dict({"name": name}), RejectionCounter(), []
        known = Known(load_table(options.space).current, LOWEST) if name == "warm" else None
        for seed in range(1 + options.repeats):
            rng = np.random.default_rng(seed)
            context = Context(space, trials, rng, Limits(budgets), macs_of, counter, known=known)
            start = time.process_time()
            strategy.propose(context, 1)
            seconds.append(time.process_time() - start)
        print(f"{name:16} {seconds[0]:7.2f} {np.median(seconds[1:]):7.2f}   turned away: {dict(counter.rejected)}")


if __name__ == "__main__":
    main()
