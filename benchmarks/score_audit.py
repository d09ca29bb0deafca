"""How scores of untrained networks rank the designs of a table, and whether the surrogate is better with them.

    python benchmarks/score_audit.py --out results/scores            # scores the designs, a second or so each
    python benchmarks/score_audit.py --out results/scores --surrogate  # also with the scores as features: minutes

Truth is a design's mean accuracy at the first rung. Kendall's tau over all designs, within the truly best third, and
over the pairs whose multiply-adds differ by less than 15 %; 90 % intervals by drawing designs with replacement. Beside
them params, multiply-adds, one training against another of the designs that have several, and with --surrogate the
table's process on designs that it has not seen (8 folds), by its own features, and with scores beside them. What is
scored already in scores.csv is not scored again.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from trained_designs import kendall, top_third

from nasbench.arch.architecture import Architecture
from nasbench.costs.analytic import cost
from nasbench.proxy.zero_cost import SCORES, all_scores
from nasbench.study.fidelity import Fidelity
from nasbench.study.runner import RunnerSpec
from nasbench.study.task import DataSplit, Task
from nasbench.surrogate.features import features
from nasbench.surrogate.observations import Means
from nasbench.surrogate.process import ParameterPrior, Process, Scaler, Trend
from nasbench.table.loading import load_table

BAND = 0.15  # of multiply-adds
DRAWS, FOLDS, SPLITS, FEWEST = 400, 8, 3, 10
COLUMNS = ("architecture_id", "trainings", "accuracy", "params", "macs", "cpu_seconds", *SCORES)
HELPFUL = ("jacobian_covariance", "snip", "synflow", "naswot", "swap", "zico", "zen", "gradient_norm")


class Designs:
    """The designs of a table's first rung, with the accuracies of their trainings."""

    def __init__(self, name: str) -> None:
        self.archs: dict[str, Architecture] = {}
        self.accuracies: dict[str, list[float]] = defaultdict(list)
        table = load_table(name).current
        self.fidelity: Fidelity = table.fidelity(0)
        for arch, fidelity, accuracy, _ in table.trainings(split="validation"):
            if fidelity.samples == self.fidelity.samples:
                self.archs[arch.id] = arch
                self.accuracies[arch.id].append(accuracy)


def score(designs: Designs, path: Path, seed: int) -> list[dict[str, float]]:
    """A line for each design, appended to the file as it is made."""
    torch.set_num_threads(1)
    known = {} if not path.is_file() else {line["architecture_id"]: line for line in csv.DictReader(path.open())}
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if not known:
            writer.writeheader()
        for id, arch in designs.archs.items():
            if id in known:
                continue
            started = time.process_time()
            task = Task(arch, designs.fidelity, seed, DataSplit(), RunnerSpec(kind="serial"))
            found, costs = all_scores(task), cost(arch)
            line = {
                "architecture_id": id, "trainings": len(designs.accuracies[id]),
                "accuracy": round(float(np.mean(designs.accuracies[id])), 6), "params": costs.params,
                "macs": costs.macs, "cpu_seconds": round(time.process_time() - started, 3),
                **{name: f"{value:.6g}" for name, value in found.items()},
            }  # fmt: skip
            writer.writerow(line)
            file.flush()
            known[id] = line
    return [{name: float(known[id][name]) for name in COLUMNS[1:]} for id in designs.archs if id in known]


def in_bands(predicted: np.ndarray, truth: np.ndarray, macs: np.ndarray) -> float:
    """Tau over pairs of nearly equal multiply-adds: how much more often they are ordered rightly than wrongly."""
    near = np.triu(np.abs(np.log(macs[:, None] / macs[None])) < np.log(1 + BAND), 1)
    agree = np.sign(predicted[:, None] - predicted[None]) * np.sign(truth[:, None] - truth[None])
    return float(agree[near].mean())


def figures(predicted: np.ndarray, truth: np.ndarray, macs: np.ndarray) -> list[str]:
    """The three taus with intervals."""
    rng, lines = np.random.default_rng(0), []
    for measure in (kendall, top_third, lambda a, b: in_bands(a, b, macs)):
        drawn = []
        for _ in range(DRAWS if measure in (kendall, top_third) else 0):
            chosen = rng.integers(len(truth), size=len(truth))
            drawn.append(measure(predicted[chosen], truth[chosen]))
        for _ in range(0 if drawn else DRAWS):
            chosen = np.unique(rng.integers(len(truth), size=len(truth)))  # a design is no pair with itself
            drawn.append(in_bands(predicted[chosen], truth[chosen], macs[chosen]))
        low, high = np.nanquantile(drawn, [0.05, 0.95])
        lines.append(f"{measure(predicted, truth):.2f} [{low:.2f}, {high:.2f}]")
    return lines


def held_out(x: np.ndarray, designs: Designs, split: int) -> np.ndarray:
    """(n,) the process's means of designs that it has not seen, its parameters estimated without them."""
    ids = list(designs.archs)
    fold = np.random.default_rng(split).permutation(len(ids)) % FOLDS
    found = np.zeros(len(ids))
    for one in range(FOLDS):
        seen = [i for i in range(len(ids)) if fold[i] != one]
        rows = [(x[i], accuracy) for i in seen for accuracy in designs.accuracies[ids[i]]]
        data = Means.of(np.array([row for row, _ in rows]), np.array([accuracy for _, accuracy in rows]))
        centre, spread = float(data.y.mean()), float(data.y.std())
        trend = Trend.level(len(data), spread)
        left = data.minus(np.full(len(data), centre))
        process = Process.fit(left, trend, ParameterPrior.about(spread), Scaler.of(data.x))
        new = x[fold == one]
        found[fold == one] = centre + process.predict(new, Trend.level(len(new), spread))[0]
    return found


def _several(designs: Designs) -> list[str]:
    return [id for id, told in designs.accuracies.items() if len(told) > 1]


def one_against_another(designs: Designs) -> tuple[int, list[str]]:
    """One training against the mean of the others, of designs that have several."""
    several = _several(designs)
    first = np.array([designs.accuracies[id][0] for id in several])
    rest = np.array([np.mean(designs.accuracies[id][1:]) for id in several])
    macs = np.array([cost(designs.archs[id]).macs for id in several], float)
    return len(several), figures(first, rest, macs)


def compare(designs: Designs, lines: list[dict[str, float]], surrogate: bool) -> list[tuple[str, list[str]]]:
    truth, macs = (np.array([line[name] for line in lines]) for name in ("accuracy", "macs"))
    told = [(name, figures(_column(lines, name), truth, macs)) for name in ("params", "macs", *SCORES)]
    count, single = one_against_another(designs) if _several(designs) else (0, [])
    if count >= FEWEST:
        told.append((f"one training ({count} designs that have several)", single))
    if surrogate:
        x = features(list(designs.archs.values()), designs.fidelity)
        columns = {name: _ranks(_column(lines, name)) for name in HELPFUL}
        sets = {"surrogate, unseen designs": x, "the same with all scores": np.column_stack([x, *columns.values()])}
        sets["the same with naswot"] = np.column_stack([x, columns["naswot"]])
        for name, described in sets.items():
            means = [held_out(described, designs, split) for split in range(SPLITS)]
            each = [kendall(mean, truth) for mean in means]
            told.append((f"{name} (tau of splits {', '.join(f'{tau:.3f}' for tau in each)})",
                         figures(means[0], truth, macs)))  # fmt: skip
    return told


def _column(lines: list[dict[str, float]], name: str) -> np.ndarray:
    values = np.array([line[name] for line in lines])
    return np.where(np.isfinite(values), values, np.nanmin(values[np.isfinite(values)]) - 1)


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks in [0, 1]: scores spread over orders of magnitude."""
    return np.argsort(np.argsort(values)) / (len(values) - 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("results/scores"))
    parser.add_argument("--table", default="metablock")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--surrogate", action="store_true")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    designs = Designs(options.table)
    lines = score(designs, options.out / "scores.csv", options.seed)
    rows = compare(designs, lines, options.surrogate)
    text = [f"{len(lines)} designs; {np.mean([line['cpu_seconds'] for line in lines]):.2f} CPU s a design", ""]
    text += ["| ranked by | tau over all | in the best third | within 15 % of MACs |", "|---|---|---|---|"]
    text += [f"| {name} | {' | '.join(told)} |" for name, told in rows]
    (options.out / "agreement.md").write_text("\n".join(text) + "\n")
    print("\n".join(text))


if __name__ == "__main__":
    main()
