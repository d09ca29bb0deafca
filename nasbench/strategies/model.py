"""Bayesian optimisation with a Gaussian process of each loss over descriptions of designs; needs no table.

The acquisition function is expected improvement for one loss, of its logarithm above the best, which spreads out good
designs that differ little; and for two losses exact expected hypervolume improvement, with independent losses.
Candidates are children of the best designs and random members.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from pydantic import Field

from nasbench.arch.architecture import Architecture
from nasbench.errors import UserError
from nasbench.pareto import best_first, is_dominated
from nasbench.strategies.context import Candidate, Context, Proposals, Searchable
from nasbench.strategies.gaussian import Regression
from nasbench.strategies.relatives import child_of
from nasbench.values import Value

FEW_CHANGES = 3  # fields changed in a child at most
OFFSET = 0.3  # of the distance from best to median: keeps the logarithm finite and noise small in it
MARGIN = 0.1  # the reference point lies so many spans beyond the worst of the front
OWN = 1 / 3  # share of a residual that belongs to the design; the rest is seed noise


class ModelSettings(Value, strict=True):
    """How many trials are random at first, and what the model chooses among."""

    initial: int = Field(10, ge=2, le=10**6)  # random trials before the first choice
    candidates: int = Field(200, ge=2, le=10**5)  # designs that one proposal is chosen from
    fresh: float = Field(0.25, ge=0, le=1)  # share of them that are random members
    parents: int = Field(12, ge=1, le=10**6)  # the best trials, of which the others are children
    explore: float = Field(0.0, ge=0, le=1)  # share of the later trials that are random


def propose(context: Context, n: int, settings: ModelSettings) -> list[Architecture]:
    """Up to `n` new architectures within the budgets; fewer when the space has no more."""
    choosing = _Choosing(context, settings, Proposals(context))
    return choosing.proposals.fill(n, choosing.next)


def pick(context: Context, settings: ModelSettings) -> Candidate:
    """The finished trial with the best expected first loss, which need not have the best score."""
    finished, losses = context.finished, losses_of(context.finished)[:, 0]
    if len(finished) < settings.initial:
        return finished[int(losses.argmin())]
    described = _described(context.space, [one.architecture for one in finished])
    expected = Regression.fit(described, losses).predict(described)[0]
    return finished[int((expected + OWN * (losses - expected)).argmin())]


def losses_of(finished: Sequence[Candidate]) -> np.ndarray:
    """(n, k) losses of trials that have them."""
    return np.array([one.losses for one in finished if one.losses is not None], float)


@dataclass(frozen=True)
class _Choosing:
    """One call of `propose`."""

    context: Context
    settings: ModelSettings
    proposals: Proposals

    def next(self) -> Architecture | None:
        """The candidate of largest acquisition value; None for a random draw in its place."""
        context, settings = self.context, self.settings
        tried = len(context.candidates) + len(self.proposals.found)
        if tried < settings.initial or len(context.finished) < 2 or context.rng.random() < settings.explore:
            return None
        candidates = [arch for arch in self._candidates if arch.id not in self.proposals.known]
        if not candidates:
            return None
        order = np.argsort(-self._acquisition(candidates), kind="stable")
        return next((candidates[int(i)] for i in order if self.proposals.accepts(candidates[int(i)])), None)

    @cached_property
    def _candidates(self) -> list[Architecture]:
        """Children of the best, and random members within the budgets, each once; the same for the whole call."""
        context, settings, limits = self.context, self.settings, self.proposals.limits
        rng, space = context.rng, context.space
        parents = self._parents()
        fresh = settings.candidates if not parents else round(settings.fresh * settings.candidates)
        made = [child_of(parents, space, rng, FEW_CHANGES) for _ in range(settings.candidates - fresh)]
        for _ in range(fresh):
            try:
                made.append(space.sample(rng, limits.budgets, limits.num_classes, context.rejections, limits.predict))
            except UserError:  # the random draw in its place raises it again
                break
        return list({arch.id: arch for arch in made}.values())

    def _parents(self) -> list[Architecture]:
        """The best trials inside the space."""
        among = [one for one in self.context.finished if one.parent and self.context.space.contains(one.architecture)]
        if not among:
            return []
        return [among[int(index)].architecture for index in best_first(losses_of(among))[: self.settings.parents]]

    def _acquisition(self, candidates: Sequence[Architecture]) -> np.ndarray:
        """(n,) expected improvement of each."""
        losses, seen = self._known()
        new = _described(self.context.space, candidates)
        if losses.shape[1] == 1:
            return improvement(losses[:, 0], seen, new)
        return self._volume(candidates, losses, seen, new)

    def _known(self) -> tuple[np.ndarray, np.ndarray]:
        """(n, k) losses and (n, d) descriptions; running and just proposed designs have their expected losses."""
        space, finished = self.context.space, self.context.finished
        losses, seen = losses_of(finished), _described(space, [one.architecture for one in finished])
        awaited = [one.architecture for one in self.context.candidates if one.losses is None] + self.proposals.found
        if not awaited:
            return losses, seen
        there = _described(space, awaited)
        expected = np.column_stack([Regression.fit(seen, column).predict(there)[0] for column in losses.T])
        return np.vstack([losses, expected]), np.vstack([seen, there])

    def _volume(
        self, candidates: Sequence[Architecture], losses: np.ndarray, seen: np.ndarray, new: np.ndarray
    ) -> np.ndarray:
        """Expected hypervolume improvement in the first two losses; the second is known where `speed` is."""
        models = [Regression.fit(seen, column) for column in losses.T[:2]]
        known = np.column_stack([model.predict(seen)[0] for model in models])
        means, stds = (np.column_stack(part) for part in zip(*(model.predict(new) for model in models)))
        if self.context.speed is not None:
            known[:, 1] = losses[:, 1]
            means[:, 1] = [self.context.speed(arch) for arch in candidates]
            stds[:, 1] = 0.0
        return volume_improvement(known, means, stds)


def _described(space: Searchable, designs: Sequence[Architecture]) -> np.ndarray:
    return np.stack([space.describe(arch) for arch in designs])


def _stretched(losses: np.ndarray) -> np.ndarray:
    """Logarithms of the losses above a little less than the best."""
    gap = max(float(np.median(losses) - losses.min()), 1e-9)
    return np.asarray(np.log((losses - losses.min()) / gap + OFFSET))


def improvement(losses: np.ndarray, seen: np.ndarray, new: np.ndarray) -> np.ndarray:
    """(m,) expected improvement at `new` (m, d) over the best expected loss among `seen` (n, d)."""
    model = Regression.fit(seen, losses, _stretched)
    return below(model.predict(seen)[0].min(), *model.predict(new))


def volume_improvement(known: np.ndarray, means: np.ndarray, stds: np.ndarray) -> np.ndarray:
    """(m,) expected growth of the hypervolume of `known` (n, 2) by designs of independent normal losses (m, 2).

    The volume gained is a sum over strips between neighbours on the front: what lies right of the design's first loss
    times what lies below the strip's level and above its second, so that expectations multiply.
    """
    reference = known.max(0) + MARGIN * np.ptp(known, axis=0)
    front = known[~is_dominated(known)]
    front = front[np.argsort(front[:, 0], kind="stable")]
    edges, levels = np.append(front[:, 0], reference[0]), np.append(reference[1], front[:, 1])
    reached = below(edges, means[:, :1], stds[:, :1])  # (m, strips): how far a strip's right edge lies beyond
    widths = np.diff(reached, axis=1, prepend=0.0)
    return np.asarray((widths * below(levels, means[:, 1:], stds[:, 1:])).sum(1))


def below(level: np.ndarray | float, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """The mean of max(0, level - x) of normal x."""
    from scipy.special import ndtr

    lead = level - mean
    z = lead / np.maximum(std, 1e-12)
    return np.asarray(lead * ndtr(z) + std * np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi))
