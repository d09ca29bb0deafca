"""`nasbench watch`: the display of a search that another process runs."""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING, Any

from nasbench.commands.common import add_verb, seconds

if TYPE_CHECKING:
    from nasbench.engine.watching import Watched
    from nasbench.progress import Progress

LOOK_EVERY_S = 2.0


def add(verbs: Any) -> None:
    watch = add_verb(
        verbs, "watch", "watch a search that runs in another terminal or on another machine",
        "nasbench watch results/mine", _watch,
    )  # fmt: skip
    watch.add_argument("folder", help="the study's folder")
    watch.add_argument("--for", dest="for_s", type=seconds, metavar="TIME", help="stop watching after this long")


def _watch(options: argparse.Namespace) -> int:
    from nasbench.engine.watching import Watched
    from nasbench.progress import details, headline, progress_display

    watched = Watched(options.folder)
    if watched.is_running():
        with progress_display(sys.stdout) as progress:
            _until_it_ends(watched, progress, options.for_s)
    state = watched.look()
    print(" · ".join([headline(state), *details(state)]))
    print(_ending(watched))
    return 0


def _until_it_ends(watched: Watched, progress: Progress, for_s: float | None) -> None:
    """Show the study until no process runs it; a line for each failure."""
    deadline = time.monotonic() + for_s if for_s is not None else None
    told = {trial.key for trial in watched.result.trials if trial.finished}
    while True:
        progress.update(watched.look())
        for trial in watched.result.trials:
            if trial.finished and trial.key not in told:
                told.add(trial.key)
                if not trial.complete:
                    progress.note(f"trial {trial.key[:8]} of {trial.label} failed: {trial.reason}")
        if not watched.is_running() or (deadline is not None and time.monotonic() >= deadline):
            return
        time.sleep(LOOK_EVERY_S)


def _ending(watched: Watched) -> str:
    if watched.is_running():
        return f"It goes on; `nasbench watch {watched.folder}` shows it again."
    if watched.is_finished():
        return f"It is finished: `nasbench front {watched.folder}` prints its front, `nasbench report` makes its page."
    return f"Nobody runs it; `nasbench resume {watched.folder}` goes on with it."
