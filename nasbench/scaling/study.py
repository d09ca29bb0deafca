"""A scaling study: designs, each at several sizes and sample counts with several seeds, trained and kept in a folder.

The folder holds `scaling.toml` (all that is needed to run it again), `trials.jsonl` and `environment.json`. A study
that was stopped goes on where it was: what to train next is read off the trials.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import Field
from typing_extensions import Self

from nasbench import __version__
from nasbench.arch.architecture import Architecture
from nasbench.costs.analytic import cost
from nasbench.costs.budget import Budget
from nasbench.errors import UserError
from nasbench.files import data_spec, read_toml, require_new_or_empty, write_toml
from nasbench.scaling.rules import rule_named
from nasbench.scaling.target import scale_to, scaled_name
from nasbench.scaling.target_metric import metric_of
from nasbench.study import environment
from nasbench.study.fidelity import (
    FORMER,
    MAX_SAMPLES,
    STANDARD,
    Fidelity,
    load_recipe,
    recipe_files,
    recipe_name,
)
from nasbench.study.journal import locked
from nasbench.study.runner import Numerics, RunnerSpec
from nasbench.study.study import FILE as SEARCH_FILE
from nasbench.study.study import StoredBudget, Study
from nasbench.study.task import DATA, DATASETS
from nasbench.study.trial_records import MAX_CLASSES, Seed
from nasbench.study.trials import Kind, Origin, Split, Trial
from nasbench.values import Value

FILE = "scaling.toml"
RULE = "width"  # how designs grow unless another rule is named
MAY_DIFFER = {"version", "commit", "runner"}  # between two runs of one study
MAY_GROW = {"designs", "targets", "samples", "seeds", "made"}  # no finished trial depends on how many there are


Samples = Annotated[int, Field(ge=1, le=MAX_SAMPLES)]


class PlannedDesign(NamedTuple):
    """One scaled design: the name of what it was made from, its target as written, and itself."""

    family: str
    target: str
    arch: Architecture


def _nameless(arch: Architecture) -> dict[str, Any]:
    return {key: value for key, value in arch.to_dict().items() if key != "name"}


class ScalingStudy(Value):
    """`designs` (name -> architecture) along `rule` at each of `targets`, trained on each of `samples` with each of
    `seeds` by `recipe`; `fidelity` holds what is changed in the recipe."""

    designs: dict[str, dict[str, Any]] = Field(min_length=1)
    rule: str = RULE
    targets: tuple[StoredBudget, ...] = Field(min_length=1)
    samples: tuple[Samples, ...] = Field(min_length=1)
    seeds: tuple[Seed, ...] = Field((0, 1, 2), min_length=1)
    recipe: str = FORMER  # what studies were trained by whose file names none
    fidelity: dict[str, Any] = Field(default_factory=dict)
    classes: int = Field(1000, ge=2, le=MAX_CLASSES)  # that targets are counted with
    data: str = "fashion-on-earth"
    data_id: str | None = None
    split: Split = "validation"
    runner: RunnerSpec
    numerics_in_keys: bool = False  # as in `Study`
    made: dict[str, dict[str, Any]] = Field(default_factory=dict)  # the scaled designs by name, once they are made
    version: str = __version__
    commit: str | None = None

    @classmethod
    def from_dict(cls, content: Mapping[str, object], source: str = FILE) -> Self:
        study = super().from_dict(content, source)
        rule_named(study.rule)
        if "samples" in study.fidelity:
            raise UserError(f"{source}: fidelity.samples: how many images are seen stands in samples; remove it here")
        study.fidelity_at(study.samples[0])
        return study

    @classmethod
    def open(cls, folder: Path | str) -> ScalingStudy:
        path = Path(folder) / FILE
        if not path.is_file():
            raise UserError(f"{folder}: holds no {FILE}; make one with `nasbench scale train ... --out {folder}`")
        return cls.from_dict(read_toml(path), str(path))

    def create(self, folder: Path) -> None:
        """Make `folder` this study's; one that holds a study of other training, or of more than this one, is an error,
        and stays as it is."""
        if not (folder / FILE).is_file():
            require_new_or_empty(folder, FILE)
        with locked(folder):
            if (folder / FILE).is_file():  # perhaps of a process that began here at the same time
                self._check_goes_on(ScalingStudy.open(folder), folder)
            write_toml(folder / FILE, self.to_dict())

    def _check_goes_on(self, before: ScalingStudy, folder: Path) -> None:
        """Raise UserError unless this is the study `before`, or that one grown."""
        there, here = before.to_dict(), self.to_dict()
        same_images = before.data_id is not None and before.data_id == self.data_id
        for key in sorted((there.keys() | here.keys()) - MAY_DIFFER - MAY_GROW - ({"data"} if same_images else set())):
            if there.get(key) != here.get(key):
                raise UserError(f"{folder}: holds another study ({key} differs); give another folder with --out")
        for key in sorted(MAY_GROW):
            lost = _lost(there.get(key), here.get(key))
            if lost:
                raise UserError(
                    f"{folder}: holds a study with more {key} ({', '.join(lost)}); name them too, or give another "
                    "folder with --out"
                )

    def fidelity_at(self, samples: int) -> Fidelity:
        return load_recipe(self.recipe).at(samples, **self.fidelity)

    def family(self) -> list[PlannedDesign]:
        """Every design at every target: as it was made once, else scaled now."""
        rule, found = rule_named(self.rule), []
        for name, content in self.designs.items():
            base = Architecture.from_dict({**content, "name": name}, f"{FILE}: designs.{name}")
            for target in self.targets:
                key = scaled_name(base, target)
                if key in self.made:
                    arch = Architecture.from_dict({**self.made[key], "name": key}, f"{FILE}: made.{key}")
                else:
                    arch = scale_to(base, target, rule, metric_of(target, self.classes)).arch
                found.append(PlannedDesign(name, str(target), arch))
        return found

    def with_family(self, folder: Path) -> ScalingStudy:
        """With its scaled designs written down, those that `folder` has already first: trials are known by them."""
        study = self._going_on(ScalingStudy.open(folder)) if (folder / FILE).is_file() else self
        made = {design.arch.name: _nameless(design.arch) for design in study.family()}
        return study.model_copy(update={"made": {**study.made, **made}})

    def _going_on(self, before: ScalingStudy) -> ScalingStudy:
        """With the designs of `before`, and its word on numerics where that makes no other keys."""
        in_keys = before.numerics_in_keys if self.runner.numerics == Numerics() else self.numerics_in_keys
        return self.model_copy(update={"made": {**self.made, **before.made}, "numerics_in_keys": in_keys})

    def trials(self) -> Iterator[Trial]:
        """All that the study trains: sample counts in the order given, then seeds, designs and sizes."""
        family = [(design, cost(design.arch, self.classes)) for design in self.family()]
        numerics = self.runner.numerics if self.numerics_in_keys else None
        for samples in self.samples:
            fidelity = self.fidelity_at(samples)
            for seed in self.seeds:
                for design, costs in family:
                    origin = Origin(Kind.SCALED, cost=costs, family=design.family, rule=self.rule, target=design.target)
                    data = self.data_id or self.data
                    yield Trial.new(design.arch, fidelity, seed, data, self.split, origin, numerics)


def train_options(folders: Sequence[Path | str]) -> list[str]:
    """What `nasbench scale train` has to be told so that it trains as the first of these studies was, where that is not
    what it does untold. Only what is trained alike can be fitted together."""
    untold = {"recipe": STANDARD, "data": DATA, "rule": RULE}
    settings = next((found for folder in folders if (found := _settings(Path(folder)))), untold)
    return [word for key, value in settings.items() if value != untold[key] for word in (f"--{key}", value)]


def _settings(folder: Path) -> dict[str, str]:
    """A scaling study's or a search's recipe and data, and how designs grow; nothing where the folder holds neither."""
    if (folder / FILE).is_file():
        scaled = ScalingStudy.open(folder)
        return {"recipe": scaled.recipe, "data": scaled.data, "rule": scaled.rule}
    if (folder / SEARCH_FILE).is_file():
        searched = Study.open(folder)
        recipe = recipe_name(searched.ladder.rungs[0].fidelity)
        return {"recipe": recipe if recipe in recipe_files() else "RECIPE.toml", "data": searched.data}
    return {}


def _lost(before: Any, now: Any) -> list[str]:
    """The entries of `before` (of a table its keys) that `now` lacks."""
    return [str(value) for value in before or () if value not in (now or ())]


def new_study(
    designs: Sequence[Architecture], targets: Sequence[Budget], samples: Sequence[int], seeds: int, **settings: Any
) -> ScalingStudy:
    """A study of `designs` at `targets`, trained by the standard recipe unless `settings` name another; they are
    further fields of `ScalingStudy`."""
    content = {
        "designs": {arch.label: _nameless(arch) for arch in designs},
        "targets": tuple(targets),
        "samples": tuple(samples),
        "seeds": tuple(range(seeds)),
        "recipe": STANDARD,
        "numerics_in_keys": True,
        "commit": environment.commit(),
        **settings,
    }
    content["data"] = data_spec(str(content.get("data", DATA)), DATASETS)
    return ScalingStudy.from_dict({key: value for key, value in content.items() if value is not None}, "study")
