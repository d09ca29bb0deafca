"""How many trials each level of a search takes: what its study plans, or what fits into its time."""

from __future__ import annotations

from collections.abc import Sequence

from nasbench.engine.levels import at_level, complete_at, planned_levels
from nasbench.engine.phases import Phases, pace_of
from nasbench.study.study import Study
from nasbench.study.trials import Level, Trial

ENOUGH = 2  # complete trials of a level, before which its time is not over
TRAININGS_A_FINALIST, MOST_FINALISTS = 8, 12  # where time allows for more finalists than the study names


class Places:
    """The places of one study's levels; `phases` says when each level has to be over."""

    def __init__(self, study: Study, phases: Phases) -> None:
        self.study, self.phases = study, phases

    @property
    def levels(self) -> list[Level]:
        """The rungs, lowest first, and the final level; probes have a level of their own before these."""
        top = self.study.ladder.top
        return [*(Level(rung) for rung in range(top + 1)), Level(top, final=True)]

    @property
    def open_ended(self) -> bool:
        """Whether the time decides, and not the study's counts."""
        return self.study.open_ended and self.phases.limited

    def is_over(self, level: Level, trials: Sequence[Trial]) -> bool:
        """Whether the level's time is over and at least `ENOUGH` of its trials are complete."""
        return len(complete_at(trials, level)) >= ENOUGH and self.phases.is_over(level)

    def planned(self, trials: Sequence[Trial] = ()) -> list[tuple[Level, int]]:
        """How many trials each level takes, as far as can be told before its turn."""
        # A table may hold more published networks than a level has places.
        plan = [(level, max(count, len(at_level(trials, level)))) for level, count in planned_levels(self.study)]
        if not self.open_ended:
            return plan
        rooms = [(level, count, self._room(level, trials)) for level, count in plan]
        return [(level, count if room is None else len(at_level(trials, level)) + room) for level, count, room in rooms]

    def of(self, level: Level, below: int, trials: Sequence[Trial]) -> int:
        """How many designs a level takes of `below` complete ones: what the study says; or where time decides, those
        that it has and those that fit into its time, at most half of `below`."""
        planned = self.study.places(level, below)
        room = self._room(level, trials) if self.open_ended else None
        if room is None:
            return planned
        if level.final:
            return min(max(planned, room // TRAININGS_A_FINALIST), MOST_FINALISTS)
        return max(2, min(len(at_level(trials, level)) + room, -(-below // 2)))

    def due(self, level: Level, complete: int, trials: Sequence[Trial]) -> int:
        """How many of a level's places may be taken when `complete` trials of the level below are complete: in
        proportion to those expected there, rounded down."""
        assert level.below is not None  # the lowest rung has no promotions
        expected = self._expected(level.below, trials)
        return complete * self.of(level, expected, trials) // max(1, expected)

    def _expected(self, level: Level, trials: Sequence[Trial]) -> int:
        """How many trials a level is expected to have at its end."""
        there = len(at_level(trials, level))
        if self.is_over(level, trials):
            return there
        if level.below is None:
            return dict(self.planned(trials))[level]
        return max(there, self.of(level, self._expected(level.below, trials), trials))

    def _room(self, level: Level, trials: Sequence[Trial]) -> int | None:
        """How many more trials of a level fit into its share of the time, at the pace of those so far."""
        pace, levels = pace_of(trials), self.levels
        if pace is None or level not in levels:
            return None
        before = [self.phases.seconds_left(each) for each in levels[: levels.index(level)]]
        seconds = self.phases.seconds_left(level) - max(before, default=0.0)
        return int(seconds * pace / self.study.ladder.rungs[level.rung].fidelity.work)
