"""Runner files: where trials run and what each may use."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nasbench.errors import UserError
from nasbench.files import data_dir, read_toml

LADDER = "ladder"  # the key of the proxy's rungs, which lie in the same file


class RunnerSpec(BaseModel):
    """One runner file. `device`, `precision` and `channels_last` are for the training loop, the rest for the runner."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["ray", "serial"] = "ray"
    address: str | None = None  # of a cluster, "host:port" or "auto"; None starts one on this machine
    workers: int | None = Field(None, ge=1)  # trials at a time; None for as many as fit
    cpus_per_trial: float = Field(1.0, gt=0)
    gpus_per_trial: float = Field(0.0, ge=0)  # a fraction shares a device
    threads: int = Field(1, ge=1)  # of each trial's arithmetic
    memory_gib_per_trial: float = Field(1.5, ge=0)  # only counts how many trials fit on this machine
    wait_for_nodes_s: float = Field(0.0, ge=0)  # how long a cluster may take to have room for one trial
    device: Literal["cpu", "cuda"] = "cpu"
    precision: Literal["float32", "bf16"] = "float32"
    channels_last: bool = True

    @classmethod
    def from_dict(cls, content: dict[str, Any], source: str = "runner") -> RunnerSpec:
        try:
            spec = cls.model_validate(content)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            key, rule = ".".join(map(str, first["loc"])), first["msg"]
            if first["type"] == "extra_forbidden":
                rule = f"unknown key; known keys: {', '.join(sorted(cls.model_fields))}"
            raise UserError(f"{source}: {key} = {first['input']}: {rule}") from None
        if spec.gpus_per_trial > 1 and spec.gpus_per_trial != int(spec.gpus_per_trial):
            raise UserError(
                f"{source}: gpus_per_trial = {spec.gpus_per_trial}: take a fraction below 1 or whole devices"
            )
        return spec

    def to_dict(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude_none=True)


def shipped_runners() -> dict[str, Path]:
    """Name -> file of the runners that come with nasbench."""
    return {path.stem: path for path in sorted(data_dir("runners").glob("*.toml"))}


def load_runner(name_or_path: str | Path) -> RunnerSpec:
    """A shipped runner by name ("laptop"), or a runner file by path."""
    content, source = _read(name_or_path)
    return RunnerSpec.from_dict({key: value for key, value in content.items() if key != LADDER}, source)


def runner_ladder(name_or_path: str | Path) -> list[dict[str, Any]]:
    """The [[ladder]] tables of a runner, which fit its machine's time; a file without any has the laptop's."""
    content, _ = _read(name_or_path)
    return content[LADDER] if content.get(LADDER) else runner_ladder("laptop")


def _read(name_or_path: str | Path) -> tuple[dict[str, Any], str]:
    shipped = shipped_runners()
    path = shipped.get(str(name_or_path), Path(name_or_path))
    if not path.is_file():
        raise UserError(
            f"unknown runner {str(name_or_path)!r}; known runners: {', '.join(shipped)}, or a path to a file"
        )
    return read_toml(path), str(path)
