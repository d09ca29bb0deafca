"""Checks of a search's arguments, made before anything is written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nasbench.errors import UserError
from nasbench.files import data_path
from nasbench.latency import standalone
from nasbench.latency.energy import required_meter
from nasbench.latency.names import THIS_MACHINE
from nasbench.latency.profile import load_device
from nasbench.running.session import check_address
from nasbench.study.objective import OBJECTIVES, split_objective
from nasbench.study.runner import RunnerSpec, load_runner
from nasbench.study.study import Study
from nasbench.study.task import DATASETS


def objectives(text: str) -> tuple[str, ...]:
    """A study's objectives from `--objective`: the training loss, latency, and a size to extrapolate to."""
    name, extrapolated = split_objective(text)
    if name not in OBJECTIVES:
        raise UserError(f"unknown objective {name!r}; known objectives: {', '.join(OBJECTIVES)}, predicted@4GFLOP")
    return OBJECTIVES[name].loss, "latency_ms", *extrapolated


def runner_at(name_or_path: str | Path, address: str | None) -> RunnerSpec:
    """The runner, at the cluster's address where one is given; UserError where no cluster answers there."""
    spec = load_runner(name_or_path)
    spec = spec if address is None else spec.replace(address=address)
    spec.require_device()
    if spec.address not in (None, "auto"):
        check_address(str(spec.address))
    return spec


def check_device(name: str, metrics: Sequence[str]) -> None:
    """Raise UserError unless the device's profile predicts `metrics`, or this machine can be measured for them."""
    try:
        profile = load_device(name)
    except UserError:
        if name != THIS_MACHINE:
            raise
        if "energy_j" in metrics:
            required_meter()
        if "memory_bytes" in metrics and not standalone.tells_memory():
            raise UserError("this system does not tell the memory of a process; bind another --device") from None
    else:
        profile.require_metrics(metrics)


def require_data(study: Study, folder: str | Path) -> None:
    """Raise UserError unless the images of a stored study are where it says."""
    name, _, archive = study.data.partition(":")
    if study.data in DATASETS:
        return
    path = data_path(archive if name in DATASETS else study.data)
    if path.exists():
        return
    if path.is_absolute():
        why = f"its images lie in {path}, which is not there; put them back"
    else:
        why = (
            f"its images are stored as {str(path)!r}, relative to where the search was started, and {path.absolute()} "
            "is not there; run this from that folder"
        )
    raise UserError(f"{folder}: {why}, or say where they are: `nasbench resume {folder} --data DIR`")
