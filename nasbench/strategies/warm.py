"""Warm start: designs proposed by a surrogate of a table of trained designs, corrected by the search's own trials.

A pool of candidates is bred once by evolution on the surrogate's prediction of accuracy. The trials
so far correct the predictions, latency is taken as known, and the candidate with the largest expected improvement over
the best design that is no slower is proposed; latency bands take turns. Before all others comes the design that is
surest to beat the best published network. In a long search a correction serves several proposals.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from pydantic import Field

from nasbench.arch.architecture import Architecture
from nasbench.costs.analytic import cost
from nasbench.costs.budget import Budget, on_cost, total_violation
from nasbench.strategies import evolution, model
from nasbench.strategies.context import (
    Candidate,
    Context,
    Expected,
    Informed,
    Knowledge,
    Proposals,
    Searchable,
    Speed,
    lead,
)
from nasbench.strategies.evolution import EvolutionSettings
from nasbench.strategies.model import ModelSettings
from nasbench.strategies.relatives import bands_of, child_of, in_turn
from nasbench.values import Value

PARENTS = 0.25  # share of a generation that are parents of the next
GENERATIONS = 4
ATTEMPTS = 5  # draws for one child
FRESH = 16  # children of the designs with the best expectation now, beside the pool, which knows the table alone
BEST = 4  # parents of these
FEW_CHANGES = 2  # fields changed in such a child
OPTIMISM = 1.0  # standard deviations added to a prediction (upper confidence bound)
WORTHWHILE = 0.25  # of the largest expected gain: a band with less is skipped
CORRECTED = 50  # trials from which on a correction waits for a fiftieth more of them
_BREEDING = threading.Lock()


class WarmSettings(Value, strict=True):
    """Which table, how many candidates are kept to choose from, and which share of the proposals is random."""

    table: str = ""  # name or path; by default the space's own
    pool: int = Field(1500, ge=10, le=10**6)
    explore: float = Field(1 / 6, ge=0, le=1)


def propose(context: Context, n: int, settings: WarmSettings) -> list[Architecture]:
    """Up to `n` new architectures within the budgets; fewer when the space has no more.

    With probability 1 - trust in the table, given the trials so far, evolution proposes in its place: what it would
    propose in a search without a table, where the trust is 0. Without a table it is the strategy `model`.
    """
    if context.known is None:
        return model.propose(context, n, ModelSettings(explore=settings.explore))
    pool = bred_pool(
        context.space, context.known, on_cost(context.limits.budgets), context.limits.num_classes, settings.pool
    )
    belief = pool.belief(context.space, context.known, context.finished)
    trust = belief.informed.trust
    if trust == 0 or (trust < 1 and context.rng.random() >= trust):
        return evolution.propose(context, n, EvolutionSettings())
    proposing = _Proposing(context, settings, belief, Proposals(context))
    return proposing.proposals.fill(n, proposing.next)


class Pool:
    """Candidates of a warm start, with their expected accuracy given the latest trials, cached."""

    def __init__(self, designs: Sequence[Architecture]) -> None:
        self.designs = tuple(designs)
        self._belief: _Belief | None = None

    def belief(self, space: Searchable, known: Knowledge, finished: Sequence[Candidate]) -> _Belief:
        """Given the first `corrected_by` of these trials."""
        seen = tuple(finished[: corrected_by(len(finished))])
        if self._belief is None or seen != self._belief.seen:
            self._belief = _Belief.after(known, seen, self.designs, space)
        return self._belief


def corrected_by(trials: int) -> int:
    """How many of so many trials, the first ones, enter the correction."""
    return trials - trials % max(1, trials // CORRECTED)


@dataclass(frozen=True)
class _Belief:
    """Expected accuracies after some trials: of candidates, and of those trials' own designs."""

    seen: tuple[Candidate, ...]
    of_seen: np.ndarray  # (seen,) mean accuracy
    candidates: tuple[Architecture, ...]  # the pool, and children of the best designs
    expected: Expected  # of the candidates
    informed: Informed  # what the table says of any design, given the trials

    @classmethod
    def after(
        cls, known: Knowledge, seen: tuple[Candidate, ...], pool: tuple[Architecture, ...], space: Searchable
    ) -> _Belief:
        own = [one for one in seen if not one.from_table]
        informed = known.after([one.architecture for one in own], [1 - (one.losses or (1.0,))[0] for one in own])
        of_seen = informed.expect([one.architecture for one in seen]).mean
        candidates = (*pool, *_fresh(seen, of_seen, space))
        return cls(seen, of_seen, candidates, informed.expect(candidates), informed)


def _fresh(seen: Sequence[Candidate], expected: np.ndarray, space: Searchable) -> list[Architecture]:
    """Children of the designs with the best expectation, among those inside the space that may be parents."""
    best: list[Architecture] = []
    for index in np.argsort(-expected, kind="stable"):
        one = seen[index]
        if len(best) < BEST and one.parent and space.contains(one.architecture):
            best.append(one.architecture)
    if len(best) < 2:
        return []
    rng = np.random.default_rng([int(one.architecture.id, 16) for one in seen])  # the same in a resumed search
    return list({arch.id: arch for arch in (child_of(best, space, rng, FEW_CHANGES) for _ in range(FRESH))}.values())


def bred_pool(space: Searchable, known: Knowledge, budgets: tuple[Budget, ...], classes: int, size: int) -> Pool:
    """The `size` most promising members of the space within budgets on cost, by the table, in bands of multiply-adds.

    Depends on its arguments alone, so that a resumed search has the same. Takes half a minute, then is cached; other
    threads wait meanwhile.
    """
    with _BREEDING:
        return _bred(space, known, budgets, classes, size)


@lru_cache(4)
def _bred(space: Searchable, known: Knowledge, budgets: tuple[Budget, ...], classes: int, size: int) -> Pool:
    rng, breeding = np.random.default_rng(0), _Breeding(space, known, budgets, classes)
    breeding.take(arch for arch in known.designs if space.contains(arch))
    parents = max(2, int(PARENTS * size / GENERATIONS))
    if len(breeding.kept) < 2:
        return Pool(())
    for _ in range(GENERATIONS):
        breeding.breed(breeding.best(parents), size // GENERATIONS, rng)
    return Pool(breeding.best(size))


class _Breeding:
    """Designs within budgets, by id, each with its multiply-adds and the upper confidence bound of its accuracy."""

    def __init__(self, space: Searchable, known: Knowledge, budgets: tuple[Budget, ...], classes: int) -> None:
        self.space, self.known, self.budgets, self.classes = space, known, budgets, classes
        self.kept: dict[str, Architecture] = {}
        self._macs, self._bounds = np.zeros(0), np.zeros(0)

    def take(self, designs: Iterable[Architecture]) -> None:
        """Keep those that are new and within the budgets."""
        new: dict[str, Architecture] = {}
        macs: list[float] = []
        for arch in designs:
            figures = None if arch.id in self.kept or arch.id in new else cost(arch, self.classes)
            if figures is not None and total_violation(self.budgets, figures.to_dict()) == 0:
                new[arch.id] = arch
                macs.append(float(figures.macs))
        if new:
            told = self.known.before(list(new.values()))
            self.kept |= new
            self._macs = np.concatenate([self._macs, macs])
            self._bounds = np.concatenate([self._bounds, told.mean + OPTIMISM * told.std])

    def breed(self, parents: Sequence[Architecture], count: int, rng: np.random.Generator) -> None:
        """Keep up to `count` new children within the budgets."""
        wanted = len(self.kept) + count
        for _ in range(ATTEMPTS):
            lacking = wanted - len(self.kept)
            if lacking > 0:
                self.take([child_of(parents, self.space, rng) for _ in range(lacking)])

    def best(self, count: int) -> list[Architecture]:
        """The `count` most promising ones, bands of multiply-adds in turn."""
        designs, order = list(self.kept.values()), in_turn(bands_of(self._macs), self._bounds)
        return [designs[index] for index in order[:count]]


@dataclass(frozen=True)
class _Proposing:
    """One call of `propose`."""

    context: Context
    settings: WarmSettings
    belief: _Belief
    proposals: Proposals

    def next(self) -> Architecture | None:
        """The candidate of largest expected gain in the band whose turn it is; None for a random draw. The first is the
        surest challenger."""
        if not self.proposals.found and all(one.published for one in self.context.candidates):
            surest = self._surest_challenger()
            if surest is not None:
                return surest
        if self.context.rng.random() < self.settings.explore:
            return None
        known, belief = self.proposals.known, self.belief
        new = [index for index, arch in enumerate(belief.candidates) if arch.id not in known]
        if not new:
            return None
        candidates = [belief.candidates[index] for index in new]
        speeds = np.array([self._speed(arch) for arch in candidates])
        gains = self._gains(Expected(belief.expected.mean[new], belief.expected.std[new]), speeds)
        order = self._by_turn(bands_of(speeds), gains)
        return next((candidates[index] for index in order if self.proposals.accepts(candidates[index])), None)

    def _surest_challenger(self) -> Architecture | None:
        """The candidate surest to beat the best published network at no more latency, at the lowest rung and after long
        training; None where there is no such network or no candidate as fast."""
        published = [one.architecture for one in self.context.candidates if one.published]
        if not published:
            return None
        informed = self.belief.informed
        best = published[int(np.argmax(informed.late(published).mean))]
        able = [arch for arch in self.belief.candidates if self._speed(arch) <= self._speed(best)]
        if not able:
            return None
        both = [(told(able), told([best])) for told in (informed.now, informed.late)]
        leads = np.min([lead(*mine, float(its.mean[0]), float(its.std[0])) for mine, its in both], axis=0)
        order = np.argsort(-leads, kind="stable")
        return next((able[index] for index in order if self.proposals.accepts(able[index])), None)

    @property
    def _speed(self) -> Speed:
        """Latency where it can be predicted, else multiply-adds."""
        return self.context.speed or (lambda arch: float(cost(arch, self.context.limits.num_classes).macs))

    def _gains(self, expected: Expected, speeds: np.ndarray) -> np.ndarray:
        """(n,) expected improvement of each over the best known design that is no slower."""
        if not self.belief.seen:
            return expected.mean + OPTIMISM * expected.std
        seen = np.array([self._speed(one.architecture) for one in self.belief.seen])
        best = best_within(seen, self.belief.of_seen, speeds)
        return model.below(-best, -expected.mean, expected.std)  # the mean of max(0, accuracy - best)

    def _by_turn(self, bands: np.ndarray, gains: np.ndarray) -> list[int]:
        """Candidates by gain, those of the band whose turn it is first."""
        best = {band: float(gains[bands == band].max()) for band in sorted(set(bands.tolist()))}
        most = max(best.values())
        worth = [band for band, gain in best.items() if gain >= WORTHWHILE * most] or list(best)
        turn = len(self.context.candidates) + len(self.proposals.found)
        chosen = worth[turn % len(worth)]
        order = np.argsort(-gains, kind="stable")
        return [*(int(i) for i in order if bands[i] == chosen), *(int(i) for i in order if bands[i] != chosen)]


def best_within(speeds: np.ndarray, accuracies: np.ndarray, at: np.ndarray) -> np.ndarray:
    """(n,) the best accuracy among designs that are no slower than `at`; of the fastest one where none is."""
    order = np.argsort(speeds, kind="stable")
    best = np.maximum.accumulate(accuracies[order])
    place = np.searchsorted(speeds[order], at, side="right") - 1
    return np.asarray(best[np.maximum(place, 0)])
