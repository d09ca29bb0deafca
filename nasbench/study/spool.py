"""The spool: a folder where workers leave their outcomes, so that a resumed study finds those of a killed driver."""

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
    """Write `outcome` under `key` in the `spool` folder, whole or not at all; False where that is not possible, as on a
    machine without the study's file system, from which results return by the runner alone.
    """
    spool = Path(spool)
    try:
        spool.mkdir(exist_ok=True)  # without parents: not on a machine without the study's folder
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
    """The outcome that a worker left under `key`, which is kept; None where there is none, or no readable file."""
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
    """The outcomes in a spool folder by key."""
    keys = [path.stem for path in sorted(Path(spool).glob("*.json"))]
    return {key: outcome for key in keys if (outcome := spool_get(spool, key)) is not None}
