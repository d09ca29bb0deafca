"""`nasbench export-study`: a stored study in another program's form."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from nasbench.commands.common import add_verb, writable_file

EXAMPLE = """nasbench export-study results/mine --optuna mine.db
nasbench export-study results/mine --tensorboard runs
nasbench export-study results/mine --mlflow http://localhost:5000"""

# MLflow's client by itself tries an address without a server for minutes. The same command goes on with an export.
PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}


def add(verbs: Any) -> None:
    parser = add_verb(
        verbs, "export-study", "write a stored study for Optuna's dashboard, TensorBoard or MLflow", EXAMPLE, _export
    )
    parser.add_argument("study", help="the study's folder")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--optuna", metavar="FILE.db", help="the SQLite storage to write; must be new")
    where.add_argument(
        "--tensorboard", metavar="DIR", type=Path, help="the folder for event files; must be new or empty"
    )
    where.add_argument("--mlflow", metavar="URI", help="the tracking server or store: http://HOST:PORT, sqlite:///FILE")


def _export(options: argparse.Namespace) -> int:
    from nasbench.report.results import open_study

    result = open_study(options.study)
    if options.optuna is not None:
        from nasbench.report.optuna_file import write_optuna

        path = writable_file(options.optuna, "study.db")
        designs = write_optuna(result, path)
        print(
            f"{path}: {designs:,} designs as trials, in two studies; look at it with: optuna-dashboard sqlite:///{path}"
        )
    elif options.tensorboard is not None:
        from nasbench.report.tensorboard_files import write_tensorboard

        designs, folder = write_tensorboard(result, options.tensorboard), options.tensorboard
        print(f"{folder}: {designs:,} designs as runs; look at it with: tensorboard --logdir {folder}")
    else:
        from nasbench.report.mlflow_runs import write_mlflow

        for name, value in PATIENCE.items():
            os.environ.setdefault(name, value)
        designs = write_mlflow(result, options.mlflow)
        print(f"{options.mlflow}: {designs:,} designs as runs of an experiment; look at it with: mlflow ui")
    return 0
