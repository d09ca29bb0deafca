"""Optimisers of other projects on the same tables, seeds and evaluations as `nasbench bench`, each by its own ask/tell.

Peers live in environments of their own, which need nothing of nasbench but numpy (versions of a measurement are in
results/bench/README.md):

    python benchmarks/peers.py problem nas_bench_macro.json --noise --seeds 20 -o macro.npz  # with nasbench
    python -m venv pymoo && pymoo/bin/pip install pymoo                                  # or syne-tune, optuna
    grep ^torch constraints.txt > torch.txt && neps/bin/pip install -c torch.txt neural-pipeline-search
    pymoo/bin/python benchmarks/peers.py run pymoo:nsga2 macro.npz -o pymoo.jsonl
    nasbench bench add results/bench/macro-noisy pymoo.jsonl --on nas_bench_macro.json  # with it

A peer sees the table's fields: numbers as whole numbers (their place among the values), words as categories. Where a
table is a sample of its space, what it asks for is the row that differs in the fewest fields. What it asks for again is
answered again, and counts once. Settings are the peers' own, but for the populations said in `PEERS`: their defaults of
50 and 100 would be a quarter to a half of 200 evaluations.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import numpy as np

POPULATION = 20  # as nasbench's own
MOST_REPEATS = 100  # of known designs in a row, before a run ends


@dataclass(frozen=True)
class Problem:
    """A table as numbers: `codes` (rows, fields) are places among each field's `sizes` values."""

    ids: list[str]
    codes: np.ndarray
    sizes: list[int]
    numeric: list[bool]
    seeds: list[int]
    seen: np.ndarray  # (seeds or 1, rows, k)
    evaluations: int

    def nearest(self, code: Sequence[int], rng: np.random.Generator) -> int:
        apart = (self.codes != np.asarray(code)).sum(1)
        return int(rng.choice(np.flatnonzero(apart == apart.min())))

    @property
    def varying(self) -> list[int]:
        return [field for field, size in enumerate(self.sizes) if size > 1]

    @property
    def objectives(self) -> int:
        return int(self.seen.shape[2])


class Peer(Protocol):
    """An optimiser: places of the varying fields' values, and what came of them, lower is better."""

    def ask(self) -> list[int]: ...
    def tell(self, losses: Sequence[float]) -> None: ...


class ByOptuna:
    def __init__(self, problem: Problem, seed: int, sampler: str) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        made = {
            "tpe": lambda: optuna.samplers.TPESampler(seed=seed),
            "nsga2": lambda: optuna.samplers.NSGAIISampler(seed=seed, population_size=POPULATION),
        }[sampler]()
        self.problem, self.trial = problem, None
        self.study = optuna.create_study(directions=["minimize"] * problem.objectives, sampler=made)

    def ask(self) -> list[int]:
        self.trial = trial = self.study.ask()
        sizes, numeric = self.problem.sizes, self.problem.numeric
        return [
            trial.suggest_int(f"f{f}", 0, sizes[f] - 1)
            if numeric[f]
            else trial.suggest_categorical(f"f{f}", list(range(sizes[f])))
            for f in self.problem.varying
        ]

    def tell(self, losses: Sequence[float]) -> None:
        self.study.tell(self.trial, list(losses))


class ByPymoo:
    """NSGA-II by pymoo's operators for whole numbers and categories; a generation is asked for at once."""

    def __init__(self, problem: Problem, seed: int, _kind: str) -> None:
        from pymoo.algorithms.moo.nsga2 import RankAndCrowdingSurvival
        from pymoo.core.mixed import MixedVariableGA
        from pymoo.core.problem import Problem as Outer
        from pymoo.core.variable import Choice, Integer

        self.fields = [f"f{f}" for f in problem.varying]
        variables = {
            f"f{f}": Integer(bounds=(0, problem.sizes[f] - 1))
            if problem.numeric[f]
            else Choice(options=list(range(problem.sizes[f])))
            for f in problem.varying
        }
        self.algorithm = MixedVariableGA(pop_size=POPULATION, survival=RankAndCrowdingSurvival())
        outer = Outer(vars=variables, n_obj=problem.objectives)
        self.algorithm.setup(outer, termination=("n_gen", 10**6), seed=seed, verbose=False)
        self.waiting: Any = None
        self.losses: list[list[float]] = []

    def ask(self) -> list[int]:
        if self.waiting is None:
            self.waiting, self.losses = self.algorithm.ask(), []
        chosen = self.waiting[len(self.losses)].X
        return [int(chosen[field]) for field in self.fields]

    def tell(self, losses: Sequence[float]) -> None:
        self.losses.append(list(losses))
        if len(self.losses) == len(self.waiting):
            self.waiting.set("F", np.array(self.losses))
            for one in self.waiting:
                one.evaluated.add("F")
            self.algorithm.tell(infills=self.waiting)
            self.waiting = None


class BySyneTune:
    def __init__(self, problem: Problem, seed: int, kind: str) -> None:
        from syne_tune.config_space import choice, randint
        from syne_tune.optimizer.baselines import BORE, REA, TPE
        from syne_tune.optimizer.schedulers.ask_tell_scheduler import AskTellScheduler
        from syne_tune.optimizer.schedulers.multiobjective.multi_objective_regularized_evolution import (
            MultiObjectiveRegularizedEvolution,
        )
        from syne_tune.optimizer.schedulers.single_fidelity_scheduler import SingleFidelityScheduler

        self.fields = [f"f{f}" for f in problem.varying]
        space = {
            f"f{f}": randint(0, problem.sizes[f] - 1)
            if problem.numeric[f]
            else choice([str(value) for value in range(problem.sizes[f])])
            for f in problem.varying
        }
        self.metrics = [f"loss{k}" for k in range(problem.objectives)]
        if kind == "mo-rea":
            searcher = MultiObjectiveRegularizedEvolution(
                space, population_size=POPULATION, sample_size=5, random_seed=seed, points_to_evaluate=[]
            )
            made = SingleFidelityScheduler(space, metrics=self.metrics, searcher=searcher, random_seed=seed)
        elif kind == "rea":
            made = REA(space, metric=self.metrics[0], population_size=POPULATION, sample_size=5, random_seed=seed)
        else:
            made = {"bore": BORE, "tpe": TPE}[kind](space, metric=self.metrics[0], random_seed=seed)
        self.scheduler, self.trial = AskTellScheduler(made), None

    def ask(self) -> list[int]:
        self.trial = self.scheduler.ask()
        return [int(self.trial.config[field]) for field in self.fields]

    def tell(self, losses: Sequence[float]) -> None:
        self.scheduler.tell(self.trial, dict(zip(self.metrics, losses)))


class ByNeps:
    def __init__(self, problem: Problem, seed: int, kind: str) -> None:
        import neps
        import torch
        from neps.optimizers import algorithms
        from neps.optimizers.ask_and_tell import AskAndTell

        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002 - what NePS draws from
        torch.manual_seed(seed)
        self.fields = [f"f{f}" for f in problem.varying]
        values = {
            f"f{f}": neps.Integer(0, problem.sizes[f] - 1)
            if problem.numeric[f]
            else neps.Categorical(choices=[str(value) for value in range(problem.sizes[f])])
            for f in problem.varying
        }
        space = type("Space", (neps.PipelineSpace,), values)()
        if kind == "bo":
            from neps.space.neps_spaces.neps_space import convert_neps_to_classic_search_space

            space = convert_neps_to_classic_search_space(space)
        made = {
            "random": lambda: algorithms.random_search(space),
            "regularised": lambda: algorithms.neps_regularized_evolution(space),
            "bo": lambda: algorithms.bayesian_optimization(space),
        }[kind]()
        self.space, self.optimiser, self.trial = space, AskAndTell(made), None

    def ask(self) -> list[int]:
        self.trial = self.optimiser.ask()
        config = dict(self.trial.config)
        if self.fields[0] not in config:  # a space of NePS's own form: names are paths, categories are places
            config = {name.partition("::")[0].rpartition(".")[2]: value for name, value in config.items()}
        return [int(config[field]) for field in self.fields]

    def tell(self, losses: Sequence[float]) -> None:
        told = list(losses) if len(losses) > 1 else losses[0]
        self.optimiser.tell(self.trial, {"objective_to_minimize": told})


PEERS: dict[str, tuple[Callable[[Problem, int, str], Peer], str]] = {  # what makes it, its package
    "optuna": (ByOptuna, "optuna"),
    "pymoo": (ByPymoo, "pymoo"),
    "syne-tune": (BySyneTune, "syne-tune"),
    "neps": (ByNeps, "neural-pipeline-search"),
}


def write_problem(options: argparse.Namespace) -> None:
    """With nasbench: the table, and what each seed sees of each row."""
    from nasbench.bench.reading import Source

    problem = Source(options.table, tuple(options.objectives.split(","))).load()
    space, seeds = problem.space, list(range(options.first_seed, options.first_seed + options.seeds))
    rows = list(space)
    seen = [[problem.seen(row, seed, options.noise) for row in rows] for seed in (seeds if options.noise else [0])]
    about = {
        "ids": list(space.ids), "sizes": [len(domain) for domain in space.domains], "seeds": seeds,
        "numeric": [not any(isinstance(value, (str, bool)) for value in domain) for domain in space.domains],
        "evaluations": options.evaluations,
    }  # fmt: skip
    np.savez_compressed(options.output, codes=space.codes, seen=np.array(seen), about=json.dumps(about))


def read_problem(path: Path) -> Problem:
    with np.load(path) as file:
        about = json.loads(str(file["about"]))
        return Problem(codes=file["codes"], seen=file["seen"], **about)


def run(problem: Problem, name: str, seed: int) -> dict[str, Any]:
    """One run as a line of a file."""
    library, _, kind = name.partition(":")
    make, package = PEERS[library]
    place = problem.seeds.index(seed) if len(problem.seen) > 1 else 0
    rng, started, repeats = np.random.default_rng(seed), time.process_time(), 0
    peer, found = make(problem, seed, kind), {}
    while len(found) < problem.evaluations and repeats < MOST_REPEATS:
        code = np.zeros(len(problem.sizes), int)
        code[problem.varying] = peer.ask()
        row = problem.nearest(code, rng)
        repeats = repeats + 1 if row in found else 0
        found[row] = None
        peer.tell([float(loss) for loss in problem.seen[place, row]])
    strategy = f"{library}-{version(package)}:{kind}"
    seconds = round(time.process_time() - started, 3)
    return {"strategy": strategy, "seed": seed, "designs": [problem.ids[row] for row in found], "seconds": seconds}


def run_all(options: argparse.Namespace) -> None:
    problem = read_problem(options.problem)
    with options.output.open("a") as file:
        for seed in problem.seeds[: options.seeds]:
            for name in options.peers.split(","):
                file.write(json.dumps(run(problem, name, seed)) + "\n")
                file.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True)
    problem = verbs.add_parser("problem")
    problem.add_argument("table")
    problem.add_argument("--objectives", default="1")
    problem.add_argument("--noise", action="store_true")
    problem.add_argument("--seeds", type=int, default=20)
    problem.add_argument("--first-seed", type=int, default=20)
    problem.add_argument("--evaluations", type=int, default=200)
    problem.add_argument("-o", "--output", type=Path, required=True)
    problem.set_defaults(run=write_problem)
    runs = verbs.add_parser("run")
    runs.add_argument("peers", help="LIBRARY:METHOD,... of one library")
    runs.add_argument("problem", type=Path)
    runs.add_argument("--seeds", type=int, default=20)
    runs.add_argument("-o", "--output", type=Path, required=True)
    runs.set_defaults(run=run_all)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
