"""The store of a study's trials: `trials.jsonl`, append-only.

The driver alone writes it: a "submitted" record before a trial starts and a "finished" record before anyone hears of
its result. Workers leave their result in a spool folder first, so that a driver killed in between finds it there.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TypeVar

from nasbench.errors import UserError
from nasbench.study.journal import Journal
from nasbench.study.notes import LatencyNote, PromotionNote
from nasbench.study.spool import SPOOL, spool_path, spool_read
from nasbench.study.trials import Outcome, Trial

FILE = "trials.jsonl"
Note = TypeVar("Note", LatencyNote, PromotionNote)
OUTCOME_FIELDS = tuple(each.name for each in fields(Outcome))


class TrialStore:
    """The trials of one study folder, in the order they were submitted; only one process may have it open to write."""

    def __init__(self, folder: Path | str, read_only: bool = False) -> None:
        self.folder = Path(folder)
        self._journal = Journal(self.folder / FILE, read_only)
        self._trials: dict[str, Trial] = {}
        try:
            for number, record in enumerate(self._journal.records, 1):
                self._apply(record, number)
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
        """Submitted and not finished: what a resumed study runs first."""
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
        """Record something that is no trial: a measured latency, a promotion."""
        self._journal.append({"kind": "note", "name": note.name, "time": time.time(), "content": note.to_dict()})

    def notes(self, kind: type[Note]) -> tuple[Note, ...]:
        """The notes of this kind, oldest first."""
        records = (record for record in self._journal.records if record["kind"] == "note")
        found = (record["content"] for record in records if record["name"] == kind.name)
        return tuple(kind.from_dict(content, str(self._journal.path)) for content in found if isinstance(content, dict))

    def drain_spool(self) -> tuple[Trial, ...]:
        """Record the results that workers left and no driver took -> those trials, now finished."""
        drained = []
        for key, outcome in spool_read(self.folder / SPOOL).items():
            if key in self._trials and not self.has_result(key):
                drained.append(self.finish(key, outcome))
            elif key in self._trials:
                spool_path(self.folder / SPOOL, key).unlink(missing_ok=True)
        return tuple(drained)

    def _apply(self, record: Mapping[str, object], number: int) -> None:
        try:
            self._take(record)
        except (ValueError, KeyError, TypeError) as error:
            what = f"key {error} is missing" if isinstance(error, KeyError) else str(error)
            remedy = "was it written by a newer nasbench? read it with that one, or delete that line"
            raise UserError(f"{self._journal.path}, record {number}: {what}; {remedy}") from None

    def _take(self, record: Mapping[str, object]) -> None:
        """Apply one stored record; a ValueError, KeyError or TypeError where it cannot be read."""
        kind = record.get("kind")
        if kind == "submitted":
            trial = Trial.from_record(record)
            self._trials[trial.key] = trial
        elif kind == "finished":
            key = str(record["key"])
            if key not in self._trials:
                raise ValueError(f"trial {key} is unknown")
            content = {name: record[name] for name in OUTCOME_FIELDS}
            self._trials[key] = self._trials[key].with_outcome(
                Outcome(**content),  # type: ignore[arg-type]
                float(record["finished_at"]),  # type: ignore[arg-type]
            )
        elif kind != "note":
            raise ValueError(f"unknown kind {kind!r}")
