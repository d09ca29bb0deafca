"""Who goes on where a table of trained designs tells what to expect: those most likely to beat a published network.

A single score is mostly luck among good designs. Here each design counts by what its trials and the table together let
expect of it, and each published network that none exceeds at no more latency holds a contest: which searched designs,
no slower than it, will be more accurate?
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from nasbench.engine.promotion import Contender, most_promising
from nasbench.pareto import Front
from nasbench.strategies.context import Expected
from nasbench.study.trials import Trial

WORTH_A_PLACE = 0.1  # chance of beating a published network below which nobody gets a place for that


class _Hopeful(NamedTuple):
    """A contender with the accuracy that is expected of it, and how sure that is."""

    contender: Contender
    mean: float
    std: float

    def chance_against(self, other: _Hopeful) -> float:
        """P(it is the more accurate one)."""
        deviation = math.hypot(self.std, other.std) or 1e-9
        return 0.5 * math.erfc((other.mean - self.mean) / deviation / math.sqrt(2))


class _Contest(NamedTuple):
    """A published network, and the designs no slower than it, the most likely to beat it first, with that chance."""

    published: _Hopeful
    designs: list[tuple[float, _Hopeful]]


def likely_leaders(contenders: Sequence[Contender], expected: Expected, places: int) -> list[Trial]:
    """The `places` that go on: published networks and their likeliest challengers, contest by contest.

    The contest of the most accurate published network comes first, the others by their challengers' chance; in turns
    each gets one challenger. Places that are left go to whom errors as expected put first. `expected` is of the
    contenders, in their order.
    """
    hopefuls = [_Hopeful(one, float(m), float(s)) for one, m, s in zip(contenders, expected.mean, expected.std)]
    chosen: dict[str, Trial] = {}
    contests = _contests(hopefuls)
    for turn in range(max((len(each.designs) for each in contests), default=0)):
        for contest in contests:
            _add(chosen, contest, turn, places)
    as_expected = [each.contender._replace(error=1 - each.mean, score=each.mean) for each in hopefuls]
    for trial in most_promising(as_expected, len(as_expected)):
        if len(chosen) < places:
            chosen[trial.key] = trial
    return list(chosen.values())


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
    return [*found[:1], *sorted(found[1:], key=lambda each: -each.designs[0][0])]


def _contest(published: _Hopeful, searched: Sequence[_Hopeful]) -> _Contest:
    as_fast = [each for each in searched if each.contender.slowness <= published.contender.slowness]
    ordered = sorted(as_fast, key=lambda each: -each.chance_against(published))
    return _Contest(published, [(each.chance_against(published), each) for each in ordered])


def _add(chosen: dict[str, Trial], contest: _Contest, turn: int, places: int) -> None:
    """The contest's next challenger, and its published network, if there is room for all that is new of them."""
    likely = [each for chance, each in contest.designs if chance >= WORTH_A_PLACE]
    if turn == 0 and any(each.contender.trial.key in chosen for each in likely[:1]):
        pair = [contest.published]  # its challenger is in already
    else:
        waiting = [each for each in likely if each.contender.trial.key not in chosen]
        pair = [contest.published, *waiting[:1]] if waiting else []
    new = {each.contender.trial.key: each.contender.trial for each in pair}
    new = {key: trial for key, trial in new.items() if key not in chosen}
    if len(chosen) + len(new) <= places:
        chosen |= new
