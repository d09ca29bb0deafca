"""Scores of shipped networks at a rung and at ten times its samples: what a ranking by the proxy can be held against.

    nice -n 19 python benchmarks/proxy_audit.py results/audit/scores.jsonl
    python benchmarks/proxy_audit.py results/audit/scores.jsonl --table

Networks are those trained on ImageNet-1k alone, up to 5 GMAC. One thread, test images. Each score is a line of the
file, so that a run cut short goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean

import torch
from scipy.stats import kendalltau

from nasbench.arch.library import load
from nasbench.costs.analytic import cost
from nasbench.hardware import tune_allocator
from nasbench.proxy.evaluate import evaluate
from nasbench.study.fidelity import Fidelity
from nasbench.study.runner import LAPTOP, load_runner, runner_ladder
from nasbench.study.task import DataSplit, Task

# Those that take longest come last.
NETWORKS = (
    *("fastvit_t8", "emo_5m", "mobileone_s0", "mobilevit_xxs", "repvgg_a0", "deit_ti", "pvt_tiny", "mobilenetv2_100"),
    *("mobilevitv2_050", "emo_1m", "fastvit_sa12", "mobilevit_s", "emo_2m", "emo_6m", "fastvit_t12", "fastvit_s12"),
    *("mobileone_s1", "mobileone_s2", "mobilevit_xs", "mobilevitv2_075", "mobilevitv2_100", "mobilenetv2_140"),
    *("repvgg_a1", "mobileone_s3", "mobilevitv2_125", "mobilevitv2_150", "mobileone_s4", "repvgg_b0", "fastvit_sa24"),
    *("deit_s", "pvt_small", "swin_t", "acb_resnet18", "dbb_resnet18", "mobilevit_xxs_842", "mobilevit_xs_842"),
    "mobilevit_s_842",
)
LONG = 10  # times the rung's samples
LONG_NETWORKS = 24  # the first of them
SEEDS = (11, 12)
KEPT = ("accuracy", "loss", "train_loss_tail", "cpu_seconds", "proxy_macs", "proxy_params", "scored_images", "data_id")


def plan(samples: int) -> Iterator[tuple[str, int, int]]:
    """Network, samples, seed, in the order in which they are trained."""
    yield from ((name, samples, seed) for seed in SEEDS for name in NETWORKS)
    yield from ((name, LONG * samples, SEEDS[0]) for name in NETWORKS[:LONG_NETWORKS])


def train(name: str, samples: int, seed: int, rung: Fidelity) -> dict[str, object]:
    arch = load(name)
    task = Task(arch, rung.replace(samples=samples), seed, DataSplit(split="test"), load_runner(LAPTOP))
    metrics, figures = evaluate(task), cost(arch)
    own = {"network": name, "samples": samples, "seed": seed, "macs": figures.macs, "params": figures.params}
    return {**own, **{key: metrics[key] for key in KEPT}}


def table(rows: list[dict[str, float]]) -> None:
    """Accuracy of each network at each length, and how the rankings agree (Kendall's tau)."""
    scores: dict[int, dict[str, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    for row in rows:
        scores[int(row["samples"])][str(row["network"])][int(row["seed"])] = row["accuracy"]
    for samples, found in sorted(scores.items()):
        print(f"{samples} samples, accuracy in %")
        for name, seeds in sorted(found.items(), key=lambda item: -fmean(item[1].values())):
            print(f"  {name:18s} {' '.join(f'{100 * value:5.1f}' for _, value in sorted(seeds.items()))}")
        pairs = [tuple(seeds[seed] for seed in SEEDS) for seeds in found.values() if len(seeds) == len(SEEDS)]
        if len(pairs) > 2:
            print(f"  two seeds: tau {kendalltau(*zip(*pairs)).statistic:.2f} over {len(pairs)} networks")
    short, long = (scores[samples] for samples in (min(scores), max(scores)))
    both = [name for name in short if name in long]
    if len(both) > 2 and short is not long:
        first, second = ([fmean(found[name].values()) for name in both] for found in (short, long))
        print(
            f"the rung against {LONG} times its samples: tau {kendalltau(first, second).statistic:.2f} over {len(both)}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="where the scores are kept")
    parser.add_argument("--table", action="store_true", help="print what is there, and train nothing")
    options = parser.parse_args()
    rows = [json.loads(line) for line in options.file.read_text().splitlines()] if options.file.exists() else []
    if options.table:
        return table(rows)
    torch.set_num_threads(1)
    tune_allocator()
    rung = runner_ladder(LAPTOP).rungs[-1].fidelity
    done = {(row["network"], row["samples"], row["seed"]) for row in rows}
    for name, samples, seed in plan(rung.samples):
        if (name, samples, seed) not in done:
            with options.file.open("a") as file:
                file.write(json.dumps(train(name, samples, seed, rung)) + "\n")


if __name__ == "__main__":
    main()
