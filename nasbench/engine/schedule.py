"""What a search trains next, a function of its trials alone: a resumed search reads them again and continues.

First `study.trials` designs are trained at the lowest rung: the fixed points that meet the budgets, then the strategy's
proposals (lowest_rung.py). Each higher rung takes the most promising designs of the one below. At last the finalists
are trained at the highest rung with fresh seeds and scored on the test split, which is used for nothing else: all with
the same seeds, or in a race (higher_levels.py, race.py).

With `promotion = "rungs"` a rung begins when the one below is complete (successive halving). With `"asynchronous"`
designs are promoted meanwhile, and only the final waits: MO-ASHA (Schmucker et al. 2021, arXiv:2106.12639), the
multi-objective form of ASHA (Li et al. 2020, arXiv:1810.05934), with a fixed number of trials:

- As there, a design may be promoted while it is among the best 1/eta of those complete at its rung, by non-dominated
  rank and then by crowding, and no promotion is withdrawn. Published networks have their share (promotion.py); with a
  table behind the search, designs are ranked by what it predicts (contests.py).
- ASHA runs until it is stopped. Here each rung has a planned number of trials: eta is the ratio of two rungs' numbers,
  and no rung has more than its share of those complete below. Once that rung is complete the remaining places are
  filled.
- ASHA looks for a promotion, from the highest rung down, before it samples a new design. With a fixed plan the last
  promotion depends on the last training below, so a free worker looks from the lowest rung up: rungs complete sooner,
  promotions are decided with more data, and fill the time after the last new design. In replays ASHA's order chose
  worse designs on two of four ladders and ended hardly earlier on one (benchmarks/promotion.py).
- Each rung trains from scratch, not from a checkpoint (study/fidelity.py). Of the losses only the error needs training;
  cost and predicted latency are the same at every rung.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nasbench.arch.architecture import Architecture
from nasbench.engine.higher_levels import HigherLevels
from nasbench.engine.levels import at_level
from nasbench.engine.lowest_rung import LOWEST, LowestRung
from nasbench.engine.phases import Phases
from nasbench.engine.places import Places
from nasbench.engine.predictions import Predictions
from nasbench.engine.promotion import Contender, Promotions, contenders
from nasbench.engine.published import PublishedScores
from nasbench.engine.warm_start import Known
from nasbench.scaling.objective import next_probe
from nasbench.space import RejectionCounter, SearchSpace
from nasbench.study.study import Study
from nasbench.study.trials import Level, Outcome, Trial
from nasbench.surrogate.prior import Agreement


class Schedule:
    """`next_trial` of a study, given the trials so far. Starts, waits for and stores nothing.

    `fixed`: architecture id -> fixed point that meets the budgets, in the order in which they are trained. `known`: the
    table of a warm start, whose trainings of published networks may be used (`known_outcome`). `phases`: when each
    level has to be over; what has not started by then is not trained.
    """

    def __init__(
        self,
        study: Study,
        space: SearchSpace,
        fixed: Mapping[str, Architecture],
        predictions: Predictions,
        promotions: Promotions,
        known: Known | None = None,
        phases: Phases | None = None,
    ) -> None:
        self.study, self.space, self.predictions, self.known = study, space, predictions, known
        self.scores = None if known is None else PublishedScores(study, fixed, known.table)
        self.places = Places(study, phases or Phases())
        self.lowest = LowestRung(study, space, fixed, predictions, self.places, known, self.scores)
        self.higher = HigherLevels(study, predictions, promotions, self.places, known, self.scores)

    @property
    def phases(self) -> Phases:
        return self.places.phases

    @property
    def rejections(self) -> RejectionCounter:
        """Rejected proposals of the strategy, counted by rule."""
        return self.lowest.rejections

    @property
    def levels(self) -> list[Level]:
        """The rungs, lowest first, and the final level; probes have a level of their own before these."""
        return self.places.levels

    def next_trial(self, trials: Sequence[Trial]) -> Trial | None:
        """The next trial that is not among `trials`; None while it depends on running ones, and at the end."""
        found = self._next_probe(trials)
        for level in self.levels:
            found = found or self.next_at(level, trials)
        return found

    def next_at(self, level: Level, trials: Sequence[Trial]) -> Trial | None:
        """The next trial of a level, if one may start."""
        if level == LOWEST:
            return self.lowest.next_design(trials) if self.lowest.wants_more(trials) else None
        if self._is_complete_below(level, trials):
            known = {trial.key for trial in trials}
            coming = (trial for trial in self.higher.members(level, trials) if trial.key not in known)
            return next(coming, None) if not self.places.is_over(level, trials) else None
        early = self.study.asynchronous and not level.final
        return self.higher.next_early(level, trials) if early else None

    def _is_complete_below(self, level: Level, trials: Sequence[Trial]) -> bool:
        return level.below is not None and self.is_complete(level.below, trials)

    def is_complete(self, level: Level, trials: Sequence[Trial]) -> bool:
        """Whether all trials that the level will have are finished."""
        there = at_level(trials, level)
        if level == LOWEST:
            return not self.lowest.wants_more(trials) and all(trial.finished for trial in there)
        if not there or not self._is_complete_below(level, trials):
            return False
        if self.places.is_over(level, trials):
            return all(trial.finished for trial in there)
        finished = {trial.key for trial in there if trial.finished}
        return all(trial.key in finished for trial in self.higher.members(level, trials))

    def decided(self, level: Level, trials: Sequence[Trial]) -> list[Trial]:
        """All trials of a higher level, submitted or not, once they are decided; empty before."""
        if level not in self.levels or not self._is_complete_below(level, trials):
            return []
        if self.higher.is_raced(level) and not self.is_complete(level, trials):
            return []  # a race may end early
        return self.higher.members(level, trials)

    def planned(self, trials: Sequence[Trial] = ()) -> list[tuple[Level, int]]:
        """How many trials each level takes, as far as can be told before its turn."""
        return self.places.planned(trials)

    def known_outcome(self, trial: Trial) -> Outcome | None:
        """The outcome, from a table, of a trial that `next_trial` gave; None where it is to be trained."""
        return None if self.scores is None else self.scores.outcome(trial)

    def agreement(self, trials: Sequence[Trial]) -> Agreement | None:
        """How far the lowest rung's trials agree with the table that the search started from; None without one."""
        return self.lowest.agreement(trials)

    def contenders(self, chosen: Sequence[Trial], trials: Sequence[Trial]) -> list[Contender]:
        """Complete trials with their losses."""
        return contenders(self.study, self.predictions, chosen, trials)

    def _next_probe(self, trials: Sequence[Trial]) -> Trial | None:
        """A smaller version of a trained design, where designs are compared by extrapolation."""
        study = self.study
        if study.extrapolated_to is None:
            return None
        known, fidelity = {trial.key for trial in trials}, study.ladder.rungs[0].fidelity
        return next_probe(at_level(trials, LOWEST), known, fidelity, study.seed, study.classes, study.key_numerics)
