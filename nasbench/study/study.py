"""A study: all that is needed to run a search again, as one frozen value and one file, `study.toml`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from nasbench import __version__
from nasbench.costs.budget import Budget, device_metrics, parse_budgets
from nasbench.errors import UserError
from nasbench.files import read_toml, write_toml
from nasbench.latency.names import THIS_MACHINE
from nasbench.study.objective import BY_LOSS, Objective
from nasbench.study.trials import content_hash

FILE = "study.toml"
WHO_RAN_IT = {"version", "commit"}  # tells how a result came about, and does not make it another study
HOW_LONG = {"trials", "time_limit_s", "runner"}  # may change from run to run: no finished trial depends on them


class SpaceRecord(BaseModel):
    """The search space of a study, with its whole content: a file that changes later changes nothing here."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    content: dict[str, Any]

    @property
    def id(self) -> str:
        return content_hash(self.content)


class Study(BaseModel):
    """What a search looks for, on what, and how it goes about it. Times are in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    space: SpaceRecord
    objectives: tuple[str, ...] = Field(("error", "latency_ms"), min_length=1)  # "masked_error": without labels
    budgets: tuple[str, ...] = ()
    classes: int = Field(1000, ge=2)  # that budgets are counted with
    data: str = "fashion-on-earth"  # name or path
    data_id: str | None = None  # its content, once it is loaded
    data_seed: int = 0  # of the cut between training and validation images
    ladder: tuple[dict[str, Any], ...] = Field(min_length=1)  # one fidelity a rung, lowest first
    strategy: dict[str, Any]  # its name and its settings
    trials: int = Field(ge=1)
    seed: int = 0
    device: str = THIS_MACHINE
    finalists: int = Field(5, ge=0)  # trained again with each of `final_seeds` and measured
    final_seeds: tuple[int, ...] = (0, 1, 2)
    trial_limit_s: float | None = Field(None, gt=0)  # a trial that takes longer has failed
    time_limit_s: float | None = Field(None, gt=0)  # no trial starts later than this
    runner: dict[str, Any]
    version: str = __version__
    commit: str | None = None

    @field_validator("budgets")
    @classmethod
    def _budgets_parse(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        parse_budgets(texts)
        return texts

    @field_validator("objectives")
    @classmethod
    def _objective_is_known(cls, objectives: tuple[str, ...]) -> tuple[str, ...]:
        if objectives[0] not in BY_LOSS:
            raise ValueError(f"the first must be one of {', '.join(BY_LOSS)}")
        if not BY_LOSS[objectives[0]].labelled and any(text.startswith("predicted@") for text in objectives):
            raise ValueError("predicted@SIZE extrapolates the error of labels; use it with error first")
        return objectives

    @field_validator("strategy")
    @classmethod
    def _strategy_is_named(cls, strategy: dict[str, Any]) -> dict[str, Any]:
        if not isinstance(strategy.get("name"), str):
            raise ValueError('needs the name of a strategy, such as name = "random"')
        return strategy

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], source: str = FILE) -> Study:
        """`content` checked; an error names `source`, key, value and rule in one line."""
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            raise UserError(_one_line(error, source)) from None

    def to_dict(self) -> dict[str, Any]:
        """Plain values only, without those that are None (TOML has no word for it)."""
        return self.model_dump(mode="json", exclude_none=True)

    def replace(self, **changes: Any) -> Study:
        """A study with `changes`, checked like a new one."""
        return Study.from_dict({**self.model_dump(), **changes}, source="study")

    @property
    def objective(self) -> Objective:
        """What proxy training gets right."""
        return BY_LOSS[self.objectives[0]]

    @property
    def parsed_budgets(self) -> tuple[Budget, ...]:
        return parse_budgets(self.budgets)

    @property
    def device_metrics(self) -> tuple[str, ...]:
        """What budgets ask of the device's profile: its time, memory, energy."""
        return device_metrics(self.parsed_budgets)

    @classmethod
    def open(cls, folder: Path | str) -> Study:
        """The study whose folder this is."""
        path = Path(folder) / FILE
        if not path.is_file():
            raise UserError(f"{folder}: holds no {FILE}; start a study with `nasbench search --out {folder}`")
        return cls.from_dict(read_toml(path), str(path))

    def create(self, folder: Path | str) -> None:
        """Make `folder` this study's: it must be new or empty, or hold this very study already.

        A folder of another study, or of anything else, is an error, and nothing in it is touched.
        """
        folder = Path(folder)
        if (folder / FILE).is_file():
            return self._must_equal(Study.open(folder), folder)
        if folder.is_dir() and any(not entry.name.startswith(".") for entry in folder.iterdir()):
            raise UserError(f"{folder}: holds files, but no {FILE}; give a new or empty folder with --out")
        self.write(folder)

    def write(self, folder: Path | str) -> None:
        """Write study.toml, also over an older one (a resumed study that is to run longer)."""
        try:
            Path(folder).mkdir(parents=True, exist_ok=True)
            write_toml(Path(folder) / FILE, self.to_dict())
        except OSError as error:
            raise UserError(f"{folder}: cannot write: {error.strerror}; give another folder with --out") from None

    def _must_equal(self, other: Study, folder: Path) -> None:
        if other.objective != self.objective:
            raise UserError(
                f"{folder}: holds a study of the objective {other.objective.name}, not {self.objective.name}, and "
                f"their scores do not compare; give another folder with --out, or --objective {other.objective.name}"
            )
        differing = differences(other, self)
        if differing:
            shown = "; ".join(f"{key} {_short(was)} there, {_short(now)} here" for key, was, now in differing[:3])
            more = f" and {len(differing) - 3} more" if len(differing) > 3 else ""
            remedy = f"give another folder with --out, or go on with that one: `nasbench resume {folder}`"
            raise UserError(f"{folder}: holds another study ({shown}{more}); {remedy}")


def differences(a: Study, b: Study) -> list[tuple[str, Any, Any]]:
    """Key, value in `a`, value in `b`, wherever they differ in more than who ran it."""
    left, right = _flat(a.to_dict()), _flat(b.to_dict())
    keys = sorted(key for key in left.keys() | right.keys() if key.split(".")[0] not in WHO_RAN_IT)
    return [(key, left.get(key), right.get(key)) for key in keys if left.get(key) != right.get(key)]


def _flat(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in content.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def _short(value: Any) -> str:
    text = "not given" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _one_line(error: ValidationError, source: str) -> str:
    first = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in first["loc"])
    rule = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        rule = f"unknown key; known keys: {', '.join(sorted(_fields_at(first['loc'])))}"
    value = "" if first["type"] == "missing" else f" = {_short(first['input'])}"
    return f"{source}: {key}{value}: {rule}".replace("\n", " ")


def _fields_at(location: tuple[int | str, ...]) -> list[str]:
    return list((SpaceRecord if location[0] == "space" and len(location) > 1 else Study).model_fields)
