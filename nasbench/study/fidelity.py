"""How a design is trained for the proxy, as values stored with each trial.

A **recipe** is everything but the number of samples, one file `runners/recipes/NAME.toml` with its evidence. A
**fidelity** is a recipe at a number of samples. A **ladder** is a sequence of fidelities, each called a rung.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from nasbench.errors import UserError, shown
from nasbench.files import data_dir, named_file, read_toml
from nasbench.values import Name, Value, content_hash

MAX_SAMPLES = 10**12
MIN_SIZE = 16  # pixels a side of a proxy image
MAX_SIDE = 1024
MIN_SCALE = 1 / 256
MAX_IMAGES = 10**9
MAX_GAIN = 100.0
STANDARD = "proxy-even"  # the recipe that a training has unless it names another
FORMER = "proxy-sgd"  # the recipe of stored studies that name none
SCORING = 0.25  # of a training sample's time that a scored image takes
LONG = 10  # times a rung's samples: what counts as long training

# The values of these fields in recipe files that lack them, which leave the training unchanged.
NEUTRAL: dict[str, object] = {"identity_bias": 0.0, "image_multiple": 1, "smallest_patch": 1, "adam_gates": False}
# The values of these fields in stored fidelities that lack them. They must never change: a trial's key is a hash of its
# fidelity, in which fields with these values are left out.
ABSENT_MEANS: dict[str, object] = {"optimiser": "sgd", "branch_gain": 1.0, "linear_gain": 0.0, **NEUTRAL}


class Recipe(Value):
    """How a network is reduced, trained and scored, without the number of samples. Nothing else changes a result.

    No field has a default; a file may leave out those in `NEUTRAL`.
    """

    pool: int = Field(ge=2, le=MAX_IMAGES)  # distinct training images
    evaluate: int = Field(ge=2, le=MAX_IMAGES)  # at most that many images of the split that is scored
    resolution_scale: float = Field(ge=MIN_SCALE, le=1)  # of the image's side, see proxy/reduction.py
    image_multiple: int = Field(ge=1, le=MAX_SIDE)  # the image's side is rounded up to one, so that no map is cut
    map_scale: float = Field(ge=MIN_SCALE, le=1)  # of the side of the later feature maps
    smallest_patch: int = Field(ge=1, le=MAX_SIDE)  # pixels a side that a patch embedding keeps
    width: float = Field(ge=MIN_SCALE, le=1)  # of all channels
    layer_scale: float = Field(ge=0, le=MAX_GAIN)  # start of every γ, 0 for the design's own
    batch_size: int = Field(ge=2, le=1 << 20)
    lr: float = Field(gt=0, le=1000)  # peak
    warmup: float = Field(ge=0, lt=1)  # share of the schedule in which the rate rises
    momentum: float = Field(ge=0, lt=1)
    weight_decay: float = Field(ge=0, le=1000)  # not on norms, biases, γ
    clip_norm: float = Field(ge=0, le=1e6)  # of the gradient, 0 for none
    label_smoothing: float = Field(ge=0, lt=1)
    shift: float = Field(ge=0, le=0.5)  # of the side
    flip: bool
    optimiser: Literal["sgd", "muon"]
    adam_gates: bool  # whether Muon leaves the gates of squeeze-and-excitation to Adam, as it does vectors
    branch_gain: float = Field(ge=0, le=MAX_GAIN)  # start of residual branches without a γ, times their usual scale
    linear_gain: float = Field(ge=0, le=MAX_GAIN)  # start of linear layers, times Xavier's deviation; 0 for N(0, 0.02²)
    identity_bias: float = Field(ge=0, le=MAX_GAIN)  # start of the norm's bias of identities before an activation

    @model_validator(mode="after")
    def _strides_are_whole(self) -> Self:
        _ = self.strides_out
        return self

    @property
    def strides_out(self) -> int:
        """How many strides of two the reduction takes out of a network."""
        ratio = self.map_scale / self.resolution_scale
        count = round(math.log2(ratio)) if ratio > 0 else -1
        if count < 0 or not math.isclose(2.0**count, ratio):
            raise UserError(
                f"map_scale {self.map_scale:g} over resolution_scale {self.resolution_scale:g} is {ratio:g}; it must "
                "be 1, 2, 4, ..., since strides of two are taken out; use for example 0.5 and 0.125"
            )
        return count

    def at(self, samples: int, **changes: object) -> Fidelity:
        """This recipe at a number of samples, with single fields changed."""
        return Fidelity.from_dict({**_fields_of(self), "samples": samples, **changes}, "fidelity")


class Fidelity(Recipe):
    """A recipe and the number of images that are seen in training, repeats included.

    Each fidelity has a complete one-cycle schedule: accuracies in the middle of a longer schedule rank worse.
    """

    samples: int = Field(ge=1, le=MAX_SAMPLES)

    @classmethod
    def from_dict(cls, content: Mapping[str, object], source: str = "fidelity") -> Self:
        """From the stored form, in which fields of `ABSENT_MEANS` may be absent."""
        return super().from_dict({**ABSENT_MEANS, **content}, source)

    def to_dict(self) -> dict[str, object]:
        """The stored form, without fields that have their value of `ABSENT_MEANS`."""
        content = self.model_dump(mode="json")
        return {key: value for key, value in content.items() if key not in ABSENT_MEANS or value != ABSENT_MEANS[key]}

    @property
    def id(self) -> str:
        """12 hexadecimal digits from all fields."""
        return content_hash(self.to_dict(), digits=12)

    @property
    def work(self) -> float:
        """Work of training and scoring, in training samples."""
        return self.samples + SCORING * self.evaluate

    @property
    def longer(self) -> Fidelity:
        """The long training that this one is compared with: the same recipe at `LONG` times the samples."""
        return self.replace(samples=LONG * self.samples)

    @property
    def recipe(self) -> Recipe:
        """The recipe, without the number of samples."""
        return Recipe(**{name: getattr(self, name) for name in Recipe.model_fields})

    def image_size(self, resolution: int) -> int:
        """Side in pixels of the proxy's images for a design of this resolution."""
        side = max(MIN_SIZE, round(resolution * self.resolution_scale))
        return side + -side % self.image_multiple


@cache
def recipe_files() -> dict[str, Path]:
    """Name -> file of the recipes that come with nasbench."""
    return {path.stem: path for path in sorted((data_dir("runners") / "recipes").glob("*.toml"))}


def load_recipe(name_or_path: str | Path = STANDARD) -> Recipe:
    """The recipe shipped under this name, or read from a file."""
    path = named_file(name_or_path, recipe_files(), "recipe")
    return _shipped(path) if str(name_or_path) in recipe_files() else _read(path)


@cache
def _shipped(path: Path) -> Recipe:
    """Cached, since it is asked for with each trial."""
    return _read(path)


def _read(path: Path) -> Recipe:
    return Recipe.from_dict({**NEUTRAL, **read_toml(path)}, str(path))


def recipe_name(fidelity: Fidelity) -> str:
    """The shipped recipe nearest to a fidelity's, with the fields in which it differs but for the number of scored
    images."""
    own = _fields_of(fidelity.recipe)
    shipped = {name: _fields_of(load_recipe(name)) for name in recipe_files()}
    differing = {
        name: [key for key in own if own[key] != fields[key] and key != "evaluate"] for name, fields in shipped.items()
    }
    nearest = min(differing, key=lambda name: len(differing[name]))
    changes = ", ".join(f"{key} = {own[key]}" for key in differing[nearest])
    return f"{nearest} with {changes}" if changes else nearest


def _fields_of(value: Value) -> dict[str, object]:
    return {name: getattr(value, name) for name in type(value).model_fields}


class Rung(Value):
    """One step of a ladder: how many designs enter it, and how they are trained."""

    name: Name = ""
    trials: int = Field(ge=1, le=10**6)
    fidelity: Fidelity

    @classmethod
    def from_table(cls, table: Mapping[str, object], source: str = "ladder") -> Self:
        """From the flat form of a [[ladder]] table: the rung's own keys beside those of its fidelity."""
        own = {key: value for key, value in table.items() if key in cls.model_fields and key != "fidelity"}
        fidelity = Fidelity.from_dict({key: value for key, value in table.items() if key not in own}, source)
        return cls.from_dict({**own, "fidelity": fidelity}, source)

    def to_table(self) -> dict[str, object]:
        return {**self.model_dump(mode="json", exclude={"fidelity"}), **self.fidelity.to_dict()}


class Ladder(Value):
    """Rungs in ascending order of samples; the values of the last one enter the front."""

    rungs: tuple[Rung, ...] = Field(min_length=1)

    @classmethod
    def from_tables(cls, tables: Sequence[Mapping[str, object]], source: str = "ladder") -> Self:
        """From the stored form of a ladder: every table holds its whole fidelity."""
        if not tables:
            raise UserError(
                f"{source}: no [[ladder]] table; at least one rung is needed: add [[ladder]] with trials and samples"
            )
        rungs = tuple(Rung.from_table(table, f"{source}: ladder[{index}]") for index, table in enumerate(tables))
        for index, (low, high) in enumerate(pairwise(rungs)):
            if high.fidelity.samples < low.fidelity.samples:
                raise UserError(
                    f"{source}: ladder[{index + 1}] trains on {high.fidelity.samples} samples after "
                    f"{low.fidelity.samples}; samples must not fall from rung to rung: reorder the tables"
                )
        return cls(rungs=rungs)

    @classmethod
    def from_recipes(
        cls, tables: Sequence[Mapping[str, object]], source: str = "ladder", default: str = STANDARD
    ) -> Self:
        """From [[ladder]] tables that each name a `recipe` (or mean `default`) and give what they change in it."""
        whole = []
        for index, table in enumerate(tables):
            recipe = load_recipe(_recipe_named(table, default, f"{source}: ladder[{index}]"))
            whole.append({**_fields_of(recipe), **{key: value for key, value in table.items() if key != "recipe"}})
        return cls.from_tables(whole, source)

    @classmethod
    def from_stored(cls, tables: Sequence[Mapping[str, object]]) -> Self:
        """From a stored study; where it names no recipe, that is `FORMER`."""
        return cls.from_recipes(tables, default=FORMER)

    def to_tables(self) -> list[dict[str, object]]:
        return [rung.to_table() for rung in self.rungs]

    def check_rungs_differ(self, source: str = "ladder") -> None:
        """Raise UserError where two rungs have equal fidelities: their trials would have equal keys.

        For new studies; stored ones are read without this check.
        """
        first: dict[str, int] = {}
        for index, rung in enumerate(self.rungs):
            twin = first.setdefault(rung.fidelity.id, index)
            if twin != index:
                raise UserError(
                    f"{source}: ladder[{index}] trains on {rung.fidelity.samples} samples exactly as ladder[{twin}] "
                    "does, so its trials would be the same; give it more samples, or remove it"
                )

    @property
    def top(self) -> int:
        """The index of the highest rung."""
        return len(self.rungs) - 1


def _recipe_named(table: Mapping[str, object], default: str, source: str) -> str:
    name = table.get("recipe", default)
    if not isinstance(name, str):
        raise UserError(f"{source}: recipe = {shown(name)}: give a name such as {STANDARD!r}, or the path of a file")
    return name
