"""A study: all that is needed to run a search again, as one frozen value and one file, `study.toml`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import BeforeValidator, Field, PlainSerializer, field_validator
from typing_extensions import Self

from nasbench import __version__
from nasbench.arch.architecture import Architecture
from nasbench.costs.budget import Budget, device_metrics
from nasbench.errors import UserError, require, shown
from nasbench.files import read_toml, require_new_or_empty, write_toml
from nasbench.latency.names import THIS_MACHINE
from nasbench.strategies import StrategyChoice
from nasbench.study.fidelity import Ladder
from nasbench.study.journal import locked
from nasbench.study.objective import BY_LOSS, PREDICTED, SUPERVISED, Objective, extrapolation_target
from nasbench.study.runner import RUNGS, Numerics, Promotion, RunnerSpec
from nasbench.study.trial_records import MAX_CLASSES, Seed
from nasbench.study.trials import Level, Origin, Split, Trial
from nasbench.values import Value, content_hash

FILE = "study.toml"
LATENCY = "latency_ms"  # the objective beside the first
MAX_TRIALS = 10**6
MAX_SECONDS = 1e9
PROVENANCE = {"version", "commit"}  # fields in which equal studies may differ


def _read_budget(text: object) -> object:
    if not isinstance(text, (str, Budget)):
        raise ValueError('write it as text with its unit, such as "1GFLOP"')
    return Budget.parse(text) if isinstance(text, str) else text


def _read_strategy(table: object) -> object:
    if not isinstance(table, (dict, StrategyChoice)):
        raise ValueError('must be a table; write for example [strategy] and below it name = "random"')
    return StrategyChoice.from_dict(table) if isinstance(table, dict) else table


def _read_ladder(tables: object) -> object:
    if not isinstance(tables, (list, tuple)):
        return tables
    if not all(isinstance(table, dict) for table in tables):
        raise ValueError("must be a list of tables; write [[ladder]] above each rung")
    return Ladder.from_stored(tables)


# Fields that are values in Python and plain TOML in study.toml.
StoredBudget = Annotated[Budget, BeforeValidator(_read_budget), PlainSerializer(str)]
StoredLadder = Annotated[Ladder, BeforeValidator(_read_ladder), PlainSerializer(Ladder.to_tables)]
StoredStrategy = Annotated[StrategyChoice, BeforeValidator(_read_strategy), PlainSerializer(StrategyChoice.to_dict)]


class SpaceRecord(Value):
    """The search space of a study, with its whole content, so that later changes of its file have no effect."""

    name: str
    content: dict[str, Any]

    @property
    def id(self) -> str:
        return content_hash(self.content, compact=True)


MOST_FINAL_SEEDS = 99  # of a design; a search's other seeds lie a hundred apart


class Study(Value):
    """All settings of a search. Times are in seconds."""

    space: SpaceRecord
    objectives: tuple[str, ...] = Field(("error", LATENCY), min_length=1)  # "masked_error": without labels
    budgets: tuple[StoredBudget, ...] = ()
    classes: int = Field(1000, ge=2, le=MAX_CLASSES)  # with which costs are counted for budgets
    data: str = "fashion-on-earth"  # name or path
    data_id: str | None = None  # hash of its content, once it is loaded
    data_seed: Seed = 0  # of the split into training and validation images
    ladder: StoredLadder
    strategy: StoredStrategy
    trials: int = Field(ge=1, le=MAX_TRIALS)
    seed: Seed = 0
    device: str = THIS_MACHINE
    finalists: int = Field(5, ge=0, le=MAX_TRIALS)  # trained again with `final_seeds`, all or in a race, and measured
    final_seeds: tuple[Seed, ...] = (0, 1, 2)
    open_ended: bool = False  # as many trials as the time limit allows; `trials` and the ladder's are starting points
    promotion: Promotion = RUNGS  # whether a rung waits for the one below
    race: int | None = Field(None, ge=1, le=MAX_TRIALS)  # final trainings at most, where those are chosen one by one
    trial_limit_s: float | None = Field(None, gt=0, le=MAX_SECONDS)  # a trial that takes longer has failed
    time_limit_s: float | None = Field(None, gt=0, le=MAX_SECONDS)  # shared out among the levels
    runner: RunnerSpec
    numerics_in_keys: bool = False  # whether precision and kind of device are part of trials' keys
    version: str = __version__
    commit: str | None = None

    @field_validator("objectives")
    @classmethod
    def _objective_is_known(cls, objectives: tuple[str, ...]) -> tuple[str, ...]:
        if objectives[0] not in BY_LOSS:
            raise ValueError(f"the first must be one of {', '.join(BY_LOSS)}")
        odd = [text for text in objectives[1:] if text != LATENCY and not text.startswith(PREDICTED)]
        if odd:
            raise ValueError(f"{shown(odd[0])} is unknown; after the first stand {LATENCY} and {PREDICTED}4GFLOP")
        if not BY_LOSS[objectives[0]].labelled and any(text.startswith(PREDICTED) for text in objectives):
            raise ValueError("predicted@SIZE extrapolates the error of labels; use it with error first")
        return objectives

    @classmethod
    def from_dict(cls, content: Mapping[str, object], source: str = FILE) -> Self:
        return super().from_dict(content, source)

    @property
    def objective(self) -> Objective:
        """The objective of proxy training."""
        return BY_LOSS[self.objectives[0]]

    @property
    def by_accuracy(self) -> bool:
        """Whether designs are compared by the accuracy that they reach at their own size, and by latency."""
        return self.objectives == (SUPERVISED.loss, "latency_ms")

    @property
    def extrapolated_to(self) -> Budget | None:
        """The size in multiply-adds at which designs are compared by extrapolation; None without."""
        targets = (extrapolation_target(text) for text in self.objectives if text.startswith(PREDICTED))
        return next(targets, None)

    @property
    def data_name(self) -> str:
        """The images as its trials store them: the hash of their content where it is known."""
        return self.data_id or self.data

    @property
    def device_metrics(self) -> tuple[str, ...]:
        """The metrics of the device that have budgets: latency, memory, energy."""
        return device_metrics(self.budgets)

    @property
    def asynchronous(self) -> bool:
        """Whether designs are promoted to a rung while the one below still trains."""
        return self.promotion != RUNGS

    @property
    def key_numerics(self) -> Numerics | None:
        """The numerics in its trials' keys; None in studies without them."""
        return self.runner.numerics if self.numerics_in_keys else None

    def trial(self, arch: Architecture, seed: int, origin: Origin, split: Split = "validation") -> Trial:
        """A training of `arch` at the rung of `origin`, to be submitted."""
        fidelity = self.ladder.rungs[origin.rung].fidelity
        return Trial.new(arch, fidelity, seed, self.data_name, split, origin, self.key_numerics)

    def places(self, level: Level, below: int) -> int:
        """How many designs a level above the lowest rung takes, of so many complete ones below it."""
        return self.finalists if level.final else min(self.ladder.rungs[level.rung].trials, max(2, -(-below // 2)))

    def with_more_finals(self, count: int) -> Self:
        """With `count` more final trainings, and seeds for them. UserError where finals are no race."""
        if self.race is None:
            raise UserError("its finalists have as many seeds each and do not race; start a new search for more finals")
        if count < 1:
            raise UserError(f"finals = {count}: must be at least 1, the number of further final trainings")
        first, seeds = self.final_seeds[0], min(MOST_FINAL_SEEDS, len(self.final_seeds) + count)
        return self.replace(race=self.race + count, final_seeds=tuple(range(first, first + seeds)))

    @classmethod
    def open(cls, folder: Path | str) -> Study:
        """The study whose folder this is."""
        require("name or path", folder=folder)
        path = Path(folder) / FILE
        if not path.is_file():
            raise UserError(f"{folder}: holds no {FILE}; start a study with `nasbench search --out {folder}`")
        return cls.from_dict(read_toml(path), str(path))

    def create(self, folder: Path | str) -> None:
        """Write the study to `folder`, which must be new or empty, or hold this very study already.

        UserError where it holds anything else; nothing in it is changed then.
        """
        folder = Path(folder)
        if not (folder / FILE).is_file():
            require_new_or_empty(folder, FILE)
            self.write(folder, over=False)  # of two processes that begin here at once, one finds the other's study
        self._must_equal(Study.open(folder), folder)

    def write(self, folder: Path | str, over: bool = True) -> None:
        """Write study.toml, `over` an existing one (of a resumed study with other settings) or only where none is.

        UserError where a process runs the study, or the folder cannot be written.
        """
        path = Path(folder) / FILE
        try:
            with locked(Path(folder)):
                if over or not path.is_file():
                    write_toml(path, self.to_dict())
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
            first = "; ".join(f"{d.key} {_short(d.first)} there, {_short(d.second)} here" for d in differing[:3])
            more = f" and {len(differing) - 3} more" if len(differing) > 3 else ""
            remedy = f"give another folder with --out, or go on with that one: `nasbench resume {folder}`"
            raise UserError(f"{folder}: holds another study ({first}{more}); {remedy}")


class FieldDifference(NamedTuple):
    """A key of study.toml (`space.content.resolution`) and its value in each of two studies."""

    key: str
    first: object
    second: object


def differences(a: Study, b: Study) -> list[FieldDifference]:
    """The fields in which two studies differ, without provenance."""
    left, right = _flat(a.to_dict()), _flat(b.to_dict())
    same_images = a.data_id is not None and a.data_id == b.data_id  # wherever they lie, and however that is written
    passed_over = {*PROVENANCE, *(("data",) if same_images else ())}
    keys = sorted(key for key in left.keys() | right.keys() if key.split(".")[0] not in passed_over)
    return [FieldDifference(key, left.get(key), right.get(key)) for key in keys if left.get(key) != right.get(key)]


def _flat(content: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, value in content.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def _short(value: object) -> str:
    return "not given" if value is None else value if isinstance(value, str) and len(value) <= 40 else shown(value)
