"""What a search trains next, read off its trials alone, so that to resume is to read them again.

First `study.trials` designs at the lowest rung: the fixed points that fit, then what the strategy proposes. Then each
higher rung takes the most promising of the one below. At last the finalists are trained at the highest rung with fresh
seeds and scored on the test split, which nothing before saw: all with the same seeds, or in a race (race.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

import numpy as np

from nasbench.arch.architecture import Architecture
from nasbench.engine.contests import likely_leaders
from nasbench.engine.levels import at_level, complete_at, planned_levels
from nasbench.engine.phases import Phases, pace_of, work_of
from nasbench.engine.predictions import Predictions
from nasbench.engine.promotion import Contender, Promotions, better_than_the_worst_fixed_point, most_promising
from nasbench.engine.published import PublishedScores
from nasbench.engine.race import Racer, next_racer
from nasbench.engine.warm_start import Known
from nasbench.scaling.objective import PROBE_RUNG, errors_at, next_probe
from nasbench.space import RejectionCounter, SearchSpace
from nasbench.space.limits import Limits
from nasbench.strategies import Candidate, Context
from nasbench.study.runner import Numerics
from nasbench.study.study import Study
from nasbench.study.trials import Kind, Level, Origin, Outcome, Split, Trial
from nasbench.surrogate.prior import Agreement

FIXED_POINTS_AT_MOST = 0.5  # of the lowest rung's trials
HELPS = 0.5  # trust in a table, below which designs go on as in a search without one
ENOUGH = 2  # complete trials of a level, before its time can be over
TRAININGS_A_FINALIST, MOST_FINALISTS = 8, 12  # where time allows for more finalists than the study names


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
        self.study, self.space, self.fixed, self.known = study, space, fixed, known
        self.scores = None if known is None else PublishedScores(study, fixed, known.table)
        self.predictions, self.promotions, self.phases = predictions, promotions, phases or Phases()
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
                if trial.key not in known and not self._is_over(level, trials):
                    return trial
        return None

    def is_complete(self, level: Level, trials: Sequence[Trial]) -> bool:
        """Whether all that the level will ever train has ended."""
        if level == self.levels[0]:
            return not self._wants_proposals(trials) and all(t.finished for t in at_level(trials, level))
        below = self.levels[self.levels.index(level) - 1]
        if not at_level(trials, level) or not self.is_complete(below, trials):
            return False
        if self._is_over(level, trials):
            return all(trial.finished for trial in at_level(trials, level))
        finished = {trial.key for trial in trials if trial.finished}
        return all(trial.key in finished for trial in self._members(level, trials))

    def decided(self, level: Level, trials: Sequence[Trial]) -> list[Trial]:
        """All that a higher level trains, submitted or not, once that is decided; empty before."""
        place = self.levels.index(level) if level in self.levels else 0
        if place == 0 or not self.is_complete(self.levels[place - 1], trials):
            return []
        if self._is_raced(level) and not self.is_complete(level, trials):
            return []  # a race may end early
        return self._members(level, trials)

    def _is_over(self, level: Level, trials: Sequence[Trial]) -> bool:
        """Whether the level's time is over; not before it has enough to go on with."""
        return len(complete_at(trials, level)) >= ENOUGH and self.phases.is_over(level)

    def planned(self, trials: Sequence[Trial] = ()) -> list[tuple[Level, int]]:
        """How many trials each level takes, as far as can be told before its turn."""
        # A table may tell of more networks than a level has places for.
        plan = [(level, max(count, len(at_level(trials, level)))) for level, count in planned_levels(self.study)]
        if not self._is_open_ended:
            return plan
        rooms = [(level, count, self._room(level, trials)) for level, count in plan]
        return [(level, count if room is None else len(at_level(trials, level)) + room) for level, count, room in rooms]

    @property
    def _is_open_ended(self) -> bool:
        return self.study.open_ended and self.phases.limited

    def _room(self, level: Level, trials: Sequence[Trial]) -> int | None:
        """How many more trials of a level fit into its share of the time, at the pace of those so far."""
        pace, levels = pace_of(trials), self.levels
        if pace is None or level not in levels:
            return None
        before = [self.phases.seconds_left(each) for each in levels[: levels.index(level)]]
        seconds = self.phases.seconds_left(level) - max(before, default=0.0)
        return int(seconds * pace / work_of(self.study.ladder.rungs[level.rung].fidelity))

    def _places(self, level: Level, complete: int, trials: Sequence[Trial]) -> int:
        """How many designs a level takes: what the study says, or what fits into the time, at most half below it."""
        planned = self.study.places(level, complete)
        room = self._room(level, trials) if self._is_open_ended else None
        if room is None:
            return planned
        if level.final:
            return min(max(planned, room // TRAININGS_A_FINALIST), MOST_FINALISTS)
        return max(2, min(room, -(-complete // 2)))

    # --- the lowest rung

    def _wants_proposals(self, trials: Sequence[Trial]) -> bool:
        lowest = Level(0)
        if self._exhausted or self._is_over(lowest, trials):
            return False
        return self._is_open_ended or len(at_level(trials, lowest)) < self.study.trials

    def _proposal(self, trials: Sequence[Trial]) -> Trial | None:
        """The next new design: first the fixed points that fit, at most half of all trials, then the strategy's."""
        lowest = at_level(trials, Level(0))
        known = {trial.architecture_id for trial in lowest}
        probed = {trial.architecture_id: trial.design for trial in at_level(trials, Level(PROBE_RUNG))}
        planned = dict(self.planned(trials))[Level(0)]
        published = list(self.fixed.values())[: max(1, int(planned * FIXED_POINTS_AT_MOST))]
        waiting = [arch for arch in published if arch.id not in known and arch.id not in probed]
        if waiting and (trial := self._of_published(waiting, trials)) is not None:
            return trial
        context = self._context(trials, len(known), tuple(probed.values()))
        proposals = self.study.strategy.propose(context, 1)
        self._exhausted = not proposals
        return self._new(proposals[0], self.study.strategy.label) if proposals else None

    def _of_published(self, waiting: Sequence[Architecture], trials: Sequence[Trial]) -> Trial | None:
        """A trial of one of these; None while the check of what a table tells of them runs."""
        arch = waiting[0] if self.scores is None else self.scores.next(waiting, trials)
        if arch is None:
            return None
        if self.scores is not None and self.scores.stand_for(arch, 0, trials):
            return self.scores.trial(arch, 0, self.predictions.cost(arch))
        return self._new(arch, Kind.FIXED_POINT.value)

    def known_outcome(self, trial: Trial) -> Outcome | None:
        """What came of a trial that `next_trial` gave, where a table tells it; None where it is to be trained."""
        return None if self.scores is None else self.scores.outcome(trial)

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
            Candidate(
                trial.design,
                losses.get(trial.key),
                trial.key in parents,
                trial.finished and not trial.complete,
                not trial.trained_here,
                trial.finished_at,
            )
            for trial in lowest
        ]

    def agreement(self, trials: Sequence[Trial]) -> Agreement | None:
        """How far the lowest rung's trials bear out the table that the search started from; None without one."""
        complete = [trial for trial in complete_at(trials, Level(0)) if trial.trained_here]
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
        """All that a level trains once the one below is complete; of a race all so far, and the next."""
        chosen = self._promoted(level, trials)
        if self._is_raced(level):
            return [*at_level(trials, level), *self._next_in_race(chosen, at_level(trials, level))]
        if not level.final:
            return [self._at_next_rung(each, level.rung, trials) for each in chosen]
        return [
            self._again(each, level.rung, seed, "final", "test") for seed in self.study.final_seeds for each in chosen
        ]

    def _at_next_rung(self, trial: Trial, rung: int, trials: Sequence[Trial]) -> Trial:
        """The design of `trial` at the next rung, as a table has it or to be trained."""
        if self.scores is not None and self.scores.stand_for(trial.design, rung, trials):
            return self.scores.trial(trial.design, rung, trial.cost)
        return self._again(trial, rung, self.study.seed, "promoted")

    def _is_raced(self, level: Level) -> bool:
        return level.final and self.study.race is not None

    def _next_in_race(self, finalists: Sequence[Trial], finals: Sequence[Trial]) -> list[Trial]:
        """The final training that comes next, if any does."""
        study = self.study
        if study.race is None or (len(finals) >= study.race and not self._is_open_ended):
            return []
        racers = [self._racer(each, finals) for each in finalists]
        going = next_racer(racers, len(study.final_seeds))
        if going is None:
            return []
        design, seed = finalists[racers.index(going)], study.final_seeds[going.tried]
        return [self._again(design, study.ladder.top, seed, "final", "test")]

    def _racer(self, finalist: Trial, finals: Sequence[Trial]) -> Racer:
        metric, own = self.study.objective.metric, [t for t in finals if t.architecture_id == finalist.architecture_id]
        return Racer(
            finalist.architecture_id,
            self.predictions.slowness(finalist.design),
            finalist.origin.kind == Kind.FIXED_POINT,
            tuple(trial.metric(metric) for trial in own if trial.complete),
            len(own),
        )

    def _promoted(self, level: Level, trials: Sequence[Trial]) -> list[Trial]:
        lower = level.below
        assert lower is not None  # nobody is promoted to the lowest rung
        below = complete_at(trials, lower)
        places = self._places(level, len(below), trials)
        return self.promotions.decide(level.name, below, lambda: self._choice(lower, below, trials, places))

    def _choice(self, level: Level, complete: Sequence[Trial], trials: Sequence[Trial], places: int) -> list[Trial]:
        """Who of those `complete` at a level goes on: by their scores, or by what these and a table let expect."""
        contenders = self.contenders(complete, trials)
        if self.known is None:
            return most_promising(contenders, places)
        known = self.known.at(self.study.ladder.rungs[level.rung].fidelity)
        own = [one for one in contenders if one.trial.trained_here]  # what a table told it knows already
        seen, scores = [one.trial.design for one in own], [one.score for one in own]
        informed = known.after(seen, scores)
        if informed.trust < HELPS:
            return most_promising(contenders, places)
        expected = informed.expect([one.trial.design for one in contenders])
        return likely_leaders(contenders, expected, places, self._known_above(level, complete, trials))

    def _known_above(self, level: Level, complete: Sequence[Trial], trials: Sequence[Trial]) -> frozenset[str]:
        """Keys of those of which a table tells what comes of them at the next rung."""
        scores, above = self.scores, level.rung + 1
        if scores is None or above > self.study.ladder.top:
            return frozenset()
        return frozenset(each.key for each in complete if scores.stand_for(each.design, above, trials))

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
