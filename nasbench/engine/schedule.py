"""What a search trains next, read off its trials alone, so that to resume is to read them again.

First `study.trials` designs at the lowest rung: the fixed points that fit, then what the strategy proposes. Then each
higher rung takes the most promising of the one below. At last the finalists are trained at the highest rung with fresh
seeds and scored on the test split, which nothing before saw.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

import numpy as np

from nasbench.arch.architecture import Architecture
from nasbench.engine.predictions import Predictions
from nasbench.engine.promotion import Contender, Promotions, better_than_the_worst_fixed_point, most_promising
from nasbench.engine.warm_start import Known
from nasbench.scaling.objective import PROBE_RUNG, PROBE_SHARES, errors_at, next_probe
from nasbench.space import RejectionCounter, SearchSpace
from nasbench.space.limits import Limits
from nasbench.strategies import Candidate, Context
from nasbench.study.runner import Numerics
from nasbench.study.study import Study
from nasbench.study.trials import Kind, Level, Origin, Split, Trial
from nasbench.surrogate.prior import Agreement

FIXED_POINTS_AT_MOST = 0.5  # of the lowest rung's trials


class Schedule:
    """`next_trial` of a study, given the trials so far. Nothing here starts, waits for or stores a trial.

    `fixed`: architecture id -> fixed point that meets the budgets, in the order in which they are trained. `known`: the
    table that a warm start begins with.
    """

    def __init__(
        self,
        study: Study,
        space: SearchSpace,
        fixed: Mapping[str, Architecture],
        predictions: Predictions,
        promotions: Promotions,
        known: Known | None = None,
    ) -> None:
        self.study, self.space, self.fixed, self.known = study, space, fixed, known
        self.predictions, self.promotions = predictions, promotions
        self.rejections = RejectionCounter()
        self._exhausted = False  # whether the strategy had nothing left to propose

    @property
    def levels(self) -> list[Level]:
        """Those that every search goes through, lowest first; probes have one of their own before them."""
        top = self.study.ladder.top
        return [*(Level(rung) for rung in range(top + 1)), Level(top, final=True)]

    def next_trial(self, trials: Sequence[Trial]) -> Trial | None:
        """The next trial that is not among `trials`; None while it hangs on what still runs, and at the end."""
        known = {trial.key for trial in trials}
        probe = self._next_probe(trials, known)
        if probe is not None:
            return probe
        if self._wants_proposals(trials):
            proposed = self._proposal(trials)
            if proposed is not None:
                return proposed
        for below, level in pairwise(self.levels):
            if not all(trial.finished for trial in at_level(trials, below)):
                return None
            for trial in self._members(level, trials):
                if trial.key not in known:
                    return trial
        return None

    def is_complete(self, level: Level, trials: Sequence[Trial]) -> bool:
        """Whether all that the level will ever train has ended."""
        if level == self.levels[0]:
            return not self._wants_proposals(trials) and all(t.finished for t in at_level(trials, level))
        below = self.levels[self.levels.index(level) - 1]
        if not at_level(trials, level) or not self.is_complete(below, trials):
            return False
        finished = {trial.key for trial in trials if trial.finished}
        return all(trial.key in finished for trial in self._members(level, trials))

    def decided(self, level: Level, trials: Sequence[Trial]) -> list[Trial]:
        """All that a higher level trains, submitted or not, once that is decided; empty before."""
        place = self.levels.index(level) if level in self.levels else 0
        if place == 0 or not self.is_complete(self.levels[place - 1], trials):
            return []
        return self._members(level, trials)

    def planned(self) -> list[tuple[Level, int]]:
        """How many trials each level takes, as far as can be told before its turn."""
        return planned_levels(self.study)

    # --- the lowest rung

    def _wants_proposals(self, trials: Sequence[Trial]) -> bool:
        return not self._exhausted and len(at_level(trials, Level(0))) < self.study.trials

    def _proposal(self, trials: Sequence[Trial]) -> Trial | None:
        """The next new design: first the fixed points that fit, at most half of all trials, then the strategy's."""
        lowest = at_level(trials, Level(0))
        known = {trial.architecture_id for trial in lowest}
        probed = {trial.architecture_id: trial.design for trial in at_level(trials, Level(PROBE_RUNG))}
        for arch in list(self.fixed.values())[: max(1, int(self.study.trials * FIXED_POINTS_AT_MOST))]:
            if arch.id not in known and arch.id not in probed:
                return self._new(arch, Kind.FIXED_POINT.value)
        context = self._context(trials, len(known), tuple(probed.values()))
        proposals = self.study.strategy.propose(context, 1)
        self._exhausted = not proposals
        return self._new(proposals[0], self.study.strategy.label) if proposals else None

    def _context(self, trials: Sequence[Trial], turn: int, taken: tuple[Architecture, ...]) -> Context:
        """What the strategy is told; each turn has random numbers of its own. Of `taken` none is proposed."""
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
        """The lowest rung's trials as the strategy sees them; failed and running ones have no losses."""
        contenders = self.contenders(complete_at(trials, Level(0)), trials)
        losses = {each.trial.key: each.losses for each in contenders}
        parents = {each.trial.key for each in better_than_the_worst_fixed_point(contenders)}
        lowest = at_level(trials, Level(0))
        return [
            Candidate(trial.design, losses.get(trial.key), trial.key in parents, trial.finished and not trial.complete)
            for trial in lowest
        ]

    def agreement(self, trials: Sequence[Trial]) -> Agreement | None:
        """How far the lowest rung's trials bear out the table that the search started from; None without one."""
        complete = complete_at(trials, Level(0))
        if self.known is None or not complete:
            return None
        metric = self.study.objective.metric
        return self.known.agreement([trial.design for trial in complete], [trial.metric(metric) for trial in complete])

    def _next_probe(self, trials: Sequence[Trial], known: Iterable[str]) -> Trial | None:
        """A smaller version of a trained design, where designs are compared by extrapolation."""
        if self.study.extrapolated_to is None:
            return None
        study, lowest = self.study, at_level(trials, Level(0))
        return next_probe(lowest, known, study.ladder.rungs[0].fidelity, study.seed, study.classes, self._numerics)

    # --- the higher levels

    def _members(self, level: Level, trials: Sequence[Trial]) -> list[Trial]:
        """All that a level trains once the one below is complete."""
        chosen = self._promoted(level, trials)
        if not level.final:
            return [self._again(each, level.rung, self.study.seed, "promoted") for each in chosen]
        return [
            self._again(each, level.rung, seed, "final", "test") for seed in self.study.final_seeds for each in chosen
        ]

    def _promoted(self, level: Level, trials: Sequence[Trial]) -> list[Trial]:
        assert level.below is not None  # nobody is promoted to the lowest rung
        below = complete_at(trials, level.below)
        places = self.study.places(level, len(below))
        return self.promotions.decide(level.name, below, lambda: most_promising(self.contenders(below, trials), places))

    def contenders(self, chosen: Sequence[Trial], trials: Sequence[Trial]) -> list[Contender]:
        """Complete trials with their losses; the error is that at the target, where designs are extrapolated."""
        metric, target = self.study.objective.metric, self.study.extrapolated_to
        errors = {t.key: 1 - t.metric(metric) for t in chosen} if target is None else errors_at(trials, chosen, target)
        return [
            Contender(trial, errors[trial.key], self.predictions.slowness(trial.design), trial.metric(metric))
            for trial in chosen
        ]

    def _new(self, arch: Architecture, how: str) -> Trial:
        """A design's first trial. One that equals a fixed point takes its name."""
        kind = Kind.FIXED_POINT if arch.id in self.fixed else Kind.SEARCHED
        origin = Origin(kind, 0, how, self.predictions.cost(arch))
        return self._trial(self.fixed.get(arch.id, arch), self.study.seed, "validation", origin)

    def _again(self, trial: Trial, rung: int, seed: int, how: str, split: Split = "validation") -> Trial:
        """The design of `trial` at a higher level."""
        return self._trial(trial.design, seed, split, Origin(trial.origin.kind, rung, how, trial.cost))

    def _trial(self, arch: Architecture, seed: int, split: Split, origin: Origin) -> Trial:
        fidelity = self.study.ladder.rungs[origin.rung].fidelity
        return Trial.new(arch, fidelity, seed, self.study.data_name, split, origin, self._numerics)

    @property
    def _numerics(self) -> Numerics | None:
        """What tells this study's trials from those of other numerics; older studies did not."""
        return self.study.runner.numerics if self.study.numerics_in_keys else None


def planned_levels(study: Study) -> list[tuple[Level, int]]:
    """How many trials each level of a study takes, as far as can be told before its turn."""
    places = study.trials
    plan = [(Level(0), places)]
    if study.extrapolated_to is not None:
        plan.insert(0, (Level(PROBE_RUNG), len(PROBE_SHARES) * places))
    for level in map(Level, range(1, study.ladder.top + 1)):
        places = study.places(level, places)
        plan.append((level, places))
    finals = min(places, study.finalists) * len(study.final_seeds)
    return [*plan, (Level(study.ladder.top, final=True), finals)]


def at_level(trials: Iterable[Trial], level: Level) -> list[Trial]:
    return [trial for trial in trials if trial.level == level]


def complete_at(trials: Iterable[Trial], level: Level) -> list[Trial]:
    return [trial for trial in trials if trial.level == level and trial.complete]
