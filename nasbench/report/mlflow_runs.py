"""A study in an MLflow tracking server or store: an experiment, and in it a run for each design."""

from __future__ import annotations

import re
from typing import Any

from nasbench.errors import UserError, require_extra
from nasbench.report.records import DesignRecord, about, design_records
from nasbench.report.results import StudyResult
from nasbench.values import content_hash

LONGEST = 250  # characters of a value, below MLflow's own limits
STUDY, DESIGN = "nasbench study", "design"  # tags by which an experiment and its runs are found again
PAGE = 1000  # runs asked for at once


def write_mlflow(result: StudyResult, uri: str) -> int:
    """Write the study to the store at `uri` (http://..., sqlite:///FILE) -> how many designs.

    What the store holds of this study stays, and what it lacks is added: an export that broke off goes on.
    UserError: MLflow is not installed, the store cannot be reached, or it has another experiment of the study's name.
    """
    require_extra("mlflow", "mlflow", "a store of MLflow's")
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    records, written = design_records(result), 0
    try:
        client = MlflowClient(tracking_uri=uri)
        experiment = _experiment(client, result, uri)
        there = _runs(client, experiment)
        for record in records:
            _write(client, experiment, record, there.get(record.first.architecture_id))
            written += 1
    except MlflowException as error:
        reason = " ".join(str(error).split())[:200]
        goes_on = f"{written} of {len(records)} designs are there, and the same command adds the others"
        raise UserError(
            f"{uri}: MLflow says: {reason}; {goes_on if written else 'give the address of a store'}"
        ) from None
    return len(records)


def _experiment(client: Any, result: StudyResult, uri: str) -> str:
    """The id of the study's experiment, which is made where there is none."""
    name, first = result.folder.resolve().name, result.trials[0]
    study = content_hash([first.key, first.submitted_at])  # what never changes, however often it is resumed
    found = client.get_experiment_by_name(name)
    if found is None:
        return str(client.create_experiment(name, tags={**about(result), STUDY: study}))
    if found.tags.get(STUDY) != study:
        raise UserError(f"{uri}: has another experiment {name!r} already; rename one of the two, or give another store")
    return str(found.experiment_id)


def _runs(client: Any, experiment: str) -> dict[str, Any]:
    """The runs that the experiment holds, by design."""
    found: dict[str, Any] = {}
    page = client.search_runs([experiment], max_results=PAGE)
    while page:
        found |= {run.data.tags[DESIGN]: run for run in page if DESIGN in run.data.tags}
        page = client.search_runs([experiment], max_results=PAGE, page_token=page.token) if page.token else ()
    return found


def _write(client: Any, experiment: str, record: DesignRecord, before: Any | None) -> None:
    """Write a design's run; of the one `before`, if there is any, only what it lacks."""
    from mlflow.entities import Metric, Param, RunTag

    study, (began, ended) = record.result.study, (round(1000 * each) for each in record.seconds)
    noun = study.objective.noun
    scores = [(noun, score, study.ladder.rungs[rung].fidelity.samples) for rung, score in record.rungs.items()]
    others = [(f"final {noun}", record.final, 0), ("latency_ms", record.latency_ms, 0)]
    metrics = [Metric(name, value, ended, step) for name, value, step in [*scores, *others] if value is not None]
    params = [Param(_plain(name), str(value)) for name, (value, _) in record.fields.items()]
    tags = {_plain(name): str(value)[:LONGEST] for name, value in record.attributes.items()}
    status = "FINISHED" if record.scores else "FAILED"
    if before is None:
        own = {DESIGN: record.first.architecture_id}  # from the start, so that a run cut off here is found again
        run = client.create_run(experiment, start_time=began, tags=own, run_name=record.first.label).info.run_id
    elif before.info.status == status and tags.items() <= before.data.tags.items():
        return
    else:
        run = before.info.run_id
        known = {(m.key, m.step, m.value) for key in before.data.metrics for m in client.get_metric_history(run, key)}
        metrics = [metric for metric in metrics if (metric.key, metric.step, metric.value) not in known]
    client.log_batch(run, metrics=metrics, params=params, tags=[RunTag(*tag) for tag in tags.items()])
    client.set_terminated(run, status, end_time=ended)


def _plain(name: str) -> str:
    """A name that MLflow takes: stages[1].block as stages.1.block."""
    return re.sub(r"[^\w .:/-]", "", name.replace("[", "."))
