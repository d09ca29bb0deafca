"""`nasbench doctor`: what this machine has, and which parts can run."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from nasbench.commands.common import add_verb, console, print_json

if TYPE_CHECKING:
    from nasbench.doctor import Check

MARKS = {"ok": ("ok", "green"), "limited": ("limited", "yellow"), "missing": ("missing", "red")}


def add(verbs: Any) -> None:
    add_verb(verbs, "doctor", "what this machine has, and which parts can run", "nasbench doctor", _doctor, True)


def _doctor(options: argparse.Namespace) -> int:
    from nasbench.doctor import checks, parts

    found = checks()
    able = parts(found)
    if options.json:
        print_json({"checks": [asdict(check) for check in found], "parts": [asdict(part) for part in able]})
    else:
        _print("This machine", found)
        _print("What can run", able)
    return 0


def _print(title: str, lines: tuple[Check, ...]) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=title, title_justify="left", title_style="bold", box=box.SIMPLE, show_header=False, pad_edge=False
    )
    for _ in range(3):
        table.add_column(overflow="fold")
    for line in lines:
        word, colour = MARKS[line.state]
        remedy = f"\n-> {line.remedy}" if line.remedy else ""
        table.add_row(line.name, Text(word, colour), line.value + remedy)
    console().print(table)
