"""Compare the strategies on a table of really trained networks: NAS-Bench-Macro (xiusu/NAS-Bench-Macro, Apache-2.0).

    python benchmarks/strategies.py PATH/nas_bench_macro.json --seeds 50

The file's 6,561 networks have 8 layers of three kinds each. One objective: mean regret, in points of CIFAR-10 test
accuracy, of the best network after so many evaluations, and how many evaluations reach the best network (median).
Two objectives (error, flops): hypervolume of the front as a share of the whole table's. Each network is evaluated at
most once. The accuracies are means of three trained networks, without noise. `--noisy` searches on the first seed's
accuracy alone and reports the mean's.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nasbench.pareto import hypervolume
from nasbench.strategies import STRATEGIES, Candidate, Context, StrategyChoice

CHECKPOINTS = (20, 50, 100, 200, 500)
LAYERS, KINDS = 8, 3
ON_A_TABLE = tuple(name for name in STRATEGIES if ":" not in name and name != "warm")  # the others need a search space


@dataclass(frozen=True)
class Row:
    """A network of the table; its id is its key."""

    id: str


class Table:
    """The table with a search space's moves."""

    def __init__(self, rows: dict[str, dict]) -> None:
        self.rows = rows

    def sample(self, rng, budgets, num_classes, counter, predict) -> Row:
        return Row("".join(str(rng.integers(KINDS)) for _ in range(LAYERS)))

    def mutate(self, row: Row, rng, changes: int) -> Row:
        genes = list(row.id)
        for _ in range(changes):
            layer = int(rng.integers(LAYERS))
            genes[layer] = str((int(genes[layer]) + 1 + int(rng.integers(KINDS - 1))) % KINDS)
        return Row("".join(genes))

    def crossover(self, a: Row, b: Row, rng) -> Row:
        return Row("".join(pair[int(rng.integers(2))] for pair in zip(a.id, b.id)))

    def contains(self, row: Row) -> bool:
        return row.id in self.rows

    def size(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Row]:
        return map(Row, self.rows)


def run(table: Table, name: str, losses: dict[str, tuple], evaluations: int, seed: int, settings: dict) -> list[str]:
    """The keys in the order in which the strategy asks for them."""
    strategy, trials = StrategyChoice.from_dict({"name": name, **settings}), []
    while len(trials) < evaluations:
        rng = np.random.default_rng((seed, len(trials)))
        row = strategy.propose(Context(table, tuple(trials), rng), 1)[0]
        trials.append(Candidate(row, losses[row.id]))
    return [trial.architecture.id for trial in trials]


def one_objective(table: Table, search_on: dict, truth: dict, name: str, seeds: int, settings: dict) -> str:
    best = max(truth.values())
    regrets, reached = [], []
    for seed in range(seeds):
        keys = run(table, name, {k: (-v,) for k, v in search_on.items()}, CHECKPOINTS[-1], seed, settings)
        chosen = [max(keys[:count], key=search_on.__getitem__) for count in CHECKPOINTS]
        regrets.append([best - truth[key] for key in chosen])
        hits = [i + 1 for i, key in enumerate(keys) if truth[key] == best]
        reached.append(hits[0] if hits else np.inf)
    means = "  ".join(f"{value:6.3f}" for value in np.mean(regrets, 0))
    return f"{name:10}  {means}  {np.median(reached):8.0f}"


def two_objectives(table: Table, truth: dict, flops: dict, name: str, seeds: int, settings: dict) -> str:
    points = {key: (100 - truth[key], flops[key]) for key in truth}
    reference = np.max(list(points.values()), 0)
    whole = hypervolume(list(points.values()), reference)
    shares = []
    for seed in range(seeds):
        keys = run(table, name, points, CHECKPOINTS[-1], seed, settings)
        shares.append([hypervolume([points[k] for k in keys[:count]], reference) / whole for count in CHECKPOINTS])
    return f"{name:10}  " + "  ".join(f"{value:6.4f}" for value in np.mean(shares, 0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--noisy", action="store_true", help="search on one trained network's accuracy")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of evolution")
    parser.add_argument("--strategies", nargs="*", choices=ON_A_TABLE)
    options = parser.parse_args()
    rows = json.loads(options.table.read_text())
    table = Table(rows)
    truth = {key: row["mean_acc"] for key, row in rows.items()}
    first = {key: row["test_acc"][0] for key, row in rows.items()}
    flops = {key: row["flops"] for key, row in rows.items()}
    pairs = [item.split("=") for item in options.set]
    settings = {"evolution": {key: float(value) if "." in value else int(value) for key, value in pairs}}
    print(f"{options.seeds} seeds; after evaluations:", *CHECKPOINTS, "; evaluations to the best")
    print("regret in points" + (", searching on one seed" if options.noisy else ""))
    search_on, names = first if options.noisy else truth, options.strategies or list(ON_A_TABLE)
    for name in names:
        print(one_objective(table, search_on, truth, name, options.seeds, settings.get(name, {})))
    print("hypervolume share of (error, flops)")
    for name in names:
        print(two_objectives(table, truth, flops, name, max(1, options.seeds // 4), settings.get(name, {})))


if __name__ == "__main__":
    main()
