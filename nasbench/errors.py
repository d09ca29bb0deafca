"""The one error type whose text is meant for the person who wrote the input, and how a value is shown in it."""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Mapping
from numbers import Integral, Real
from types import NoneType
from typing import Any

SHOWN_CHARACTERS = 60  # of a value in an error
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")  # characters that are no text: terminals obey them
KINDS: dict[str, tuple[type, ...]] = {  # of arguments from Python; None stands for a default
    "number": (Real, NoneType),
    "whole number": (Integral, NoneType),
    "text": (str,),
    "name or path": (str, os.PathLike),
    "dict": (Mapping, NoneType),
}


class UserError(ValueError):
    """What a user wrote cannot be used: one line with the value, the rule and the remedy.

    The command line prints it without a traceback and exits with code 2.
    """


def require(kind: str, **values: object) -> None:
    """A UserError where one of these arguments, by the name that the user gave it, is of another kind."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, KINDS[kind]):
            raise UserError(f"{name} = {shown(value)}: is no {kind}; give one")


def require_extra(module: str, extra: str, use: str) -> None:
    """A UserError where `module`, a library that only `use` needs, is not installed; `extra` brings it."""
    if importlib.util.find_spec(module) is None:
        raise UserError(f"{use} needs {module}, which is not installed; run `pip install 'nasbench[{extra}]'`")


def visible(text: str) -> str:
    """`text` with `?` for what terminals would obey in it."""
    return CONTROL.sub("?", text)


def shown(value: Any) -> str:
    """`value` as an error shows it, cut where it is long."""
    try:
        text = repr(value)
    except ValueError:  # Python writes no whole number of more than 4300 digits
        text = "a number with thousands of digits"
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 3]}..."
