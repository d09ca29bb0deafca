"""How large a table's file is, and how long it takes to be read: rows of random designs, made up but for their form.

    python benchmarks/table_file.py --rows 3000 --designs 700

Prints the size of the file and the processor seconds of pandas.read_csv, of load_table, and of looking whether each row
still counts, for which every design is built as a value and reduced.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from nasbench.costs.analytic import cost
from nasbench.proxy.reduction import reduced
from nasbench.space.shipped import load_space
from nasbench.study.runner import LAPTOP, runner_ladder
from nasbench.table.file import write_rows
from nasbench.table.loading import load_table
from nasbench.table.rows import TableRow, compact

REPEATS = 5


def rows(count: int, designs: int) -> list[TableRow]:
    """`count` trainings of so many random members of metablock at the first rung, with accuracies out of the air."""
    space, fidelity, rng = load_space("metablock"), runner_ladder(LAPTOP).rungs[0].fidelity, np.random.default_rng(0)
    drawn = [space.draw(rng) for _ in range(designs)]
    content = [
        {
            "architecture_id": arch.id,
            "macs": cost(arch).macs,
            "params": cost(arch).params,
            "proxy_id": reduced(arch, fidelity).id,
            "architecture": compact(arch.to_dict()),
        }
        for arch in drawn
    ]
    common = {
        **{"origin": "random", "rung": 0, "split": "validation", "recipe": "proxy", "numerics": "cpu float32"},
        **{"data": "fashion-on-earth", "data_id": "0123456789abcdef", "nasbench": "0.1.0+0123456789ab"},
        **{"torch": "2.13.0+cpu", "machine": "a processor", "finished": "2026-01-01", "scored_images": 1200},
        **{"samples": fidelity.samples, "fidelity": fidelity.id, "fidelity_fields": compact(fidelity.to_dict())},
    }
    return [
        TableRow.from_dict(
            {
                **common,
                **content[index % designs],
                "seed": 101 + index // designs,
                **{name: float(f"{rng.random():.6g}") for name in ("accuracy", "loss", "train_loss_tail")},
                "cpu_seconds": float(f"{20 * rng.random():.6g}"),
            }
        )
        for index in range(count)
    ]


def least_seconds(call: Callable[[], object], repeats: int = REPEATS) -> float:
    """Processor seconds of the fastest of several calls."""
    found = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        found.append(time.process_time() - start)
    return min(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=3000)
    parser.add_argument("--designs", type=int, default=700)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.csv.gz"
        write_rows(path, rows(options.rows, options.designs))
        print(f"{options.rows:,} rows of {options.designs:,} designs: {path.stat().st_size / 1e6:.2f} MB")
        print(f"pandas.read_csv   {least_seconds(lambda: pd.read_csv(path)):.3f} s")
        print(f"load_table        {least_seconds(lambda: load_table(path)):.3f} s")
        print(f"which rows count  {least_seconds(lambda: load_table(path).stale, 1):.3f} s")


if __name__ == "__main__":
    main()
