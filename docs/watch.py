"""The picture of the live display in README.md: the default run as `nasbench watch` showed it, replayed at one moment.

    python docs/watch.py        # draws docs/watch.svg anew

Its stored trials are read up to a line of trials.jsonl, and the clock is set to when that line was written.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import tempfile
from pathlib import Path
from unittest.mock import patch

from rich.console import Console

from nasbench.engine.watching import Watched
from nasbench.progress import Live

STUDY = Path(__file__).parent.parent / "results" / "default"
PICTURE = Path(__file__).with_name("watch.svg")
LINES = 92  # of trials.jsonl: in the middle of the final trainings
WIDTH, HEIGHT = 80, 24


def moment(lines: list[str]) -> float:
    """When the last of these lines was written, a few seconds after."""
    record = json.loads(lines[-1])
    return 5.0 + float(record.get("finished_at") or record.get("submitted_at") or record["time"])


def draw(path: Path = PICTURE) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "default"
        shutil.copytree(STUDY, folder)
        lines = (folder / "trials.jsonl").read_text(encoding="utf-8").splitlines()[:LINES]
        (folder / "trials.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        with (
            patch("time.time", return_value=moment(lines)),
            patch("nasbench.engine.watching.is_locked", lambda _: True),
        ):
            state = Watched(folder).look()
    sizes = {"COLUMNS": str(WIDTH), "LINES": str(HEIGHT)}
    with patch.dict(os.environ, sizes):
        live = Live(io.StringIO())
        live.update(state)
        console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, color_system="truecolor")
        with patch("time.monotonic", return_value=0.0):
            console.print(live._render())
    picture = console.export_svg(title="nasbench watch results/default", unique_id="watch")
    path.write_text(
        re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL), encoding="utf-8"
    )  # nothing from afar


if __name__ == "__main__":
    draw()
