"""`bench`: strategies compared on one problem, with tables, curves and tests."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nasbench.bench.comparison import Comparison, compare
from nasbench.bench.curves import Curves, curves_of
from nasbench.bench.reading import Source
from nasbench.bench.replay import Run, Setting
from nasbench.bench.runs import Bench, read_bench, read_runs, run_all
from nasbench.errors import UserError
from nasbench.files import file_stem, write_atomic
from nasbench.hardware import cpu_cores
from nasbench.progress import Progress
from nasbench.study.environment import record

CHECKPOINTS = (10, 20, 50, 100, 200, 500, 1000)


@dataclass(frozen=True)
class Result:
    """A folder's runs, compared."""

    folder: Path
    bench: Bench
    runs: list[Run]
    curves: Curves
    comparisons: list[Comparison]
    facts: tuple[str, ...]

    def summary(self) -> list[dict[str, Any]]:
        """One line a strategy, the best first: medians at some evaluations, and how many reach the best design."""
        at = [n for n in CHECKPOINTS if n < self.bench.evaluations] + [self.bench.evaluations]
        lines = []
        for name in self.curves.strategies:
            middle = self.curves.quartiles(name)[1]
            line: dict[str, Any] = {"strategy": name, "seeds": len(self.curves.seeds[name])}
            line |= {str(n): float(middle[n - 1]) for n in at}
            if name in self.curves.reached:
                needed = float(np.median(self.curves.reached[name]))
                line["to the best"] = int(needed) if math.isfinite(needed) else None
                line["reached"] = float(np.isfinite(self.curves.reached[name]).mean())
            line["seconds a run"] = float(np.median([run.seconds for run in self.runs if run.strategy == name]))
            lines.append(line)
        sign = 1.0 if self.curves.is_regret else -1.0
        return sorted(lines, key=lambda line: sign * float(self.curves.values[line["strategy"]].mean()))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON; what is not a number is None."""
        pairs = [
            {**pair._asdict(), "p": None if math.isnan(pair.p) else pair.p, "decided": pair.is_decided}
            for pair in self.comparisons
        ]
        measure = "regret" if self.curves.is_regret else "hypervolume"
        return {
            "folder": str(self.folder), **self.bench.to_dict(), "measure": measure, "summary": self.summary(),
            "comparisons": pairs,
        }  # fmt: skip


def bench(
    strategies: Sequence[str],
    source: Source,
    seeds: Sequence[int] = range(100),
    setting: Setting | None = None,
    *,
    out: str | Path | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Result:
    """Replay each strategy once a seed on a problem, in worker processes, and write runs and results to a folder.

    Runs that the folder holds are not repeated.
    """
    setting = setting or Setting()
    folder = Path(out) if out is not None else default_folder(source, setting)
    run_all(source, strategies, seeds, setting, folder, workers=workers or cpu_cores(), progress=progress)
    record(folder)
    return show(folder, on=source.on)


def default_folder(source: Source, setting: Setting) -> Path:
    """results/bench/TABLE-OBJECTIVES[-noisy]."""
    parts = [Path(source.on).name.partition(".")[0], *source.objectives, *(["noisy"] if setting.noisy else [])]
    return Path("results") / "bench" / file_stem("-".join(parts), "bench")


def show(folder: str | Path, on: str | None = None) -> Result:
    """Compare the runs of a folder, and write its tables and pictures. `on`: where the table lies now."""
    folder = Path(folder)
    found, runs = read_bench(folder), read_runs(folder)
    if not runs:
        raise UserError(f"{folder}: no run has ended yet; go on with `nasbench bench run`")
    source = found.source if on is None else Source(on, tuple(found.objectives), tuple(found.fields))
    problem = source.load()
    if problem.id != found.table:
        raise UserError(f"{folder}: {source.on} is another table than its runs were made on; name that one with --on")
    curves = curves_of(runs, problem.scale, found.evaluations, found.noise)
    result = Result(folder, found, runs, curves, compare(curves), problem.facts)
    _write(result)
    return result


def _write(result: Result) -> None:
    from nasbench.bench.picture import write_picture

    noise = "one training an evaluation" if result.bench.noise else "noiseless"
    title = f"{result.bench.problem}: {', '.join(result.bench.objectives)}\n{noise}"  # two lines fit a column
    write_picture(result.curves, title, tuple(result.bench.objectives), result.folder)
    _write_csv(result.folder / "curves.csv", _curve_lines(result.curves))
    _write_csv(result.folder / "summary.csv", result.summary())
    _write_csv(
        result.folder / "comparisons.csv",
        [{**pair._asdict(), "decided": pair.is_decided} for pair in result.comparisons],
    )


def _curve_lines(curves: Curves) -> list[dict[str, Any]]:
    lines = []
    for name in curves.strategies:
        for n, (low, middle, high) in enumerate(curves.quartiles(name).T, 1):
            seeds = len(curves.seeds[name])
            lines.append(
                {"strategy": name, "evaluations": n, "seeds": seeds, "q25": low, "median": middle, "q75": high}
            )
    return lines


def _write_csv(path: Path, lines: Sequence[dict[str, Any]]) -> None:
    import pandas as pd

    text = io.StringIO()
    pd.DataFrame(lines).to_csv(text, index=False, float_format="%.6g")
    write_atomic(path, text.getvalue())
