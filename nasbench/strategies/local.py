"""Local search: one-field changes of the designs on the front, one front design after the other.

With one loss this is hill climbing from the best design (White et al. 2021, arXiv:2005.02960); with two it is Pareto
local search (Paquete et al. 2004; on architectures den Ottelander et al. 2021, arXiv:2004.08996), whose archive is the
front of all trials so far.
"""

from __future__ import annotations

from pydantic import Field

from nasbench.arch.architecture import Architecture
from nasbench.pareto import is_dominated
from nasbench.strategies.context import Context, Proposals
from nasbench.strategies.relatives import first_accepted
from nasbench.values import Value


class LocalSettings(Value, strict=True):
    """How many trials are random before the first step."""

    initial: int = Field(6, ge=0, le=10**6)


def propose(context: Context, n: int, settings: LocalSettings) -> list[Architecture]:
    """Up to `n` new architectures within the budgets; fewer when the space has no more.

    Front designs take turns, oldest first; one without a new neighbour in `CHILDREN_TRIED` draws is skipped. Where all
    are, a random design is drawn: a restart.
    """
    front, proposals = _front(context), Proposals(context)

    def step() -> Architecture | None:
        turn = len(context.candidates) + len(proposals.found)
        if turn < settings.initial or not front:
            return None
        place = turn % len(front)
        for centre in (*front[place:], *front[:place]):
            found = first_accepted(proposals, lambda: context.space.mutate(centre, context.rng, 1))  # noqa: B023
            if found is not None:
                return found
        return None

    return proposals.fill(n, step)


def _front(context: Context) -> list[Architecture]:
    """The non-dominated trials inside the space, oldest first."""
    parents = [one for one in context.finished if one.parent]
    while parents:
        beaten = is_dominated([one.losses for one in parents if one.losses is not None])
        front = [one.architecture for one, worse in zip(parents, beaten) if not worse]
        outside = {arch.id for arch in front if not context.space.contains(arch)}
        if not outside:
            return front
        parents = [one for one in parents if one.architecture.id not in outside]
    return []
