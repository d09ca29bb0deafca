"""What a search trains next, read off its trials alone, so that to resume is to read them again.

First `study.trials` designs at the lowest rung: the fixed points that fit, then what the strategy proposes
(lowest_rung.py). Then each higher rung takes the most promising of the one below. At last the finalists are trained at
the highest rung with fresh seeds and scored on the test split, which nothing before saw: all with the same seeds, or in
a race (higher_levels.py, race.py).

Where the study says `promotion = "rungs"` a rung begins when the one below is complete, and workers wait for the last
training of each. With `"asynchronous"` designs go on meanwhile, and only the final waits. That is MO-ASHA (Schmucker et
al. 2021, arXiv:2106.12639), the form of ASHA (Li et al. 2020, arXiv:1810.05934) for several objectives, for a plan that
is fixed:

- As there, a design may go on when it is among the best 1/eta of those complete at its rung, by non-dominated rank and
  then by crowding, as it stands at that moment; nobody's place is taken back. Where a table stands behind the search
  the best are those that it lets expect to win (contests.py), and published networks have their share (promotion.py).
- ASHA goes on until it is stopped. Here each rung has a number of trials that the user was shown: eta is the ratio of
  two rungs' numbers, and no rung ever has more than its share of those complete below. Once the rung below is complete
  the places that are left are taken.
- ASHA looks for a promotion, from the highest rung down, before it draws a new design. With a fixed plan the last
  promotion hangs on the last training below, so a free worker looks from the lowest rung up: rungs are complete sooner,
  more is known when a place is given away, and promotions fill the time in which new designs have run out. In replays
  ASHA's order chose worse on two of four ladders and ended hardly earlier on one (benchmarks/promotion.py).
- A rung is a training of its own, and no checkpoint is gone on from (study/fidelity.py). Of the losses only the error
  needs training; cost and predicted latency are the same at every rung.
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
    """`next_trial` of a study, given the trials so far. Nothing here starts, waits for or stores a trial.

    `fixed`: architecture id -> fixed point that meets the budgets, in the order in which they are trained. `known`: the
    table that a warm start begins with, and that may tell what comes of published networks (`known_outcome`). `phases`:
    when each level has to be over; what has not started by then is not trained.
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
        """What the strategy's proposals were turned away for, by rule."""
        return self.lowest.rejections

    @property
    def levels(self) -> list[Level]:
        """Those that every search goes through, lowest first; probes have one of their own before them."""
        return self.places.levels

    def next_trial(self, trials: Sequence[Trial]) -> Trial | None:
        """The next trial that is not among `trials`; None while it hangs on what still runs, and at the end."""
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
        """Whether all that the level will ever train has ended."""
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
        """All that a higher level trains, submitted or not, once that is decided; empty before."""
        if level not in self.levels or not self._is_complete_below(level, trials):
            return []
        if self.higher.is_raced(level) and not self.is_complete(level, trials):
            return []  # a race may end early
        return self.higher.members(level, trials)

    def planned(self, trials: Sequence[Trial] = ()) -> list[tuple[Level, int]]:
        """How many trials each level takes, as far as can be told before its turn."""
        return self.places.planned(trials)

    def known_outcome(self, trial: Trial) -> Outcome | None:
        """What came of a trial that `next_trial` gave, where a table tells it; None where it is to be trained."""
        return None if self.scores is None else self.scores.outcome(trial)

    def agreement(self, trials: Sequence[Trial]) -> Agreement | None:
        """How far the lowest rung's trials bear out the table that the search started from; None without one."""
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
