"""Which designs are promoted where a table of trained designs predicts them: those expected to improve the front most.

Among good designs a single score is mostly noise, so each design is ranked by its expected accuracy, given its own
trials and the table. A contest is a published network with the designs that may beat it at no more latency, both after
long training, which counts, and at the search's own rung, which decides it.
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
from nasbench.strategies.context import Expected, lead
from nasbench.study.trials import Trial

LEAST_CHANCE = 0.1  # of beating a published network, for a design to be one of its challengers
SIMILAR_LEAD = 0.3  # leads that differ by less count as equal; in standard deviations
PUBLISHED_SHARE = 0.45  # of the places that published networks take as rivals of promoted designs, at most
MOST_LIMITS = 64  # latencies at which a front is evaluated
DRAWS = 500  # samples of each design's accuracy, in the expected gain of the front
BEYOND = 1.25  # the front ends at the slowest design's latency times this factor


class _Forecast(NamedTuple):
    """A contender with the mean and standard deviation of its expected accuracy: at what the search goes by, at the
    fidelity of the trials and after long training."""

    contender: Contender
    mean: float
    std: float
    mean_now: float
    std_now: float
    mean_late: float
    std_late: float

    @property
    def key(self) -> str:
        return self.contender.trial.key

    @property
    def slowness(self) -> float:
        return self.contender.slowness

    @property
    def published(self) -> bool:
        return self.contender.fixed_point

    @property
    def as_contender(self) -> Contender:
        """The contender with its expected accuracy in place of its score."""
        return self.contender._replace(error=1 - self.mean, score=self.mean)

    def chance_against(self, other: _Forecast) -> float:
        """Probability that it is the more accurate of the two, by the smaller of the two leads."""
        return 0.5 * math.erfc(-self.lead_over(other) / math.sqrt(2))

    def lead_over(self, other: _Forecast) -> float:
        """Expected difference of the accuracies, in standard deviations of that difference; of the two differences the
        smaller one."""
        now = lead(self.mean_now, self.std_now, other.mean_now, other.std_now)
        return min(now, lead(self.mean_late, self.std_late, other.mean_late, other.std_late))


class _Contest(NamedTuple):
    """A published network and its challengers: designs no slower that may beat it, most probable first."""

    published: _Forecast
    challengers: list[_Forecast]

    def likeliest(self, rival: _Forecast) -> list[_Forecast]:
        """The challenger with the surest lead over the network and this rival, and those whose leads are as sure."""
        leads = [min(each.lead_over(self.published), each.lead_over(rival)) for each in self.challengers]
        return [each for each, found in zip(self.challengers, leads) if found >= max(leads) - SIMILAR_LEAD]


def likely_leaders(
    contenders: Sequence[Contender],
    expected: Expected,
    places: int,
    free: Container[str] = (),
    now: Expected | None = None,
    late: Expected | None = None,
    last: bool = False,
) -> list[Trial]:
    """The trials to promote, best first; those with a key in `free` take none of the `places`, having been trained.

    `expected`: (n,) accuracies of the contenders at what the search goes by; `now` and `late`: at the fidelity of the
    trials and after long training, by default the same. `last`: whether the search decides at that fidelity. Places are
    given in this order:

    1. the most accurate published network in a contest, with a challenger that is among the likeliest to beat it and
       the published network that is best now: of these the one that adds most to the front of the published networks.
       Where this is the last promotion that second network goes on, too, so that no choice of rivals wins a race;
    2. the most accurate searched design, however slow, if it surely leads that challenger;
    3. challengers, by what each adds to the front of the published networks and those before it; each with the fastest
       published network that it may beat, up to `PUBLISHED_SHARE` of the places;
    4. the published networks of the remaining contests, and all that take no place: the search has them beside it;
    5. all others by `most_promising` of their expected errors, published networks last.
    """
    moments = np.column_stack([*expected, *(now or expected), *(late or expected)]).tolist()
    forecasts = [_Forecast(one, *each) for one, each in zip(contenders, moments)]
    chosen, contests = _Selection(places, free), _contests(forecasts)
    front = _ExpectedFront(forecasts, [each for each in forecasts if each.published])
    if contests:
        _add_leaders(chosen, contests[0], forecasts, front, last)
    _add_by_gain(chosen, contests, front, round(PUBLISHED_SHARE * places))
    for contest in contests:
        chosen.add(contest.published)
    chosen.add(*(each for each in forecasts if each.key in free))
    by_key = {each.key: each for each in forecasts}
    ranked = [by_key[trial.key] for trial in most_promising([each.as_contender for each in forecasts], len(forecasts))]
    for each in sorted(ranked, key=lambda each: each.published):
        chosen.add(each)
    return list(chosen.trials.values())


def _add_leaders(
    chosen: _Selection, contest: _Contest, forecasts: Sequence[_Forecast], front: _ExpectedFront, last: bool
) -> None:
    """Steps 1 and 2 of `likely_leaders`; `contest`: that of the most accurate published network."""
    best_published = max((each for each in forecasts if each.published), key=lambda each: each.mean_now)
    challenger = max(contest.likeliest(best_published), key=front.gain)
    best = max((each for each in forecasts if not each.published), key=lambda each: each.mean)
    chosen.add(contest.published, challenger)
    if last:
        chosen.add(best_published)
    if best.lead_over(challenger) > SIMILAR_LEAD:
        chosen.add(best)
    for each in (challenger, best):
        if each in chosen:
            front.add(each)


def _add_by_gain(chosen: _Selection, contests: Sequence[_Contest], front: _ExpectedFront, rivals: int) -> None:
    """Step 3 of `likely_leaders`; at most `rivals` published networks are trained for it."""
    for best in front.in_order_of_gain([each for one in contests for each in one.challengers if each not in chosen]):
        if chosen.left == 0:
            return
        rival = min((one.published for one in contests if best in one.challengers), key=lambda each: each.slowness)
        if chosen.published_trained < rivals:
            chosen.add(rival, best)
        chosen.add(best)


class _ExpectedFront:
    """The accuracy reached within each latency, in draws of the accuracies that designs may have.

    The gain of a design is the area that it adds over the logarithm of latency, in the mean over the draws. Only what
    exceeds the weakest published network counts, else a slightly faster design than all others would gain too much.
    """

    def __init__(self, forecasts: Sequence[_Forecast], first: Sequence[_Forecast]) -> None:
        """Of all designs that may be asked about; `first` are on the front to begin with."""
        rng = np.random.default_rng(0)
        quantiles = np.array([NormalDist().inv_cdf((draw + 0.5) / DRAWS) for draw in range(DRAWS)])
        self._reached = {id(each): each.mean + each.std * rng.permutation(quantiles) for each in forecasts}
        slownesses = np.array(sorted({each.slowness for each in forecasts}))
        places = np.linspace(0, len(slownesses) - 1, min(MOST_LIMITS, len(slownesses)))
        self._limits = slownesses[places.round().astype(int)]
        ends = np.append(self._limits[1:], BEYOND * self._limits[-1:])
        self._widths = np.log(ends / self._limits)
        floor = min((each.mean for each in first), default=0.0)
        self._best = np.full((DRAWS, len(self._limits)), floor)
        for each in first:
            self.add(each)

    def add(self, one: _Forecast) -> None:
        np.maximum(self._best, self._accuracies(one), out=self._best)

    def gain(self, one: _Forecast) -> float:
        return float((np.maximum(self._accuracies(one) - self._best, 0) @ self._widths).mean())

    def in_order_of_gain(self, several: Sequence[_Forecast]) -> Iterator[_Forecast]:
        """Adds, and yields, the design with the largest gain until none is left.

        Gains only shrink as designs are added, so a stale gain is an upper bound and few have to be computed anew.
        """
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

    def _accuracies(self, one: _Forecast) -> np.ndarray:
        """(DRAWS, limits): its accuracy in each draw where its latency is within the limit, else 0."""
        return self._reached[id(one)][:, None] * (one.slowness <= self._limits)


class _Selection:
    """The designs promoted so far, by key, and how many places are left."""

    def __init__(self, places: int, free: Container[str]) -> None:
        self.left, self.free = places, free
        self.published_trained = 0  # published networks among them that take a place
        self.trials: dict[str, Trial] = {}

    def __contains__(self, one: _Forecast) -> bool:
        return one.key in self.trials

    def add(self, *several: _Forecast) -> None:
        """All of these that are new, if there are places for them all."""
        new = [one for one in several if one not in self]
        needing = [one for one in new if one.key not in self.free]
        if len(needing) <= self.left:
            self.left -= len(needing)
            self.published_trained += sum(one.published for one in needing)
            self.trials |= {one.key: one.contender.trial for one in new}


def _contests(forecasts: Sequence[_Forecast]) -> list[_Contest]:
    """Contests of the published networks on their own front, most accurate first, if they have challengers."""
    published = [each for each in forecasts if each.published]
    searched = [each for each in forecasts if not each.published]
    if not published:
        return []
    front = Front.of([(-each.mean, each.slowness) for each in published])
    best_first = sorted((published[index] for index in front.indices), key=lambda each: -each.mean)
    return [found for one in best_first if (found := _contest(one, searched)).challengers]


def _contest(published: _Forecast, searched: Sequence[_Forecast]) -> _Contest:
    able = [each for each in searched if each.slowness <= published.slowness]
    able = [each for each in able if each.chance_against(published) >= LEAST_CHANCE]
    return _Contest(published, sorted(able, key=lambda each: -each.lead_over(published)))
