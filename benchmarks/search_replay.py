"""Whole searches replayed on a table's surrogate with its noise: what each strategy hands back, and what it says of it.

    python benchmarks/search_replay.py results/table-metablock --runs 20 --out results/search/replay.csv

The real schedule runs (proposals, promotion, race), only trainings are made up: a design's true accuracy is what
trees fitted to all rows say, off by a normal error of two points that is the same whenever that design is asked about;
each training adds noise of two. Trees, since they know another world than the searchers' Gaussian process, one in which
nothing is better than what was seen but by that error. Multiply-adds stand for latency. Arms differ in what they know:
`evolution` and `random` nothing, `warm` all rows, `warm-half` every second design, `warm-far` none of the fifth of the
designs that are nearest to the truly best one, `warm-misled` all rows with their accuracies exchanged at random,
otherwise in each run. Trainings that a search takes from a table are made up as all others are. A run's line is written
when it ends; the same command goes on after the last.

Columns: `lead`, the true lead of the challenger that was handed back over the best published network as the finals saw
them; `declared`, whether the run called its lead more than noise.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from sklearn.ensemble import ExtraTreesRegressor

import nasbench
from nasbench.arch.architecture import Architecture
from nasbench.engine.phases import Phases
from nasbench.engine.predictions import Predictions
from nasbench.engine.promotion import Promotions
from nasbench.engine.schedule import Schedule
from nasbench.engine.start import FINAL_TRAININGS, FINALISTS
from nasbench.engine.warm_start import Known
from nasbench.report.noise import accuracy_gap, challengers, needed_factor, seed_noise
from nasbench.report.results import StudyResult
from nasbench.report.rows import ReportRow
from nasbench.space.fixed import published_members
from nasbench.space.shipped import load_space
from nasbench.study.runner import load_runner, runner_ladder
from nasbench.study.study import SpaceRecord, Study
from nasbench.study.trials import Outcome, State, Trial
from nasbench.surrogate.features import features
from nasbench.table.table import Table

OWN, NOISE = 0.02, 0.02  # deviations of accuracy: of designs from what the trees say, and of trainings
NEAR = 0.2  # share of the designs that `warm-far` lacks
ARMS = ("random", "evolution", "warm", "warm-half", "warm-far", "warm-misled")
COLUMNS = ("arm", "run", "lead", "declared", "trainings", "challenger", "published", "agreement", "seconds")


class World:
    """True accuracies and noisy trainings, from trees fitted to the table's first rung."""

    def __init__(self, table: Table) -> None:
        rows = table.trainings(rung=0, split="validation")
        self.fidelity = table.fidelity(0)
        self.trees = ExtraTreesRegressor(300, min_samples_leaf=2, random_state=0)
        self.trees.fit(features([row.architecture for row in rows], self.fidelity), [row.accuracy for row in rows])
        self._true: dict[str, float] = {}

    def true(self, arch: Architecture) -> float:
        if arch.id not in self._true:
            self.learn([arch])
        return self._true[arch.id]

    def learn(self, designs: Sequence[Architecture]) -> None:
        """Work out what is true of several designs, which is quicker than one by one."""
        for arch, told in zip(designs, self.trees.predict(features(designs, self.fidelity))):
            self._true[arch.id] = float(np.clip(told + OWN * normal(arch.id), 0.01, 0.99))

    def train(self, trial: Trial, run: int) -> Trial:
        luck = normal(f"{run} {trial.key} {trial.seed}")
        accuracy = self.true(trial.design) + NOISE * luck
        outcome = Outcome(State.COMPLETE, {"accuracy": float(np.clip(accuracy, 0, 1))}, None, 1.0)
        return trial.with_outcome(outcome, time.time())


def normal(key: str) -> float:
    """A standard normal number that hangs on the key alone."""
    return float(np.random.default_rng(int(hashlib.sha256(key.encode()).hexdigest()[:15], 16)).standard_normal())


def halved(table: Table) -> Table:
    """The rows of every second design."""
    kept = set(table.ids[::2])
    return Table((row for row in table.content if row.architecture_id in kept), f"half of {table.source}")


def far(table: Table, world: World) -> Table:
    """The rows without those of the designs nearest to the truly best one, by the surrogate's features."""
    designs = list(table.architectures.values())
    world.learn(designs)
    described = features(designs, world.fidelity)
    spread = described.std(axis=0)
    described = described[:, spread > 0] / spread[spread > 0]
    best = int(np.argmax([world.true(arch) for arch in designs]))
    farthest_first = np.argsort(-np.linalg.norm(described - described[best], axis=1), kind="stable")
    kept = {designs[place].id for place in farthest_first[: round((1 - NEAR) * len(designs))]}
    return Table((row for row in table.content if row.architecture_id in kept), f"far part of {table.source}")


def misled(table: Table, run: int) -> Table:
    """All rows, their accuracies exchanged at random."""
    order = np.random.default_rng(run).permutation(len(table.content))
    accuracies = [table.content[index].accuracy for index in order]
    rows = (row.replace(accuracy=accuracy) for row, accuracy in zip(table.content, accuracies))
    return Table(rows, f"misleading {table.source}")


def study_for(arm: str, seed: int, budget: str) -> Study:
    space, ladder = load_space("metablock"), runner_ladder("laptop")
    return Study.from_dict(
        {
            "space": SpaceRecord(name=space.name, content=space.to_dict()),
            "budgets": (budget,),
            "ladder": ladder,
            "strategy": {"name": arm.partition("-")[0]},
            "trials": ladder.rungs[0].trials,
            "seed": seed,
            "runner": load_runner("laptop"),
            "final_seeds": tuple(range(seed + 1, seed + 13)),
            "finalists": FINALISTS,
            "race": FINAL_TRAININGS,
        }
    )


def replay(arm: str, run: int, world: World, known: Known | None, budget: str) -> dict[str, object]:
    """One search from its first trial to its verdict."""
    study, space, started = study_for(arm, 1000 * run, budget), load_space("metablock"), time.process_time()
    predictions = Predictions(study, lambda: None)
    fixed = published_members(space, study.budgets, study.classes)
    schedule = Schedule(study, space, fixed, predictions, Promotions([], lambda note: None), known, Phases())
    trials: list[Trial] = []
    while (following := schedule.next_trial(trials)) is not None:
        trials.append(world.train(following, run))
    rows = [replace(row, latency_predicted=row.cost["macs"]) for row in _result(study, trials).rows()]
    published, faster = challengers(rows)
    agreement = schedule.agreement(trials)
    line = {"arm": arm, "run": run, "trainings": len(trials), "seconds": round(time.process_time() - started, 1)}
    line["agreement"] = "" if agreement is None else round(agreement.correlation, 3)
    if published is None or not faster:
        return {**line, "lead": "", "declared": False, "challenger": "", "published": ""}
    return {**line, **_outcome(faster, published, rows, world)}


def _outcome(
    faster: Sequence[ReportRow], published: ReportRow, rows: Sequence[ReportRow], world: World
) -> dict[str, object]:
    best, noise = faster[0], seed_noise([row for row in rows if row.split == "test"])
    gap = accuracy_gap(best, published, noise)
    assert noise is not None
    assert gap.standard_error is not None
    return {
        "lead": round(world.true(best.arch) - world.true(published.arch), 4),
        "declared": gap.mean > needed_factor(len(faster), noise) * gap.standard_error,
        "challenger": best.id,
        "published": published.name,
    }


def _result(study: Study, trials: Sequence[Trial]) -> StudyResult:
    return StudyResult(Path(), study, tuple(trials), {}, {})


def summary(lines: Sequence[dict[str, str]]) -> str:
    """One line an arm: how often it wins, by how much, and what it says of that."""
    text = [f"{'arm':14}{'runs':>5}{'lead':>8}{'[10 %':>8}{'90 %]':>7}{'won':>6}{'said':>6}{'wrong':>7}"]
    for arm in dict.fromkeys(line["arm"] for line in lines):
        own = [line for line in lines if line["arm"] == arm]
        lead = 100 * np.array([float(line["lead"] or 0) for line in own])
        said = np.array([line["declared"] == "True" for line in own])
        low, high = np.quantile(lead, [0.1, 0.9])
        text.append(
            f"{arm:14}{len(own):5}{lead.mean():8.2f}{low:8.2f}{high:7.2f}{(lead > 0).mean():6.2f}"
            f"{said.mean():6.2f}{(said & (lead <= 0)).mean():7.2f}"
        )
    return "\n".join(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=ARMS)
    parser.add_argument("--budget", default="1GFLOP")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    table = nasbench.load_table(options.table).current
    world = World(table)
    tables = {"warm": table, "warm-half": halved(table), "warm-far": far(table, world)}
    fidelity = runner_ladder("laptop").rungs[0].fidelity
    known = {arm: Known(tables[arm], fidelity) for arm in options.arms if arm in tables}
    done = _read(options.out)
    with options.out.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if not done:
            writer.writeheader()
        for run in range(options.runs):
            for arm in options.arms:
                if (arm, str(run)) not in {(line["arm"], line["run"]) for line in done}:
                    if arm == "warm-misled":
                        known[arm] = Known(misled(table, run), fidelity)
                    writer.writerow(replay(arm, run, world, known.get(arm), options.budget))
                    file.flush()
    print(summary(_read(options.out)))


def _read(path: Path) -> list[dict[str, str]]:
    if not path.is_file() or math.isclose(path.stat().st_size, 0):
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    main()
