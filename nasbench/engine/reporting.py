"""What the user sees while a search runs: the progress display, failures, and fronts written on the way."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from nasbench.engine.predictions import ProfileSource
from nasbench.engine.race import resolved
from nasbench.engine.schedule import Schedule
from nasbench.engine.time_left import Pace, TimeLeft, progress_state
from nasbench.progress import Progress, ProgressState
from nasbench.report.bands import good_enough
from nasbench.report.results import StudyResult
from nasbench.report.rows import ReportRow
from nasbench.study.store import TrialStore
from nasbench.study.trials import Kind, Level, State, Trial
from nasbench.terminal import Dot, DotKind

DOTS_SHARE = 20  # the displayed front is taken anew after so many times the seconds that it took
FIRST_FRONT = 8  # complete trials, from which on a front is written
ENOUGH_FOR_PACE = 4  # complete trials, from which on the plan of a limited search is shown
TYPICAL_NOISE = 0.02  # deviation of accuracy over seeds, at the highest rung of the shipped ladder


def dots_of(rows: Sequence[ReportRow]) -> tuple[Dot, ...]:
    """A report's rows as dots of the display: latency in ms, accuracy in %."""
    return tuple(
        Dot(row.latency, 100 * row.accuracy, "front" if row.on_front else _kind(row))
        for row in rows
        if row.latency is not None
    )


def facts_with(state: ProgressState, verdict: str) -> tuple[str, ...]:
    """The facts that the display shows, with the verdict where there is one."""
    return (*state.facts, verdict) if verdict else state.facts


def _kind(row: ReportRow) -> DotKind:
    return "published" if row.kind == Kind.FIXED_POINT else "other"


class Reporting:
    """Updates `progress`, and writes the report after the first complete trials and with each complete level."""

    def __init__(self, schedule: Schedule, store: TrialStore, profile: ProfileSource, progress: Progress) -> None:
        self.schedule, self.store, self.profile, self.progress = schedule, store, profile, progress
        self._reported: set[Level] = set()
        self._any_is_written = False
        self._told: tuple[Sequence[Trial], Sequence[ReportRow]] | None = None  # by the last report
        self._started = time.monotonic()
        self._time_left = TimeLeft(schedule)
        self._dots: tuple[Dot, ...] = ()
        self._verdict = ""
        self._dots_due = 0.0
        self._plan_is_told = self._check_is_told = False

    def seconds_spent(self) -> float:
        return time.monotonic() - self._started

    def show(self, pace: Pace) -> None:
        left = self._time_left.seconds(self.store.trials, pace)
        state = progress_state(self.schedule, self.store.trials, pace, self.seconds_spent(), left)
        self.progress.update(replace(state, dots=self._dots, facts=facts_with(state, self._verdict)))

    def seconds_expected(self, trial: Trial, pace: Pace) -> float:
        """That a trial started now would take; 0 while there is nothing to estimate it from."""
        return self._time_left.seconds_of(trial, self.store.trials, pace)

    def after(self, trial: Trial) -> None:
        """Called when a trial has ended: note a failure and what has been decided since, and write a front if due."""
        if trial.state == State.FAILED:
            self.progress.note(f"trial {trial.key[:8]} of {trial.label} failed: {trial.reason}")
        self._look_at_front()
        self._tell_plan()
        self._tell_check()
        if self.profile() is not None and self._due():
            result = self.write()
            members = sum(row.on_front for row in result.rows())
            designs = f"{members} design{'s' if members != 1 else ''}"
            self.progress.note(f"front of {designs} written to {result.folder} after {self.seconds_spent():.0f} s")

    def _tell_agreement(self, complete: set[Level]) -> None:
        """Once the lowest rung is complete: whether its trials agree with the table that the search started from."""
        lowest = self.schedule.levels[0]
        agreement = self.schedule.agreement(self.store.trials) if lowest in complete - self._reported else None
        if agreement is not None:
            self.progress.note(f"{self.schedule.known}: {agreement}")

    def _tell_plan(self) -> None:
        """Once the pace is known: how many trials a search with a time limit will train, and the lead it can detect."""
        trials, schedule = self.store.trials, self.schedule
        complete = sum(trial.complete for trial in trials)
        if self._plan_is_told or not schedule.phases.limited or complete < ENOUGH_FOR_PACE:
            return
        self._plan_is_told = True
        plan = [(level, count) for level, count in schedule.planned(trials) if level.rung >= 0]
        counts = ", ".join(f"{count} {'at last' if level.final else f'at {level.name}'}" for level, count in plan)
        lead = resolved(plan[-1][1], schedule.study.finalists, TYPICAL_NOISE)
        self.progress.note(
            f"at this pace the time allows about {counts}: where seeds scatter by {100 * TYPICAL_NOISE:g} points, "
            f"a lead of {100 * lead:.1f} points is told from luck in four of five cases"
        )

    def _tell_check(self) -> None:
        """Once decided: whether the table's trainings of published networks are used in place of the search's own."""
        scores = self.schedule.scores
        if self._check_is_told or scores is None or not scores.checked:
            return
        agree = scores.agree(self.store.trials)
        if agree is not None:
            self._check_is_told = True
            names = " and ".join(str(arch.name) for arch in scores.checked)
            stand = "agree with the table: its trainings stand for those of the other published networks"
            fall = "differ from the table by more than seeds do: all published networks are trained"
            self.progress.note(f"{names}, trained again, {stand if agree else fall}")

    def _look_at_front(self) -> None:
        """Update the display's dots and verdict; takes at most a twentieth of the time."""
        started = time.monotonic()
        if self.profile() is not None and started >= self._dots_due:
            rows = self.result().rows()
            self._dots, self._verdict = dots_of(rows), good_enough(rows)
            now = time.monotonic()
            self._dots_due = now + DOTS_SHARE * (now - started)

    def stored(self) -> StudyResult:
        """The study as it is stored so far."""
        return StudyResult.from_store(self.schedule.study, self.store)

    def result(self) -> StudyResult:
        """The study as it stands, latencies predicted where none is known."""
        profile = self.profile()
        return self.stored().with_measurements(profile).with_predictions(profile)

    def write(self) -> StudyResult:
        """Write the report, unless the last one says the same -> the study as it stands."""
        result = self.result()
        told = (result.trials, result.rows())
        if told != self._told:
            result.report()
            self._told = told
        return result

    def _due(self) -> bool:
        trials = self.store.trials
        first = sum(trial.complete for trial in trials) >= min(FIRST_FRONT, self.schedule.study.trials)
        complete = {level for level in self.schedule.levels if self.schedule.is_complete(level, trials)}
        self._tell_agreement(complete)
        due = bool(complete - self._reported) or (first and not self._any_is_written)
        self._reported |= complete
        self._any_is_written = self._any_is_written or due
        return due
