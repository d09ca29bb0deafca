"""Constraints across the stages of a search space. To add one, write a function and add its line to CONSTRAINTS."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nasbench.arch.parts import Stage
from nasbench.errors import UserError


@dataclass(frozen=True)
class Place:
    """What a constraint may look at when a stage is put at its place."""

    index: int  # of the stage in the space's file
    count: int  # stages in that file
    c_in: int
    channels: int
    first: bool  # no stage before it is present: c_in are the stem's channels
    attends: bool


@dataclass(frozen=True)
class Rule:
    """One constraint as written: `stage` judges each present stage's place, `width` its inner channels, `total_stride`
    the whole network."""

    text: str
    stage: Callable[[Place], bool] = lambda place: True
    width: Callable[[Stage], bool] = lambda stage: True
    total_stride: Callable[[int], bool] = lambda stride: True


def _channels(value: Any) -> Rule:
    """Between neighbouring stages; a stem may be wider than the first stage (MobileNetV2's is)."""
    orders: dict[str, Callable[[Place], bool]] = {
        "non-decreasing": lambda place: place.first or place.channels >= place.c_in,
        "increasing": lambda place: place.first or place.channels > place.c_in,
    }
    if value not in orders:
        raise ValueError(f"known orders: {', '.join(orders)}")
    return Rule(f'channels = "{value}"', stage=orders[value])


def _attention(value: Any) -> Rule:
    match = re.fullmatch(r"last (\d+) stages?", value) if isinstance(value, str) else None
    if match is None:
        raise ValueError('write for example "last 2 stages"')
    last = int(match[1])
    return Rule(f'attention = "{value}"', stage=lambda place: not place.attends or place.index >= place.count - last)


def _width(value: Any) -> Rule:
    """Of the channels inside a mobilevit or separable block, against those of its stage."""
    match = re.fullmatch(r"at most (\d+(?:\.\d+)?)x channels", value) if isinstance(value, str) else None
    if match is None:
        raise ValueError('write for example "at most 2x channels"')
    most = float(match[1])
    return Rule(f'width = "{value}"', width=lambda stage: stage.inner_width <= most * stage.channels)


def _stride(value: Any) -> Rule:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError("write the total stride of stem and stages, for example 32")
    return Rule(f"stride = {value}", total_stride=lambda stride: stride == value)


CONSTRAINTS: dict[str, Callable[[Any], Rule]] = {
    "channels": _channels,
    "attention": _attention,
    "width": _width,
    "stride": _stride,
}


def parse_rules(constraints: dict[str, Any], source: str) -> tuple[Rule, ...]:
    """The rules of a space's [constraints] table; UserError names `source`, key and value."""
    rules = []
    for name, value in constraints.items():
        if name not in CONSTRAINTS:
            raise UserError(f"{source}: unknown constraint {name!r}; known constraints: {', '.join(CONSTRAINTS)}")
        try:
            rules.append(CONSTRAINTS[name](value))
        except ValueError as error:
            raise UserError(f"{source}: constraints.{name} = {value!r}: unknown value; {error}") from None
    return tuple(rules)
