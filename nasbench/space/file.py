"""A search space's file: an architecture file in which some values are lists, read strictly and written back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeGuard, cast

from pydantic import BaseModel, ValidationError

from nasbench.arch.metablock import MetaBlock
from nasbench.arch.parts import IMAGE_CHANNELS, MAX_IMAGE_CHANNELS, MAX_STAGES, Head, Stage, Stem
from nasbench.errors import CONTROL, UserError, shown
from nasbench.values import content_hash, first_problem

FieldValue = bool | int | float | str | tuple[MetaBlock, ...] | None  # of a field of an architecture
PartValues = dict[str, FieldValue]  # field -> value of a stem, stage or head, for the fields that have an effect
Choices = Mapping[str, tuple[FieldValue, ...]]  # field -> its choices; one for a fixed value
SPELLED_OUT = ("slots", "entry")  # fields whose value is a list of meta-blocks: a list there is no choice
TABLES = ("name", "resolution", "in_channels", "stem", "stages", "head", "constraints")
# Values of required fields while another field is checked.
REQUIRED: dict[type[BaseModel], dict[str, int]] = {Stage: {"channels": 8, "depth": 1}, Stem: {}, Head: {}}


@dataclass(frozen=True)
class SpaceFile:
    """The content of a space's file: every field of every part with its choices."""

    name: str
    resolution: tuple[int, ...]
    stem: Choices
    stages: tuple[Choices, ...]
    head: Choices
    constraints: Mapping[str, object]
    in_channels: int = IMAGE_CHANNELS

    @property
    def id(self) -> str:
        """16 hexadecimal digits of the content; neither the name nor the order of choices counts."""
        parts = [self.top, self.stem, *self.stages, self.head]
        content = [{name: sorted(map(repr, values)) for name, values in part.items()} for part in parts]
        return content_hash([content, self.constraints])

    @property
    def _images(self) -> Choices:
        return {} if self.in_channels == IMAGE_CHANNELS else {"in_channels": (self.in_channels,)}

    @property
    def top(self) -> Choices:
        """The choices outside stem, stages and head: resolution, and the images' channels where they are not three."""
        return {"resolution": self.resolution, **self._images}

    def to_dict(self) -> dict[str, object]:
        """Plain TOML types: scalars for fixed values, without keys at their defaults."""
        content = {
            "name": self.name,
            "resolution": _plain(self.resolution),
            **{name: values[0] for name, values in self._images.items()},
            "stem": _plain_table(self.stem, Stem),
            "stages": [_plain_table(stage, Stage) for stage in self.stages],
            "head": _plain_table(self.head, Head),
            "constraints": self.constraints,
        }
        return {key: value for key, value in content.items() if value or key == "name"}


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether `value` is a number; booleans are not."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def ints(choices: Choices, field: str) -> tuple[int, ...]:
    """The choices of a field of whole numbers; `read_space` has checked that they are."""
    return cast("tuple[int, ...]", choices[field])


def texts(choices: Choices, field: str) -> tuple[str, ...]:
    """The choices of a field of texts; checked likewise."""
    return cast("tuple[str, ...]", choices[field])


def meta_blocks(choices: Choices, field: str) -> tuple[MetaBlock, ...]:
    """The list of meta-blocks of a field of SPELLED_OUT; checked likewise."""
    return cast("tuple[MetaBlock, ...]", choices[field][0])


def read_space(content: Mapping[str, object], source: str) -> SpaceFile:
    """Check the content of a space's file; UserError naming `source`, key and value for the first mistake."""
    for key in content:
        if key not in TABLES:
            raise UserError(f"{source}: unknown key {shown(key)}; a search space has the keys {', '.join(TABLES)}")
    name, constraints = content.get("name", ""), content.get("constraints", {})
    if not isinstance(name, str):
        raise UserError(f"{source}: name = {shown(name)}: a name is text; put it in quotes")
    if CONTROL.search(name):
        raise UserError(f"{source}: name = {shown(name)}: control characters are no text; leave them out of the name")
    if not isinstance(constraints, Mapping):
        raise UserError(f"{source}: constraints = {shown(constraints)}: write a table [constraints]")
    if "resolution" not in content:
        raise UserError(f"{source}: key 'resolution' is missing; add it")
    stages = content.get("stages")
    if not isinstance(stages, (list, tuple)) or not stages:
        raise UserError(f"{source}: stages = {shown(stages)}: a space needs at least one [[stages]] table; add it")
    if len(stages) > MAX_STAGES:
        raise UserError(f"{source}: {len(stages)} stages: a network has at most {MAX_STAGES}; leave some out")
    return SpaceFile(
        name,
        _resolutions(content["resolution"], source),
        _choices(content.get("stem", {}), Stem, "stem", source),
        tuple(_choices(stage, Stage, f"stages[{i}]", source) for i, stage in enumerate(stages)),
        _choices(content.get("head", {}), Head, "head", source),
        dict(constraints),
        _in_channels(content.get("in_channels", IMAGE_CHANNELS), source),
    )


def _choices(table: object, kind: type[BaseModel], place: str, source: str) -> Choices:
    """The choices of every field of a part, the default where the table does not name the field."""
    if not isinstance(table, Mapping):
        raise UserError(f"{source}: {place} = {shown(table)}: write a table of keys")
    for key in table:
        if key not in kind.model_fields:
            raise UserError(
                f"{source}: unknown key {shown(f'{place}.{key}')}; known keys: {', '.join(kind.model_fields)}"
            )
    choices: dict[str, tuple[FieldValue, ...]] = {}
    for name, field in kind.model_fields.items():
        if name in table:
            values = _listed(table[name], name in SPELLED_OUT, f"{place}.{name}", source)
            choices[name] = tuple(_checked(kind, name, value, place, source) for value in values)
            _distinct(choices[name], f"{place}.{name}", source)
        elif field.is_required():
            raise UserError(f"{source}: key '{place}.{name}' is missing; add it")
        else:
            choices[name] = (field.get_default(),)
    return choices


def _listed(value: object, list_is_value: bool, key: str, source: str) -> list[object]:
    """The items of a list, or anything else as the only item. list_is_value: a list is one item too."""
    if not isinstance(value, (list, tuple)) or list_is_value:
        return [value]
    if not value:
        raise UserError(f"{source}: {key} = []: no choice is left; name at least one value")
    return list(value)


def _distinct(values: Sequence[object], key: str, source: str) -> None:
    for index, value in enumerate(values):
        if value in values[:index]:
            raise UserError(f"{source}: {key}: {shown(value)} is listed twice; keep one")


def _checked(kind: type[BaseModel], name: str, value: object, place: str, source: str) -> FieldValue:
    try:
        part = kind.model_validate({**REQUIRED[kind], name: value}, strict=name not in SPELLED_OUT)
    except ValidationError as error:
        raise UserError(f"{source}: {place}.{first_problem(error, kind)}") from None
    return getattr(part, name)


def _resolutions(value: object, source: str) -> tuple[int, ...]:
    resolutions: list[int] = []
    for item in _listed(value, False, "resolution", source):
        if not isinstance(item, int) or isinstance(item, bool) or not 8 <= item <= 4096:
            raise UserError(f"{source}: resolution = {shown(item)}: a resolution is a whole number from 8 to 4096")
        resolutions.append(item)
    _distinct(resolutions, "resolution", source)
    return tuple(resolutions)


def _in_channels(value: object, source: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MAX_IMAGE_CHANNELS:
        raise UserError(
            f"{source}: in_channels = {shown(value)}: all designs see the same images: give one whole number from 1 to "
            f"{MAX_IMAGE_CHANNELS}"
        )
    return value


def _plain_table(choices: Choices, kind: type[BaseModel]) -> dict[str, object]:
    fields = kind.model_fields
    return {name: _plain(values) for name, values in choices.items() if values != (fields[name].default,)}


def _plain(values: tuple[FieldValue, ...]) -> object:
    if len(values) > 1:
        return list(values)
    value = values[0]
    return [_plain_slot(item) for item in value] if isinstance(value, tuple) else value


def _plain_slot(block: MetaBlock) -> object:
    """A meta-block as plain TOML types."""
    stage = Stage(block="slots", channels=1, depth=1, slots=(block,))
    return stage.model_dump(include={"slots"}, exclude_none=True, mode="json")["slots"][0]
