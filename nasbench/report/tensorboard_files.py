"""A study as TensorBoard shows it: a run for each design, its fields as hyperparameters, its scores by images seen."""

from __future__ import annotations

from pathlib import Path

from nasbench.errors import UserError
from nasbench.files import file_stem
from nasbench.report.records import DesignRecord, design_records
from nasbench.report.results import StudyResult


def write_tensorboard(result: StudyResult, folder: Path) -> int:
    """Write a folder of event files a design -> how many designs. UserError where `folder` holds anything already."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder}: exists already; remove it, or give another folder")
    records = design_records(result)
    for record in records:
        _write(record, folder / file_stem(record.first.label, record.first.architecture_id))
    return len(records)


def _write(record: DesignRecord, folder: Path) -> None:
    from tensorboardX import SummaryWriter
    from tensorboardX.summary import hparams

    study, time = record.result.study, record.seconds[1]
    noun = study.objective.noun
    figures = {"latency_ms": record.latency_ms, "macs": record.attributes.get("MACs"), f"final {noun}": record.final}
    known = {name: value for name, value in figures.items() if isinstance(value, (int, float))}
    chosen = {
        name: value if isinstance(value, (bool, int, float)) else str(value)
        for name, (value, _) in record.fields.items()
    }
    chosen["kind"] = record.first.origin.kind.value
    with SummaryWriter(logdir=str(folder)) as writer:
        for summary in hparams(chosen, dict.fromkeys((noun, *known), 0)):
            writer.file_writer.add_summary(summary, walltime=time)
        for rung, score in record.rungs.items():
            writer.add_scalar(noun, score, study.ladder.rungs[rung].fidelity.samples, walltime=time)
        for name, value in known.items():
            writer.add_scalar(name, value, 0, walltime=time)
