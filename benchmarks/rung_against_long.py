"""How the deciding rung, or another length, ranks what was trained ten times as long, and how a table does.

    python benchmarks/rung_against_long.py                             # the shipped table's second rung
    python benchmarks/rung_against_long.py --scores results/audit/longer/scores.jsonl

Long trainings are those of the shipped table (validation images), and of designs that have none there those of
results/search/long (test images): means over seeds. Kendall's tau with its bootstrap interval, and the pairs 1.5 points
apart that are in order. Beside it parameters and multiply-adds of the same networks, and what the table's surrogate
expects of each after long training, fitted to all but that network's own long trainings.
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
from nasbench.surrogate import fit
from nasbench.table.rows import LONG_RUNG, TableRow
from nasbench.table.table import Table

RESULTS = Path(__file__).resolve().parent.parent / "results"
LABEL = 8  # characters of an id that name a design without a name


def means(pairs: Iterable[tuple[str, float]]) -> dict[str, float]:
    """Name -> mean in percent."""
    found: dict[str, list[float]] = defaultdict(list)
    for name, accuracy in pairs:
        found[name].append(100 * accuracy)
    return {name: fmean(values) for name, values in found.items()}


def of_table(table: Table, rung: int) -> dict[str, float]:
    return means((label(row), row.accuracy) for row in table.where(rung=rung).content)


def label(row: TableRow) -> str:
    return row.name or row.architecture_id[:LABEL]


def expected(table: Table, name: str) -> float:
    """Accuracy after long training in percent, by a surrogate that knows all but this network's long trainings."""
    others = Table((row for row in table.content if row.rung != LONG_RUNG or label(row) != name), table.source)
    known = others.trainings(split="validation")
    archs, fidelities, accuracies = zip(*((each.architecture, each.fidelity, each.accuracy) for each in known))
    own = next(arch for key, arch in table.architectures.items() if (arch.name or key[:LABEL]) == name)
    surrogate = fit(archs, fidelities, accuracies, table.fidelity(LONG_RUNG), calibrate=False)
    return 100 * float(surrogate.predict([own]).mean[0])


def scores(path: Path) -> list[dict[str, object]]:
    """The trainings of an audit's or a confirmation's rows."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [row for row in rows if row.get("accuracy") is not None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", default="metablock", help="name or path of the table (default: the shipped one)")
    parser.add_argument("--scores", type=Path, help="scores.jsonl of an audit at another length than the second rung")
    options = parser.parse_args()
    table, tests = nasbench.load_table(options.table), scores(RESULTS / "search" / "long" / "scores.jsonl")
    long = means((row["network"], row["accuracy"]) for row in tests) | of_table(table, LONG_RUNG)
    found = scores(options.scores) if options.scores else []
    short = means((row["network"], row["accuracy"]) for row in found) if found else of_table(table, 1)
    names = sorted(set(long) & set(short), key=lambda name: -long[name])
    sizes = {label(row): row for row in table.content}
    told_by_table = {name: expected(table, name) for name in names}
    print(f"{'':16} long  rung  by the table  MACs / 1e6")
    for name in names:
        print(
            f"{name:16} {long[name]:.1f}  {short[name]:.1f}  {told_by_table[name]:.1f}          "
            f"{sizes[name].macs / 1e6:.0f}"
        )
    truth = np.array([long[name] for name in names])
    macs = np.array([sizes[name].macs for name in names], float)
    apart = Ranked(names, macs, truth).groups()["decidable"]
    for ranking, values in (
        ("accuracy at the rung", np.array([short[name] for name in names])),
        ("expected by the table", np.array([told_by_table[name] for name in names])),
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
