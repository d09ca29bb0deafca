"""The levels of a search: which trials stand at one, and how many it plans to have there."""

from __future__ import annotations

from collections.abc import Iterable

from nasbench.scaling.objective import PROBE_RUNG, PROBE_SHARES
from nasbench.study.study import Study
from nasbench.study.trials import Level, Trial


def planned_levels(study: Study) -> list[tuple[Level, int]]:
    """How many trials each level of a study takes, as far as can be told before its turn."""
    places = study.trials
    plan = [(Level(0), places)]
    if study.extrapolated_to is not None:
        plan.insert(0, (Level(PROBE_RUNG), len(PROBE_SHARES) * places))
    for level in map(Level, range(1, study.ladder.top + 1)):
        places = study.places(level, places)
        plan.append((level, places))
    each, most = len(study.final_seeds), study.race
    finals = min(places, study.finalists) * each
    return [*plan, (Level(study.ladder.top, final=True), finals if most is None else min(most, finals))]


def at_level(trials: Iterable[Trial], level: Level) -> list[Trial]:
    return [trial for trial in trials if trial.level == level]


def complete_at(trials: Iterable[Trial], level: Level) -> list[Trial]:
    return [trial for trial in trials if trial.level == level and trial.complete]
