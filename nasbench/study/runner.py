"""Runner files: where trials run, what each may use, and the ladder of fidelities that fits such a machine's time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from pydantic import Field, field_validator, model_validator
from typing_extensions import Self

from nasbench.errors import UserError, shown
from nasbench.files import data_dir, read_toml
from nasbench.hardware import require_device
from nasbench.study.fidelity import Ladder
from nasbench.values import Value

LADDER = "ladder"  # the key of the proxy's rungs, which lie in the same file
PROMOTION = "promotion"  # the key of the kind of promotion
LAPTOP = "laptop"
LEAST_SHARE = 0.001  # of a core, a device or a GiB
Accelerator = Literal["cpu", "cuda"]
Precision = Literal["float32", "bf16"]
Promotion = Literal["rungs", "asynchronous"]  # a rung begins when the one below is complete, or before
PROMOTIONS: tuple[Promotion, ...] = get_args(Promotion)
RUNGS: Promotion = "rungs"
Priority = Literal["low", "normal"]  # of a local Ray's workers: nice 15 or nice 0


class Numerics(NamedTuple):
    """The kind of device and the precision of a training: the same trial under others gives another result."""

    accelerator: Accelerator = "cpu"
    precision: Precision = "float32"

    @property
    def text(self) -> str:
        """ "cpu float32", as a row of a table stores it."""
        return f"{self.accelerator} {self.precision}"


class RunnerSpec(Value):
    """One runner file. `device`, `precision` and `channels_last` are for the training loop, the rest for the runner."""

    kind: Literal["ray", "serial"] = "ray"
    address: str | None = None  # of a cluster, "host:port" or "auto"; None starts one on this machine
    workers: int | None = Field(None, ge=1, le=10**5)  # trials at a time; None for as many as fit
    cpus_per_trial: float = Field(1.0, ge=LEAST_SHARE, le=4096)
    gpus_per_trial: float = Field(0.0, ge=0, le=1024)  # a fraction shares a device
    threads: int = Field(1, ge=1, le=4096)  # of each trial's arithmetic
    memory_gib_per_trial: float = Field(1.5, ge=0, le=1 << 20)  # only counts how many trials fit on this machine
    wait_for_nodes_s: float = Field(0.0, ge=0, le=10**7)  # how long a cluster may take to have room for one trial
    device: Accelerator = "cpu"
    precision: Precision = "float32"
    channels_last: bool = True
    priority: Priority = Field("low", exclude=True)  # not stored with a study, since results do not depend on it

    @field_validator("device", mode="before")
    @classmethod
    def _device_is_a_kind(cls, device: object) -> object:
        if device in get_args(Accelerator):
            return device
        one_of_many = isinstance(device, str) and device.startswith("cuda:")
        choose = "CUDA_VISIBLE_DEVICES chooses the GPU" if one_of_many else "others are not used"
        raise UserError(f"device = {shown(device)}: trainings run on 'cpu' or 'cuda'; name one of them ({choose})")

    @model_validator(mode="after")
    def _shares_are_none_or_some(self) -> Self:
        for name in ("gpus_per_trial", "memory_gib_per_trial"):
            value = getattr(self, name)
            if 0 < value < LEAST_SHARE:
                raise UserError(f"{name} = {value}: take 0 for none, or at least {LEAST_SHARE}")
        return self

    @model_validator(mode="after")
    def _whole_devices(self) -> Self:
        if self.gpus_per_trial > 1 and self.gpus_per_trial != int(self.gpus_per_trial):
            raise UserError(f"gpus_per_trial = {self.gpus_per_trial}: take a fraction below 1 or whole devices")
        return self

    def with_priority(self, priority: Priority | None) -> RunnerSpec:
        """This runner with another priority, if one is given; UserError where it cannot be set from here."""
        if priority is None:
            return self
        if self.address is not None:
            raise UserError(
                f"priority {priority!r}: the workers of the cluster at {self.address} have what it was started with; "
                "start it with RAY_worker_niceness=0 for normal"
            )
        if self.kind == "serial" and priority != self.priority:
            raise UserError(f"priority {priority!r}: a serial runner trains in this process; start it with `nice`")
        return self.replace(priority=priority)

    def require_device(self) -> None:
        """Raise UserError where trials would lack the device; a cluster's machines are not checked."""
        if self.address is None:
            require_device(self.device)
        if self.kind == "ray" and self.device == "cuda" and not self.gpus_per_trial:
            raise UserError(
                "device = 'cuda' with gpus_per_trial = 0: Ray shows a trial no GPU that it did not ask for; set "
                "gpus_per_trial, such as 1 or 0.5"
            )

    @property
    def numerics(self) -> Numerics:
        return Numerics(self.device, self.precision)


def shipped_runners() -> dict[str, Path]:
    """Name -> file of the runners that come with nasbench."""
    return {path.stem: path for path in sorted(data_dir("runners").glob("*.toml"))}


def load_runner(name_or_path: str | Path, priority: Priority | None = None) -> RunnerSpec:
    """A shipped runner by name ("laptop"), or a runner file by path; `priority` instead of the file's."""
    content, source = _read(name_or_path)
    _promotion(content, source)  # checked too, so that a file is valid as a whole
    own = {key: value for key, value in content.items() if key not in (LADDER, PROMOTION)}
    spec = RunnerSpec.from_dict(own, source)
    return spec.with_priority(priority)


def runner_ladder(name_or_path: str | Path) -> Ladder:
    """The ladder of a runner's file; one without any [[ladder]] table has the laptop's."""
    content, source = _read(name_or_path)
    if not content.get(LADDER):
        return runner_ladder(LAPTOP)
    tables = content[LADDER]
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise UserError(f"{source}: {LADDER} must be a list of tables; write [[ladder]] above each rung")
    ladder = Ladder.from_recipes(tables, source)
    ladder.check_rungs_differ(source)
    return ladder


def runner_promotion(name_or_path: str | Path) -> Promotion:
    """The kind of promotion that a runner's file asks for."""
    return _promotion(*_read(name_or_path))


def _promotion(content: Mapping[str, object], source: str) -> Promotion:
    found = content.get(PROMOTION, RUNGS)
    for known in PROMOTIONS:
        if found == known:
            return known
    raise UserError(f"{source}: {PROMOTION} = {shown(found)}: must be {' or '.join(map(repr, PROMOTIONS))}")


def _read(name_or_path: str | Path) -> tuple[dict[str, object], str]:
    shipped = shipped_runners()
    path = shipped.get(str(name_or_path), Path(name_or_path))
    if not path.is_file():
        raise UserError(
            f"unknown runner {str(name_or_path)!r}; known runners: {', '.join(shipped)}, or a path to a file"
        )
    return read_toml(path), str(path)
