"""Damage files of every kind and read them: `python tests/fuzz.py --files 20000` prints a table of what came out.

A file is refused in one line, or taken. All else is a fault: another exception, a message of several lines, more than
a few seconds of processor time, memory beyond a bound, anything written outside the file's folder.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from damage import damaged
from fuzz_kinds import KINDS, Kind

from nasbench.errors import UserError

SECONDS = 20.0  # of processor time a file; what is right takes less than one
MEMORY = 3 << 30  # bytes beyond what the process has when it begins
MESSAGE = 2000  # characters of an error at most
NICE = int(os.environ.get("FUZZ_NICE", "19"))


class Hang(Exception):
    """Reading one file took more than SECONDS of processor time."""


@dataclass
class Tally:
    """What came of the files of one kind."""

    refused: int = 0
    taken: int = 0
    faults: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def files(self) -> int:
        return self.refused + self.taken + len(self.faults)


@contextlib.contextmanager
def bounded() -> Iterator[None]:
    """Within, a file has SECONDS of processor time, and the process MEMORY beyond what it holds."""

    def alarm(number: int, frame: FrameType | None) -> None:
        raise Hang(f"more than {SECONDS:g} s of processor time")

    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    before = signal.signal(signal.SIGVTALRM, alarm)
    resource.setrlimit(resource.RLIMIT_AS, (held + MEMORY, hard))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def problem(kind: Kind, folder: Path, file: Path) -> str | None:
    """None where the file is taken, "" where it is refused in one line; else what is wrong."""
    signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
    try:
        kind.read(folder, file)
        return None
    except (UserError, SystemExit) as error:
        text = str(error)
        said = text.strip() and "\n" not in text and len(text) <= MESSAGE
        return "" if said else f"no message of one line: {text[:300]!r}"
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__}: {str(error)[:200]!r} at {where.filename}:{where.lineno}"
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)


def lay(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def outside(around: Path) -> list[str]:
    """What lies in `around` beside the folder of the file and the cache."""
    return [entry.name for entry in around.iterdir() if entry.name not in ("here", "cache")]


def attack(name: str, seed: int, first: int, last: int, keep: Path | None = None) -> Tally:
    """Files `first` to `last` of one kind, each damaged from a seed of its own; `keep`: where those at fault go."""
    kind, tally, began = KINDS[name], Tally(), time.process_time()
    with tempfile.TemporaryDirectory(prefix="nasbench-fuzz-") as around, bounded():
        os.environ["NASBENCH_CACHE"] = str(Path(around) / "cache")
        for number in range(first, last):
            rng = random.Random(f"{name} {seed} {number}")
            folder = Path(around) / "here" / str(number) / "study"
            files, target = kind.make(rng)
            content = kind.mend(damaged(files[target], rng, kind.form))
            lay(folder, {**files, target: content})
            found = problem(kind, folder, folder / target)
            beside = [*outside(Path(around)), *(p.name for p in folder.parent.iterdir() if p != folder)]
            found = f"written outside: {beside}" if beside else found
            if found is None:
                tally.taken += 1
            elif not found:
                tally.refused += 1
            else:
                tally.faults.append(f"{name}, seed {seed}, file {number}: {found}")
                if keep is not None:
                    lay(keep, {f"{name}-{seed}-{number}-{Path(target).name}": content})
    tally.seconds = time.process_time() - began
    return tally


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=20_000, help="in all (default: 20000)")
    parser.add_argument("--seed", type=int, default=1, help="the first seed (default: 1)")
    parser.add_argument("--seeds", type=int, default=4, help="how many seeds the files are shared among (default: 4)")
    parser.add_argument("--kind", action="append", choices=sorted(KINDS), help="only this kind; repeatable")
    parser.add_argument("--keep", type=Path, help="folder for the files at fault")
    given = parser.parse_args()
    os.nice(NICE)
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)  # what is passed over is named file by file
    names = given.kind or list(KINDS)
    each = max(1, given.files // (len(names) * given.seeds))
    print(f"{'kind':<20}{'files':>8}{'one line':>10}{'taken':>8}{'faults':>8}{'s':>8}")
    total = Tally()
    for name in names:
        tallies = [attack(name, given.seed + turn, 0, each, given.keep) for turn in range(given.seeds)]
        show(name, tally := sum_of(tallies))
        total = sum_of([total, tally])
    show("all", total)
    for fault in total.faults:
        print(fault)
    return 1 if total.faults else 0


def sum_of(tallies: list[Tally]) -> Tally:
    return Tally(
        sum(tally.refused for tally in tallies), sum(tally.taken for tally in tallies),
        [fault for tally in tallies for fault in tally.faults], sum(tally.seconds for tally in tallies),
    )  # fmt: skip


def show(name: str, tally: Tally) -> None:
    figures = f"{tally.files:>8}{tally.refused:>10}{tally.taken:>8}{len(tally.faults):>8}{tally.seconds:>8.0f}"
    print(f"{name:<20}{figures}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
