"""Who goes on where a table of trained designs tells what to expect: those most likely to beat a published network.

A single score is mostly luck among good designs. Here each design counts by what its trials and the table together let
expect of it, and each published network that none exceeds at no more latency holds a contest: which searched designs,
no slower than it, will be more accurate?
"""

from __future__ import annotations

import math
from collections.abc import Container, Sequence
from typing import NamedTuple

from nasbench.engine.promotion import Contender, most_promising
from nasbench.pareto import Front
from nasbench.strategies.context import Expected
from nasbench.study.trials import Trial

WORTH_A_PLACE = 0.1  # chance of beating a published network below which nobody gets a place for that
LIKELY = 0.9  # chance from which on a design that goes on speaks for its contest: no other is needed there


class _Hopeful(NamedTuple):
    """A contender with the accuracy that is expected of it, and how sure that is."""

    contender: Contender
    mean: float
    std: float

    @property
    def as_expected(self) -> Contender:
        """With what is expected in place of its score."""
        return self.contender._replace(error=1 - self.mean, score=self.mean)

    def chance_against(self, other: _Hopeful) -> float:
        """P(it is the more accurate one)."""
        return 0.5 * math.erfc(-self.lead_over(other) / math.sqrt(2))

    def lead_over(self, other: _Hopeful) -> float:
        """By how many standard deviations of their difference it is expected to be the more accurate one."""
        return (self.mean - other.mean) / (math.hypot(self.std, other.std) or 1e-9)


class _Contest(NamedTuple):
    """A published network, and the designs no slower than it, the most likely to beat it first, with that chance."""

    published: _Hopeful
    designs: list[tuple[float, _Hopeful]]

    @property
    def likely(self) -> list[_Hopeful]:
        """The designs that are worth a place."""
        return [each for chance, each in self.designs if chance >= WORTH_A_PLACE]

    def has_its_challenger(self, chosen: _Chosen) -> bool:
        """Whether somebody who goes on, maybe for another contest, is likely to win this one."""
        return any(chance >= LIKELY and each in chosen for chance, each in self.designs)


def likely_leaders(
    contenders: Sequence[Contender], expected: Expected, places: int, free: Container[str] = ()
) -> list[Trial]:
    """The `places` that go on: published networks and their likeliest challengers, contest by contest.

    The contest of the most accurate published network comes first, the others by their challengers' lead. Those that
    nobody who goes on is likely to win get their challenger before any gets a second one, so that the front has fast
    designs as well as accurate ones; then each in turn gets one that has no place yet. Then come likely challengers
    without their network, networks whose challengers are all in, and to places that are left designs whose errors as
    expected put them first. `expected` is of the contenders, in their order. Trials with a key in `free` take no place:
    they need not be trained.
    """
    hopefuls = [_Hopeful(one, float(m), float(s)) for one, m, s in zip(contenders, expected.mean, expected.std)]
    chosen, contests = _Chosen(places, free), _contests(hopefuls)
    for contest in contests:
        if not contest.has_its_challenger(chosen):
            chosen.add(contest.published, contest.likely[0])
    for _ in range(max((len(each.designs) for each in contests), default=0)):
        for contest in contests:
            waiting = [each for each in contest.likely if each not in chosen]
            if waiting:
                chosen.add(contest.published, waiting[0])
    for one in (each for contest in contests for each in contest.likely):
        chosen.add(one)
    for contest in contests:
        chosen.add(contest.published)
    as_expected = {each.contender.trial.key: each for each in hopefuls}
    ranked = most_promising([one.as_expected for one in hopefuls], len(hopefuls))
    for trial in sorted(ranked, key=lambda trial: as_expected[trial.key].contender.fixed_point):
        if trial.key not in free:
            chosen.add(as_expected[trial.key])
    return list(chosen.trials.values())


class _Chosen:
    """Those that go on so far, by key."""

    def __init__(self, places: int, free: Container[str]) -> None:
        self.left, self.free = places, free
        self.trials: dict[str, Trial] = {}

    def __contains__(self, one: _Hopeful) -> bool:
        return one.contender.trial.key in self.trials

    def add(self, *several: _Hopeful) -> None:
        """All of these that are new, if there is room for them all."""
        new = [one.contender.trial for one in several if one not in self]
        needed = sum(trial.key not in self.free for trial in new)
        if needed <= self.left:
            self.left -= needed
            self.trials |= {trial.key: trial for trial in new}


def _contests(hopefuls: Sequence[_Hopeful]) -> list[_Contest]:
    """Of the published networks that none of their kind exceeds, those that some design may beat."""
    published = [each for each in hopefuls if each.contender.fixed_point]
    searched = [each for each in hopefuls if not each.contender.fixed_point]
    if not published:
        return []
    front = Front.of([(-each.mean, each.contender.slowness) for each in published])
    best_first = sorted((published[index] for index in front.indices), key=lambda each: -each.mean)
    found = [_contest(one, searched) for one in best_first]
    found = [each for each in found if each.designs and each.designs[0][0] >= WORTH_A_PLACE]
    return [*found[:1], *sorted(found[1:], key=lambda each: -each.designs[0][1].lead_over(each.published))]


def _contest(published: _Hopeful, searched: Sequence[_Hopeful]) -> _Contest:
    as_fast = [each for each in searched if each.contender.slowness <= published.contender.slowness]
    ordered = sorted(as_fast, key=lambda each: -each.lead_over(published))
    return _Contest(published, [(each.chance_against(published), each) for each in ordered])
