"""The command line: `nasbench VERB ...`.

Exit codes: 0 done, 2 the user's input, 1 our fault, 130 stopped by Ctrl-C, 143 by SIGTERM.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import gc
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from typing import Any, TextIO

from nasbench import __version__
from nasbench.commands import (
    audits,
    benches,
    confirming,
    data,
    doctor,
    drawings,
    explaining,
    exports,
    latency,
    networks,
    publishing,
    scale,
    scores,
    spaces,
    studies,
    study_exports,
    tables,
    trainings,
    watching,
)
from nasbench.commands.common import Parser
from nasbench.commands.completion import SHELLS, PrintCompletion
from nasbench.errors import UserError, visible

DESCRIPTION = """Neural architecture search and scaling for mobile vision backbones.

  nasbench search --budget 1GFLOP        a Pareto front of accuracy against latency
  nasbench doctor                        what this machine can do
"""
GC_THRESHOLD = 50_000  # objects between collections: by default they took a third of reading a space, and freed nothing
# What the person at the keyboard can mend, unlike the other errors of the operating system.
USERS_OS_ERRORS = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space",
    errno.EACCES: "choose a place that you may write to",
    errno.EPERM: "choose a place that you may write to",
    errno.EROFS: "choose a place that you may write to",
    errno.ENOTDIR: "choose a folder",
    errno.ENOENT: "it was removed meanwhile, or can never be made there; choose another place",
    errno.EEXIST: "choose another place",
    errno.EISDIR: "choose a file",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ELOOP: "choose a place that is no circle of links",
}


@functools.cache
def parser() -> Parser:
    """The whole command line, described without importing what it runs; once, where a process runs several commands."""
    import argparse

    top = Parser(
        prog="nasbench",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        epilog="`nasbench VERB --help` shows an example of each.\n"
        "Exit codes: 0 done, 2 your input, 1 our fault, 130 stopped by Ctrl-C, 143 by SIGTERM.",
    )
    top.add_argument("-V", "--version", action="version", version=f"nasbench {__version__}")
    top.add_argument(
        "--print-completion", action=PrintCompletion, choices=SHELLS, metavar="SHELL",
        help=f"print what makes a shell complete this command line: {', '.join(SHELLS)}",
    )  # fmt: skip
    verbs = top.add_subparsers(metavar="VERB", required=True, parser_class=Parser)
    for module in (
        studies, watching, confirming, spaces, networks, drawings, trainings, exports, publishing, explaining, data,
        audits, scores, tables, benches, study_exports, scale, latency, doctor,
    ):  # fmt: skip
        module.add(verbs)
    return top


def _fail(message: str, code: int) -> int:
    print(f"error: {visible(' '.join(message.split()))}", file=sys.stderr)
    return code


def _require_folder() -> None:
    """A UserError where the current folder was deleted: paths lead nowhere then, and libraries cannot be loaded."""
    try:
        os.getcwd()
    except FileNotFoundError:
        raise UserError("the folder that this runs in was deleted; change to one that is there") from None


class Messages:
    """A stream for what is said beside the results: where it cannot be written, it is lost, and the work goes on."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError, ValueError):  # its reader went away, its disk is full, it is closed
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class Visible(logging.Formatter):
    """A warning, with `?` for what terminals would obey in the names of files that it quotes."""

    def format(self, record: logging.LogRecord) -> str:
        return "\n".join(map(visible, super().format(record).split("\n")))


def _settle_streams() -> None:
    """Streams that can take any text: a closed one swallows it, and one that is not UTF-8 gets `?` for what it lacks.

    Names of files that are not UTF-8 come out as `\\udce9` on streams that are.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by the caller, as by `>&-`
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, it stays open
        elif hasattr(stream, "reconfigure"):
            utf8 = (stream.encoding or "").lower().replace("-", "") == "utf8"
            stream.reconfigure(errors="backslashreplace" if utf8 else "replace")
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(Visible())
    if not isinstance(sys.stderr, Messages):
        sys.stderr = Messages(sys.stderr)  # type: ignore[assignment]


@contextlib.contextmanager
def _terminable() -> Iterator[list[int]]:
    """Within, SIGTERM stops work as Ctrl-C does; whether it came is in the list. Only the main thread may say so."""
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield came
        return

    def stop(number: int, _: object) -> None:
        came.append(number)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield came
    finally:
        signal.signal(signal.SIGTERM, before)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    gc.set_threshold(GC_THRESHOLD)
    _settle_streams()
    options = parser().parse_args(arguments)
    terminated: list[int] = []
    try:
        with _terminable() as terminated:
            _require_folder()
            code = options.run(options) or 0
            sys.stdout.flush()  # here, where a reader that went away is known for what it is
            return code
    except KeyboardInterrupt:
        kept = "what was finished is kept: `nasbench resume DIR` goes on with a search, the same command with all else"
        if terminated:
            return _fail(f"stopped by SIGTERM; {kept}", 128 + signal.SIGTERM)
        return _fail(f"interrupted; {kept}", 130)
    except BrokenPipeError:  # the reader of our output went away, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if options.traceback or os.environ.get("NASBENCH_DEBUG"):
            traceback.print_exc()
        if isinstance(error, UserError):
            return _fail(str(error), 2)
        if isinstance(error, OSError) and error.errno in USERS_OS_ERRORS:
            place = f"{error.filename}: " if error.filename else ""
            return _fail(f"{place}{error.strerror}; {USERS_OS_ERRORS[error.errno]}", 2)
        hint = "this is our fault, not yours; --traceback shows where it happened"
        return _fail(f"{type(error).__name__}: {error} ({hint})", 1)


if __name__ == "__main__":
    sys.exit(main())
