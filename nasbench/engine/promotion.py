"""Who goes on to the next rung: the best by Pareto rank, and fixed points to compare them with."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from nasbench.pareto import best_first
from nasbench.study.notes import PromotionNote
from nasbench.study.trials import Kind, Trial

FIXED_SHARE = 0.45  # of a rung's places that fixed points take at most: of seven, one for each of three families


class Contender(NamedTuple):
    """A complete trial as promotion sees it. `error` and `slowness` are losses (lower is better), `score` is accuracy
    or what the objective has in its place (higher is better)."""

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


def better_than_the_worst_fixed_point(contenders: Sequence[Contender]) -> list[Contender]:
    """Those that score at least as well as the worst fixed point: a faster network that has learnt nothing would sit on
    every front. All of them where there is no fixed point."""
    floor = min((each.score for each in contenders if each.fixed_point), default=-math.inf)
    return [each for each in contenders if each.score >= floor]


def most_promising(contenders: Sequence[Contender], places: int) -> list[Trial]:
    """The `places` most promising: the best fixed points of different families, the most accurate searched design that
    is no slower than the first of them, then searched designs by Pareto rank and crowding, then what is left."""
    if not contenders or places < 1:
        return []
    eligible = better_than_the_worst_fixed_point(contenders)
    ordered = [eligible[i] for i in best_first([each.losses for each in eligible])]
    ordered += sorted((each for each in contenders if each not in eligible), key=lambda each: each.losses)
    fixed = _family_leaders(contenders)[: max(1, int(places * FIXED_SHARE))]
    searched = [each for each in ordered if not each.fixed_point]
    chosen = {each.trial.key: each.trial for each in (*fixed, *_challenger(searched, fixed), *searched, *ordered)}
    return list(chosen.values())[:places]


def _family_leaders(contenders: Sequence[Contender]) -> list[Contender]:
    """The most accurate fixed point of each family (the name up to the underscore), best first."""
    leaders: dict[str, Contender] = {}
    for each in sorted(contenders, key=lambda contender: contender.losses):
        if each.fixed_point:
            leaders.setdefault(each.trial.label.partition("_")[0], each)
    return list(leaders.values())


def _challenger(searched: Sequence[Contender], fixed: Sequence[Contender]) -> list[Contender]:
    """The most accurate searched design that is no slower than the best fixed point."""
    if not fixed:
        return []
    no_slower = [each for each in searched if each.slowness <= fixed[0].slowness]
    return sorted(no_slower, key=lambda each: each.losses)[:1]


class Promotions:
    """Decisions taken once: who was promoted is noted in the store, since latencies become known meanwhile and a
    resumed search must not decide anew. More complete trials are another question."""

    def __init__(self, notes: Iterable[PromotionNote], note: Callable[[PromotionNote], None]) -> None:
        self._chosen = {(note.level, note.of): note.chosen for note in notes}
        self._note = note

    def decide(self, level: str, trials: Sequence[Trial], choose: Callable[[], Sequence[Trial]]) -> list[Trial]:
        """Those of `trials` (all complete ones of the level below) that go on to `level`; `choose` says who, once."""
        key = (level, len(trials))
        if key not in self._chosen:
            self._chosen[key] = tuple(trial.key for trial in choose())
            self._note(PromotionNote(level=level, of=len(trials), chosen=self._chosen[key]))
        by_key = {trial.key: trial for trial in trials}
        return [by_key[chosen] for chosen in self._chosen[key] if chosen in by_key]
