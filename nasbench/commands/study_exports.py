"""`nasbench export-study`: a stored study in another program's form."""

from __future__ import annotations

import argparse
from typing import Any

from nasbench.commands.common import add_verb, writable_file


def add(verbs: Any) -> None:
    parser = add_verb(
        verbs, "export-study", "write a stored study as a file for Optuna's dashboard",
        "nasbench export-study results/mine --optuna mine.db", _export,
    )  # fmt: skip
    parser.add_argument("study", help="the study's folder")
    parser.add_argument("--optuna", metavar="FILE.db", required=True, help="the SQLite storage to write; must be new")


def _export(options: argparse.Namespace) -> int:
    from nasbench.report.optuna_file import write_optuna
    from nasbench.report.results import open_study

    path = writable_file(options.optuna, "study.db")
    designs = write_optuna(open_study(options.study), path)
    print(f"{path}: {designs:,} designs as trials, in two studies; look at it with: optuna-dashboard sqlite:///{path}")
    return 0
