"""The spool: a folder where workers leave their outcomes, so that a driver that was killed finds them there."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

from nasbench.files import write_atomic
from nasbench.study.trials import Outcome

log = logging.getLogger("nasbench.study")

SPOOL = "spool"  # its name in a study's folder


def spool_path(spool: Path, key: str) -> Path:
    return spool / f"{key}.json"


def spool_write(spool: Path | str, key: str, outcome: Outcome) -> bool:
    """Leave `outcome` under `key` in the `spool` folder, whole or not at all; False where the folder cannot be reached.

    A worker on a machine without the study's file system loses nothing by it: its result still returns by the runner.
    """
    spool = Path(spool)
    try:
        spool.mkdir(exist_ok=True)  # not its parents: elsewhere the study's folder must not be made up
        write_atomic(spool_path(spool, key), json.dumps({"key": key, **outcome.to_dict()}, allow_nan=False))
        handle = os.open(spool, os.O_RDONLY)
        try:
            os.fsync(handle)  # the rename itself must be on disk
        finally:
            os.close(handle)
    except OSError:
        return False
    return True


def spool_get(spool: Path | str, key: str) -> Outcome | None:
    """The outcome that a worker left under `key`, if it did; it stays there until the store has it.

    A file that cannot be read is as good as none: its trial is run again.
    """
    path = spool_path(Path(spool), key)
    if not path.exists():
        return None
    try:
        return Outcome.from_record(dict(json.loads(path.read_text(encoding="utf-8"))))
    except OSError as error:
        problem = str(error.strerror)
    except (ValueError, TypeError, RecursionError) as error:
        problem = str(error).splitlines()[0]
    log.warning("%s: not the outcome of a trial: %s; passed over, its trial is run again", path, problem)
    return None


def spool_read(spool: Path | str) -> dict[str, Outcome]:
    """What lies in a spool folder: key -> outcome."""
    keys = [path.stem for path in sorted(Path(spool).glob("*.json"))]
    return {key: outcome for key in keys if (outcome := spool_get(spool, key)) is not None}
