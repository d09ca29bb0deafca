"""Trials: one architecture trained at one fidelity with one seed, and the append-only store that keeps them.

The driver alone writes `trials.jsonl`: a "submitted" record before a trial starts and a "finished" record before
anyone hears of its result. Workers leave their result in a spool folder first, so that a driver killed in between
finds it there.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from nasbench.files import write_atomic
from nasbench.study.journal import Journal

FILE, SPOOL = "trials.jsonl", "spool"


@dataclass(frozen=True)
class Outcome:
    """What came of a job: "complete" with finite metrics, or "failed" with the reason."""

    state: str
    metrics: dict[str, Any] = field(default_factory=dict)
    reason: str | None = None
    seconds: float = 0.0
    worker: dict[str, Any] = field(
        default_factory=dict
    )  # host, process, device, versions: whatever explains the result

    def __post_init__(self) -> None:
        if self.state not in ("complete", "failed"):
            raise ValueError(f"unknown state {self.state!r}; an outcome is complete or failed")
        if self.state == "failed" and not self.reason:
            raise ValueError("a failed outcome needs a reason")


def failed(reason: str, seconds: float = 0.0, worker: Mapping[str, Any] | None = None) -> Outcome:
    """A failed outcome whose reason is the first line of `reason`, at most 500 characters."""
    return Outcome(
        "failed", {}, (reason.strip() or "no reason given").splitlines()[0][:500], seconds, dict(worker or {})
    )


def complete_or_failed(metrics: Mapping[str, Any], seconds: float, worker: Mapping[str, Any]) -> Outcome:
    """A complete outcome, or a failed one where a metric is not finite: a NaN is never stored as a result."""
    for name, value in metrics.items():
        if isinstance(value, float) and not math.isfinite(value):
            return failed(f"diverged: metric {name!r} is {value}", seconds, worker)
    return Outcome("complete", dict(metrics), None, seconds, dict(worker))


def content_hash(content: Any) -> str:
    """16 hex digits of `content`'s canonical JSON: key order does not count."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Trial:
    """An architecture x fidelity x seed x data, and, once it is finished, its metrics or the reason it failed.

    `state` is "submitted", "complete" or "failed". Two trials with the same `key` would give the same result.
    """

    key: str
    architecture_id: str
    architecture: dict[str, Any]
    fidelity: dict[str, Any]
    seed: int
    data: str  # the data set's name and content, as one id
    split: str  # what it was judged on: "validation" or "test"
    origin: dict[str, Any] = field(default_factory=dict)  # how it was proposed: strategy, parents, rung ...
    state: str = "submitted"
    metrics: dict[str, Any] = field(default_factory=dict)
    reason: str | None = None
    seconds: float = 0.0
    worker: dict[str, Any] = field(default_factory=dict)
    submitted_at: float = 0.0  # seconds since the epoch
    finished_at: float = 0.0

    @classmethod
    def new(
        cls,
        architecture: Mapping[str, Any],
        architecture_id: str,
        *,
        fidelity: Mapping[str, Any],
        seed: int,
        data: str,
        split: str = "validation",
        origin: Mapping[str, Any] | None = None,
    ) -> Trial:
        """A trial to be submitted; `architecture` is `Architecture.to_dict()`."""
        key = content_hash([architecture_id, dict(fidelity), seed, data, split])
        content = (dict(architecture), dict(fidelity), seed, data, split, dict(origin or {}))
        return cls(key, architecture_id, *content, submitted_at=time.time())

    def with_outcome(self, outcome: Outcome, finished_at: float) -> Trial:
        return replace(self, **_shallow(outcome), finished_at=finished_at)


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
        return trial is not None and trial.state != "submitted"

    def outstanding(self) -> tuple[Trial, ...]:
        """Submitted and not finished: what a resumed study runs first."""
        return tuple(trial for trial in self._trials.values() if trial.state == "submitted")

    def submit(self, trial: Trial) -> None:
        """Record that `trial` is about to start; one already outstanding (after a resume) is not written twice."""
        if self.has_result(trial.key):
            raise ValueError(f"trial {trial.key} is finished; the same trial is never run twice")
        if trial.key not in self._trials:
            record = {"kind": "submitted", **{name: getattr(trial, name) for name in _SUBMITTED}}
            self._journal.append(record)
            self._trials[trial.key] = trial

    def finish(self, key: str, outcome: Outcome) -> Trial:
        """Record `key`'s outcome -> the finished trial; its spooled copy is removed after that."""
        if key not in self._trials:
            raise ValueError(f"trial {key} was never submitted")
        if self.has_result(key):
            raise ValueError(f"trial {key} is finished; the same trial is never run twice")
        now = time.time()
        self._journal.append({"kind": "finished", "key": key, **asdict(outcome), "finished_at": now})
        self._trials[key] = self._trials[key].with_outcome(outcome, now)
        _spool_path(self.folder / SPOOL, key).unlink(missing_ok=True)
        return self._trials[key]

    def note(self, name: str, content: Mapping[str, Any]) -> None:
        """Record something that is no trial (a measured latency, a count of rejected candidates) under `name`."""
        self._journal.append({"kind": "note", "name": name, "time": time.time(), "content": dict(content)})

    def notes(self, name: str) -> tuple[dict[str, Any], ...]:
        """The contents noted under `name`, oldest first."""
        notes = (record for record in self._journal.records if record["kind"] == "note")
        return tuple(record["content"] for record in notes if record["name"] == name)

    def drain_spool(self) -> tuple[Trial, ...]:
        """Record the results that workers left and no driver took -> those trials, now finished."""
        drained = []
        for key, outcome in spool_read(self.folder / SPOOL).items():
            if key in self._trials and not self.has_result(key):
                drained.append(self.finish(key, outcome))
            elif key in self._trials:
                _spool_path(self.folder / SPOOL, key).unlink(missing_ok=True)
        return tuple(drained)

    def _apply(self, record: dict[str, Any], number: int) -> None:
        content = {name: value for name, value in record.items() if name != "kind"}
        if record.get("kind") == "submitted":
            self._trials[content["key"]] = Trial(**content)
        elif record.get("kind") == "finished" and content["key"] in self._trials:
            finished_at, key = content.pop("finished_at"), content.pop("key")
            self._trials[key] = self._trials[key].with_outcome(Outcome(**content), finished_at)
        elif record.get("kind") != "note":
            what = (
                f"unknown kind {record.get('kind')!r}" if "key" not in record else f"trial {record['key']} is unknown"
            )
            raise ValueError(f"{self._journal.path}, record {number}: {what}; was it written by a newer nasbench?")


_SUBMITTED = (
    *("key", "architecture_id", "architecture", "fidelity", "seed", "data", "split", "origin", "submitted_at"),
)


def _shallow(outcome: Outcome) -> dict[str, Any]:
    return {name: getattr(outcome, name) for name in ("state", "metrics", "reason", "seconds", "worker")}


def _spool_path(spool: Path, key: str) -> Path:
    return spool / f"{key}.json"


def spool_write(spool: Path | str, key: str, outcome: Outcome) -> bool:
    """Leave `outcome` under `key` in the `spool` folder, whole or not at all; False where the folder cannot be reached.

    A worker on a machine without the study's file system loses nothing by it: its result still returns by the runner.
    """
    spool = Path(spool)
    try:
        spool.mkdir(exist_ok=True)  # not its parents: elsewhere the study's folder must not be made up
        write_atomic(_spool_path(spool, key), json.dumps({"key": key, **asdict(outcome)}, allow_nan=False))
        handle = os.open(spool, os.O_RDONLY)
        try:
            os.fsync(handle)  # the rename itself must be on disk
        finally:
            os.close(handle)
    except OSError:
        return False
    return True


def spool_get(spool: Path | str, key: str) -> Outcome | None:
    """The outcome that a worker left under `key`, if it did; it stays there until the store has it."""
    path = _spool_path(Path(spool), key)
    if not path.exists():
        return None
    record = json.loads(path.read_text(encoding="utf-8"))
    return Outcome(**{name: value for name, value in record.items() if name != "key"})


def spool_read(spool: Path | str) -> dict[str, Outcome]:
    """What lies in a spool folder: key -> outcome."""
    keys = [path.stem for path in sorted(Path(spool).glob("*.json"))]
    return {key: outcome for key in keys if (outcome := spool_get(spool, key)) is not None}
