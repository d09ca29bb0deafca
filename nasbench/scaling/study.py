"""A scaling study: designs, each at several sizes and sample counts with several seeds, trained and kept in a folder.

The folder holds `scaling.toml` (all that is needed to run it again), `trials.jsonl` and `environment.json`. A study
that was stopped trains what its `trials.jsonl` lacks.
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
MAY_DIFFER = {"version", "commit", "runner"}  # fields, between two runs of one study
MAY_GROW = {"designs", "targets", "samples", "seeds", "made"}  # fields to which a later run may add entries


Samples = Annotated[int, Field(ge=1, le=MAX_SAMPLES)]


class PlannedDesign(NamedTuple):
    """One scaled design: the name of what it was made from, its target as written, and itself."""

    family: str
    target: str
    arch: Architecture


def _nameless(arch: Architecture) -> dict[str, Any]:
    """The architecture's content without its name."""
    return {key: value for key, value in arch.to_dict().items() if key != "name"}


class ScalingStudy(Value):
    """`designs` (name -> architecture) scaled along `rule` to each of `targets`, trained on each of `samples` images
    with each of `seeds` by `recipe`.

    fidelity: fields that replace those of the recipe.
    """

    designs: dict[str, dict[str, Any]] = Field(min_length=1)
    rule: str = RULE
    targets: tuple[StoredBudget, ...] = Field(min_length=1)
    samples: tuple[Samples, ...] = Field(min_length=1)
    seeds: tuple[Seed, ...] = Field((0, 1, 2), min_length=1)
    recipe: str = FORMER  # of stored studies whose file names no recipe
    fidelity: dict[str, Any] = Field(default_factory=dict)
    classes: int = Field(1000, ge=2, le=MAX_CLASSES)  # of the networks whose cost is compared with a target
    data: str = "fashion-on-earth"
    data_id: str | None = None
    split: Split = "validation"
    runner: RunnerSpec
    numerics_in_keys: bool = False  # as in `Study`
    made: dict[str, dict[str, Any]] = Field(default_factory=dict)  # scaled designs by name, once they have been made
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
        """Write the study's file to `folder`, new or with an earlier run of this study.

        UserError where it holds a study with other fields, or with entries that this one lacks; it stays as it is.
        """
        if not (folder / FILE).is_file():
            require_new_or_empty(folder, FILE)
        with locked(folder):
            if (folder / FILE).is_file():  # perhaps of a process that began here at the same time
                self._check_goes_on(ScalingStudy.open(folder), folder)
            write_toml(folder / FILE, self.to_dict())

    def _check_goes_on(self, before: ScalingStudy, folder: Path) -> None:
        """Raise UserError unless this is the study `before`, possibly with further entries in MAY_GROW."""
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
        """Every design at every target: as stored in `made`, else scaled now."""
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
        """The study with all its scaled designs in `made`.

        Those that `folder` holds already are kept as they are: its trials' keys depend on them.
        """
        study = self._going_on(ScalingStudy.open(folder)) if (folder / FILE).is_file() else self
        made = {design.arch.name: _nameless(design.arch) for design in study.family()}
        return study.model_copy(update={"made": {**study.made, **made}})

    def _going_on(self, before: ScalingStudy) -> ScalingStudy:
        """The study with the scaled designs of `before` and, if numerics are default, its numerics_in_keys."""
        in_keys = before.numerics_in_keys if self.runner.numerics == Numerics() else self.numerics_in_keys
        return self.model_copy(update={"made": {**self.made, **before.made}, "numerics_in_keys": in_keys})

    def trials(self) -> Iterator[Trial]:
        """All trainings of the study, ordered by sample count, then seed, design and size."""
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
    """Options of `nasbench scale train`, where not default, with which it trains as the first of these studies was.

    Only trainings by the same recipe and data can be fitted together.
    """
    defaults = {"recipe": STANDARD, "data": DATA, "rule": RULE}
    settings = next((found for folder in folders if (found := _settings(Path(folder)))), defaults)
    return [word for key, value in settings.items() if value != defaults[key] for word in (f"--{key}", value)]


def _settings(folder: Path) -> dict[str, str]:
    """Recipe, data and, of a scaling study, rule of the study in `folder`; empty where it holds no study or search."""
    if (folder / FILE).is_file():
        scaled = ScalingStudy.open(folder)
        return {"recipe": scaled.recipe, "data": scaled.data, "rule": scaled.rule}
    if (folder / SEARCH_FILE).is_file():
        searched = Study.open(folder)
        recipe = recipe_name(searched.ladder.rungs[0].fidelity)
        return {"recipe": recipe if recipe in recipe_files() else "RECIPE.toml", "data": searched.data}
    return {}


def _lost(before: Any, now: Any) -> list[str]:
    """The entries of `before` (of a mapping its keys) that `now` lacks."""
    return [str(value) for value in before or () if value not in (now or ())]


def new_study(
    designs: Sequence[Architecture], targets: Sequence[Budget], samples: Sequence[int], seeds: int, **settings: Any
) -> ScalingStudy:
    """A study of `designs` at `targets` by the standard recipe; `settings` are further fields of `ScalingStudy`."""
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
