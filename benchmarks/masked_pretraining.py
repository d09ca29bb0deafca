"""Whether painting hidden pixels first helps a training on a tenth of the labels.

    nice python benchmarks/masked_pretraining.py results/masked/vit.toml --out results/masked

Each seed: a training without labels on all training images, then one on the labelled share that begins from it, and
the same one from scratch; both at every rate of `--rates`, by the recipe `quick`. One line a training in
pretraining.csv, which is gone on with; the best of the rates, by the labelled share of the validation images, is what
each way is known by. It runs what `nasbench train --objective masked` and `--weights ... --labels 0.1` run.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from scipy.stats import t as student

from nasbench.arch.library import load
from nasbench.proxy.evaluate import dataset
from nasbench.study.runner import load_runner
from nasbench.training.job import BEST, TrainingJob
from nasbench.training.recipe import load_training_recipe
from nasbench.training.run import finished, train_job

TABLE = "pretraining.csv"
PAINTING, SCRATCH, AFTER = "painting, no labels", "from scratch", "after painting"


def jobs(options: argparse.Namespace) -> Iterator[tuple[str, TrainingJob]]:
    """Every training by what it is; those that begin from another one come after it."""
    arch = load(options.network).with_resolution(options.resolution)
    few = [f"epochs={options.epochs}", f"warmup_epochs={options.epochs / 10}", *options.set]
    long = [f"epochs={options.painting}", "randaugment=0"]
    for seed in options.seeds:
        first = TrainingJob(
            arch, load_training_recipe("quick", long), seed, options.data, dataset(options.data, "masked").id,
            load_runner("serial"), options.work, objective="masked",
        )  # fmt: skip
        yield PAINTING, first
        for rate in options.rates:
            recipe, data_id = load_training_recipe("quick", [*few, f"lr={rate}"]), dataset(options.data).id
            own = replace(first, recipe=recipe, data_id=data_id, objective="supervised", labels=options.labels)
            yield SCRATCH, own
            yield AFTER, replace(own, weights=str(first.folder / BEST))


def trained(way: str, job: TrainingJob) -> dict[str, Any]:
    """One line of the table; CPU seconds are of this process."""
    begun = time.process_time()
    metrics = finished(job) or train_job(job)
    figures = ("validation_masked_r2", "validation_accuracy", "test_accuracy", "best_epoch", "epochs")
    return {
        "way": way, "network": job.architecture.label, "seed": job.seed, "lr": job.recipe.lr, "labels": job.labels,
        **{name: metrics.get(name) for name in figures}, "cpu_seconds": round(time.process_time() - begun, 1),
    }  # fmt: skip


def summary(table: pd.DataFrame) -> Iterator[str]:
    """Both ways at each rate, and the difference of the two at the rate that validates best for each."""
    scored = table[table["way"] != PAINTING]
    means = scored.groupby(["way", "lr"])[["validation_accuracy", "test_accuracy", "cpu_seconds"]].agg(["mean", "std"])
    yield means.to_string(float_format="{:.4f}".format)
    best = {way: rows.groupby("lr")["validation_accuracy"].mean().idxmax() for way, rows in scored.groupby("way")}
    chosen = {way: scored[(scored["way"] == way) & (scored["lr"] == lr)].set_index("seed") for way, lr in best.items()}
    gains = 100 * (chosen[AFTER]["test_accuracy"] - chosen[SCRATCH]["test_accuracy"]).dropna()
    if len(gains) > 1:
        half = student.ppf(0.975, len(gains) - 1) * gains.std() / math.sqrt(len(gains))
        yield f"{AFTER} (lr {best[AFTER]}) against {SCRATCH} (lr {best[SCRATCH]}), points on the test images, by seed:"
        yield f"{gains.mean():+.2f} ± {half:.2f} (95 %, t with {len(gains) - 1} degrees of freedom), {len(gains)} seeds"
    painted = table[table["way"] == PAINTING]
    yield f"{PAINTING}: {painted['cpu_seconds'].mean():.0f} CPU s, R² {painted['validation_masked_r2'].mean():.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network")
    parser.add_argument("--data", default="fashion-on-earth")
    parser.add_argument("--resolution", type=int, default=32)
    parser.add_argument("--labels", type=float, default=0.1)
    parser.add_argument("--painting", type=int, default=5, help="epochs without labels")
    parser.add_argument("--epochs", type=int, default=20, help="of the labelled share")
    parser.add_argument("--rates", type=float, nargs="+", default=[0.02])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--set", action="append", default=[], help="another figure of the labelled training's recipe")
    parser.add_argument("--work", type=Path, default=Path("build/masked"), help="where the trainings lie")
    parser.add_argument("--out", type=Path, default=Path("results/masked"))
    options = parser.parse_args()
    options.work = options.work.absolute()
    file = options.out / TABLE
    rows = pd.read_csv(file).to_dict("records") if file.exists() else []
    known = {(row["way"], row["network"], row["seed"], row["lr"]) for row in rows}
    for way, job in jobs(options):
        if (way, job.architecture.label, job.seed, job.recipe.lr) not in known:
            rows.append(trained(way, job))
            pd.DataFrame(rows).to_csv(file, index=False, float_format="%.6g", lineterminator="\n")
            print(rows[-1], flush=True)
    for line in summary(pd.DataFrame(rows)):
        print(line)


if __name__ == "__main__":
    main()
