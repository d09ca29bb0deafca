"""Importing runs of another program's optimiser into a bench folder; their losses are looked up in the table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import Field, ValidationError

from nasbench.bench.problem import Problem
from nasbench.bench.reading import Source
from nasbench.bench.replay import PICKS, Place, Run, Setting
from nasbench.bench.runs import append_runs, read_bench, read_runs
from nasbench.bench.space import Row, TableSpace
from nasbench.errors import UserError, shown
from nasbench.files import read_text
from nasbench.strategies import STRATEGIES
from nasbench.values import Value


class Outside(Value):
    """One line of a file: strategy, seed, and the ids of the designs in the order of their evaluation.

    `picks` as in a `Run`; without them the design with the best score so far is the recommended one.
    """

    strategy: str = Field(min_length=1, max_length=80)
    seed: int = Field(ge=0, lt=2**63)
    designs: list[str] = Field(min_length=1)
    picks: list[Place] = Field(default_factory=list)
    seconds: float = Field(0.0, ge=0, le=1e9)


def add_runs(folder: str | Path, files: Sequence[str | Path], on: str | None = None) -> int:
    """Append the runs of `files` to a bench folder -> how many are new. `on`: where the table lies now.

    UserError, with nothing written, where a line is no run on the folder's table. Runs that the folder has are skipped.
    """
    folder = Path(folder)
    found = read_bench(folder)
    problem = Source(on or found.on, tuple(found.objectives), tuple(found.fields)).load()
    if problem.id != found.table:
        raise UserError(f"{folder}: its runs were made on another table; name that one with --on")
    if not isinstance(problem.space, TableSpace):
        raise UserError(f"{folder}: {problem.name} is searched through a surrogate; runs are brought to tables alone")
    places = {id: place for place, id in enumerate(problem.space.ids)}
    there = {(run.strategy, run.seed) for run in read_runs(folder)}
    new = {}
    for file in files:
        for source, line in _lines(Path(file)):
            run = _looked_up(_parsed(line, source), places, problem, found.setting, source)
            if (run.strategy, run.seed) not in there:
                new[(run.strategy, run.seed)] = run
    append_runs(folder, new.values())
    return len(new)


def _lines(path: Path) -> list[tuple[str, str]]:
    lines = read_text(path, "JSON lines").splitlines()
    return [(f"{path}, line {number}", line) for number, line in enumerate(lines, 1) if line.strip()]


def _parsed(line: str, source: str) -> Outside:
    try:
        run = Outside.model_validate_json(line)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "it"
        raise UserError(
            f'{source}: {where}: {first["msg"]}; write {{"strategy": NAME, "seed": N, "designs": [ID, ...]}}'
        ) from None
    if run.strategy.partition(",")[0] in STRATEGIES:
        raise UserError(f"{source}: strategy {shown(run.strategy)} is one of nasbench's own; give it another name")
    return run


def _looked_up(outside: Outside, places: dict[str, int], problem: Problem, setting: Setting, source: str) -> Run:
    """The run, with the table's losses of its designs."""
    unknown = [id for id in outside.designs if id not in places]
    if unknown:
        raise UserError(f"{source}: design {shown(unknown[0])} is not in {problem.name}; give ids of its rows")
    if len(set(outside.designs)) < len(outside.designs):
        raise UserError(f"{source}: a design stands twice in 'designs'; leave it out the second time")
    designs = outside.designs[: setting.evaluations]
    rows = [Row(places[id], id) for id in designs]
    seen = [list(problem.seen(row, outside.seed, setting.noisy)) for row in rows]
    asked = range(PICKS, len(rows) + 1, PICKS)  # after so many evaluations
    picks = outside.picks[: len(asked)] or [int(np.argmin([one[0] for one in seen[:n]])) for n in asked]
    if not (setting.noisy and len(problem.objectives) == 1):
        picks = []
    elif len(picks) < len(asked) or any(place >= n for place, n in zip(picks, asked)):
        raise UserError(f"{source}: 'picks' must have a place among the designs so far for each {PICKS} of them")
    return Run(
        strategy=outside.strategy, seed=outside.seed, designs=designs, seen=seen, truth=problem.truth(rows).tolist(),
        picks=picks, seconds=outside.seconds,
    )  # fmt: skip
