"""The store of a study's trials: `trials.jsonl`, append-only.

The driver alone writes it: a "submitted" record before a trial starts, and a "finished" record before its outcome is
used. Workers write their outcome to the spool first, from which it is recovered after the driver was killed.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import TypeVar

from nasbench.errors import UserError, shown
from nasbench.study.journal import Journal, Line
from nasbench.study.notes import EndNote, LatencyNote, LongNote, Note, PromotionNote, RejectionNote, note_of
from nasbench.study.spool import SPOOL, spool_path, spool_read
from nasbench.study.trial_records import finished_time
from nasbench.study.trials import Outcome, Trial

FILE = "trials.jsonl"
NoteT = TypeVar("NoteT", LatencyNote, PromotionNote, RejectionNote, LongNote, EndNote)
NEWER = "was it written by a newer nasbench? read it with that one"
NAMED = 3  # unreadable lines with a warning each; of more only the numbers

log = logging.getLogger("nasbench.study")


class TrialStore:
    """The trials of one study folder, in the order they were submitted; only one process may have it open to write.

    An unreadable line is kept and skipped with a warning; `unread` maps its number to the problem. UserError where no
    line of the file can be read.
    """

    def __init__(self, folder: Path | str, read_only: bool = False) -> None:
        self.folder = Path(folder)
        self._journal = Journal(self.folder / FILE, read_only)
        self._trials: dict[str, Trial] = {}
        self._lines: dict[str, int] = {}  # where each trial was submitted
        self._notes: list[Note] = []
        self.unread: dict[int, str] = {}
        try:
            for line in self._journal.lines:
                self._apply(line)
            self._warn()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> TrialStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._journal.close()

    @property
    def trials(self) -> tuple[Trial, ...]:
        return tuple(self._trials.values())

    def get(self, key: str) -> Trial | None:
        return self._trials.get(key)

    def has_result(self, key: str) -> bool:
        """Whether `key` is finished, complete or failed: it must not be run again."""
        trial = self._trials.get(key)
        return trial is not None and trial.finished

    def outstanding(self) -> tuple[Trial, ...]:
        """The trials that are submitted and not finished, which a resumed study runs first."""
        return tuple(trial for trial in self._trials.values() if not trial.finished)

    def submit(self, trial: Trial) -> None:
        """Record that `trial` is about to start; one already outstanding (after a resume) is not written twice."""
        if self.has_result(trial.key):
            raise ValueError(f"trial {trial.key} is finished; the same trial is never run twice")
        if trial.key not in self._trials:
            self._journal.append({"kind": "submitted", **trial.to_record()})
            self._trials[trial.key] = trial

    def finish(self, key: str, outcome: Outcome) -> Trial:
        """Record `key`'s outcome -> the finished trial; its spooled copy is removed after that."""
        if key not in self._trials:
            raise ValueError(f"trial {key} was never submitted")
        if self.has_result(key):
            raise ValueError(f"trial {key} is finished; the same trial is never run twice")
        now = time.time()
        self._journal.append({"kind": "finished", "key": key, **outcome.to_dict(), "finished_at": now})
        self._trials[key] = self._trials[key].with_outcome(outcome, now)
        spool_path(self.folder / SPOOL, key).unlink(missing_ok=True)
        return self._trials[key]

    def note(self, note: Note) -> None:
        """Record something else than a trial, such as a measured latency or a promotion."""
        self._journal.append({"kind": "note", "name": note.name, "time": time.time(), "content": note.to_dict()})
        self._notes.append(note)

    def notes(self, kind: type[NoteT]) -> tuple[NoteT, ...]:
        """The notes of this kind, oldest first."""
        return tuple(note for note in self._notes if isinstance(note, kind))

    def pass_over(self, trial: Trial, problem: str) -> None:
        """Treat a trial's record as unreadable, because of `problem`."""
        del self._trials[trial.key]
        number = self._lines[trial.key]
        self.unread[number] = problem
        log.warning("%s", self._passed_over(number))

    def drain_spool(self) -> tuple[Trial, ...]:
        """Record the outcomes in the spool -> their trials, now finished."""
        drained = []
        for key, outcome in spool_read(self.folder / SPOOL).items():
            if key in self._trials and not self.has_result(key):
                drained.append(self.finish(key, outcome))
            elif key in self._trials:
                spool_path(self.folder / SPOOL, key).unlink(missing_ok=True)
        return tuple(drained)

    def _apply(self, line: Line) -> None:
        try:
            self._take(line)
        except (ValueError, KeyError) as error:
            self.unread[line.number] = f"key {error} is missing" if isinstance(error, KeyError) else str(error)

    def _take(self, line: Line) -> None:
        """Apply one stored line; ValueError or KeyError where it cannot be read."""
        record = line.record
        if record is None:
            raise ValueError("not a JSON record")
        kind = record.get("kind")
        if kind == "submitted":
            trial = Trial.from_record(record)
            if trial.key not in self._trials:  # else it is a repetition
                self._trials[trial.key] = trial
                self._lines[trial.key] = line.number
        elif kind == "finished":
            key = str(record["key"])
            if key not in self._trials:
                raise ValueError(f"trial {shown(key)} is unknown")
            outcome, finished_at = Outcome.from_record(record), finished_time(record)
            self._trials[key] = self._trials[key].with_outcome(outcome, finished_at)
        elif kind == "note":
            self._notes += note_of(record)
        else:
            raise ValueError(f"unknown kind {shown(kind)}")

    def _warn(self) -> None:
        """Warn of unreadable lines; UserError where all of them are."""
        numbers = list(self.unread)
        if numbers and len(numbers) == len(self._journal.lines):
            first = f"{self._journal.path}, line {numbers[0]}: {self.unread[numbers[0]]}"
            raise UserError(f"{first}; no line of the file can be read: {NEWER}, or put back a copy of the file")
        for number in numbers[:NAMED]:
            log.warning("%s", self._passed_over(number))
        if len(numbers) > NAMED:
            more = ", ".join(map(str, numbers[NAMED : NAMED + 12])) + (", ..." if len(numbers) > NAMED + 12 else "")
            log.warning("%s: %d more lines cannot be read: %s", self._journal.path, len(numbers) - NAMED, more)

    def _passed_over(self, number: int) -> str:
        return (
            f"{self._journal.path}, line {number}: {self.unread[number]}; passed over, the rest of the study is read: "
            f"put that line back from a copy, or delete it ({NEWER})"
        )
