"""The base of every value that is read from a file: frozen, checked, errors in one line, an id of its content."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import is_dataclass
from typing import Annotated, Any, ClassVar, NoReturn, get_args, get_type_hints

import tomli_w
from pydantic import AfterValidator, BaseModel, ConfigDict, GetCoreSchemaHandler, ValidationError
from pydantic_core import CoreSchema, PydanticCustomError, core_schema
from typing_extensions import Self

from nasbench.errors import CONTROL, UserError, shown

MISFITS = ("missing", "extra_forbidden", "unexpected_keyword_argument")  # pydantic's words for keys that do not fit
PLACE_CHARACTERS = 160
QUOTED = re.compile(r"\s*([-+]?[\d._]+(e[-+]?\d+)?|true|false)\s*", re.I)  # text that is none without its quotes


def _text(name: str) -> str:
    if CONTROL.search(name):
        raise ValueError("control characters are no text; leave them out of the name")
    return name


Name = Annotated[str, AfterValidator(_text)]


def _whole(value: object) -> object:
    return _refused(value, "a whole number") if isinstance(value, (str, bytes, bool)) else value


def _number(value: object) -> object:
    return _refused(value, "a number") if isinstance(value, (str, bytes, bool)) else value


def _truth(value: object) -> object:
    is_other = isinstance(value, (str, bytes, int, float)) and not isinstance(value, bool)
    return _refused(value, "true or false") if is_other else value


def _refused(value: object, kind: str) -> NoReturn:
    remedy = "; write it without quotes" if isinstance(value, str) and QUOTED.fullmatch(value) else ""
    raise PydanticCustomError("misread", f"must be {kind}{remedy}")


class _AsWritten:
    """Makes pydantic's schema of a class take numbers and truth values only for what they are written as.

    By itself it reads "3" and true as numbers, 1 and "yes" as true; its strict mode would refuse 3.0, numpy's numbers
    and lists for tuples.
    """

    CHECKS: ClassVar = {"int": _whole, "float": _number, "bool": _truth, "literal": _number}
    OTHERS = ("keys_schema", "metadata", "serialization", "default")  # keys are text in TOML and JSON

    def __init__(self, handler: GetCoreSchemaHandler) -> None:
        self._handler = handler
        self._followed: set[str] = set()

    def settled(self, part: Any) -> Any:
        """`part` of a schema, changed in place, or what stands in its stead."""
        if isinstance(part, (list, tuple)):
            return type(part)(map(self.settled, part))
        if not isinstance(part, dict) or self._is_check(part):
            return part
        check = self.CHECKS.get(str(part.get("type")))
        if check and not any(isinstance(word, str) for word in part.get("expected", ())):
            return core_schema.no_info_before_validator_function(check, part)
        if part.get("type") == "definition-ref" and part["schema_ref"] not in self._followed:
            self._followed.add(part["schema_ref"])
            self.settled(self._handler.resolve_ref_schema(part))
        part.update({key: self.settled(value) for key, value in part.items() if key not in self.OTHERS})
        return part

    def _is_check(self, part: dict[str, Any]) -> bool:
        function = part.get("function")
        return isinstance(function, dict) and function.get("function") in self.CHECKS.values()


class Value(BaseModel):
    """A frozen value. Unknown keys and numbers that are not finite are errors; a copy with changes is checked anew.

    Text is no number, and true and 1 do not stand for each other, but in a class that is read from cells of text.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    from_cells: ClassVar[bool] = False

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        schema = handler(source)
        if not cls.from_cells:
            _AsWritten(handler).settled(schema)
        return schema

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
