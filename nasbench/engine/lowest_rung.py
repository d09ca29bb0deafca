"""What the lowest rung trains: the published networks that fit the budgets, then what the strategy proposes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from nasbench.arch.architecture import Architecture
from nasbench.engine.levels import at_level, complete_at
from nasbench.engine.places import Places
from nasbench.engine.predictions import Predictions
from nasbench.engine.promotion import better_than_the_worst_fixed_point, contenders
from nasbench.engine.published import PublishedScores
from nasbench.engine.warm_start import Known
from nasbench.scaling.objective import PROBE_RUNG
from nasbench.space import RejectionCounter, SearchSpace
from nasbench.space.limits import Limits
from nasbench.strategies import Candidate, Context
from nasbench.study.study import Study
from nasbench.study.trials import Kind, Level, Origin, Trial
from nasbench.surrogate.prior import Agreement

FIXED_POINTS_AT_MOST = 0.5  # of the lowest rung's trials
LOWEST = Level(0)


@dataclass(eq=False)
class LowestRung:
    """New designs, one at a time. `fixed` and `known` as in `Schedule`."""

    study: Study
    space: SearchSpace
    fixed: Mapping[str, Architecture]
    predictions: Predictions
    places: Places
    known: Known | None
    scores: PublishedScores | None
    rejections: RejectionCounter = field(default_factory=RejectionCounter, init=False)
    _exhausted: bool = field(default=False, init=False)  # whether the strategy had nothing left to propose

    def wants_more(self, trials: Sequence[Trial]) -> bool:
        """Whether there are places, or time, for further designs."""
        if self._exhausted or self.places.is_over(LOWEST, trials):
            return False
        return self.places.open_ended or len(at_level(trials, LOWEST)) < self.study.trials

    def next_design(self, trials: Sequence[Trial]) -> Trial | None:
        """The next new design: first the fixed points that fit, at most half of all trials, then the strategy's."""
        known = {trial.architecture_id for trial in at_level(trials, LOWEST)}
        probed = {trial.architecture_id: trial.design for trial in at_level(trials, Level(PROBE_RUNG))}
        planned = dict(self.places.planned(trials))[LOWEST]
        published = list(self.fixed.values())[: max(1, int(planned * FIXED_POINTS_AT_MOST))]
        waiting = [arch for arch in published if arch.id not in known and arch.id not in probed]
        if waiting and (trial := self._of_published(waiting, trials)) is not None:
            return trial
        context = self._context(trials, len(known), tuple(probed.values()))
        proposals = self.study.strategy.propose(context, 1)
        self._exhausted = not proposals
        return self._new(proposals[0], self.study.strategy.label) if proposals else None

    def agreement(self, trials: Sequence[Trial]) -> Agreement | None:
        """How far the rung's trials agree with the table that the search started from; None without one."""
        complete = [trial for trial in complete_at(trials, LOWEST) if trial.trained_here]
        if self.known is None or not complete:
            return None
        metric = self.study.objective.metric
        return self.known.agreement([trial.design for trial in complete], [trial.metric(metric) for trial in complete])

    def _of_published(self, waiting: Sequence[Architecture], trials: Sequence[Trial]) -> Trial | None:
        """A trial of one of these; None while the check of a table's trainings of them runs."""
        arch = waiting[0] if self.scores is None else self.scores.next(waiting, trials)
        if arch is None:
            return None
        if self.scores is not None and self.scores.stand_for(arch, 0, trials):
            return self.scores.trial(arch, 0, self.predictions.cost(arch))
        return self._new(arch, Kind.FIXED_POINT.value)

    def _new(self, arch: Architecture, how: str) -> Trial:
        """A design's first trial; a design equal to a fixed point takes its name."""
        kind = Kind.FIXED_POINT if arch.id in self.fixed else Kind.SEARCHED
        origin = Origin(kind, 0, how, self.predictions.cost(arch))
        seed, fidelity = self.study.seed, self.study.ladder.rungs[0].fidelity
        seed = seed if self.known is None else self.known.fresh_seed(arch, fidelity, seed)
        return self.study.trial(self.fixed.get(arch.id, arch), seed, origin)

    def _context(self, trials: Sequence[Trial], turn: int, taken: tuple[Architecture, ...]) -> Context:
        """The strategy's input at a turn, which seeds its random numbers; designs in `taken` are not proposed."""
        study, predictions = self.study, self.predictions
        return Context(
            self.space,
            tuple(self._candidates(trials)),
            np.random.default_rng((study.seed, turn)),
            Limits(study.budgets, study.classes, predictions.bounds if predictions.ready else None),
            predictions.slowness,
            self.rejections,
            taken,
            self.known,
        )

    def _candidates(self, trials: Sequence[Trial]) -> list[Candidate]:
        """The rung's trials as the strategy sees them; failed and running ones have no losses."""
        complete = contenders(self.study, self.predictions, complete_at(trials, LOWEST), trials)
        losses = {each.trial.key: each.losses for each in complete}
        parents = {each.trial.key for each in better_than_the_worst_fixed_point(complete)}
        return [
            Candidate(
                trial.design,
                losses.get(trial.key),
                trial.key in parents,
                trial.finished and not trial.complete,
                not trial.trained_here,
                trial.finished_at,
                trial.origin.kind == Kind.FIXED_POINT,
            )
            for trial in at_level(trials, LOWEST)
        ]
