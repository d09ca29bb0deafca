"""How far a search has come, and an estimate of the time that it will take.

The trials to come are scheduled over the workers, level by level, each with the effort that efforts.py estimates, at
the present speed: on a shared machine a second of wall-clock time is less than a second of processor time.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from nasbench.engine.efforts import Efforts, Sizes
from nasbench.engine.levels import at_level
from nasbench.progress import ENDED_SHOWN, ProgressState, duration
from nasbench.space import RejectionCounter
from nasbench.study.fidelity import Fidelity
from nasbench.study.objective import Objective
from nasbench.study.study import Study
from nasbench.study.trials import Level, State, Trial

REASON_CHARACTERS = 40  # of a failure, in the display
LAST = 4  # trials at least from which the present speed is estimated
AS_DESIGNS_DIFFER = 2.0  # factor between the seconds of trials of the same cost that says nothing about speed
LEAST_SPEED = 0.005  # of a worker, so that the estimate stays finite
LEAST_REMAINING = 0.05  # of its effort, for a trial that has taken longer than expected
OVERRUN_REMAINING = 0.5  # of the time by which a trial exceeds its effort, expected again


@dataclass(frozen=True)
class Progressing:
    """A running trial: its start, on the clock of `Pace.now`, and the processor seconds used, where known."""

    since: float
    used: float | None = None

    def used_more(self, seconds: float) -> Progressing:
        return replace(self, used=(self.used or 0.0) + seconds)


@dataclass(frozen=True)
class Pace:
    """The state of a run at the time `now`: running trials by key; the most that ran together; processor seconds per
    second of a trial, where workers are watched; when the last trial may start."""

    running: Mapping[str, Progressing] = field(default_factory=dict)
    at_a_time: int = 0
    now: float = 0.0
    share: float | None = None
    deadline: float = math.inf


class Plan(Protocol):
    """The part of a schedule that is needed here; also implemented for a study that another process runs."""

    study: Study

    @property
    def rejections(self) -> RejectionCounter: ...

    def planned(self, trials: Sequence[Trial] = ()) -> list[tuple[Level, int]]: ...

    def decided(self, level: Level, trials: Sequence[Trial]) -> list[Trial]: ...


def progress_state(
    schedule: Plan, trials: Sequence[Trial], pace: Pace, seconds_spent: float, seconds_left: float | None
) -> ProgressState:
    """What the progress display shows."""
    plan, ladder = schedule.planned(trials), schedule.study.ladder
    current = next((level for level, count in plan if len(_finished(trials, level)) < count), plan[-1][0])
    best = best_so_far(trials, schedule.study.objective)
    rung = max(0, current.rung)
    return ProgressState(
        phase="final training, test split" if current.final else "search",
        rung=ladder.rungs[rung].name or f"rung {rung}",
        done=sum(trial.finished for trial in trials),
        total=sum(count for _, count in plan),
        running=len(pace.running),
        best=best[0] if best else None,
        best_name=best[1] if best else "",
        best_unit=schedule.study.objective.words(any(trial.balanced for trial in trials)).unit,
        seconds_spent=seconds_spent,
        seconds_left=seconds_left,
        rejected=dict(schedule.rejections.rejected),
        failed=_failures(trials),
        training=tuple(_trained_now(trial, pace) for trial in trials if trial.key in pace.running),
        ended=tuple(_ending(trial, schedule.study) for trial in _last(trials)),
    )


def best_so_far(trials: Sequence[Trial], objective: Objective) -> tuple[float, str] | None:
    """The best validation score of the highest rung so far, and the design's name; None before there is one."""
    scored = [trial for trial in trials if trial.complete and not trial.level.final]
    if not scored:
        return None
    best = max(scored, key=lambda trial: (trial.level, trial.metric(objective.metric)))
    return best.metric(objective.metric), best.label


def _trained_now(trial: Trial, pace: Pace) -> str:
    return f"{trial.label} ({trial.level.name}, {duration(max(0.0, pace.now - pace.running[trial.key].since))})"


def _last(trials: Sequence[Trial]) -> list[Trial]:
    ended = (trial for trial in trials if trial.finished and trial.trained_here)
    return sorted(ended, key=lambda trial: trial.finished_at)[-ENDED_SHOWN:]


def _ending(trial: Trial, study: Study) -> str:
    """`emo_1m: 41.2 % at rung 0 after 9 s`, or why it failed."""
    if not trial.complete:
        return f"{trial.label}: failed at {trial.level.name}, {trial.reason}"
    score = 100 * trial.metric(study.objective.metric)
    return f"{trial.label}: {score:.1f} % at {trial.level.name} after {duration(trial.seconds)}"


class TimeLeft:
    """Estimates the remaining time of a search; caches costs of designs and decided levels."""

    def __init__(self, schedule: Plan) -> None:
        self._schedule, self._sizes = schedule, Sizes()
        self._decided: dict[Level, list[Trial]] = {}

    def seconds(self, trials: Sequence[Trial], pace: Pace) -> float | None:
        """Until the last trial ends; None until one is complete."""
        if not any(trial.complete and trial.trained_here for trial in trials):
            return None
        efforts, speed = self._efforts_and_speed(trials, pace)
        running = [trial for trial in trials if trial.key in pace.running]
        workers = _Workers(max(1, pace.at_a_time, len(running)), pace.deadline - pace.now)
        still = {t.key: _still(efforts.of(t), pace.running[t.key], pace, speed) / speed for t in running}
        for seconds in still.values():
            workers.busy(seconds)
        # Trials whose designs stand for those of a level that is not decided yet:
        like = [trial for trial in trials if trial.complete and trial.trained_here]
        ends, waits = list[float](), False  # of the level below: when its trials end, and whether any has not ended
        for level, count in self._schedule.planned(trials):
            early = level.rung > 0 and not level.final and self._schedule.study.asynchronous
            if waits and not early:
                workers.wait_for_all()
            decided = self._decided_at(level, trials)
            like = decided or like
            there = {trial.key: trial for trial in at_level(trials, level)}
            waiting = [trial for key, trial in there.items() if not trial.finished and key not in still]
            coming = (trial for trial in decided if trial.key not in there and trial.trained_here)
            needed = [efforts.of(trial) / speed for trial in (*waiting, *coming)]
            if not decided and count > len(there):
                each = efforts.like(level, self._fidelity(level), like) / speed
                needed += [each] * (count - len(there))
            known = [still.get(key, 0.0) for key, trial in there.items() if trial.finished or key in still]
            starts = [_earliest(len(known) + n, count, ends) if early else 0.0 for n in range(len(needed))]
            ends = [*known, *(workers.take(seconds, start) for seconds, start in zip(needed, starts))]
            waits = not self._is_over(level, count, trials, decided)
        return workers.end

    def seconds_of(self, trial: Trial, trials: Sequence[Trial], pace: Pace) -> float:
        """Seconds that a trial started now will take; 0 until one is complete."""
        if not any(each.complete and each.trained_here for each in trials):
            return 0.0
        efforts, speed = self._efforts_and_speed(trials, pace)
        return efforts.of(trial) / speed

    def _efforts_and_speed(self, trials: Sequence[Trial], pace: Pace) -> tuple[Efforts, float]:
        trials = [trial for trial in trials if trial.trained_here]
        efforts = Efforts(trials, self._sizes, by_processor=self._schedule.study.runner.device == "cpu")
        return efforts, max(LEAST_SPEED, pace.share if pace.share is not None else _speed(trials, efforts, pace))

    @staticmethod
    def _is_over(level: Level, count: int, trials: Sequence[Trial], decided: Sequence[Trial]) -> bool:
        return len(_finished(trials, level)) >= (len(decided) or count)

    def _decided_at(self, level: Level, trials: Sequence[Trial]) -> list[Trial]:
        if not self._decided.get(level):
            self._decided[level] = self._schedule.decided(level, trials)
        return self._decided[level]

    def _fidelity(self, level: Level) -> Fidelity:
        return self._schedule.study.ladder.rungs[max(0, level.rung)].fidelity


def _still(effort: float, progressing: Progressing, pace: Pace, speed: float) -> float:
    """The remaining effort of a running trial."""
    known = progressing.used is not None and pace.share is not None
    used = progressing.used or 0.0 if known else (pace.now - progressing.since) * speed
    return max(effort - used, LEAST_REMAINING * effort, OVERRUN_REMAINING * (used - effort))


def _speed(trials: Sequence[Trial], efforts: Efforts, pace: Pace) -> float:
    """Effort per second of the latest trials, and of running ones that already lower it; 1 where effort is seconds and
    the speed differs from 1 by no more than designs do."""
    complete = sorted((trial for trial in trials if trial.complete), key=lambda trial: trial.finished_at)
    last = complete[-max(LAST, 2 * pace.at_a_time) :]
    done, seconds = sum(map(efforts.expected, last)), sum(trial.seconds for trial in last)
    running = [trial for trial in trials if trial.key in pace.running]
    for trial in sorted(running, key=lambda trial: pace.running[trial.key].since):
        effort, age = efforts.of(trial), pace.now - pace.running[trial.key].since
        if age * done > effort * seconds:
            done, seconds = done + effort, seconds + age
    speed = done / seconds if done > 0 and seconds > 0 else 1.0
    return 1.0 if not efforts.by_processor and abs(math.log(speed)) < math.log(AS_DESIGNS_DIFFER) else speed


def _earliest(place: int, count: int, below: Sequence[float]) -> float:
    """When the trial in `place` (from 0) of a level's `count` may start, with those below ending at these times."""
    share = -(-(place + 1) * len(below) // max(1, count))
    return sorted(below)[min(share, len(below)) - 1] if below else 0.0


class _Workers:
    """Simulates `count` workers: when each is free, in seconds from now; nothing starts after `limit`."""

    def __init__(self, count: int, limit: float) -> None:
        self._free, self._limit = [0.0] * count, limit

    @property
    def end(self) -> float:
        return max(self._free)

    def busy(self, seconds: float) -> None:
        heapq.heapreplace(self._free, seconds)

    def take(self, seconds: float, earliest: float = 0.0) -> float:
        """When a trial of so many seconds ends that may start from `earliest` on; infinity after the limit."""
        start = max(self._free[0], earliest)
        if start >= self._limit:
            return math.inf
        heapq.heapreplace(self._free, start + seconds)
        return start + seconds

    def wait_for_all(self) -> None:
        self._free = [self.end] * len(self._free)


def _finished(trials: Sequence[Trial], level: Level) -> list[Trial]:
    return [trial for trial in at_level(trials, level) if trial.finished]


def _failures(trials: Sequence[Trial]) -> dict[str, int]:
    """How many trials failed for each reason, the reason cut at its first colon."""
    failed = (trial for trial in trials if trial.state == State.FAILED)
    return dict(Counter((trial.reason or "").partition(":")[0][:REASON_CHARACTERS] for trial in failed))
