"""How the deciding rung, or another length, ranks what was trained ten times as long.

    python benchmarks/rung_against_long.py                             # the shipped table's second rung
    python benchmarks/rung_against_long.py results/audit/longer/scores.jsonl

Long trainings are those of results/table-metablock (published networks, validation images) and of results/search/long
(designs that searches found and two of their rivals, test images): means over seeds. Kendall's tau with its bootstrap
interval, and the pairs 1.5 points apart that are in order; beside it parameters and multiply-adds of the same networks.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from statistics import fmean

import numpy as np

import nasbench
from nasbench.auditing.agreement import agreement, in_order
from nasbench.auditing.pairs import Ranked
from nasbench.table.rows import LONG_RUNG

RESULTS = Path(__file__).resolve().parent.parent / "results"
LABEL = 8  # characters of an id that name a design without a name


def means(pairs: Iterable[tuple[str, float]]) -> dict[str, float]:
    """Name -> mean in percent."""
    found: dict[str, list[float]] = defaultdict(list)
    for name, accuracy in pairs:
        found[name].append(100 * accuracy)
    return {name: fmean(values) for name, values in found.items()}


def of_table(name: str, rung: int) -> dict[str, float]:
    rows = nasbench.load_table(name).where(rung=rung).content
    return means((row.name or row.architecture_id[:LABEL], row.accuracy) for row in rows)


def scores(path: Path) -> list[dict[str, object]]:
    """The trainings of an audit's or a confirmation's rows."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [row for row in rows if row.get("accuracy") is not None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scores", nargs="?", type=Path, help="scores.jsonl of an audit at another length")
    chosen = parser.parse_args().scores
    found = scores(RESULTS / "search" / "long" / "scores.jsonl")
    long = of_table(str(RESULTS / "table-metablock"), LONG_RUNG)
    long |= means((row["network"], row["accuracy"]) for row in found)
    short = of_table("metablock", 1)
    if chosen is not None:
        short = means((row["network"], row["accuracy"]) for row in scores(chosen))
    names = sorted(set(long) & set(short), key=lambda name: -long[name])
    sizes = {row.name or row.architecture_id[:LABEL]: row for row in nasbench.load_table("metablock").content}
    print(f"{'':16} long  rung  MACs / 1e6")
    for name in names:
        print(f"{name:16} {long[name]:.1f}  {short[name]:.1f}  {sizes[name].macs / 1e6:.0f}")
    truth = np.array([long[name] for name in names])
    macs = np.array([sizes[name].macs for name in names], float)
    apart = Ranked(names, macs, truth).groups()["decidable"]
    for ranking, values in (
        ("accuracy at the rung", np.array([short[name] for name in names])),
        ("parameters", np.array([sizes[name].params for name in names], float)),
        ("multiply-adds", macs),
    ):
        told, right = agreement(values, truth), in_order(values, truth, apart)
        assert told is not None
        print(
            f"{ranking:22} tau {told.tau:.2f} [{told.low:.2f}, {told.high:.2f}] of {len(names)}, "
            f"{right.right} of {right.pairs} pairs in order"
        )


if __name__ == "__main__":
    main()
