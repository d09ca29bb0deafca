"""What the verbs share: how an option is described, and how results are printed."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from nasbench.errors import UserError, shown, visible

if TYPE_CHECKING:
    from rich.console import Console

    from nasbench.arch.architecture import Architecture
    from nasbench.study.fidelity import Fidelity
    from nasbench.study.runner import RunnerSpec

MOST_SECONDS, MOST_HOURS = 1e9, 1e6
DEVICES = Path("/dev")  # where root would replace /dev/null
Run = Callable[[argparse.Namespace], int | None]


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, as all errors of this program are.

    With `otherwise`, the name of one of its verbs, a first argument that is no verb is that verb's.
    """

    otherwise: str | None = None
    verbs: Collection[str] = ()  # filled as they are added

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._negative_number_matcher = re.compile(r"-\.?\d")  # -1GFLOP is a value, which is told why it is none

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:  # argparse's own types are overloads
        if self.otherwise and args and not args[0].startswith("-") and args[0] not in self.verbs:
            args = [self.otherwise, *args]
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        print(f"error: {visible(message)}; see `{self.prog} --help`", file=sys.stderr)
        raise SystemExit(2)


def add_verb(verbs: Any, name: str, summary: str, example: str, run: Run, json_too: bool = False) -> Parser:
    """Describe one verb: its one-line `summary`, a worked `example` and what it calls."""
    parser = verbs.add_parser(
        name, help=summary, description=summary[0].upper() + summary[1:] + ".", epilog=f"example:\n{_indent(example)}",
        formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False,
    )  # fmt: skip
    parser.set_defaults(run=run)
    parser.add_argument("--traceback", action="store_true", help="on an error, show where it came from")
    if json_too:
        parser.add_argument("--json", action="store_true", help="print JSON for another program to read")
    return parser


def _indent(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())


def add_priority(parser: Parser) -> None:
    """`--priority`, of the workers that train."""
    parser.add_argument(
        "--priority", choices=("low", "normal"),
        help="of the trials beside other work here: low gives way to it, normal shares alike (default: low, or what "
        "the runner's file says)",
    )  # fmt: skip


def add_classes(parser: Parser, what: str = "classes") -> None:
    """`--classes`, of the network that is built or counted."""
    parser.add_argument("--classes", type=positive, default=1000, metavar="N", help=f"{what} (default: 1000)")


def add_data(parser: Parser) -> None:
    """`--data`, of trainings by a proxy's recipe."""
    parser.add_argument(
        "--data", default="fashion-on-earth", help="fashion-on-earth (default), cifar10 or a folder of images"
    )


def add_recipe(parser: Parser, whose: str) -> None:
    """`--recipe`, in place of the proxy's recipe that a rung or a ladder names."""
    parser.add_argument("--recipe", help=f"another recipe than the {whose}'s: a shipped name or a TOML file")


def add_runner(parser: Parser) -> None:
    """`--runner`, where and how trainings run."""
    parser.add_argument(
        "--runner", default="laptop", help="laptop, gpu, cluster, serial or a TOML file (default: laptop)"
    )


def add_group(verbs: Any, name: str, summary: str, otherwise: str | None = None) -> Any:
    """Describe a verb that has verbs of its own; returns where they are added. `otherwise`: see `Parser`."""
    parser = verbs.add_parser(
        name, help=summary, description=summary[0].upper() + summary[1:] + ".", allow_abbrev=False
    )
    group = parser.add_subparsers(metavar="VERB", required=True, parser_class=Parser)
    parser.otherwise, parser.verbs = otherwise, group.choices
    return group


def up_to(most: int) -> Callable[[str], int]:
    """An argparse type: a whole number from 1 to `most`."""

    def number(text: str) -> int:
        if not _digits(text) or int(text) < 1:
            raise argparse.ArgumentTypeError(f"{shown(text)} is not a whole number of at least 1")
        if int(text) > most:
            raise argparse.ArgumentTypeError(f"{shown(text)} is more than {most:,}; give a smaller number")
        return int(text)

    return number


positive = up_to(10**6)


def whole(text: str) -> int:
    """An argparse type: a whole number of at least zero, as seeds are."""
    if not _digits(text) or int(text) >= 2**63:
        raise argparse.ArgumentTypeError(f"{shown(text)} is not a whole number from 0 to 2^63 - 1")
    return int(text)


def _digits(text: str) -> bool:
    """Whether `text` is a whole number that Python reads: it refuses those of more than 4300 digits."""
    return text.isascii() and text.isdigit() and len(text) <= 4000


def _number(text: str) -> float:
    """`text` in plain digits as a number; -1 for anything else."""
    return float(text) if re.fullmatch(r"[+]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", text, re.ASCII | re.I) else -1.0


def share(text: str) -> float:
    """An argparse type: a number above 0 and up to 1."""
    value = _number(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{shown(text)} is no share: give a number above 0 and up to 1, such as 0.1")
    return value


def hours(text: str) -> float:
    """An argparse type: a number of hours above zero."""
    value = _number(text)
    if not 0 < value < MOST_HOURS:
        raise argparse.ArgumentTypeError(f"{shown(text)} is not a number of hours above 0 and below {MOST_HOURS:g}")
    return value


def seconds(text: str) -> float:
    """An argparse type: `90`, `90s`, `15min` or `2h`, in seconds."""
    units = {"": 1, "s": 1, "min": 60, "m": 60, "h": 3600}
    number = text.rstrip("minsh")
    value = _number(number) * units.get(text[len(number) :], 0)
    if not 0 < value <= MOST_SECONDS:
        raise argparse.ArgumentTypeError(f"{shown(text)} is not a time; write for example 900s, 15min or 2h")
    return value


def writable_file(path: str, example: str) -> Path:
    """The file that `-o` names; a UserError where it is none (a new file would replace it), or has no folder."""
    output = Path(path)
    if output.is_dir():
        raise UserError(f"{output}: is a folder; give the file to write, such as {output / example}")
    if output.parent.absolute() == DEVICES or (output.exists() and not output.is_file()):
        raise UserError(f"{output}: is a device or a pipe, which a file would replace; give the file to write")
    if not output.parent.is_dir():
        raise UserError(f"{output}: the folder {output.parent} does not exist; make it, or write elsewhere")
    return output


def write_architectures(designs: Iterable[Architecture], folder: Path) -> None:
    """Each as NAME.toml into `folder`, which is made; by its id where it has no name."""
    from nasbench.files import file_stem, write_atomic

    folder.mkdir(parents=True, exist_ok=True)
    for arch in designs:
        write_atomic(folder / f"{file_stem(arch.name, arch.id)}.toml", arch.to_toml())


def fidelity_at(rung: int, runner: str) -> Fidelity:
    """How a rung of the runner's ladder trains, by its number; a UserError names those that there are."""
    from nasbench.study.runner import runner_ladder

    rungs = runner_ladder(runner).rungs
    if rung >= len(rungs):
        known = f"the ladder of runner {runner!r} has rungs 0 to {len(rungs) - 1}"
        raise UserError(f"--rung {rung}: {known}; choose one of them")
    return rungs[rung].fidelity


def settle_this_process(runner: RunnerSpec) -> None:
    """Threads and allocator of this process, where `runner` trains in it."""
    if runner.kind == "serial":
        import torch

        from nasbench.hardware import tune_allocator

        torch.set_num_threads(runner.threads)
        tune_allocator()


def console() -> Console:
    """Where tables go: as wide as the terminal, and wide enough to fold nothing where there is none.

    Names are printed as they are, also such as `[b]` or `:cat:`, which rich would obey.
    """
    from rich.console import Console

    class Pipe(Console):
        def on_broken_pipe(self) -> None:
            """Raise it again, for the command line to handle; rich would end the program with exit code 1."""
            raise BrokenPipeError

    return Pipe(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else 160)


def print_json(value: Any) -> None:
    """Print one JSON document; ValueError for NaN and infinities."""
    print(json.dumps(value, indent=2, allow_nan=False))


def print_table(records: Sequence[Mapping[str, Any]], columns: Iterable[str] | None = None, title: str = "") -> None:
    """Records as a table: the keys of the first (or `columns`) head it."""
    from rich import box
    from rich.table import Table

    names = list(columns if columns is not None else records[0] if records else ())
    table = Table(title=title or None, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    table.padding = (0, 1, 0, 0)
    for name in names:
        numeric = all(_is_number(cell(record.get(name))) for record in records)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for record in records:
        table.add_row(*(cell(record.get(name)) for name in names))
    console().print(table)


def _is_number(text: str) -> bool:
    return text == "-" or text.replace(",", "").replace(".", "", 1).isdigit()


def print_facts(facts: Mapping[str, Any]) -> None:
    """`name  value` lines."""
    width = max((len(name) for name in facts), default=0)
    for name, value in facts.items():
        print(f"{name:<{width}}  {cell(value)}")


def cell(value: Any) -> str:
    """One value as a table shows it."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else visible(str(value))
