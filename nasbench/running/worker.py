"""One evaluation in a worker: time limit, errors as reasons of failed outcomes, outcome in the spool."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import platform
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from nasbench.hardware import give_memory_back, peak_memory_bytes, watch_peak_memory
from nasbench.running import Job
from nasbench.study.spool import spool_write
from nasbench.study.trials import Outcome, complete_or_failed, failed

GRACE_S = 5.0  # after which faulthandler ends a process whose watchdog thread is blocked by the interpreter's lock


def run_job(job: Job, evaluate: Callable[[Any], dict[str, Any]], spool: Path | None) -> Outcome:
    """Evaluate `job`; an exception is a failed outcome. The outcome is in `spool` on return."""
    start = time.monotonic()
    watch_peak_memory()
    try:
        metrics = evaluate(job.task)
        outcome = complete_or_failed(metrics, time.monotonic() - start, this_process())
    except Exception as error:  # any error of a trial is its outcome, and does not end the search
        outcome = failed(reason(error), time.monotonic() - start, this_process())
        release_memory()
    if spool is not None:
        spool_write(spool, job.id, outcome)
    return outcome


def reason(error: BaseException) -> str:
    """Why a trial failed, in one line; lack of memory is named as such, whatever raised it."""
    kind, text = type(error).__name__, " ".join(str(error).split())
    if kind == "TimeLimit":
        return text
    if isinstance(error, MemoryError) or kind == "OutOfMemoryError" or "out of memory" in text.lower():
        return f"out of memory: {text or kind}"
    return f"{kind}: {text}" if text else kind


def exceeded(limit_s: float) -> str:
    return f"exceeded {limit_s:g} s"


def this_process() -> dict[str, Any]:
    """Host, process, GPU (if torch is in use) and peak memory of an outcome."""
    torch = sys.modules.get("torch")
    gpu = torch.cuda.get_device_name() if torch is not None and torch.cuda.is_available() else None
    peak = peak_memory_bytes()
    known = {} if peak is None else {"peak_memory_gib": round(peak / 2**30, 3)}
    return {"host": platform.node(), "process": os.getpid(), "gpu": gpu, **known}


def release_memory() -> None:
    """Release the memory that a failed trial held, before the next one in this process."""
    give_memory_back()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


@contextlib.contextmanager
def watchdog(job: Job, spool: Path | None) -> Iterator[None]:
    """End this process if the body takes longer than `job.limit_s`, leaving the reason in `spool`.

    By a thread, since a blocking call cannot be interrupted otherwise.
    """
    if job.limit_s is None:
        yield
        return
    limit_s, done = job.limit_s, threading.Event()

    def wait() -> None:
        if not done.wait(limit_s):
            if spool is not None:
                spool_write(spool, job.id, failed(exceeded(limit_s), limit_s, this_process()))
            os._exit(1)

    threading.Thread(target=wait, daemon=True, name="time limit").start()
    with open(os.devnull, "w") as nowhere:
        faulthandler.dump_traceback_later(limit_s + GRACE_S, exit=True, file=nowhere)
        try:
            yield
        finally:
            done.set()
            faulthandler.cancel_dump_traceback_later()
