"""Ends the processes of a driver that was killed; a script that is started beside a local Ray.

Ray's agents outlive a driver that is killed with -9, and a worker inside a long call may too: two of them would then
share a core with the resumed study. usage: python reaper.py PROCESS FOLDER
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time

import psutil

POLL_S = 0.5
ROUNDS = 10


def main(driver: int, folder: str) -> None:
    """Wait until this process is no longer `driver`'s child, then end all that has files open in `folder`."""
    while os.getppid() == driver:
        time.sleep(POLL_S)
    for _ in range(ROUNDS):  # a process that is just starting has no file open yet
        for process in psutil.process_iter():
            if process.pid != os.getpid() and _belongs(process, folder):
                with contextlib.suppress(psutil.Error):
                    process.kill()
        time.sleep(POLL_S)
    shutil.rmtree(folder, ignore_errors=True)


def _belongs(process: psutil.Process, folder: str) -> bool:
    """By its command line, or by a log below `folder`: Ray's workers overwrite their command line and environment."""
    with contextlib.suppress(psutil.Error, OSError):
        if any(folder in argument for argument in process.cmdline()):
            return True
        return any(file.path.startswith(folder) for file in process.open_files())
    return False


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
