"""A study in an MLflow tracking server or store: an experiment, and in it a run for each design."""

from __future__ import annotations

import re
from typing import Any

from nasbench.errors import UserError, require_extra
from nasbench.report.records import DesignRecord, about, design_records
from nasbench.report.results import StudyResult

LONGEST = 250  # characters of a value, below MLflow's own limits


def write_mlflow(result: StudyResult, uri: str) -> int:
    """Write the study to the store at `uri` (http://..., sqlite:///FILE, a folder) -> how many designs.

    UserError: MLflow is not installed, the store cannot be reached, or it has an experiment of the study's name.
    """
    require_extra("mlflow", "mlflow", "a store of MLflow's")
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    records, name = design_records(result), result.folder.resolve().name
    try:
        client = MlflowClient(tracking_uri=uri)
        if client.get_experiment_by_name(name) is not None:
            raise UserError(f"{uri}: has an experiment {name!r} already; rename one of the two, or give another store")
        experiment = client.create_experiment(name, tags=about(result))
        for record in records:
            _write(client, experiment, record)
    except MlflowException as error:
        raise UserError(
            f"{uri}: MLflow says: {' '.join(str(error).split())[:200]}; give the address of a store"
        ) from None
    return len(records)


def _write(client: Any, experiment: str, record: DesignRecord) -> None:
    from mlflow.entities import Metric, Param, RunTag

    study, (began, ended) = record.result.study, (round(1000 * each) for each in record.seconds)
    noun = study.objective.noun
    scores = [(noun, score, study.ladder.rungs[rung].fidelity.samples) for rung, score in record.rungs.items()]
    others = [(f"final {noun}", record.final, 0), ("latency_ms", record.latency_ms, 0)]
    metrics = [Metric(name, value, ended, step) for name, value, step in [*scores, *others] if value is not None]
    params = [Param(_plain(name), str(value)) for name, (value, _) in record.fields.items()]
    tags = [RunTag(_plain(name), str(value)[:LONGEST]) for name, value in record.attributes.items()]
    run = client.create_run(experiment, start_time=began, run_name=record.first.label).info.run_id
    client.log_batch(run, metrics=metrics, params=params, tags=tags)
    client.set_terminated(run, "FINISHED" if record.scores else "FAILED", end_time=ended)


def _plain(name: str) -> str:
    """A name that MLflow takes: stages[1].block as stages.1.block."""
    return re.sub(r"[^\w .:/-]", "", name.replace("[", "."))
