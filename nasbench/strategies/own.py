"""A strategy of the user's own: a function in a Python file, `mine.py:propose`, whose text the study keeps.

A resumed study runs the text that it keeps, whatever has become of the file; `nasbench resume DIR --strategy
mine.py:propose` reads the file again. The text is run for a proposal, and never to read a study.
"""

from __future__ import annotations

import hashlib
import inspect
import linecache
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import cast

from pydantic import Field

from nasbench.arch.architecture import Architecture
from nasbench.errors import UserError, shown
from nasbench.files import BYTE_ORDER_MARK, read_text
from nasbench.space.search_space import SearchSpace
from nasbench.strategies.context import Context, Proposals, Searchable
from nasbench.values import Value

MARK = ".py:"  # between the file and its function
FORM = "def propose(context, n, settings)"
SETTINGS = "Settings"  # the class in the file by which options are checked
OUTSIDE = "outside the space"
CALLS = 20  # for one proposal, before the search ends with an error
MOST_CHARACTERS = 200_000  # of a file: study.toml holds them all
Option = bool | int | float | str


class OwnSettings(Value, strict=True):
    """File and function, the file's text, and the function's options."""

    name: str
    text: str
    options: dict[str, Option] = Field(default_factory=dict)

    @property
    def label(self) -> str:
        """File, function and the beginning of the text's hash, which differs for a corrected file."""
        return f"{Path(self.name).name}@{hashlib.sha256(self.text.encode()).hexdigest()[:8]}"


def is_own(name: object) -> bool:
    """Whether `name` is that of a function in a file."""
    return isinstance(name, str) and MARK in name


def own_settings(name: str, given: Mapping[str, object], source: str) -> OwnSettings:
    """Of `{"text": ..., **options}`; without a text, the file's."""
    options = {key: value for key, value in given.items() if key != "text"}
    text = given["text"] if "text" in given else _text_of(name)
    return OwnSettings.from_dict({"name": name, "text": text, "options": options}, source)


def _text_of(name: str) -> str:
    path = name.rpartition(":")[0]
    text = read_text(path, "Python").removeprefix(BYTE_ORDER_MARK)
    if len(text) > MOST_CHARACTERS:
        raise UserError(
            f"{path}: {len(text):,} characters; a study keeps its strategy's text, of {MOST_CHARACTERS:,} at most"
        )
    return text.replace("\r\n", "\n").replace("\r", "\n")


def propose(context: Context, n: int, settings: OwnSettings) -> list[Architecture]:
    """Up to `n` of the function's designs that are new, in the space and within the budgets; rejections are counted.

    UserError where the function fails, returns other things than architectures, or gives no acceptable design in
    `CALLS` calls. An empty list from the function ends the search.
    """
    function, options = _function(settings), _options(settings)
    proposals, before = Proposals(context), context.rejections.rejected.copy()
    for _ in range(CALLS):
        given = _called(settings, lambda: function(context, n, options))
        designs = _designs(settings, given, context.space)
        for arch in designs:
            if len(proposals.found) < n and _takes(proposals, arch):
                proposals.known.add(arch.id)
                proposals.found.append(arch)
        if proposals.found or not designs:
            return proposals.found
    why = ", ".join(f"{rule} {count}" for rule, count in (context.rejections.rejected - before).most_common(3))
    raise _failure(settings, f"{CALLS} calls brought nothing that can be trained ({why})")


def check(settings: OwnSettings) -> None:
    """Raise UserError where the file cannot be run, lacks the function, or does not accept the options."""
    _function(settings)
    _options(settings)


def _takes(proposals: Proposals, arch: Architecture) -> bool:
    if proposals.context.space.contains(arch):
        return proposals.accepts(arch)
    proposals.context.rejections.reject(OUTSIDE)
    return False


def _designs(settings: OwnSettings, given: object, space: Searchable) -> Sequence[Architecture]:
    """The returned designs, checked: architectures, or rows where the space is a table."""
    if not isinstance(given, (list, tuple)):
        raise _failure(settings, f"returned {shown(given)}, not a list of architectures")
    for each in given:
        is_row = not isinstance(space, SearchSpace) and isinstance(getattr(each, "id", None), str)
        if not is_row and not isinstance(each, Architecture):
            raise _failure(settings, f"returned a list with {shown(each)}, which is no architecture")
    return given


def _function(settings: OwnSettings) -> Callable[[Context, int, object], object]:
    path, _, name = settings.name.rpartition(":")
    module = _called(settings, lambda: _module(path, settings.text))
    function = getattr(module, name, None)
    if not inspect.isfunction(function):
        known = [key for key, value in vars(module).items() if inspect.isfunction(value) and not key.startswith("_")]
        has = f"it has {', '.join(known)}" if known else f"write {FORM} in it"
        raise UserError(f"{path}: has no function {name!r}; {has}")
    try:
        inspect.signature(function).bind(None, 1, None)
    except TypeError:
        signature = inspect.signature(function)
        raise UserError(f"{path}: {name}{signature} cannot be called with three arguments; write {FORM}") from None
    return cast("Callable[[Context, int, object], object]", function)


def _options(settings: OwnSettings) -> object:
    """The function's third argument: its file's `Settings`, or an empty mapping where it has none."""
    path = settings.name.rpartition(":")[0]
    kind = getattr(_module(path, settings.text), SETTINGS, None)
    if inspect.isclass(kind) and issubclass(kind, Value):
        return kind.from_dict(settings.options, f"strategy {settings.name!r}")
    if settings.options:
        first = next(iter(settings.options))
        raise UserError(
            f"strategy {settings.name!r}: option {first!r} is given, but the file has no class {SETTINGS}, a "
            "nasbench.values.Value, that says which options there are; add it, or leave the option out"
        )
    return settings.options


@lru_cache(16)
def _module(path: str, text: str) -> ModuleType:
    """The text run as a module; tracebacks show its lines, whatever the file holds now."""
    module = ModuleType("nasbench_strategy_" + hashlib.sha256(text.encode()).hexdigest()[:16])
    module.__file__ = path
    linecache.cache[path] = (len(text), None, text.splitlines(keepends=True), path)
    sys.modules[module.__name__] = module  # dataclasses look their module up
    exec(compile(text, path, "exec"), module.__dict__)
    return module


def _called(settings: OwnSettings, call: Callable[[], object]) -> object:
    """The result of the user's code; an exception becomes a UserError that names the line, with its cause."""
    try:
        return call()
    except UserError as error:
        raise _failure(settings, f"{error}{_place(error, settings)}") from error
    except (Exception, SystemExit) as error:
        what = " ".join(str(error).split())
        raise _failure(settings, f"{type(error).__name__}: {what}{_place(error, settings)}") from error


def _place(error: BaseException, settings: OwnSettings) -> str:
    """The line of the file that the error came through, in brackets; nothing where its own text says the line."""
    path = settings.name.rpartition(":")[0]
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    return f" (line {lines[-1]})" if lines and not isinstance(error, SyntaxError) else ""


def _failure(settings: OwnSettings, what: str) -> UserError:
    return UserError(
        f"strategy {settings.name!r}: {what}; correct it, then go on with `nasbench resume DIR --strategy "
        f"{settings.name}`, or search anew"
    )
