"""The progress of a study that another process runs, read from its folder as it grows."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from nasbench.engine.levels import planned_levels
from nasbench.engine.reporting import dots_of, facts_with
from nasbench.engine.time_left import Pace, Progressing, TimeLeft, progress_state
from nasbench.progress import ProgressState
from nasbench.report.bands import good_enough
from nasbench.report.results import StudyResult, open_study
from nasbench.space import RejectionCounter
from nasbench.study.journal import is_locked
from nasbench.study.store import FILE
from nasbench.study.study import Study
from nasbench.study.trials import Level, Trial

QUIET_S = 120.0  # after its last line, a study that no process of this machine has open counts as stopped


class StoredPlan:
    """What a study will train, as far as its folder tells; promotions are decided by the process that runs it."""

    def __init__(self, result: StudyResult) -> None:
        self.study: Study = result.study
        self.rejections = RejectionCounter()
        for note in result.rejections:
            self.rejections.rejected.update(note.rejected)

    def planned(self, trials: Sequence[Trial] = ()) -> list[tuple[Level, int]]:
        return planned_levels(self.study)

    def decided(self, level: Level, trials: Sequence[Trial]) -> list[Trial]:
        return []


class Watched:
    """One study's folder, read again only when it has changed."""

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self._read: tuple[int, float] | None = None
        self.result = self._open()

    def _open(self) -> StudyResult:
        self._read = self._stamp()
        return open_study(self.folder)

    def _stamp(self) -> tuple[int, float] | None:
        """Size and time of the trials' file; None before there is one."""
        try:
            found = (self.folder / FILE).stat()
        except OSError:
            return None
        return found.st_size, found.st_mtime

    def look(self) -> ProgressState:
        """The study as it stands; its time runs from the first trial to now, or to the last one that ended."""
        if self._stamp() != self._read:
            self.result = self._open()
        plan, trials = StoredPlan(self.result), self.result.trials
        pace, running = self._pace(), self.is_running()
        started = min((trial.submitted_at for trial in trials), default=time.time())
        ended = time.time() if running else max((trial.finished_at for trial in trials), default=started)
        left = TimeLeft(plan).seconds(trials, pace) if running else None
        state = progress_state(plan, trials, pace, max(0.0, ended - started), left)
        rows = self.result.rows()
        return replace(state, dots=dots_of(rows), facts=facts_with(state, good_enough(rows)))

    def _pace(self) -> Pace:
        """The running trials; times are those of the wall clock, which processes share."""
        if not self.is_running():
            return Pace(now=time.time())
        running = {t.key: Progressing(t.submitted_at) for t in self.result.trials if not t.finished}
        return Pace(running, len(running), time.time())

    def is_running(self) -> bool:
        """Whether a process of this machine has it open, or one of another machine has written to it lately."""
        last = self._read[1] if self._read else 0.0
        return is_locked(self.folder) or (not self.is_finished() and time.time() - last < QUIET_S)

    def is_finished(self) -> bool:
        """Whether all final trainings have ended."""
        if len(self.result.trials) == self.result.ended_with:
            return True
        final = Level(self.result.study.ladder.top, final=True)
        ended = [trial for trial in self.result.trials if trial.level == final and trial.finished]
        waiting = [trial for trial in self.result.trials if not trial.finished]
        return bool(ended) and not waiting and len(ended) >= self._finals()

    def _finals(self) -> int:
        """Trials of the final level; of the promoted finalists, once these are known."""
        chosen = self.result.promoted.get("final")
        if chosen is not None:
            return len(chosen) * len(self.result.study.final_seeds)
        return planned_levels(self.result.study)[-1][1]
