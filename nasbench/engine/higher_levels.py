"""What the levels above the lowest rung train: promoted designs, and at last the finalists with fresh seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nasbench.engine.contests import likely_leaders
from nasbench.engine.levels import at_level, complete_at
from nasbench.engine.places import Places
from nasbench.engine.predictions import Predictions
from nasbench.engine.promotion import Promotions, contenders, most_promising
from nasbench.engine.published import PublishedScores
from nasbench.engine.race import Racer, next_racer
from nasbench.engine.warm_start import LEAST_TRUST, Known
from nasbench.scaling.objective import PROBE_RUNG
from nasbench.study.study import Study
from nasbench.study.trials import Kind, Level, Origin, Split, Trial


@dataclass(eq=False)
class HigherLevels:
    """The trials of one study above its lowest rung. `known` as in `Schedule`."""

    study: Study
    predictions: Predictions
    promotions: Promotions
    places: Places
    known: Known | None
    scores: PublishedScores | None

    def members(self, level: Level, trials: Sequence[Trial]) -> list[Trial]:
        """All trials of a level, once the one below is complete; of a race all so far, and the next."""
        complete = complete_at(trials, _below(level))
        chosen = self.promotions.decide(level.name, complete, lambda: self._chosen(level, complete, trials))
        if self.is_raced(level):
            return [*at_level(trials, level), *self._next_in_race(chosen, at_level(trials, level))]
        if not level.final:
            return [self._at_rung(each, level.rung, trials) for each in chosen]
        return [
            self._again(each, level.rung, seed, "final", "test") for seed in self.study.final_seeds for each in chosen
        ]

    def next_early(self, level: Level, trials: Sequence[Trial]) -> Trial | None:
        """The next promotion to a rung while the one below still trains: the best design complete there that is not
        promoted yet. None while the rung has its share of trials."""
        complete = _with_their_probes(complete_at(trials, _below(level)), trials)
        due = self.places.due(level, len(complete), trials)
        if self._taken(level, trials) >= due or self.places.is_over(level, trials):
            return None
        waiting = self._waiting(level, complete, trials, due)
        return self._at_rung(waiting[0], level.rung, trials) if waiting else None

    def is_raced(self, level: Level) -> bool:
        return level.final and self.study.race is not None

    def _chosen(self, level: Level, complete: Sequence[Trial], trials: Sequence[Trial]) -> list[Trial]:
        """The promoted trials, once the level below is complete; those promoted early are among them."""
        places = self.places.of(level, len(complete), trials)
        if level.final or not self.study.asynchronous:
            return self._choice(_below(level), complete, trials, places)
        there = _designs(level, trials)
        early = [each for each in complete if each.architecture_id in there]
        return [*early, *self._waiting(level, complete, trials, places)]

    def _waiting(self, level: Level, complete: Sequence[Trial], trials: Sequence[Trial], places: int) -> list[Trial]:
        """Of the best `places` designs `complete` below, those that are not at the level yet and have room there."""
        there, free = _designs(level, trials), self._known_above(_below(level), complete, trials)
        left, found = places - self._taken(level, trials), []
        for each in self._choice(_below(level), complete, trials, places):
            if each.architecture_id not in there and (left > 0 or each.key in free):
                left -= each.key not in free
                found.append(each)
        return found

    def _taken(self, level: Level, trials: Sequence[Trial]) -> int:
        """How many places of a rung are used; a training from a table takes none."""
        return sum(trial.trained_here for trial in at_level(trials, level))

    def _at_rung(self, trial: Trial, rung: int, trials: Sequence[Trial]) -> Trial:
        """The design of `trial` at a higher rung: as it is there, as a table has it, or to be trained."""
        there = [each for each in at_level(trials, Level(rung)) if each.architecture_id == trial.architecture_id]
        if there:
            return there[0]
        if self.scores is not None and self.scores.stand_for(trial.design, rung, trials):
            return self.scores.trial(trial.design, rung, trial.cost)
        seed, fidelity = self.study.seed, self.study.ladder.rungs[rung].fidelity
        seed = seed if self.known is None else self.known.fresh_seed(trial.design, fidelity, seed)
        return self._again(trial, rung, seed, "promoted")

    def _next_in_race(self, finalists: Sequence[Trial], finals: Sequence[Trial]) -> list[Trial]:
        """The next final training, if there is one, as a list."""
        study = self.study
        if study.race is None or (len(finals) >= study.race and not self.places.open_ended):
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

    def _choice(self, level: Level, complete: Sequence[Trial], trials: Sequence[Trial], places: int) -> list[Trial]:
        """The best of those `complete` at a level: by their scores, or where a table is trusted, by their expected
        accuracy given scores and table."""
        able = contenders(self.study, self.predictions, complete, trials)
        if self.known is None:
            return most_promising(able, places)
        known = self.known.at(self.study.ladder.rungs[level.rung].fidelity)
        own = [one for one in able if one.trial.trained_here]  # the table has the others already
        seen, scores = [one.trial.design for one in own], [one.score for one in own]
        informed = known.after(seen, scores)
        if informed.trust < LEAST_TRUST:
            return most_promising(able, places)
        designs = [one.trial.design for one in able]
        expected, now, late = informed.expect(designs), informed.now(designs), informed.late(designs)
        free, last = self._known_above(level, complete, trials), level.rung == self.study.ladder.top
        return likely_leaders(able, expected, places, free, now, late, last)

    def _known_above(self, level: Level, complete: Sequence[Trial], trials: Sequence[Trial]) -> frozenset[str]:
        """Keys of those whose training at the next rung a table holds."""
        scores, above = self.scores, level.rung + 1
        if scores is None or above > self.study.ladder.top:
            return frozenset()
        return frozenset(each.key for each in complete if scores.stand_for(each.design, above, trials))

    def _again(self, trial: Trial, rung: int, seed: int, how: str, split: Split = "validation") -> Trial:
        """The design of `trial` at a higher level."""
        return self.study.trial(trial.design, seed, Origin(trial.origin.kind, rung, how, trial.cost), split)


def _below(level: Level) -> Level:
    assert level.below is not None  # the lowest rung has no promotions
    return level.below


def _designs(level: Level, trials: Sequence[Trial]) -> set[str]:
    return {trial.architecture_id for trial in at_level(trials, level)}


def _with_their_probes(complete: Sequence[Trial], trials: Sequence[Trial]) -> list[Trial]:
    """Those without a running probe: until it ends their error at the target size is a guess."""
    running = {trial.origin.of for trial in at_level(trials, Level(PROBE_RUNG)) if not trial.finished}
    return [trial for trial in complete if trial.architecture_id not in running]
