"""How well the label-free objective ranks designs as the supervised one does.

    nice -n 19 python benchmarks/masked_agreement.py [--study results/reference] [--out results/masked] [--seeds 0 1]

Designs: all that the study's first rung trained with labels, whose accuracies are taken over as they stand there.
Each is trained at the same fidelity under the objective that lacks a score of a seed. `--random N` instead takes N
random designs of the default space and the shipped networks within the budget, and trains all of it.

Every score is written to scores.csv as it comes, and a second call goes on from there. At the end: Spearman and
Kendall between the objectives, with bootstrap intervals over designs, and how far two seeds of the same objective
agree, which is the most that can be expected.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import platform
import time
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.stats import chi2, kendalltau, spearmanr

from nasbench.arch.architecture import Architecture
from nasbench.arch.library import fixed_points
from nasbench.costs.analytic import cost
from nasbench.costs.budget import Budget
from nasbench.files import write_atomic
from nasbench.hardware import tune_allocator
from nasbench.proxy.evaluate import SCORED, dataset, pools, seeded_model
from nasbench.proxy.reduction import reduced
from nasbench.report.results import StudyResult
from nasbench.space.shipped import load_space
from nasbench.study.fidelity import Fidelity
from nasbench.study.objective import OBJECTIVES
from nasbench.study.runner import LAPTOP, RunnerSpec, runner_ladder
from nasbench.study.task import DATA, DataSplit, Task
from nasbench.study.trials import Level

RESAMPLES = 2_000
MIN_DESIGNS = 5  # for a correlation
STATISTICS = {"spearman": spearmanr, "kendall": kendalltau}


def chosen_designs(budget: Budget, random: int) -> dict[str, Architecture]:
    """Name -> design; random and published ones in turn, so that a run cut short has both."""
    space, rng = load_space("metablock"), np.random.default_rng(0)
    drawn = {arch.label: arch for arch in (space.sample(rng, budgets=[budget]) for _ in range(random))}
    fitting = {n: a for n, a in fixed_points().items() if budget.violation(cost(a).to_dict()) == 0}
    turns = itertools.zip_longest(fitting.items(), drawn.items())
    return dict(pair for turn in turns for pair in turn if pair is not None)


def score(arch: Architecture, fidelity: Fidelity, objective: str, seed: int, data: str) -> tuple[float, float]:
    """The objective's metric and the CPU seconds of its training; the cost checks of a real trial are left out."""
    task = Task(arch, fidelity, seed, DataSplit(data), RunnerSpec(), objective)
    small = reduced(arch, fidelity)
    model = seeded_model(small, max(1, len(dataset(data, objective).classes)), seed)
    run, metrics = SCORED[objective](task, model, pools(task, small.resolution))
    return metrics[OBJECTIVES[objective].metric], run.cpu_seconds


@dataclass(frozen=True)
class Run:
    """One score, measured: by this script, or by the study (source "study")."""

    design: str
    id: str
    kind: str
    macs: int
    objective: str
    seed: int
    score: float
    cpu_seconds: float
    source: str = "here"


def studied(folder: Path) -> tuple[dict[str, Architecture], Fidelity, list[Run]]:
    """Name -> design of a supervised study's first rung, that rung's fidelity, and its scores; quickest first, so that
    a run cut short has most."""
    result = StudyResult.read(folder)
    trials = [trial for trial in result.trials if trial.level == Level(0) and trial.complete]
    designs, runs = {}, []
    for trial in sorted(trials, key=lambda trial: trial.metric("cpu_seconds")):
        arch = trial.design
        designs[arch.label] = arch
        figures = (trial.seed, trial.metric("accuracy"), trial.metric("cpu_seconds"), "study")
        runs.append(Run(arch.label, arch.id, _kind(arch), cost(arch).macs, "supervised", *figures))
    return designs, result.study.ladder.rungs[0].fidelity, runs


def _kind(arch: Architecture) -> str:
    return "published" if arch.name else "searched"


def train_all(designs: dict[str, Architecture], fidelity: Fidelity, known: list[Run], options: Any) -> None:
    path = options.out / "scores.csv"
    if path.exists():
        with path.open(encoding="utf-8") as file:
            done = {(row["id"], row["objective"], int(row["seed"])) for row in csv.DictReader(file)}
    else:
        done = {(run.id, run.objective, run.seed) for run in known}
        write_atomic(path, ",".join(field.name for field in fields(Run)) + "\n")
        for run in known:
            _append(path, run)
    for seed, (name, arch), objective in itertools.product(options.seeds, designs.items(), OBJECTIVES):
        if (arch.id, objective, seed) in done:
            continue
        if options.until and time.time() > options.until:
            print("time is up; call again to go on")
            return
        figure, seconds = score(arch, fidelity, objective, seed, options.data)
        run = Run(name, arch.id, _kind(arch), cost(arch).macs, objective, seed, round(figure, 6), round(seconds, 2))
        _append(path, run)
        print(f"seed {seed}  {name:18s} {objective:11s} {figure:.4f}  {seconds:5.1f} CPU s", flush=True)


def _append(path: Path, run: Run) -> None:
    with path.open("a", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerow(astuple(run))


def agreement(first: np.ndarray, second: np.ndarray) -> dict[str, Any]:
    """Both correlations of two scores of the same designs (n,): estimate and 95 % bootstrap interval over designs."""
    rng, found = np.random.default_rng(0), {}
    draws = rng.integers(0, len(first), (RESAMPLES, len(first)))
    for name, statistic in STATISTICS.items():
        resampled = [statistic(first[d], second[d]).statistic for d in draws if len(set(d)) > 2]
        low, high = np.nanpercentile(resampled, [2.5, 97.5])
        found[name] = [round(float(v), 3) for v in (statistic(first, second).statistic, low, high)]
    return {"designs": len(first), **found}


def summary(scores: pd.DataFrame) -> dict[str, Any]:
    """Agreements between objectives and within each; only designs that have all the scores in question count."""
    table = scores.pivot(index="id", columns=["objective", "seed"], values="score")
    seeds = sorted(scores["seed"].unique())
    found: dict[str, Any] = {}
    for a, b in itertools.product(seeds, seeds):
        for one, other in itertools.product(OBJECTIVES, repeat=2):
            if (one, a) >= (other, b) or not {(one, a), (other, b)} <= set(table.columns):
                continue
            pair = table[[(one, a), (other, b)]].dropna().to_numpy()
            if len(pair) >= MIN_DESIGNS:
                found[f"{one} seed {a} against {other} seed {b}"] = agreement(pair[:, 0], pair[:, 1])
    macs = scores.drop_duplicates("id").set_index("id")["macs"]
    first = table[("supervised", seeds[0])].dropna()
    found[f"multiply-adds against supervised seed {seeds[0]}"] = agreement(
        macs.loc[first.index].to_numpy(dtype=float), first.to_numpy()
    )
    return found


def seed_noise(scores: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """For each objective, the spread of scores over seeds and over designs, and how well two seeds should correlate.

    That is 1 - noise variance / variance over designs, with the noise from all designs that have two seeds or more and
    its 95 % interval by chi-square: few pairs give it, where a correlation over the same few would say nothing.
    """
    found: dict[str, dict[str, Any]] = {}
    for name in OBJECTIVES:
        own = scores[scores["objective"] == name]
        total = own[own["seed"] == own["seed"].min()]["score"].var()
        groups = [part["score"].to_numpy() for _, part in own.groupby("id") if len(part) > 1]
        freedom = sum(len(values) - 1 for values in groups)
        if not freedom:
            continue
        squares = sum(float(((values - values.mean()) ** 2).sum()) for values in groups)
        variances = squares / np.array([freedom, chi2.ppf(0.025, freedom), chi2.ppf(0.975, freedom)])
        expected = [round(max(0.0, float(1 - variance / total)), 3) for variance in variances]
        found[name] = {
            "designs with several seeds": len(groups),
            "std over seeds": round(float(variances[0] ** 0.5), 4),
            "std over designs": round(float(total**0.5), 4),
            "expected correlation of two seeds": expected,
        }
    return found


def draw(scores: pd.DataFrame, path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.8), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    groups = scores.groupby(["design", "kind", "objective"])["score"].agg(["mean", "min", "max"]).unstack("objective")
    for kind, colour in (("searched", "#0072B2"), ("published", "#D55E00")):
        part = 100 * groups.xs(kind, level="kind").dropna()
        x, y = part["mean"]["masked"], part["mean"]["supervised"]
        reach = [
            np.stack([mean - part["min"][name], part["max"][name] - mean])
            for mean, name in ((x, "masked"), (y, "supervised"))
        ]
        axes.errorbar(
            x, y, xerr=reach[0], yerr=reach[1], fmt="o", ms=5, color=colour, elinewidth=0.8, label=f"{kind} design"
        )
        if kind == "published":
            for name in part.index:
                axes.annotate(
                    name, (x[name], y[name]), xytext=(5, 3), textcoords="offset points", fontsize=7, color="0.3"
                )
    axes.set_xlabel("masked R², % (no labels)")
    axes.set_ylabel("accuracy, % (supervised)")
    axes.set_title("The same designs under both objectives; bars: range over seeds", loc="left", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(path, metadata={"Software": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", type=Path, default=Path("results/reference"))
    parser.add_argument("--out", type=Path, default=Path("results/masked"))
    parser.add_argument("--random", type=int, metavar="N", help="N random designs and the shipped ones, not a study's")
    parser.add_argument("--budget", default="1GFLOP")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--data", default=DATA)
    parser.add_argument("--until", type=float, help="start no training later than this (seconds since the epoch)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    tune_allocator()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.random is None:
        designs, fidelity, known = studied(options.study)
    else:
        designs, known = chosen_designs(Budget.parse(options.budget), options.random), []
        fidelity = runner_ladder(LAPTOP).rungs[0].fidelity
    train_all(designs, fidelity, known, options)
    scores = pd.read_csv(options.out / "scores.csv")
    found = summary(scores)
    machine = f"{platform.processor() or platform.machine()}, torch {torch.__version__}, one thread"
    setting = {"data": options.data, "fidelity": fidelity.to_dict(), "machine": machine}
    if options.random is None:
        setting["designs of"] = str(options.study)
    cpu = {
        name: round(float(part["cpu_seconds"].median()), 1)
        for name, part in scores[scores["source"] == "here"].groupby("objective")
    }
    noise = seed_noise(scores)
    record = {"setting": setting, "median_cpu_seconds_per_training": cpu, "agreement": found, "seeds": noise}
    write_atomic(options.out / "agreement.json", json.dumps(record, indent=2) + "\n")
    draw(scores, options.out / "agreement.png")
    for name, values in found.items():
        figures = "  ".join(f"{s} {values[s][0]:.2f} [{values[s][1]:.2f}, {values[s][2]:.2f}]" for s in STATISTICS)
        print(f"{name:48s} {figures}  ({values['designs']} designs)")
    for name, own in noise.items():
        pairs, both = own["designs with several seeds"], own["expected correlation of two seeds"]
        print(
            f"{name}: std {own['std over seeds']:.4f} over seeds ({pairs} designs), {own['std over designs']:.4f} over "
            f"designs: two seeds should correlate with {both[0]:.2f} [{both[1]:.2f}, {both[2]:.2f}]"
        )


if __name__ == "__main__":
    main()
