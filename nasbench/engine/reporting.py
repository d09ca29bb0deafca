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

DOTS_SHARE = 20  # times as long as it took, the front on the display is left alone
FIRST_FRONT = 8  # complete trials at which a first front is worth a look
TELLING = 4  # complete trials that tell how fast a search goes
TYPICAL_NOISE = 0.02  # deviation of accuracy over seeds, at the deciding rung of the shipped ladder


def dots_of(rows: Sequence[ReportRow]) -> tuple[Dot, ...]:
    """What the display draws of a report's rows."""
    return tuple(
        Dot(row.latency, 100 * row.accuracy, "front" if row.on_front else _kind(row))
        for row in rows
        if row.latency is not None
    )


def facts_with(state: ProgressState, verdict: str) -> tuple[str, ...]:
    """The facts that the display shows, with the verdict where it is decided."""
    return (*state.facts, verdict) if verdict else state.facts


def _kind(row: ReportRow) -> DotKind:
    return "published" if row.kind == Kind.FIXED_POINT else "other"


class Reporting:
    """Tells `progress` how the search stands, and writes its report when there is something new to see."""

    def __init__(self, schedule: Schedule, store: TrialStore, profile: ProfileSource, progress: Progress) -> None:
        self.schedule, self.store, self.profile, self.progress = schedule, store, profile, progress
        self._reported: set[Level] = set()
        self._any_is_written = False
        self._started = time.monotonic()
        self._time_left = TimeLeft(schedule)
        self._dots: tuple[Dot, ...] = ()
        self._verdict = ""
        self._dots_due = 0.0
        self._plan_is_told = False

    def seconds_spent(self) -> float:
        return time.monotonic() - self._started

    def show(self, pace: Pace) -> None:
        left = self._time_left.seconds(self.store.trials, pace)
        state = progress_state(self.schedule, self.store.trials, pace, self.seconds_spent(), left)
        self.progress.update(replace(state, dots=self._dots, facts=facts_with(state, self._verdict)))

    def seconds_expected(self, trial: Trial, pace: Pace) -> float:
        """That it would take from now on; 0 while nothing tells."""
        return self._time_left.seconds_of(trial, self.store.trials, pace)

    def after(self, trial: Trial) -> None:
        """A trial has ended: say why it failed; write the front after the first few and with each complete level."""
        if trial.state == State.FAILED:
            self.progress.note(f"trial {trial.key[:8]} of {trial.label} failed: {trial.reason}")
        self._look_at_front()
        self._tell_plan()
        if self.profile() is not None and self._due():
            result = self.result()
            members = sum(row.on_front for row in result.report())
            designs = f"{members} design{'s' if members != 1 else ''}"
            self.progress.note(f"front of {designs} written to {result.folder} after {self.seconds_spent():.0f} s")

    def _tell_agreement(self, complete: set[Level]) -> None:
        """Once the lowest rung is complete: whether the table that the search started from was right."""
        lowest = self.schedule.levels[0]
        agreement = self.schedule.agreement(self.store.trials) if lowest in complete - self._reported else None
        if agreement is not None:
            self.progress.note(f"{self.schedule.known}: {agreement}")

    def _tell_plan(self) -> None:
        """Once trials have shown how fast it goes: what a search with a time limit will train, and can resolve."""
        trials, schedule = self.store.trials, self.schedule
        complete = sum(trial.complete for trial in trials)
        if self._plan_is_told or not schedule.phases.limited or complete < TELLING:
            return
        self._plan_is_told = True
        plan = [(level, count) for level, count in schedule.planned(trials) if level.rung >= 0]
        counts = ", ".join(f"{count} {'at last' if level.final else f'at {level.name}'}" for level, count in plan)
        lead = resolved(plan[-1][1], schedule.study.finalists, TYPICAL_NOISE)
        self.progress.note(
            f"at this pace the time allows about {counts}: where seeds scatter by {100 * TYPICAL_NOISE:g} points, "
            f"a lead of {100 * lead:.1f} points is told from luck in four of five cases"
        )

    def _look_at_front(self) -> None:
        """The display's dots and verdict anew, where that takes no more than a twentieth of the time."""
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

    def _due(self) -> bool:
        trials = self.store.trials
        first = sum(trial.complete for trial in trials) >= min(FIRST_FRONT, self.schedule.study.trials)
        complete = {level for level in self.schedule.levels if self.schedule.is_complete(level, trials)}
        self._tell_agreement(complete)
        due = bool(complete - self._reported) or (first and not self._any_is_written)
        self._reported |= complete
        self._any_is_written = self._any_is_written or due
        return due
