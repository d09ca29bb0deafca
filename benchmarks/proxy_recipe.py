"""How well a training recipe tells designs apart: mean accuracy, scatter over seeds, spread between designs, CPU time.

Scores are kept in one JSON file, so that a run cut short goes on where it stopped:

    nice -n 5 python benchmarks/proxy_recipe.py --until 08:30
    python benchmarks/proxy_recipe.py --table
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import time
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, variance
from typing import Any

import numpy as np
import torch

from nasbench.arch.architecture import Architecture
from nasbench.arch.library import load
from nasbench.costs.budget import Budget
from nasbench.files import read_toml, write_atomic
from nasbench.hardware import tune_allocator
from nasbench.proxy.evaluate import SCORED, dataset, pools, seeded_model
from nasbench.proxy.reduction import reduced
from nasbench.report.results import StudyResult
from nasbench.space.shipped import load_space
from nasbench.study.fidelity import FORMER, load_recipe
from nasbench.study.runner import RunnerSpec
from nasbench.study.task import DataSplit, Task

ROOT = Path(__file__).parents[1]
PUBLISHED = (
    *("emo_1m", "fastvit_t8", "mobilevit_xxs", "mobileone_s0", "repvgg_a0", "mobilevitv2_050", "deit_ti", "pvt_tiny"),
)
FOUND = ROOT / "results" / "default" / "designs"
SCREEN = 3_200  # samples of the first rung
RANDOM = 3  # designs drawn from the default space
MUON: dict[str, Any] = {"optimiser": "muon", "lr": 0.03}
QUIET: dict[str, Any] = {"layer_scale": 0.2, "branch_gain": 0.2}
RECIPES: dict[str, dict[str, Any]] = {
    "sgd": {},
    "sgd-quiet": QUIET,
    "muon": MUON,
    "muon-quiet": MUON | QUIET,
    "muon-quiet-wide": MUON | QUIET | {"linear_gain": 1.0},
}


@dataclass(frozen=True)
class Run:
    """One training; accuracy in [0, 1], of validation images at the screening rung, else of test ones as in finals."""

    recipe: str
    samples: int
    design: str
    seed: int
    accuracy: float
    train_loss_tail: float
    cpu_seconds: float

    @property
    def key(self) -> tuple[str, int, str, int]:
        return self.recipe, self.samples, self.design, self.seed


def chosen_designs() -> dict[str, Architecture]:
    """Published ones, those on the default run's front, and random ones within 1 GMAC."""
    found = [Architecture.from_dict(read_toml(path)) for path in sorted(FOUND.glob("*.toml"))]
    space, rng = load_space("metablock"), np.random.default_rng(0)
    drawn = [space.sample(rng, budgets=[Budget.parse("1GFLOP")]) for _ in range(RANDOM)]
    return {name: load(name) for name in PUBLISHED} | {arch.label: arch for arch in found + drawn}


def run(recipe: str, samples: int, name: str, arch: Architecture, seed: int) -> Run:
    """Scored as in a trial, without its checks of cost and deploy form."""
    screened = samples <= SCREEN
    fidelity = load_recipe(FORMER).at(samples, evaluate=1_200 if screened else 5_000, **RECIPES[recipe])
    data = DataSplit(split="validation" if screened else "test")
    task = Task(arch, fidelity, seed, data, RunnerSpec())
    small = reduced(arch, fidelity)
    model = seeded_model(small, len(dataset(data.name).classes), seed)
    trained, metrics = SCORED["supervised"](task, model, pools(task, small.resolution))
    figures = (round(metrics["accuracy"], 5), round(trained.train_loss_tail, 5), round(trained.cpu_seconds, 2))
    return Run(recipe, samples, name, seed, *figures)


@dataclass(frozen=True)
class Row:
    """`noise` and `spread` are standard deviations over seeds and between designs, the noise of the means taken off;
    `agreement` is the correlation to be expected between two seeds."""

    recipe: str
    designs: int
    seeds: str
    accuracy: float
    noise: float
    spread: float
    agreement: float
    cpu: float


def row(recipe: str, runs: list[Run], baseline: dict[str, float]) -> Row:
    by_design = defaultdict(list)
    for each in runs:
        by_design[each.design].append(each.accuracy)
    several = [scores for scores in by_design.values() if len(scores) > 1]
    freedom = sum(len(scores) - 1 for scores in several)
    noise = sum((len(scores) - 1) * variance(scores) for scores in several) / freedom if freedom else math.nan
    share = mean(1 / len(scores) for scores in by_design.values())
    means = [mean(scores) for scores in by_design.values()]
    spread = max(0.0, variance(means) - noise * share)
    times = [each.cpu_seconds / baseline[each.design] for each in runs if each.design in baseline]
    counts = sorted({len(scores) for scores in by_design.values()})
    seeds = "-".join(str(count) for count in (counts[0], counts[-1])[: len(counts)])
    return Row(
        recipe, len(by_design), seeds, mean(means), math.sqrt(noise), math.sqrt(spread), spread / (spread + noise),
        mean(times) if times else math.nan,
    )  # fmt: skip


def table(runs: list[Run], samples: int) -> str:
    """Markdown; only designs that every listed recipe trained, so that rows compare."""
    here = [each for each in runs if each.samples == samples]
    trained = {recipe: {each.design for each in here if each.recipe == recipe} for recipe in RECIPES}
    trained = {recipe: designs for recipe, designs in trained.items() if len(designs) > 2}
    common = set.intersection(*trained.values()) if trained else set()
    here = [each for each in here if each.design in common]
    first = defaultdict(list)
    for each in here:
        if each.recipe == "sgd":
            first[each.design].append(each.cpu_seconds)
    baseline = {design: mean(seconds) for design, seconds in first.items()}
    lines = ["| recipe | designs | seeds | mean accuracy, % | over seeds | between designs | two seeds | CPU time |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    for recipe in trained:
        r = row(recipe, [each for each in here if each.recipe == recipe], baseline)
        figures = f"{100 * r.accuracy:.1f} | {100 * r.noise:.1f} | {100 * r.spread:.1f} | {r.agreement:.2f}"
        lines.append(f"| {recipe} | {r.designs} | {r.seeds} | {figures} | {r.cpu:.2f} |")
    return "\n".join(lines)


def designs_table(runs: list[Run], samples: int) -> str:
    """Markdown: accuracy of every seed, a design a line."""
    here = [each for each in runs if each.samples == samples]
    recipes = [recipe for recipe in RECIPES if any(each.recipe == recipe for each in here)]
    lines = ["| design | " + " | ".join(recipes) + " |", "|---" * (1 + len(recipes)) + "|"]
    for design in dict.fromkeys(each.design for each in here):
        cells = [
            ", ".join(f"{100 * e.accuracy:.1f}" for e in here if (e.recipe, e.design) == (recipe, design))
            for recipe in recipes
        ]
        lines.append(f"| {design} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def stored_finals(folder: Path) -> list[Run]:
    """The finals of a study made with the recipe "sgd": measured already, the same seeds."""
    runs = []
    for trial in StudyResult.read(folder).trials:
        if trial.level.final and trial.complete:
            digits = {"accuracy": 5, "train_loss_tail": 5, "cpu_seconds": 2}
            figures = (round(trial.metric(name), places) for name, places in digits.items())
            runs.append(Run("sgd", trial.fidelity.samples, trial.label, trial.seed, *figures))
    return runs


def read(path: Path) -> list[Run]:
    return [Run(**each) for each in json.loads(path.read_text(encoding="utf-8"))] if path.exists() else []


def write(path: Path, runs: list[Run]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, "[\n" + ",\n".join(json.dumps(asdict(each)) for each in runs) + "\n]\n")


def parsed() -> Any:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "proxy" / "scores.json")
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=["sgd", "muon-quiet-wide"])
    parser.add_argument("--designs", nargs="+", metavar="NAME", help="some of them, by name or the start of it")
    parser.add_argument("--samples", type=int, nargs="+", default=[3_200])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--until", metavar="HH:MM", help="start nothing after that time of day")
    parser.add_argument("--stored", type=Path, metavar="STUDY", help="take a study's finals in as those of sgd")
    parser.add_argument("--table", action="store_true", help="print the tables and train nothing")
    return parser.parse_args()


def main() -> None:
    options = parsed()
    runs = read(options.out)
    if options.stored:
        known = {each.key for each in runs}
        write(options.out, runs := runs + [each for each in stored_finals(options.stored) if each.key not in known])
    if not options.table:
        torch.set_num_threads(1)
        tune_allocator()  # as workers do
        wanted = chosen_designs()
        if options.designs:
            wanted = {n: a for n, a in wanted.items() if any(n.startswith(start) for start in options.designs)}
        for samples, seed, name, recipe in itertools.product(options.samples, options.seeds, wanted, options.recipes):
            if (recipe, samples, name, seed) in {each.key for each in runs}:
                continue
            if options.until and time.strftime("%H:%M") >= options.until:
                break
            runs.append(run(recipe, samples, name, wanted[name], seed))
            write(options.out, runs)
            print(runs[-1], flush=True)
    for samples in sorted({each.samples for each in runs}):
        print(f"\n{samples:,} samples\n\n{table(runs, samples)}\n\n{designs_table(runs, samples)}")


if __name__ == "__main__":
    main()
