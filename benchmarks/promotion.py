"""What waiting for a rung costs: whole searches on a virtual clock, rung by rung and with designs going on meanwhile.

    python benchmarks/promotion.py --runs 20 --out results/search/promotion.csv

The real schedule runs with a runner's ladder on 8 or 200 simulated workers; only trainings are made up. A design's true
accuracy is what trees fitted to the shipped table's first rung say, off by two points that are the design's own; a
training adds noise of three points at the lowest rung (as measured, results/search) and two above. It takes 26 s for
3,200 samples at 500 M multiply-adds and grows with their power 0.66 (engine/efforts.py), times a lognormal factor; the
logarithms of all that scatter by about .45, as in the stored searches (.41 to .66). No table stands behind the search.

Ways: `rungs`, `asynchronous` as the study has them; `highest first` is asynchronous in ASHA's order, where a free
worker looks for a promotion before it takes a new design; `never idle` gives a free worker, where there is no new
design to start, the best of those complete also beyond their share of the places. A run's line is written when it
ends; the same command goes on after the last.

Strategies: any of the project's, or `drawn`, which is `random` with the designs of a run drawn once for all ways.

Columns: `hours` until the last training before the final ends; of the workers' time until then `waits`, the share in
which they waited though trainings were still to start, and `idle`, with the time after the last one had started;
`first`, when the first training of the highest rung ended, as a share of `hours`; of the designs at the highest rung
the mean and the best true accuracy, and the true hypervolume of error and multiply-adds (below 1 and 1 G).
"""

from __future__ import annotations

import argparse
import csv
import heapq
import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from search_replay import World, normal

import nasbench
from nasbench.arch.architecture import Architecture
from nasbench.costs.budget import parse_budgets
from nasbench.engine.efforts import EXPONENT
from nasbench.engine.levels import at_level
from nasbench.engine.places import Places
from nasbench.engine.predictions import Predictions
from nasbench.engine.promotion import Promotions
from nasbench.engine.schedule import Schedule
from nasbench.pareto import hypervolume
from nasbench.space.fixed import published_members
from nasbench.space.shipped import load_space
from nasbench.strategies import Context
from nasbench.strategies.choice import STRATEGIES, Strategy
from nasbench.strategies.random import RandomSettings
from nasbench.study.runner import load_runner, runner_ladder
from nasbench.study.study import SpaceRecord, Study
from nasbench.study.trials import Level, Outcome, State, Trial

LOWEST_NOISE, NOISE = 0.03, 0.02  # of accuracy, a training's
TYPICAL_S, TYPICAL_MACS, SPREAD = 26.0 / 3200, 5e8, 0.2  # a sample's seconds at so many multiply-adds; of ln(seconds)
WAYS = ("rungs", "asynchronous", "highest first", "never idle")
SETTINGS = (("laptop", 8), ("gpu", 8), ("cluster-cpu", 8), ("cluster-cpu", 200), ("cluster", 200))
FIGURES = ("hours", "waits", "idle", "first", "mean", "best", "hypervolume")
COLUMNS = ("runner", "workers", "strategy", "way", "run", "top", *FIGURES)


class HighestFirst(Schedule):
    """Looks for a promotion from the highest rung down before it takes a new design, as ASHA does."""

    def next_trial(self, trials: Sequence[Trial]) -> Trial | None:
        *rungs, final = self.levels
        found = (self.next_at(level, trials) for level in (*reversed(rungs), final))
        return next((trial for trial in found if trial is not None), None)


class AllAtOnce(Places):
    """All places of a rung may be taken from the first complete training below it on."""

    def due(self, level: Level, complete: int, trials: Sequence[Trial]) -> int:
        assert level.below is not None
        return min(complete, self.of(level, self._expected(level.below, trials), trials))


class NeverIdle(Schedule):
    """Promotes whoever is best so far rather than let a worker wait."""

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self.higher.places = AllAtOnce(self.study, self.phases)


SCHEDULES = {"highest first": HighestFirst, "never idle": NeverIdle}


class Played(NamedTuple):
    """Trials with the times at which they began and ended."""

    trials: list[Trial]

    def before_final(self) -> list[Trial]:
        return [trial for trial in self.trials if not trial.level.final]

    @property
    def end(self) -> float:
        """Of the last training before the final, in seconds."""
        return max(trial.finished_at for trial in self.before_final())

    def idle(self, workers: int, until: float) -> float:
        """Share of the workers' time until the end, before `until`, in which they trained nothing."""
        busy = sum(min(trial.finished_at, until) - trial.submitted_at for trial in self.before_final())
        return (workers * until - busy) / (workers * self.end)

    @property
    def last_start(self) -> float:
        return max(trial.submitted_at for trial in self.before_final())


def made_up(trial: Trial, run: int, true: float, now: float) -> Trial:
    """How a training ends that starts now; equal ones end alike, whichever way they came about."""
    luck, pace = normal(f"{run} {trial.key}"), normal(f"pace {run} {trial.key}")
    accuracy = true + luck * (NOISE if trial.level.rung else LOWEST_NOISE)
    size = (trial.cost.macs / TYPICAL_MACS) ** EXPONENT
    seconds = TYPICAL_S * trial.fidelity.work * size * math.exp(SPREAD * pace)
    outcome = Outcome(State.COMPLETE, {"accuracy": float(np.clip(accuracy, 0, 1))}, None, seconds)
    return trial.with_outcome(outcome, now + seconds)


def play(schedule: Schedule, workers: int, train: Callable[[Trial, float], Trial]) -> Played:
    """The search without its final; `train` gives a trial that starts at a time its outcome and its end."""
    trials: dict[str, Trial] = {}
    running: list[tuple[float, str, Trial]] = []
    now = 0.0
    while True:
        while len(running) < workers and (trial := schedule.next_trial(tuple(trials.values()))) is not None:
            if trial.level.final:
                return Played(list(trials.values()))
            trial = replace(trial, submitted_at=now)
            trials[trial.key], ended = trial, train(trial, now)
            heapq.heappush(running, (ended.finished_at, trial.key, ended))
        if not running:
            return Played(list(trials.values()))
        now, key, trials[key] = heapq.heappop(running)


def study_for(runner: str, strategy: str, way: str, seed: int) -> Study:
    space, ladder = load_space("metablock"), runner_ladder(runner)
    return Study.from_dict(
        {
            "space": SpaceRecord(name=space.name, content=space.to_dict()),
            "budgets": ("1GFLOP",),
            "ladder": ladder,
            "strategy": {"name": strategy},
            "trials": ladder.rungs[0].trials,
            "seed": seed,
            "runner": load_runner(runner),
            "promotion": "rungs" if way == "rungs" else "asynchronous",
        }
    )


class Replays:
    """Of one run after another: its drawn designs, and what is worked out once for all ways."""

    def __init__(self, world: World) -> None:
        self.world, self.space = world, load_space("metablock")
        study = study_for("laptop", "random", "rungs", 0)
        self.predictions = Predictions(study, lambda: None)
        self.fixed = published_members(self.space, study.budgets, study.classes)
        world.learn(list(self.fixed.values()))
        self.designs: dict[str, Architecture] = dict(self.fixed)
        self.drawn: list[Architecture] = []
        STRATEGIES["drawn"] = Strategy(self.propose, RandomSettings)

    def draw(self, run: int, count: int) -> None:
        rng = np.random.default_rng(run)
        self.drawn = [self.space.sample(rng, parse_budgets(["1GFLOP"]), 1000) for _ in range(count)]
        self.world.learn(self.drawn)
        self.designs |= {arch.id: arch for arch in self.drawn}

    def propose(self, context: Context, n: int, settings: RandomSettings) -> list[Architecture]:
        known = {candidate.architecture.id for candidate in context.candidates}
        return [arch for arch in self.drawn if arch.id not in known][:n]

    def train(self, trial: Trial, run: int, now: float) -> Trial:
        design = self.designs.setdefault(trial.architecture_id, trial.design)
        ended = made_up(trial, run, self.world.true(design), now)
        ended.__dict__["design"] = design  # whose id and cost are known: to read it anew takes most of a replay
        return ended

    def line(self, runner: str, workers: int, strategy: str, way: str, run: int) -> dict[str, object]:
        """One search."""
        study, promotions = study_for(runner, strategy, way, 1000 * run), Promotions([], lambda note: None)
        schedule = SCHEDULES.get(way, Schedule)(study, self.space, self.fixed, self.predictions, promotions)
        played = play(schedule, workers, lambda trial, now: self.train(trial, run, now))
        top = at_level(played.trials, Level(study.ladder.top))
        planned = dict(schedule.planned())[Level(study.ladder.top)]
        assert len(top) == planned, f"{len(top)} at the highest rung, and not {planned}"
        true = [self.world.true(trial.design) for trial in top]
        losses = [(1 - accuracy, trial.cost.macs / 1e9) for accuracy, trial in zip(true, top)]
        return {
            **{"runner": runner, "workers": workers, "strategy": strategy, "way": way, "run": run, "top": len(top)},
            "hours": round(played.end / 3600, 4),
            "waits": round(played.idle(workers, played.last_start), 4),
            "idle": round(played.idle(workers, played.end), 4),
            "first": round(min(trial.finished_at for trial in top) / played.end, 4),
            "mean": round(float(np.mean(true)), 4),
            "best": round(max(true), 4),
            "hypervolume": round(hypervolume(losses, (1.0, 1.0)), 4),
        }


def summary(lines: Sequence[dict[str, str]]) -> str:
    """A line for each way: means over the runs, and what is gained over `rungs` in the mean of pairs, plus or minus a
    standard error."""
    groups: dict[tuple[str, str, str], dict[str, dict[str, dict[str, str]]]] = defaultdict(lambda: defaultdict(dict))
    for line in lines:
        groups[(line["runner"], line["workers"], line["strategy"])][line["way"]][line["run"]] = line
    text = [
        f"{'way':14}{'runs':>5}{'hours':>8}{'waits':>7}{'idle':>7}{'first':>7}{'mean':>15}{'best':>15}{'hypervolume':>16}"
    ]
    for (runner, workers, strategy), ways in groups.items():
        text.append(f"{runner}, {workers} workers, {strategy}")
        for way, runs in ways.items():
            hours, *shares = (np.mean([float(line[key]) for line in runs.values()]) for key in FIGURES[:4])
            row = f"{way:14}{len(runs):5}{hours:8.3f}" + "".join(f"{100 * share:6.1f}%" for share in shares)
            text.append(row + "".join(_gained(runs, ways["rungs"], key, way) for key in FIGURES[4:]))
    return "\n".join(text)


def _gained(runs: dict[str, dict[str, str]], rungs: dict[str, dict[str, str]], key: str, way: str) -> str:
    """In points of accuracy, or hundredths of the volume."""
    own = np.array([100 * float(line[key]) for run, line in runs.items() if run in rungs])
    if way == "rungs":
        return f"{own.mean():15.2f}"
    gains = own - np.array([100 * float(rungs[run][key]) for run in runs if run in rungs])
    error = gains.std(ddof=1) / math.sqrt(len(gains)) if len(gains) > 1 else math.nan
    return f"{gains.mean():+9.2f} ±{error:4.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, help="a table's folder or file (default: the shipped one)")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--strategies", nargs="+", default=["drawn"])
    parser.add_argument("--settings", nargs="+", default=[f"{runner}:{workers}" for runner, workers in SETTINGS])
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    replays = Replays(World(nasbench.load_table(options.table or "metablock").current))
    done = {tuple(line[key] for key in COLUMNS[:5]) for line in _read(options.out)}
    with options.out.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if not done:
            writer.writeheader()
        for run in range(options.runs):
            replays.draw(run, max(runner_ladder(setting.split(":")[0]).rungs[0].trials for setting in options.settings))
            for runner, workers in (setting.split(":") for setting in options.settings):
                for strategy in options.strategies:
                    for way in WAYS:
                        if (runner, workers, strategy, way, str(run)) not in done:
                            writer.writerow(replays.line(runner, int(workers), strategy, way, run))
                            file.flush()
    print(summary(_read(options.out)))


def _read(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    main()
