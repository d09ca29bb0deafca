"""The settings of each of Optuna's samplers."""

from __future__ import annotations

from pydantic import Field

from nasbench.strategies.random import RandomSettings
from nasbench.values import Value


class OptunaSettings(Value, strict=True):
    """How many finished designs the sampler needs; until then designs are drawn at random."""

    initial: int = Field(10, ge=1, le=10**6)


class OptunaGeneticSettings(Value, strict=True):
    """The size of a generation; the first one is random."""

    population: int = Field(16, ge=2, le=10**6)


SETTINGS: dict[str, type[Value]] = {  # name -> settings; `optuna_study.SAMPLERS` makes them
    "tpe": OptunaSettings,
    "gp": OptunaSettings,
    "auto": OptunaSettings,
    "nsga2": OptunaGeneticSettings,
    "nsga3": OptunaGeneticSettings,
    "random": RandomSettings,
}
