"""One strategy replayed on a problem with one seed: its evaluations and recommendations."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from nasbench.bench.problem import LARGEST, Problem
from nasbench.errors import UserError
from nasbench.strategies import Candidate, Context, StrategyChoice
from nasbench.values import Value

Loss = Annotated[float, Field(ge=-LARGEST, le=LARGEST)]
Place = Annotated[int, Field(ge=0, lt=10**6)]
PICKS = 10  # evaluations between two recommendations: some strategies fit a model for each


class Run(Value):
    """A replay. `designs`: ids in the order of their evaluation; `seen` and `truth`: their losses as the strategy saw
    them, and the true ones; `picks`: the places among them that the strategy recommends after each `PICKS` evaluations,
    where there is one loss and it is noisy."""

    strategy: str
    seed: int = Field(ge=0, lt=2**63)
    designs: list[str]
    seen: list[list[Loss]]
    truth: list[list[Loss]]
    picks: list[Place] = Field(default_factory=list)
    seconds: float = Field(0.0, ge=0, le=1e9)


@dataclass(frozen=True)
class Setting:
    """What all runs of a comparison have in common, beside the problem."""

    evaluations: int = 200
    noisy: bool = False


def parse_strategy(text: str) -> StrategyChoice:
    """`evolution` or, with settings, `evolution,population=50,tournament=10`."""
    name, *pairs = text.split(",")
    settings: dict[str, object] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise UserError(f"strategy {text!r}: {pair!r} is no setting; write NAME,KEY=VALUE,KEY=VALUE")
        settings[key] = _typed(value)
    found = StrategyChoice.from_dict({"name": name, **settings}, f"strategy {text!r}")
    found.check()
    return found


def run_name(text: str) -> str:
    """The name of a strategy's runs: `text`, with a hash of the file's text for a function in a file."""
    name, *settings = text.split(",")
    label = parse_strategy(text).label
    return ",".join([label, *settings]) if label != name else text


def _typed(value: str) -> object:
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return {"true": True, "false": False}.get(value, value)


def replay(problem: Problem, strategy: str, seed: int, setting: Setting) -> Run:
    """One run; equal for equal arguments."""
    choice, started = parse_strategy(strategy), time.perf_counter()
    trials: list[Candidate] = []
    picks: list[int] = []
    picking = setting.noisy and len(problem.objectives) == 1
    while len(trials) < setting.evaluations:
        proposed = choice.propose(_context(problem, trials, seed), 1)
        if not proposed:
            break  # the space is exhausted
        trials += [Candidate(arch, problem.seen(arch, seed, setting.noisy)) for arch in proposed]
        if picking and len(trials) % PICKS == 0:
            picked = choice.pick(_context(problem, trials, seed))
            picks.append(next(place for place, trial in enumerate(trials) if trial is picked))
    truth = problem.truth([trial.architecture for trial in trials])
    return Run(
        strategy=run_name(strategy),
        seed=seed,
        designs=[trial.architecture.id for trial in trials],
        seen=[list(trial.losses or ()) for trial in trials],
        truth=truth.tolist(),
        picks=picks,
        seconds=round(time.perf_counter() - started, 3),
    )


def _context(problem: Problem, trials: list[Candidate], seed: int) -> Context:
    """The strategy's input; each turn has a random generator of its own, as in a search."""
    rng = np.random.default_rng((seed, len(trials)))
    return Context(problem.space, tuple(trials), rng, speed=problem.speed)
