"""The constraints of a space's file, which hold across its stages.

To add one, write a function and add its line to CONSTRAINTS.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from nasbench.arch.metablock import MAX_RESOLUTION
from nasbench.arch.parts import Stage
from nasbench.errors import UserError, shown


@dataclass(frozen=True)
class StagePosition:
    """What constraints look at of a stage and its place among the others."""

    index: int  # of the stage in the space's file
    count: int  # stages in that file
    c_in: int
    channels: int
    first: bool  # no stage before it is present: c_in are the stem's channels
    attends: bool


@dataclass(frozen=True)
class Constraint:
    """One constraint: its text in the file, and tests of each present stage, its inner width, and the total stride."""

    text: str
    stage: Callable[[StagePosition], bool] = lambda position: True
    width: Callable[[Stage], bool] = lambda stage: True
    total_stride: Callable[[int], bool] = lambda stride: True


def _channels(value: object) -> Constraint:
    """Order of channels between neighbouring stages; a stem may be wider than the first stage (MobileNetV2's is)."""
    orders: dict[str, Callable[[StagePosition], bool]] = {
        "non-decreasing": lambda position: position.first or position.channels >= position.c_in,
        "increasing": lambda position: position.first or position.channels > position.c_in,
    }
    if not isinstance(value, str) or value not in orders:
        raise ValueError(f"known orders: {', '.join(orders)}")
    return Constraint(f'channels = "{value}"', stage=orders[value])


def _attention(value: object) -> Constraint:
    """Only the last stages of the file may attend."""
    match = re.fullmatch(r"last ([0-9]{1,3}) stages?", value) if isinstance(value, str) else None
    if match is None:
        raise ValueError('write for example "last 2 stages"')
    last = int(match[1])
    return Constraint(
        f'attention = "{value}"', stage=lambda position: not position.attends or position.index >= position.count - last
    )


def _width(value: object) -> Constraint:
    """Limit of the channels inside a mobilevit or separable block, relative to those of its stage."""
    match = re.fullmatch(r"at most ([0-9]{1,4}(?:\.[0-9]{1,9})?)x channels", value) if isinstance(value, str) else None
    if match is None:
        raise ValueError('write for example "at most 2x channels"')
    most = float(match[1])
    return Constraint(f'width = "{value}"', width=lambda stage: stage.inner_width <= most * stage.channels)


def _stride(value: object) -> Constraint:
    """The total stride of stem and stages."""
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MAX_RESOLUTION:
        raise ValueError(f"write the total stride of stem and stages, from 1 to {MAX_RESOLUTION}, for example 32")
    return Constraint(f"stride = {value}", total_stride=lambda stride: stride == value)


CONSTRAINTS: dict[str, Callable[[object], Constraint]] = {
    "channels": _channels,
    "attention": _attention,
    "width": _width,
    "stride": _stride,
}


def parse_constraints(constraints: Mapping[str, object], source: str) -> tuple[Constraint, ...]:
    """The constraints of a space's [constraints] table; UserError naming `source`, key and value."""
    found = []
    for name, value in constraints.items():
        if name not in CONSTRAINTS:
            raise UserError(f"{source}: unknown constraint {name!r}; known constraints: {', '.join(CONSTRAINTS)}")
        try:
            found.append(CONSTRAINTS[name](value))
        except ValueError as error:
            raise UserError(f"{source}: constraints.{name} = {shown(value)}: unknown value; {error}") from None
    return tuple(found)
