"""How a search's time is shared out among its levels, so that a limited one still ends with a verdict."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from nasbench.study.trials import Level

# Shares of the time by which levels have ended, where there are further rungs and where there are none. The rest is the
# final level's: without seeds of its own a design that was chosen for its score proves nothing.
SCREENED, PROMOTED = 0.40, 0.62
CLOSING_S, CLOSING_SHARE = (
    30.0,
    0.05,
)  # kept for what follows the last trial: latencies are measured, the report written


@dataclass(frozen=True)
class Phases:
    """When each level of a search has to be over, by `clock` (seconds), from `started` for `limit` seconds."""

    top: int = 0
    limit: float = math.inf
    started: float = 0.0
    clock: Callable[[], float] = time.monotonic

    @classmethod
    def starting_now(cls, top: int, limit: float | None) -> Phases:
        return cls(top, limit or math.inf, time.monotonic())

    @property
    def deadline(self) -> float:
        """When the last trial should have ended."""
        return self.started + self.limit - min(CLOSING_S, CLOSING_SHARE * self.limit)

    def is_over(self, level: Level) -> bool:
        """Whether no more trials of this level should start, since others have to follow."""
        return self.clock() - self.started > self._share(level) * self.limit

    def _share(self, level: Level) -> float:
        if level.final:
            return 1.0
        if self.top == 0:
            return PROMOTED
        return SCREENED + (PROMOTED - SCREENED) * max(0, level.rung) / self.top

    def leaves_time_for(self, seconds: float) -> bool:
        """Whether a trial that takes so long would end in time."""
        return self.clock() + seconds <= self.deadline
