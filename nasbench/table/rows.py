"""A row of the table: one training of one design, with all that is needed to repeat it.

Its identity is architecture, fidelity, seed, split, images and numerics. It holds the complete architecture and
fidelity, so that rows do not depend on a space or recipe file.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from pydantic import Field

from nasbench.study.fidelity import MAX_SAMPLES, Fidelity, Ladder, recipe_name
from nasbench.study.trial_records import LARGEST, MAX_RUNGS, Count, Key, Seconds, Seed
from nasbench.study.trials import Kind, Split, Trial
from nasbench.values import Name, Value

LONG_RUNG = -1  # long training: ten times the samples of the ladder's last rung
Origin = Literal["published", "random", "bred", "picked", "given", "searched", "scaled"]
FOR_TABLE: tuple[Origin, ...] = ("random", "bred", "picked", "given")  # origins of designs that were made for a table

Share = Annotated[float, Field(ge=0, le=1)]
Loss = Annotated[float, Field(ge=-LARGEST, le=LARGEST)]


class RowKey(NamedTuple):
    """The identity of a training: rows with equal keys are the same one."""

    architecture_id: str
    fidelity: str
    seed: int
    split: str
    data_id: str
    numerics: str


class TableRow(Value):
    """One training. Costs are of the deploy form at the design's own resolution, seconds of the training loop."""

    from_cells: ClassVar[bool] = True
    architecture_id: Key
    name: Name = ""
    origin: Origin
    rung: int | None = Field(None, ge=LONG_RUNG, lt=MAX_RUNGS)  # of the ladder that the table was made with
    samples: int = Field(ge=1, le=MAX_SAMPLES)
    seed: Seed
    split: Split  # that was scored
    accuracy: Share
    loss: Loss | None = None
    train_loss_tail: Loss | None = None
    cpu_seconds: Seconds | None = None
    scored_images: Count | None = None
    macs: Count
    params: Count
    data: str  # the images' name
    data_id: str
    recipe: str  # its name
    fidelity: Key  # its id
    numerics: str
    proxy_id: Key  # the reduced network that was trained in the design's place
    nasbench: str
    torch: str
    machine: str
    finished: str = ""  # the day
    fidelity_fields: str  # JSON
    architecture: str  # JSON

    @property
    def key(self) -> RowKey:
        return RowKey(self.architecture_id, self.fidelity, self.seed, self.split, self.data_id, self.numerics)

    @property
    def order(self) -> tuple[str, int, str, int]:
        """The sort key in a file: adjacent to the other trainings of its design."""
        return self.architecture_id, self.samples, self.fidelity, self.seed


class Circumstances(NamedTuple):
    """What rows need beside a trial: name of the images, numerics, ladder, and the recorded runs of the folder."""

    data: str
    numerics: str
    ladder: Ladder
    runs: list[dict[str, Any]]


def row_of(trial: Trial, circumstances: Circumstances) -> TableRow:
    """A complete trial as a row."""
    metrics, run = trial.metrics, _run_of(trial, circumstances.runs)
    measured = ("accuracy", "loss", "train_loss_tail", "cpu_seconds", "scored_images")
    content = {name: _short(metrics[name]) for name in measured if name in metrics}
    return TableRow.from_dict(
        {
            **content,
            "architecture_id": trial.architecture_id,
            "name": str(trial.architecture.get("name", "")),
            "origin": _origin(trial),
            "rung": rung_of(trial.fidelity, circumstances.ladder),
            "samples": trial.fidelity.samples,
            "seed": trial.seed,
            "split": trial.split,
            "macs": trial.cost.macs,
            "params": trial.cost.params,
            "data": circumstances.data,
            "data_id": trial.data,
            "recipe": recipe_name(trial.fidelity),
            "fidelity": trial.fidelity.id,
            "numerics": circumstances.numerics,
            "proxy_id": metrics["proxy_id"],
            **_made_by(trial, run),
            "finished": datetime.fromtimestamp(trial.finished_at, timezone.utc).strftime("%Y-%m-%d"),
            "fidelity_fields": compact(trial.fidelity.to_dict()),
            "architecture": compact({key: value for key, value in trial.architecture.items() if key != "name"}),
        },
        f"trial {trial.key}",
    )


def compact(content: Mapping[str, Any]) -> str:
    """JSON without spaces."""
    return json.dumps(content, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def rung_of(fidelity: Fidelity, ladder: Ladder) -> int | None:
    """The rung of a ladder with this fidelity; `LONG_RUNG` for its long training, None for neither."""
    ids = [rung.fidelity.id for rung in ladder.rungs]
    if fidelity.id in ids:
        return ids.index(fidelity.id)
    return LONG_RUNG if fidelity.id == ladder.rungs[-1].fidelity.longer.id else None


def merged(first: Iterable[TableRow], more: Iterable[TableRow]) -> list[TableRow]:
    """The rows of both, each training once; of two rows of one training the later is kept.

    Rungs are numbered as in `first`: a fidelity that it lacks keeps its number if that is free, else has none.
    """
    rows = {row.key: row for row in first}
    rungs = {row.rung: row.fidelity for row in rows.values() if row.rung is not None}
    for row in more:
        known = next((rung for rung, fidelity in rungs.items() if fidelity == row.fidelity), None)
        if known is None and row.rung is not None:
            known = row.rung if rungs.setdefault(row.rung, row.fidelity) == row.fidelity else None
        rows[row.key] = row if row.rung == known else row.model_copy(update={"rung": known})
    return sorted(rows.values(), key=lambda row: row.order)


def _origin(trial: Trial) -> str:
    if trial.origin.kind == Kind.SEARCHED:
        return trial.origin.how if trial.origin.how in FOR_TABLE else "searched"
    return {Kind.FIXED_POINT: "published", Kind.SCALED: "scaled"}[trial.origin.kind]


def _run_of(trial: Trial, runs: list[dict[str, Any]]) -> Mapping[str, Any]:
    """The run of the folder in which the trial ended: the last one that had begun then."""
    ended = datetime.fromtimestamp(trial.finished_at, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    begun = [run for run in runs if str(run.get("time", "")) <= ended]
    return (begun or runs or [{}])[-1]


def _made_by(trial: Trial, run: Mapping[str, Any]) -> dict[str, str]:
    """Versions and machine, "unknown" where they are not recorded."""
    commit, hardware, versions = run.get("commit"), run.get("hardware"), run.get("versions")
    hardware = hardware if isinstance(hardware, dict) else {}
    versions = versions if isinstance(versions, dict) else {}
    here = trial.worker.get("host") == hardware.get("host")
    machine = trial.worker.get("gpu") or (hardware.get("cpu") if here else None)
    head, _, changes = str(commit or "").partition("+")
    version = "+".join(filter(None, (str(run.get("nasbench", "unknown")), head[:12], changes)))
    return {
        "nasbench": version,
        "torch": str(versions.get("torch", "unknown")),
        "machine": str(machine or "unknown"),
    }


def _short(value: object) -> object:
    """A float with six significant digits."""
    return float(f"{value:.6g}") if isinstance(value, float) else value
