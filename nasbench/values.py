"""The base of every value that is read from a file: frozen, checked, errors in one line, an id of its content."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import is_dataclass
from typing import Annotated, Any, get_args, get_type_hints

import tomli_w
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError
from typing_extensions import Self

from nasbench.errors import CONTROL, UserError, shown

MISFITS = ("missing", "extra_forbidden", "unexpected_keyword_argument")  # pydantic's words for keys that do not fit
PLACE_CHARACTERS = 160


def _text(name: str) -> str:
    if CONTROL.search(name):
        raise ValueError("control characters are no text; leave them out of the name")
    return name


Name = Annotated[str, AfterValidator(_text)]


class Value(BaseModel):
    """A frozen value. Unknown keys and numbers that are not finite are errors; a copy with changes is checked anew."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], source: str = "") -> Self:
        """`content` checked; a UserError names `source`, key, value and rule in one line."""
        if not isinstance(content, Mapping):
            raise UserError(": ".join(filter(None, (source, f"{shown(content)} is no table of keys and values"))))
        try:
            return cls.model_validate(dict(content))
        except ValidationError as error:
            raise UserError(": ".join(filter(None, (source, first_problem(error, cls))))) from None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, without what is None (TOML has no word for it)."""
        return self.model_dump(mode="json", exclude_none=True)

    def to_toml(self) -> str:
        return tomli_w.dumps(self.to_dict())

    def replace(self, **changes: Any) -> Self:
        """A copy with these fields changed, checked like a new one."""
        own = {name: getattr(self, name) for name in type(self).model_fields}
        return self.from_dict({**own, **changes}, type(self).__name__.lower())

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """pydantic's, but what was worked out from the old fields (a cached id) does not travel along."""
        copied = super().model_copy(update=update, deep=deep)
        for name in copied.__dict__.keys() - type(self).model_fields.keys():
            del copied.__dict__[name]
        return copied


def first_problem(error: ValidationError, model: type[BaseModel] | None = None) -> str:
    """The first problem of a pydantic error in one line: key, value, rule. `model` knows which keys there are."""
    first = _likeliest(error.errors(include_url=False))
    place = _place(first["loc"])
    rule = first["msg"].removeprefix("Value error, ").replace("\n", " ")
    if first["type"] in MISFITS[1:]:
        known = _keys_beside(first["loc"], model)
        return f"unknown key {place!r}; " + (f"known keys: {', '.join(known)}" if known else "correct or remove it")
    if first["type"] == "missing":
        return f"key {place!r} is missing; add it"
    if isinstance(first.get("ctx", {}).get("error"), UserError):  # it names the value itself
        return rule if rule.startswith(place) else f"{place}: {rule}"
    if first["type"] == "model_type":
        rule = "must be a table of keys and values"
    if first["type"] == "tuple_type":
        rule = f"must be a list; tables in it are headed [[{place}]]"
    rule = rule[:1].lower() + rule[1:]
    return f"{place} = {shown(first['input'])}: {rule}" if place else rule


def _place(location: tuple[int | str, ...]) -> str:
    """`stages[2].depth`, on one line and cut where a key is long."""
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")
    place = "".join(character if character.isprintable() else repr(character)[1:-1] for character in place)
    return place if len(place) <= PLACE_CHARACTERS else f"{place[: PLACE_CHARACTERS - 3]}..."


def _likeliest(problems: list[Any]) -> Any:
    """The first problem; where a value may be of several classes, that of the class whose keys it fits best."""
    if isinstance(problems[0]["input"], Mapping):  # a table is none of the words that may stand there instead
        problems = [problem for problem in problems if problem["type"] != "literal_error"] or problems
    first = problems[0]
    beside = [
        problem
        for problem in problems
        if problem["loc"][:-2] == first["loc"][:-2] and str(*problem["loc"][-2:-1])[:1].isupper()
    ]
    misfits = Counter(problem["loc"][:-1] for problem in beside if problem["type"] in MISFITS)
    return min(beside, key=lambda problem: misfits[problem["loc"][:-1]]) if first in beside else first


def _keys_beside(location: tuple[int | str, ...], model: type[Any] | None) -> list[str]:
    """The keys that the part of `model` at `location` has; empty where it may be one of several kinds of part."""
    for part in location[:-1]:
        if isinstance(part, str) and model is not None:
            model = _part_in(_fields(model).get(part))
    return sorted(_fields(model)) if model is not None else []


def _fields(model: type[Any]) -> dict[str, Any]:
    """Name -> type of each field of a pydantic model or a dataclass."""
    if issubclass(model, BaseModel):
        return {name: field.annotation for name, field in model.model_fields.items()}
    return get_type_hints(model)


def _part_in(annotation: Any) -> type[Any] | None:
    """The one model or dataclass inside a field's type, its optionals and containers."""
    if isinstance(annotation, type) and (issubclass(annotation, BaseModel) or is_dataclass(annotation)):
        return annotation
    found = {part for inner in get_args(annotation) if (part := _part_in(inner)) is not None}
    return found.pop() if len(found) == 1 else None


def content_hash(content: Any, digits: int = 16, compact: bool = False) -> str:
    """Hexadecimal digits of `content`'s canonical JSON: the order of keys does not count.

    `compact` leaves out the blanks and keeps letters beyond ASCII; stored ids of trials were made so.
    """
    separators = (",", ":") if compact else (", ", ": ")
    text = json.dumps(content, sort_keys=True, separators=separators, ensure_ascii=not compact, allow_nan=False)
    return text_hash(text, digits)


def text_hash(text: str, digits: int = 16) -> str:
    """Hexadecimal digits of a text's SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()[:digits]
