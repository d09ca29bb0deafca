"""How a search's time is shared out among its levels, so that a limited one still ends with a verdict."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nasbench.study.fidelity import Ladder
from nasbench.study.trials import Level, Trial

# Shares of the time by which the lowest and the highest rung end. The rest is the final level's: the score by which a
# design was selected is biased, so that fresh seeds have to confirm it.
SCREENED, PROMOTED = 0.40, 0.62
CLOSING_S, CLOSING_SHARE = 30.0, 0.08  # kept for measuring latencies and writing the report after the last trial


@dataclass(frozen=True)
class Phases:
    """When each level of a search has to be over, by `clock` (seconds), from `started` for `limit` seconds."""

    top: int = 0
    limit: float = math.inf
    started: float = 0.0
    clock: Callable[[], float] = time.monotonic

    @classmethod
    def of(cls, ladder: Ladder, limit: float | None, used: float = 0.0) -> Phases:
        """Starting now, with `used` seconds of the limit spent before."""
        return cls(ladder.top, limit or math.inf, time.monotonic() - used)

    @property
    def limited(self) -> bool:
        return math.isfinite(self.limit)

    @property
    def deadline(self) -> float:
        """When the last trial should have ended."""
        return self.started + self.limit - min(CLOSING_S, CLOSING_SHARE * self.limit)

    def is_over(self, level: Level) -> bool:
        """Whether no more trials of this level should start, since others have to follow."""
        return self.clock() > self._end_of(level)

    def seconds_left(self, level: Level) -> float:
        """Until the level's share of the time ends."""
        return max(0.0, self._end_of(level) - self.clock())

    def leaves_time_for(self, seconds: float) -> bool:
        """Whether a trial that takes so long would end in time."""
        return self.clock() + seconds <= self.deadline

    def _end_of(self, level: Level) -> float:
        return self.deadline if level.final else self.started + self._share(level) * self.limit

    def _share(self, level: Level) -> float:
        if self.top == 0:
            return PROMOTED
        return SCREENED + (PROMOTED - SCREENED) * max(0, level.rung) / self.top


def pace_of(trials: Sequence[Trial]) -> float | None:
    """Work (`Fidelity.work`) per second of all workers together; None before two trials are complete."""
    complete = [trial for trial in trials if trial.complete and trial.trained_here]
    seconds = seconds_busy(trials)
    if len(complete) < 2 or seconds <= 0:
        return None
    return sum(trial.fidelity.work for trial in complete) / seconds


def seconds_busy(trials: Sequence[Trial]) -> float:
    """Seconds in which at least one trial ran; the time between two runs of a search does not count."""
    busy, until = 0.0, -math.inf
    for trial in sorted((trial for trial in trials if trial.finished), key=lambda trial: trial.submitted_at):
        busy += max(0.0, trial.finished_at - max(trial.submitted_at, until))
        until = max(until, trial.finished_at)
    return busy
