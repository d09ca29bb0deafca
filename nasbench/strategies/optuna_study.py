"""An Optuna study in memory, filled with a search's trials, that suggests new designs within the budgets."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.trial import FrozenTrial, TrialState

from nasbench.arch.architecture import Architecture
from nasbench.costs.analytic import cost
from nasbench.costs.budget import on_cost
from nasbench.pareto import best_first
from nasbench.space.file import FieldValue, is_number
from nasbench.strategies.context import Candidate, Context, Parametric, Proposals
from nasbench.strategies.optuna_settings import OptunaGeneticSettings, OptunaSettings
from nasbench.values import Value

ASKS = 20  # suggestions for one proposal, before a random draw takes its place
ELITE = 0.25  # where not all trials are added, this share are the best ones; the others are the latest
MOST_CACHED = 8192  # designs whose parameters and costs are cached
NO_FIT = "optuna: asked often enough for a new design within the budgets"


@dataclass(frozen=True)
class Sampler:
    """How one of Optuna's samplers is made, and the form of its trials.

    `most`: trials with which it still answers in about a second. `whole`: how parameters without effect in a design get
    a value, for samplers that need all of them: "drawn" at random by the design's id, the "first" choice, or "" (not).
    """

    make: Callable[[int, Value, int], optuna.samplers.BaseSampler]  # of seed, settings, objectives
    most: int
    whole: str = ""


def _tpe(seed: int, settings: Value, objectives: int) -> optuna.samplers.BaseSampler:
    assert isinstance(settings, OptunaSettings)
    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=settings.initial)


def _gp(seed: int, settings: Value, objectives: int) -> optuna.samplers.BaseSampler:
    assert isinstance(settings, OptunaSettings)
    sampler = optuna.samplers.GPSampler
    return sampler(seed=seed, n_startup_trials=settings.initial, warn_independent_sampling=False)


def _auto(seed: int, settings: Value, objectives: int) -> optuna.samplers.BaseSampler:
    """Optuna's default sampler."""
    return type(optuna.create_study(directions=["minimize"] * objectives).sampler)(seed=seed)


def _genetic(kind: Callable[..., optuna.samplers.BaseSampler]) -> Callable[[int, Value, int], object]:
    def make(seed: int, settings: Value, objectives: int) -> object:
        assert isinstance(settings, OptunaGeneticSettings)
        return kind(seed=seed, population_size=settings.population)

    return make


SAMPLERS = {
    "tpe": Sampler(_tpe, 300),
    "auto": Sampler(_auto, 300),
    "random": Sampler(lambda seed, settings, objectives: optuna.samplers.RandomSampler(seed), 0),
    "nsga2": Sampler(_genetic(optuna.samplers.NSGAIISampler), 500, "drawn"),
    "nsga3": Sampler(_genetic(optuna.samplers.NSGAIIISampler), 500, "drawn"),
    "gp": Sampler(_gp, 100, "first"),
}


class Encoding:
    """A space's parameters as Optuna's: numbers as their index among the sorted choices, to keep their order."""

    def __init__(self, space: Parametric) -> None:
        self.space = space
        self.choices = {name: _sorted(values) for name, values in space.parameter_choices.items()}
        self.ordered = {name for name, values in self.choices.items() if all(map(is_number, values))}
        self.distributions: dict[str, BaseDistribution] = {
            name: IntDistribution(0, len(values) - 1) if name in self.ordered else CategoricalDistribution(values)
            for name, values in self.choices.items()
        }

    def told(self, name: str, value: FieldValue) -> FieldValue:
        """A parameter's value as Optuna's."""
        return self.choices[name].index(value) if name in self.ordered else value

    def meant(self, name: str, told: FieldValue) -> FieldValue:
        """The value that `told` stands for."""
        return self.choices[name][told] if name in self.ordered and isinstance(told, int) else told

    def suggested(self, trial: optuna.Trial, name: str) -> FieldValue:
        """The value that a trial of Optuna's suggests."""
        if name in self.ordered:
            return self.meant(name, trial.suggest_int(name, 0, len(self.choices[name]) - 1))
        return self.meant(name, trial.suggest_categorical(name, self.choices[name]))

    def parameters(self, arch: Architecture, whole: str) -> dict[str, FieldValue] | None:
        """A design's parameters as Optuna's; None of one outside the space."""
        if not self.space.contains(arch):
            return None
        told = {name: self.told(name, value) for name, value in self.space.parameters(arch).items()}
        if not whole:
            return told
        rng = np.random.default_rng(int(arch.id, 16))
        at = {name: int(rng.integers(len(values))) if whole == "drawn" else 0 for name, values in self.choices.items()}
        rest = {name: self.told(name, values[at[name]]) for name, values in self.choices.items() if name not in told}
        return {name: (told | rest)[name] for name in self.choices}


def _sorted(values: tuple[FieldValue, ...]) -> tuple[FieldValue, ...]:
    """Numbers by size, any others as they are."""
    numbers = [value for value in values if is_number(value)]
    return tuple(sorted(numbers)) if len(numbers) == len(values) else values


@lru_cache(8)
def encoding_of(space: Parametric) -> Encoding:
    return Encoding(space)


@lru_cache(MOST_CACHED)
def _parameters(space: Parametric, arch: Architecture, whole: str) -> dict[str, FieldValue] | None:
    return encoding_of(space).parameters(arch, whole)


@lru_cache(MOST_CACHED)
def _costs(arch: Architecture, classes: int) -> Mapping[str, float]:
    return cost(arch, classes).to_dict()


class _Asked(Mapping[str, FieldValue]):
    """The values of a trial of Optuna's, each suggested when it is looked up."""

    def __init__(self, encoding: Encoding, trial: optuna.Trial) -> None:
        self.encoding, self.trial = encoding, trial
        self.found: dict[str, FieldValue] = {}

    def __getitem__(self, name: str) -> FieldValue:
        if name not in self.found:
            self.found[name] = self.encoding.suggested(self.trial, name)
        return self.found[name]

    def __contains__(self, name: object) -> bool:
        return name in self.encoding.distributions

    def __iter__(self) -> Iterator[str]:
        return iter(self.encoding.distributions)

    def __len__(self) -> int:
        return len(self.encoding.distributions)


@dataclass
class Asking:
    """One call of `propose`. Rejected designs are added to the study at once, so that the next suggestion differs."""

    space: Parametric
    context: Context
    proposals: Proposals
    name: str
    settings: Value
    told: list[Candidate] = field(init=False)

    def __post_init__(self) -> None:
        latest = kept(self.context.candidates, self.sampler.most)
        self.told = [one for one in latest if self._values(one.architecture) is not None]
        self.scored = [one for one in self.told if one.losses is not None]

    @property
    def sampler(self) -> Sampler:
        return SAMPLERS[self.name]

    def next(self) -> Architecture | None:
        """A suggestion that is new and within the budgets; None for a random draw in its place."""
        if not self._may_ask:
            return None
        with _quiet():
            for _ in range(ASKS):
                arch = self._ask()
                accepted = self.proposals.accepts(arch)
                self._tell(arch, accepted)
                if accepted:
                    return arch
        self.context.rejections.reject(NO_FIT)
        return None

    @property
    def _may_ask(self) -> bool:
        """Whether as many designs are finished as the sampler needs."""
        needed = getattr(self.settings, "initial", getattr(self.settings, "population", 0))
        all_told = len(self.context.candidates) <= self.sampler.most
        ended = len(self.scored if all_told else self.context.finished)
        return needed == 0 or (ended >= needed and bool(self.scored))

    @cached_property
    def study(self) -> optuna.Study:
        """With the trials of `told`."""
        objectives = len(self.scored[0].losses or ()) if self.scored else 1
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            seed = int(self.context.rng.integers(2**32))
            sampler = self.sampler.make(seed, self.settings, objectives)
        study = optuna.create_study(directions=["minimize"] * objectives, sampler=sampler)
        generations = self._generations(sampler)
        study.add_trials([self._trial(one, generations) for one in self.told])
        return study

    def _generations(self, sampler: optuna.samplers.BaseSampler) -> Mapping[str, Mapping[str, int]]:
        """Architecture id -> its generation (`population` scored trials each), as a genetic sampler stores it."""
        if not isinstance(self.settings, OptunaGeneticSettings):
            return {}
        key, size = sampler._get_generation_key(), self.settings.population
        return {one.architecture.id: {key: place // size} for place, one in enumerate(self.scored)}

    def _trial(self, one: Candidate, generations: Mapping[str, Mapping[str, int]]) -> FrozenTrial:
        state = TrialState.COMPLETE if one.losses is not None else TrialState.FAIL if one.failed else TrialState.RUNNING
        return self._frozen(one.architecture, state, one.losses, generations.get(one.architecture.id, {}))

    def _ask(self) -> Architecture:
        encoding = encoding_of(self.space)
        if self.sampler.whole:
            trial = self.study.ask(encoding.distributions)
            values: Mapping[str, FieldValue] = {name: encoding.meant(name, told) for name, told in trial.params.items()}
        else:
            trial = self.study.ask()
            values = _Asked(encoding, trial)
        arch = self.space.from_parameters(values, self.context.rng)
        self.study.tell(trial, state=TrialState.FAIL)  # the design that it led to is added as a trial of its own
        return arch

    def _tell(self, arch: Architecture, accepted: bool) -> None:
        """Add a suggested design: over a budget on cost, as infeasible with the worst losses; any other as running."""
        over = any(excess > 0 for excess in self._excesses(arch).values())
        if not over or accepted or not self.scored:
            self.study.add_trial(self._frozen(arch, TrialState.RUNNING, None, {}))
            return
        worst = np.array([one.losses for one in self.scored], float).max(0)
        self.study.add_trial(self._frozen(arch, TrialState.COMPLETE, worst.tolist(), {}))

    def _frozen(
        self, arch: Architecture, state: TrialState, losses: Sequence[float] | None, generation: Mapping[str, int]
    ) -> FrozenTrial:
        values = self._values(arch)
        assert values is not None  # only members are added
        distributions = encoding_of(self.space).distributions
        return optuna.trial.create_trial(
            state=state,
            values=losses,
            params=values,
            distributions={name: distributions[name] for name in values},
            system_attrs=dict(generation),
            constraints=self._excesses(arch),
        )

    def _values(self, arch: Architecture) -> dict[str, FieldValue] | None:
        return _parameters(self.space, arch, self.sampler.whole)

    def _excesses(self, arch: Architecture) -> dict[str, float]:
        """Budget on cost -> the share by which it is exceeded, negative where it is met."""
        limits = self.context.limits
        budgets = on_cost(limits.budgets)
        metrics = _costs(arch, limits.num_classes) if budgets else {}
        return {str(budget): metrics[budget.metric] / budget.limit - 1 for budget in budgets}


def kept(candidates: Sequence[Candidate], most: int) -> list[Candidate]:
    """At most `most` of the candidates, in their order: the best of those with losses, and the latest of all others."""
    if len(candidates) <= most:
        return list(candidates)
    scored = [place for place, one in enumerate(candidates) if one.losses is not None]
    losses = [one.losses for one in candidates if one.losses is not None]
    best = {scored[place] for place in best_first(losses)[: int(ELITE * most)]} if scored else set()
    others = [place for place in range(len(candidates)) if place not in best]
    latest = others[len(others) - (most - len(best)) :]
    return [candidates[place] for place in sorted({*best, *latest})]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences Optuna's log of each study and trial, and restores its level after."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
