"""How far a study has come and how long it will take, from its trials."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from nasbench.progress import ProgressState
from nasbench.report.results import Level, StudyResult, level, mean_seconds
from nasbench.scaling.objective import PROBE_RUNG, PROBE_SHARES, Reach
from nasbench.study.fidelity import Ladder
from nasbench.study.study import Study
from nasbench.study.trials import Trial, TrialStore


@dataclass(frozen=True)
class Outlook:
    """A study with the trials that it has so far."""

    study: Study
    ladder: Ladder
    store: TrialStore

    def state(self, running: int, at_a_time: int, seconds_spent: float, rejected: Mapping[str, int]) -> ProgressState:
        """What the progress display shows; `at_a_time` is how many trials run together."""
        plan = self._plan()
        current = next((at for at, count in plan if len(self._finished(at)) < count), plan[-1][0])
        best = StudyResult.from_store(self.study, self.store).best_score()
        return ProgressState(
            phase="final training, test split" if current[1] else "search",
            rung=self.ladder.rungs[max(0, current[0])].name or f"rung {max(0, current[0])}",
            done=sum(trial.state != "submitted" for trial in self.store.trials),
            total=sum(count for _, count in plan),
            running=running,
            best=best[0] if best else None,
            best_name=best[1] if best else "",
            best_unit=self.study.objective.unit,
            seconds_spent=seconds_spent,
            seconds_left=self._seconds_left(plan, at_a_time),
            rejected=dict(rejected),
            failed=self._failures(),
        )

    def _plan(self) -> list[tuple[Level, int]]:
        """How many trials each level takes, as far as can be told now."""
        plan, places, top = [((0, False), self.study.trials)], self.study.trials, len(self.ladder.rungs) - 1
        if Reach.of(self.study.objectives) is not None:
            plan.insert(0, ((PROBE_RUNG, False), len(PROBE_SHARES) * self.study.trials))
        for rung in range(1, len(self.ladder.rungs)):
            places = min(self.ladder.rungs[rung].trials, max(2, math.ceil(places / 2)))
            plan.append(((rung, False), places))
        return [*plan, ((top, True), min(places, self.study.finalists) * len(self.study.final_seeds))]

    def _at(self, at: Level) -> list[Trial]:
        return [trial for trial in self.store.trials if level(trial) == at]

    def _finished(self, at: Level) -> list[Trial]:
        return [trial for trial in self._at(at) if trial.state != "submitted"]

    def _failures(self) -> dict[str, int]:
        failures: dict[str, int] = {}
        for trial in self.store.trials:
            if trial.state == "failed":
                reason = (trial.reason or "").partition(":")[0][:40]
                failures[reason] = failures.get(reason, 0) + 1
        return failures

    def _seconds_left(self, plan: list[tuple[Level, int]], at_a_time: int) -> float | None:
        """From the mean duration at each level; a level not reached yet counts by its samples."""
        work, rate = 0.0, None
        for at, count in plan:
            samples = self.ladder.rungs[max(0, at[0])].fidelity.samples
            measured = mean_seconds(self._at(at))
            rate = measured / samples if measured is not None else rate
            if rate is None:
                return None
            work += max(0, count - len(self._finished(at))) * rate * samples
        return work / max(1, at_a_time)
