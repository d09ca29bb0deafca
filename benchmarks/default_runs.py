"""Whole runs of the default search, and what they return scored anew with seeds that no search has used.

    python benchmarks/default_runs.py DIR --seeds 0 100 200 --fresh 8 --long 2

For each seed `nasbench search --budget 1GFLOP --seed SEED --out DIR/seed-SEED` (goes on where it was stopped). Then, by
`nasbench audit` on test images, each run's challenger and the best published network that it was held against:
`--fresh` trainings each as long as those of the finals, into DIR/fresh, and `--long` ten times as long, into DIR/long.
Whatever is there is kept, so the same command goes on; it ends with the table of what is there. Searches that differ
in their seed differ in every training and draw, but start from the same shipped table.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import NamedTuple

import nasbench
from nasbench.report.bands import latency_bands, lead
from nasbench.report.noise import challengers, comparable, latency_pair
from nasbench.report.results import StudyResult
from nasbench.report.rows import ReportRow

SEEDS_OF_SEARCHES = 20  # apart at least: a search's own seed and those of its finals
BUDGET, TOP_RUNG, LONGER = "1GFLOP", "full", 10


class Returned(NamedTuple):
    """What a run hands back: the best design no slower than the best published network, that one, and what it says."""

    run: StudyResult
    challenger: ReportRow
    published: ReportRow
    declared: bool
    bands: int  # latency bands in which a design leads the published networks by more than noise

    @property
    def file(self) -> Path:
        return self.run.folder / "designs" / f"{self.challenger.name}.toml"


def returned(folder: Path) -> Returned | None:
    """None where the run has not ended, or found no design as fast as the best published network."""
    run = nasbench.open_study(folder)
    rows = run.rows()
    published, designs = challengers(rows)
    if run.ended_with is None or published is None or not designs:
        return None
    found = lead(designs[0], published, len(designs), comparable(rows))
    leads = [band.published for band in latency_bands(rows)]
    won = sum(bool(each and each.exceeds_noise and each.gap > 0 and each.row.kind == "searched") for each in leads)
    return Returned(run, designs[0], published, bool(found.exceeds_noise), won)


def command(*words: object) -> None:
    subprocess.run([sys.executable, "-m", "nasbench", *map(str, words)], check=True)


def search(folder: Path, seed: int, strategy: str | None) -> None:
    if not folder.exists():
        chosen = ["--strategy", strategy] if strategy else []
        command("search", "--budget", BUDGET, "--seed", seed, "--out", folder, *chosen)
    elif nasbench.open_study(folder).ended_with is None:
        command("resume", folder)


def score_anew(found: Sequence[Returned], seeds: int, folder: Path, *how: object) -> None:
    if seeds and found:
        networks = {each.challenger.name: each.file for each in found}
        names = [*networks.values(), *sorted({each.published.name for each in found})]
        command("audit", "--networks", *names, "--seeds", seeds, "--out", folder, *how)


def scores(folder: Path) -> Mapping[str, list[float]]:
    """By network, its accuracies in %, one a seed; some were known before, from results/audit."""
    by_network: dict[str, list[float]] = {}
    if (folder / "audit.csv").exists():
        with (folder / "audit.csv").open(newline="") as file:
            for line in csv.DictReader(file):
                found = [line[name] for name in line if name.startswith("accuracy_seed_")]
                by_network[line["network"]] = [float(value) for value in found if value]
    return by_network


def told(values: Sequence[float]) -> str:
    if not values:
        return "-"
    return f"{fmean(values):.1f}" + (f" ± {stdev(values):.1f} ({len(values)})" if len(values) > 1 else " (1)")


def gain(challenger: Sequence[float], published: Sequence[float]) -> str:
    """The difference of the means in points, with its standard error."""
    if len(challenger) < 2 or len(published) < 2:
        return "-"
    error = (stdev(challenger) ** 2 / len(challenger) + stdev(published) ** 2 / len(published)) ** 0.5
    return f"{fmean(challenger) - fmean(published):+.1f} ± {error:.1f}"


def table(found: Sequence[Returned], folder: Path) -> list[str]:
    fresh, long = scores(folder / "fresh"), scores(folder / "long")
    lines = [
        "| run | challenger | published | latency | finals | declared | bands won | fresh seeds | lead | ten times as "
        "long | lead |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for each in found:
        one, two = each.challenger, each.published
        pair = latency_pair(one, two)
        assert pair is not None  # challengers() kept only rows with a common latency
        anew = [
            f"{told(kept.get(one.name, []))}, {told(kept.get(two.name, []))} | "
            f"{gain(kept.get(one.name, []), kept.get(two.name, []))}"
            for kept in (fresh, long)
        ]
        finals = f"{told([100 * value for value in one.accuracies.values()])}, "
        finals += told([100 * value for value in two.accuracies.values()])
        lines.append(
            f"| {each.run.folder.name} | `{one.name}` | {two.name} | {pair[0] / pair[1] - 1:+.0%} | {finals} | "
            f"{'yes' if each.declared else 'no'} | {each.bands} | {' | '.join(anew)} |"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 100, 200, 300, 400, 500])
    parser.add_argument("--strategy", help="another than the default, such as evolution")
    parser.add_argument("--fresh", type=int, default=8)
    parser.add_argument("--long", type=int, default=2)
    options = parser.parse_args()
    seeds = sorted(options.seeds)
    if any(later - earlier < SEEDS_OF_SEARCHES for earlier, later in itertools.pairwise(seeds)):
        parser.error(f"--seeds {seeds}: seeds nearer than {SEEDS_OF_SEARCHES} share trainings; take others")
    folders = [options.folder / f"seed-{seed}" for seed in seeds]
    for folder, seed in zip(folders, seeds):
        search(folder, seed, options.strategy)
    found = [each for folder in folders if (each := returned(folder))]
    score_anew(found, options.fresh, options.folder / "fresh", "--rung", TOP_RUNG)
    finals = nasbench.open_study(folders[0]).study.ladder.rungs[-1].fidelity
    score_anew(found, options.long, options.folder / "long", "--samples", LONGER * finals.samples)
    print("\n".join(table(found, options.folder)))


if __name__ == "__main__":
    main()
