"""Which trials are promoted to the next rung, by their scores: fixed points for comparison, then the best designs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from nasbench.arch.library import named_family
from nasbench.engine.predictions import Predictions
from nasbench.pareto import best_first
from nasbench.scaling.objective import errors_at
from nasbench.study.notes import PromotionNote
from nasbench.study.study import Study
from nasbench.study.trials import Kind, Trial

FIXED_SHARE = 0.45  # of a rung's places that fixed points take at most: of seven, one for each of three families
# An error is clearly larger from this factor on: about two standard errors of the lowest rung's seed noise (4 points a
# training, results/proxy) at an error of one half.
CLEARLY = 1.25
SIMILAR = 1.25  # costs are similar up to this factor; latency predictions are off by a tenth or so


class Contender(NamedTuple):
    """A complete trial with what promotion compares. `error` and `slowness` are losses (lower is better), `score` is
    accuracy or the objective's metric in its place (higher is better)."""

    trial: Trial
    error: float
    slowness: float  # latency in ms, or multiply-adds until a profile is there
    score: float

    @property
    def losses(self) -> tuple[float, float]:
        return self.error, self.slowness

    @property
    def fixed_point(self) -> bool:
        return self.trial.origin.kind == Kind.FIXED_POINT

    def clearly_beats(self, other: Contender) -> bool:
        """Whether its error is clearly lower at a similar or lower cost."""
        return CLEARLY * self.error < other.error and self.slowness <= SIMILAR * other.slowness


def contenders(
    study: Study, predictions: Predictions, chosen: Sequence[Trial], trials: Sequence[Trial]
) -> list[Contender]:
    """Complete trials with their losses; the error is that at the target, where designs are extrapolated."""
    metric, target = study.objective.metric, study.extrapolated_to
    errors = {t.key: 1 - t.metric(metric) for t in chosen} if target is None else errors_at(trials, chosen, target)
    return [
        Contender(trial, errors[trial.key], predictions.slowness(trial.design), trial.metric(metric))
        for trial in chosen
    ]


def better_than_the_worst_fixed_point(contenders: Sequence[Contender]) -> list[Contender]:
    """Those that score at least as well as the worst fixed point, or all where there is none: a fast network that has
    learnt nothing would be on every front."""
    floor = min((each.score for each in contenders if each.fixed_point), default=-math.inf)
    return [each for each in contenders if each.score >= floor]


def most_promising(contenders: Sequence[Contender], places: int) -> list[Trial]:
    """The `places` most promising trials, in this order:

    1. the best fixed points of different families;
    2. the searched designs that are more accurate than all of these;
    3. the challenger, the most accurate searched design that is no slower than the best of these; it comes before 2
       where there is a single place for searched designs;
    4. the other searched designs by Pareto rank, and what is left.
    """
    if not contenders or places < 1:
        return []
    fixed = _family_leaders(contenders)[: max(1, int(places * FIXED_SHARE))]
    eligible = better_than_the_worst_fixed_point(contenders)
    best = min((each.error for each in fixed), default=-math.inf)
    searched = [each for each in eligible if not each.fixed_point]
    above = _ranked([each for each in searched if each.error < best])
    challenger = _challenger(searched, fixed)
    first = [*above, *challenger] if places - len(fixed) > 1 else [*challenger, *above]
    left = sorted((each for each in contenders if each not in eligible), key=lambda each: each.losses)
    ordered = [*fixed, *first, *_ranked(searched), *left, *_ranked(eligible)]
    return list({each.trial.key: each.trial for each in ordered}.values())[:places]


def _ranked(contenders: Sequence[Contender]) -> list[Contender]:
    """By Pareto rank and crowding distance, but no design before one that clearly beats it at a similar cost: the
    fastest design has infinite crowding distance, whatever its error."""
    ordered = [contenders[i] for i in best_first([each.losses for each in contenders])] if contenders else []
    tiers: dict[str, int] = {}
    for each in sorted(ordered, key=lambda contender: contender.error):  # those that beat it come before it
        above = (tiers[other.trial.key] for other in ordered if other.clearly_beats(each))
        tiers[each.trial.key] = 1 + max(above, default=-1)
    return sorted(ordered, key=lambda each: tiers[each.trial.key])


def _family_leaders(contenders: Sequence[Contender]) -> list[Contender]:
    """The most accurate fixed point of each family, best first."""
    leaders: dict[str, Contender] = {}
    for each in sorted(contenders, key=lambda contender: contender.losses):
        if each.fixed_point:
            leaders.setdefault(named_family(each.trial.label), each)
    return list(leaders.values())


def _challenger(searched: Sequence[Contender], fixed: Sequence[Contender]) -> list[Contender]:
    """The most accurate searched design (one or none) that is no slower than the best fixed point, unless its error is
    clearly larger than that of the fixed point or of a design of similar cost."""
    candidates = [
        each
        for each in searched
        if fixed and each.slowness <= fixed[0].slowness and each.error <= CLEARLY * fixed[0].error
    ]
    unbeaten = [each for each in candidates if not any(other.clearly_beats(each) for other in searched)]
    return sorted(unbeaten, key=lambda each: each.losses)[:1]


class Promotions:
    """Promotions, each decided once and noted in the store: latencies are refined during a search, and a resumed one
    must not decide differently. A decision holds for one number of complete trials below."""

    def __init__(self, notes: Iterable[PromotionNote], note: Callable[[PromotionNote], None]) -> None:
        self._chosen = {(note.level, note.of): note.chosen for note in notes}
        self._note = note

    def decide(self, level: str, trials: Sequence[Trial], choose: Callable[[], Sequence[Trial]]) -> list[Trial]:
        """Those of `trials` (all complete ones of the level below) that are promoted to `level`; `choose` is called
        where that is not decided yet."""
        key = (level, len(trials))
        if key not in self._chosen:
            self._chosen[key] = tuple(trial.key for trial in choose())
            self._note(PromotionNote(level=level, of=len(trials), chosen=self._chosen[key]))
        by_key = {trial.key: trial for trial in trials}
        return [by_key[chosen] for chosen in self._chosen[key] if chosen in by_key]
