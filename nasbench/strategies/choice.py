"""Which strategy a study asks for: its name and its settings, checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from nasbench.arch.architecture import Architecture
from nasbench.errors import UserError, shown
from nasbench.strategies import by_optuna, evolution, local, model, nsga2, own, random, regularised, warm
from nasbench.strategies.context import Candidate, Context
from nasbench.strategies.evolution import EvolutionSettings
from nasbench.strategies.local import LocalSettings
from nasbench.strategies.model import ModelSettings
from nasbench.strategies.nsga2 import Nsga2Settings
from nasbench.strategies.optuna_settings import SETTINGS
from nasbench.strategies.random import RandomSettings
from nasbench.strategies.regularised import RegularisedSettings
from nasbench.strategies.warm import WarmSettings
from nasbench.values import Value

S = TypeVar("S", bound=Value)


@dataclass(frozen=True)
class Strategy(Generic[S]):
    """A strategy: `propose(context, n, settings)`, and the type of its settings.

    It keeps no state between calls, so that a resumed search needs its trials alone. It proposes at most `n`
    architectures that meet the budgets and are in no trial yet; fewer when the space has no more.
    """

    propose: Callable[[Context, int, S], list[Architecture]]
    settings: type[S]
    pick: Callable[[Context, S], Candidate] | None = None  # the finished trial to recommend; by default the best score


STRATEGIES: dict[str, Strategy[Any]] = {  # each has settings of its own type
    "model": Strategy(model.propose, ModelSettings, model.pick),
    "evolution": Strategy(evolution.propose, EvolutionSettings),
    "random": Strategy(random.propose, RandomSettings),
    "local": Strategy(local.propose, LocalSettings),
    "regularised": Strategy(regularised.propose, RegularisedSettings),
    "nsga2": Strategy(nsga2.propose, Nsga2Settings),
    **{
        by_optuna.PREFIX + sampler: Strategy(by_optuna.propose_by(sampler), settings)
        for sampler, settings in SETTINGS.items()
    },
    "warm": Strategy(warm.propose, WarmSettings),
}


@dataclass(frozen=True)
class StrategyChoice:
    """A strategy by name with its settings. `given` are those that were written down; the others have defaults.

    The name may be `mine.py:propose`, a function of the user's own; then the file's text is among those given.
    """

    name: str
    settings: Value
    given: Mapping[str, object]

    @classmethod
    def from_dict(cls, content: Mapping[str, object], source: str = "") -> StrategyChoice:
        """From `{"name": ..., **settings}`; UserError with `source`, key, value and rule where one is wrong."""
        at = f"{source}: " if source else ""
        if "name" not in content:
            raise UserError(f"{at}key 'name' is missing; add the name of a strategy, such as name = \"random\"")
        name, given = content["name"], {key: value for key, value in content.items() if key != "name"}
        if isinstance(name, str) and own.is_own(name):
            settings = own.own_settings(name, given, source or f"strategy {name!r}")
            return cls(name, settings, {"text": settings.text, **settings.options})
        if not isinstance(name, str) or name not in STRATEGIES:
            known = ", ".join(sorted(STRATEGIES))
            raise UserError(f"{at}unknown strategy {shown(name)}; known strategies: {known}, FILE.py:FUNCTION")
        return cls(name, STRATEGIES[name].settings.from_dict(given, source or f"strategy {name!r}"), given)

    def to_dict(self) -> dict[str, object]:
        """As it was given to `from_dict`: no setting more."""
        return {"name": self.name, **self.given}

    @property
    def label(self) -> str:
        """The name that its designs are stored with."""
        return self.settings.label if isinstance(self.settings, own.OwnSettings) else self.name

    def check(self) -> None:
        """Raise UserError where a strategy of the user's own cannot be loaded; its file is run for that."""
        if isinstance(self.settings, own.OwnSettings):
            own.check(self.settings)

    def corrected(self, name: str) -> StrategyChoice:
        """The same options with the present content of file `name`; UserError unless both strategies are in files."""
        if not isinstance(self.settings, own.OwnSettings) or not own.is_own(name):
            raise UserError(
                f"strategy {shown(name)} for a search by {self.name!r}: only one function in a file can take another's "
                "place; leave --strategy out, or search anew with --out"
            )
        return StrategyChoice.from_dict({**self.settings.options, "name": name})

    def propose(self, context: Context, n: int) -> list[Architecture]:
        """Up to `n` new architectures within the limits; fewer when the space has no more."""
        if isinstance(self.settings, own.OwnSettings):
            return own.propose(context, n, self.settings)
        return STRATEGIES[self.name].propose(context, n, self.settings)

    def pick(self, context: Context) -> Candidate | None:
        """The finished trial that the strategy recommends by its first loss; None where none has finished."""
        if not context.finished:
            return None
        strategy = STRATEGIES.get(self.name)
        if strategy is not None and strategy.pick is not None:
            return strategy.pick(context, self.settings)
        return min(context.finished, key=lambda one: one.losses or ())
