"""Who goes on where a table of trained designs tells what to expect: those that add most to the published front.

A single score is mostly luck among good designs. Here each design counts by what its trials and the table together let
expect of it. The most accurate published network goes on with one of the designs most likely to beat it at no more
latency; then, one by one, the designs that are expected to add most to the front of published networks and of those
that go on.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Container, Iterator, Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from nasbench.engine.promotion import Contender, most_promising
from nasbench.pareto import Front
from nasbench.strategies.context import Expected
from nasbench.study.trials import Trial

WORTH_A_PLACE = 0.1  # chance of beating a published network below which nobody gets a place for that
NEARLY = 0.1  # chances of beating a network that differ by less are alike
PUBLISHED_SHARE = 0.4  # of the places: no more published networks are brought along by designs that may beat them
MOST_LIMITS = 64  # of latency, at which a front is looked at
DRAWS = 500  # of what designs reach, when it is asked which of them widens the front most
BEYOND = 1.25  # the slowest design answers latencies up to so many times its own


class _Hopeful(NamedTuple):
    """A contender with the accuracy that is expected of it, and how sure that is."""

    contender: Contender
    mean: float
    std: float

    @property
    def slowness(self) -> float:
        return self.contender.slowness

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
    """A published network, and the designs no slower than it that may beat it, the most likely to do so first."""

    published: _Hopeful
    designs: list[_Hopeful]

    @property
    def likeliest(self) -> list[_Hopeful]:
        """The first, and those that are nearly as likely to beat the network."""
        chances = [each.chance_against(self.published) for each in self.designs]
        return [each for each, chance in zip(self.designs, chances) if chance >= max(chances) - NEARLY]


def likely_leaders(
    contenders: Sequence[Contender], expected: Expected, places: int, free: Container[str] = ()
) -> list[Trial]:
    """The `places` that go on, of contenders with what is `expected` of them, in their order.

    First the most accurate published network that some design may beat, with that one of the likeliest which adds most
    to the front; then the designs that may beat any, in the order of what they are expected to add to the front, so
    that it has an answer to every latency. Each brings along the fastest published network that it may beat, while
    these have less than their share of the places. Places that are left go to other published networks and to designs
    whose errors as expected put them first.
    Trials with a key in `free` take no place: they need not be trained.
    """
    hopefuls = [_Hopeful(one, float(m), float(s)) for one, m, s in zip(contenders, expected.mean, expected.std)]
    chosen, contests = _Chosen(places, free), _contests(hopefuls)
    published = [each for each in hopefuls if each.contender.fixed_point]
    front = _ExpectedFront(hopefuls, published)
    if contests:
        chosen.add(contests[0].published, max(contests[0].likeliest, key=front.gain))
    allowed = round(PUBLISHED_SHARE * places)
    for each in hopefuls:
        if each in chosen:
            front.add(each)
    for best in front.widest([each for contest in contests for each in contest.designs if each not in chosen]):
        if chosen.left == 0:
            break
        rival = min((each.published for each in contests if best in each.designs), key=lambda each: each.slowness)
        if sum(each in chosen for each in published if each.contender.trial.key not in free) < allowed:
            chosen.add(rival, best)
        chosen.add(best)
    for contest in contests:
        chosen.add(contest.published)
    as_expected = {each.contender.trial.key: each for each in hopefuls}
    ranked = most_promising([one.as_expected for one in hopefuls], len(hopefuls))
    for trial in sorted(ranked, key=lambda trial: as_expected[trial.key].contender.fixed_point):
        if trial.key not in free:
            chosen.add(as_expected[trial.key])
    return list(chosen.trials.values())


class _ExpectedFront:
    """What a design is expected to add to the front of others: the area between both over the logarithm of latency, in
    the mean over draws of what each will reach. Only what exceeds the weakest published network counts, else it would
    be worth much to be a little faster than everybody else."""

    def __init__(self, hopefuls: Sequence[_Hopeful], first: Sequence[_Hopeful]) -> None:
        """Of all that may be asked about; `first` are on it to begin with."""
        rng = np.random.default_rng(0)
        quantiles = np.array([NormalDist().inv_cdf((draw + 0.5) / DRAWS) for draw in range(DRAWS)])
        self._reached = {id(each): each.mean + each.std * rng.permutation(quantiles) for each in hopefuls}
        slownesses = np.array(sorted({each.slowness for each in hopefuls}))
        places = np.linspace(0, len(slownesses) - 1, min(MOST_LIMITS, len(slownesses)))
        self._limits = slownesses[places.round().astype(int)]
        ends = np.append(self._limits[1:], BEYOND * self._limits[-1:])
        self._widths = np.log(ends / self._limits)
        floor = min((each.mean for each in hopefuls if each.contender.fixed_point), default=0.0)
        self._best = np.full((DRAWS, len(self._limits)), floor)
        for each in first:
            self.add(each)

    def add(self, one: _Hopeful) -> None:
        np.maximum(self._best, self._answers(one), out=self._best)

    def gain(self, one: _Hopeful) -> float:
        return float((np.maximum(self._answers(one) - self._best, 0) @ self._widths).mean())

    def widest(self, several: Sequence[_Hopeful]) -> Iterator[_Hopeful]:
        """One by one the one that adds most then. Gains only shrink as others come, so that few are worked out anew."""
        places = {id(each): place for place, each in enumerate(several)}  # each once
        waiting = [(-self.gain(several[place]), place) for place in places.values()]
        heapq.heapify(waiting)
        while waiting:
            _, place = heapq.heappop(waiting)
            now = (-self.gain(several[place]), place)
            if waiting and now > waiting[0]:
                heapq.heappush(waiting, now)
                continue
            self.add(several[place])
            yield several[place]

    def _answers(self, one: _Hopeful) -> np.ndarray:
        """(DRAWS, limits): its accuracy where it is within the limit."""
        return self._reached[id(one)][:, None] * (one.slowness <= self._limits)


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
    """Of the published networks that none of their kind exceeds, those that some design may beat; best first."""
    published = [each for each in hopefuls if each.contender.fixed_point]
    searched = [each for each in hopefuls if not each.contender.fixed_point]
    if not published:
        return []
    front = Front.of([(-each.mean, each.slowness) for each in published])
    best_first = sorted((published[index] for index in front.indices), key=lambda each: -each.mean)
    return [found for one in best_first if (found := _contest(one, searched)).designs]


def _contest(published: _Hopeful, searched: Sequence[_Hopeful]) -> _Contest:
    able = [each for each in searched if each.slowness <= published.slowness]
    able = [each for each in able if each.chance_against(published) >= WORTH_A_PLACE]
    return _Contest(published, sorted(able, key=lambda each: -each.lead_over(published)))
