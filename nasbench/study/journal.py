"""An append-only file of JSON lines with one writer: each record is on disk before `append` returns."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from nasbench.errors import UserError
from nasbench.files import errors_naming

Record = dict[str, object]

LOCK_WAIT_S = 2.0  # children of a killed writer may hold its lock for a moment


class Line(NamedTuple):
    """One line of the file with its number, from 1; None where it is no JSON record."""

    number: int
    record: Record | None


class Journal:
    """`path`'s lines, read once on opening; `append` adds one.

    A torn last line (of a killed writer) is ignored, and cut off before the next append. Any other line that is no
    record is kept, as a `Line` without record. Blank lines are skipped.
    """

    def __init__(self, path: Path | str, read_only: bool = False) -> None:
        self.path = Path(path)
        self._lock = self._handle = -1
        if not read_only:
            self._lock = lock_folder(self.path.parent)
        try:
            self.lines, self._end, self._missing_newline = _read(self.path)
            if not read_only:
                self._handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            self.close()
            raise UserError(f"{self.path}: {error.strerror}; give a folder that can be written") from None
        except BaseException:
            self.close()
            raise

    def append(self, record: Mapping[str, object]) -> None:
        """Write `record` as one line and wait until the disk has it; on a full disk nothing of it stays."""
        if self._handle < 0:
            raise ValueError(f"{self.path} is open for reading only, or closed")
        text = json.dumps(record, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        line = (b"\n" if self._missing_newline else b"") + text.encode(errors="backslashreplace") + b"\n"
        try:
            os.ftruncate(self._handle, self._end)
            _write_all(self._handle, line, self._end)
            os.fsync(self._handle)
        except OSError as error:
            self._cut_back()
            remedy = f"make room, then `nasbench resume {self.path.parent}`"
            raise UserError(f"{self.path}: cannot write: {error.strerror}; {remedy}") from None
        self._end += len(line)
        self._missing_newline = False
        self.lines.append(Line(self.lines[-1].number + 1 if self.lines else 1, dict(record)))

    def close(self) -> None:
        """Release the file and the folder's lock."""
        for handle in (self._handle, self._lock):
            if handle >= 0:
                os.close(handle)
        self._handle = self._lock = -1

    def _cut_back(self) -> None:
        try:
            os.ftruncate(self._handle, self._end)
        except OSError:  # then the fragment is a torn line, which the next append or reader cuts off
            return


def lock_folder(folder: Path) -> int:
    """Take `folder`'s single-writer lock -> its open file; the system releases it when the process ends.

    UserError where another process holds it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise UserError(f"{folder}: {error.strerror}; give a folder that can be written") from None
    deadline = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() > deadline:
                holder = os.pread(handle, 200, 0).decode(errors="replace").strip() or "another process"
                os.close(handle)
                message = f"{folder}: in use by {holder}; wait for it, stop it, or give another folder"
                raise UserError(message) from None
            time.sleep(0.05)
    with errors_naming(folder):
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
    return handle


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Within, `folder` is this process's alone to write."""
    handle = lock_folder(folder)
    try:
        yield
    finally:
        os.close(handle)


def is_locked(folder: Path) -> bool:
    """Whether a process of this machine has `folder` open to write; the lock itself is left alone."""
    try:
        handle = os.open(folder / ".lock", os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(handle)  # and release the shared lock
    return False


def _write_all(handle: int, data: bytes, offset: int) -> None:
    while data:
        written = os.pwrite(handle, data, offset)
        data, offset = data[written:], offset + written


def _read(path: Path) -> tuple[list[Line], int, bool]:
    """Lines, the offset behind the last good one, and whether that one lacks its newline."""
    data = path.read_bytes() if path.exists() else b""
    whole, _, tail = data.rpartition(b"\n")
    numbered = enumerate(whole.split(b"\n") if whole else [], 1)
    lines = [Line(number, _parse(text)) for number, text in numbered if text.strip()]
    last = Line(data.count(b"\n") + 1, _parse(tail))
    if last.record is None:
        return lines, len(data) - len(tail), False
    return [*lines, last], len(data), True


def _parse(text: bytes) -> Record | None:
    try:
        record = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError):  # not JSON, or not UTF-8
        return None
    return record if isinstance(record, dict) else None


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is no number of JSON")
