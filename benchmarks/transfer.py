"""Does a table of one set of images tell which designs are good on another?

    python benchmarks/transfer.py draw --out results/transfer --designs 30
    nasbench audit --networks results/transfer/designs/*.toml --rung 0 --data cifar10:FILE --out results/transfer
    python benchmarks/transfer.py show --out results/transfer

`draw`: designs of the shipped table, spread evenly over its accuracies, those among the dearer two fifths to train left
out. `show`: of these some are taken as seen and the others are to be ranked, `--draws` times anew. Kendall's tau with
the accuracies of the others, in the mean over draws: by the table alone, by the table corrected by those seen (a warm
start's way), by a process or a forest that knows those seen alone (a cold search's ways), by parameters and by
multiply-adds. `top`: by how many points the best three of the others by each ranking are above the others' mean.
Last, how far a search would trust the table, and one whose accuracies were exchanged at random (mean, 10 and 90 %).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from scipy.stats import kendalltau
from search_replay import misled
from sklearn.ensemble import RandomForestRegressor

import nasbench
from nasbench.arch.architecture import Architecture
from nasbench.auditing.rows import read_rows
from nasbench.costs.analytic import cost
from nasbench.files import write_atomic
from nasbench.space.descriptors import descriptors
from nasbench.surrogate.prior import Posterior, Prior

SEEN = (6, 12, 18)
AFFORDABLE = 0.6  # quantile of CPU seconds of a training
Ranking = Callable[[Sequence[Architecture], np.ndarray, Sequence[Architecture]], np.ndarray]


def draw(out: Path, designs: int) -> None:
    rows = nasbench.load_table("metablock").trainings(rung=0, split="validation")
    dear = np.quantile([row.row.cpu_seconds for row in rows], AFFORDABLE)
    by_id = {each.architecture.id: each for each in rows if each.row.cpu_seconds <= dear}
    ordered = sorted(by_id.values(), key=lambda each: each.accuracy)
    for place in np.linspace(0, len(ordered) - 1, designs).round().astype(int):
        arch = ordered[place].architecture
        write_atomic(out / "designs" / f"{arch.id[:8]}.toml", arch.to_toml())


def rankings(prior: Prior) -> dict[str, Ranking]:
    assert prior.fidelity is not None
    fidelity = prior.fidelity

    def cold(seen: Sequence[Architecture], accuracies: np.ndarray, others: Sequence[Architecture]) -> np.ndarray:
        corrected = prior.corrected(seen, list(accuracies))
        without = [each for each in corrected.models if each.slope is None]
        told: Posterior = type(corrected)(corrected.surrogate, fidelity, tuple(without), corrected.agreement).of(others)
        return told.mean

    def forest(seen: Sequence[Architecture], accuracies: np.ndarray, others: Sequence[Architecture]) -> np.ndarray:
        trees = RandomForestRegressor(64, min_samples_leaf=2, random_state=0)
        trees.fit([descriptors(arch) for arch in seen], accuracies)
        return np.asarray(trees.predict([descriptors(arch) for arch in others]))

    return {
        "table, corrected": lambda seen, y, others: prior.corrected(seen, list(y)).of(others).mean,
        "table alone": lambda seen, y, others: prior.surrogate.predict(others, fidelity).mean,
        "process on those seen": cold,
        "forest on those seen": forest,
        "parameters": lambda seen, y, others: np.array([cost(arch).params for arch in others], float),
        "multiply-adds": lambda seen, y, others: np.array([cost(arch).macs for arch in others], float),
    }


def show(out: Path, draws: int) -> None:
    known = {path.stem: nasbench.load(path) for path in sorted((out / "designs").glob("*.toml"))}
    scores = {row.network: row.accuracy for row in read_rows(out).values() if row.samples and row.accuracy is not None}
    names = [name for name, arch in known.items() if (arch.label in scores or name in scores)]
    designs = [known[name] for name in names]
    accuracies = np.array([scores.get(name, scores.get(known[name].label, np.nan)) for name in names])
    table = nasbench.load_table("metablock").current
    prior = Prior(table.surrogate, table.fidelity(0))
    there = {each.architecture.id: each.accuracy for each in table.trainings(rung=0, split="validation")}
    tau = kendalltau(accuracies, [there[arch.id] for arch in designs]).statistic
    slope = prior.corrected(designs, list(accuracies)).agreement
    print(f"{len(designs)} designs, accuracies {accuracies.min():.3f} to {accuracies.max():.3f}; {slope}")
    print(f"tau between one training here and one there: {tau:.2f}")
    print(f"{'':24}" + "".join(f"{f'{seen} seen':>20}" for seen in SEEN))
    rng = np.random.default_rng(0)
    orders = [rng.permutation(len(designs)) for _ in range(draws)]
    for name, ranking in rankings(prior).items():
        told = []
        for seen in SEEN:
            taus, tops = [], []
            for order in orders:
                first, rest = order[:seen], order[seen:]
                said = ranking([designs[i] for i in first], accuracies[first], [designs[i] for i in rest])
                taus.append(kendalltau(said, accuracies[rest]).statistic)
                tops.append(100 * (accuracies[rest][np.argsort(-said)[:3]].mean() - accuracies[rest].mean()))
            told.append(f"{np.mean(taus):.2f}, top {np.mean(tops):+.1f}")
        print(f"{name:24}" + "".join(f"{each:>20}" for each in told))
    misleading = Prior(misled(table, 0).surrogate, prior.fidelity)
    for name, asked in (("trust", prior), ("trust, misleading", misleading)):
        told = []
        for seen in SEEN:
            firsts = [([designs[i] for i in order[:seen]], list(accuracies[order[:seen]])) for order in orders]
            trusts = [asked.corrected(*first).agreement.trust for first in firsts]
            low, high = np.quantile(trusts, [0.1, 0.9])
            told.append(f"{np.mean(trusts):.2f} [{low:.2f}, {high:.2f}]")
        print(f"{name:24}" + "".join(f"{each:>20}" for each in told))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("draw", "show"))
    parser.add_argument("--out", type=Path, default=Path("results/transfer"))
    parser.add_argument("--designs", type=int, default=30)
    parser.add_argument("--draws", type=int, default=20)
    options = parser.parse_args()
    if options.what == "draw":
        draw(options.out, options.designs)
    else:
        show(options.out, options.draws)


if __name__ == "__main__":
    main()
