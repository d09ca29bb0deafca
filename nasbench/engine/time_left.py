"""How far a search has come and how long it will take, from its trials."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nasbench.engine.schedule import Schedule, at_level
from nasbench.progress import ProgressState
from nasbench.report.results import best_so_far
from nasbench.study.trials import Level, State, Trial

REASON_CHARACTERS = 40  # of a failure, in the display


@dataclass(frozen=True)
class Pace:
    """How a run goes: trials that run now, most that ran together, seconds since it began."""

    running: int
    at_a_time: int
    seconds_spent: float


def progress_state(
    schedule: Schedule, trials: Sequence[Trial], pace: Pace, rejected: Mapping[str, int]
) -> ProgressState:
    """What the progress display shows; `rejected`: how many proposals each rule turned away."""
    plan, ladder = schedule.planned(), schedule.study.ladder
    current = next((level for level, count in plan if len(_finished(trials, level)) < count), plan[-1][0])
    best = best_so_far(trials, schedule.study.objective)
    rung = max(0, current.rung)
    return ProgressState(
        phase="final training, test split" if current.final else "search",
        rung=ladder.rungs[rung].name or f"rung {rung}",
        done=sum(trial.finished for trial in trials),
        total=sum(count for _, count in plan),
        running=pace.running,
        best=best[0] if best else None,
        best_name=best[1] if best else "",
        best_unit=schedule.study.objective.words(any(trial.balanced for trial in trials)).unit,
        seconds_spent=pace.seconds_spent,
        seconds_left=seconds_left(schedule, trials, pace.at_a_time),
        rejected=dict(rejected),
        failed=_failures(trials),
    )


def seconds_left(schedule: Schedule, trials: Sequence[Trial], at_a_time: int) -> float | None:
    """From the mean duration at each level; a level not reached yet counts by its samples. None until one has ended."""
    work, rate = 0.0, None
    for level, count in schedule.planned():
        samples = schedule.study.ladder.rungs[max(0, level.rung)].fidelity.samples
        seconds = [trial.seconds for trial in at_level(trials, level) if trial.complete]
        rate = statistics.fmean(seconds) / samples if seconds else rate
        if rate is None:
            return None
        work += max(0, count - len(_finished(trials, level))) * rate * samples
    return work / max(1, at_a_time)


def _finished(trials: Sequence[Trial], level: Level) -> list[Trial]:
    return [trial for trial in at_level(trials, level) if trial.finished]


def _failures(trials: Sequence[Trial]) -> dict[str, int]:
    """How many trials failed for each reason, the reason cut at its first colon."""
    failed = (trial for trial in trials if trial.state == State.FAILED)
    return dict(Counter((trial.reason or "").partition(":")[0][:REASON_CHARACTERS] for trial in failed))
