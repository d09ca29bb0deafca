"""The stems and heads that a space offers, one of each set that builds the same layers."""

from __future__ import annotations

import itertools
from collections.abc import Hashable

from nasbench.arch.part_rules import ends_problem
from nasbench.arch.parts import Head, Stage, Stem, effective_head_fields, effective_stem_fields
from nasbench.space.equivalence import head_key, stem_key
from nasbench.space.file import Choices, PartValues

ANY_STAGE = Stage(channels=8, depth=1)


def distinct_stems(choices: Choices, in_channels: int) -> list[PartValues]:
    """The stems that can be built, one of those with the same layers; only with the fields that have an effect."""
    stems = [Stem(**dict(zip(choices, values))) for values in itertools.product(*choices.values())]
    fitting = [stem for stem in stems if not ends_problem(stem, [ANY_STAGE], Head(), in_channels)]
    rows = {stem_key(stem): _row(stem, effective_stem_fields(stem)) for stem in reversed(fitting)}
    return list(rows.values())[::-1]


def distinct_heads(choices: Choices, channels: int, tokens: int) -> list[PartValues]:
    """The heads that can be built after `channels` and `tokens`, likewise."""
    rows: dict[Hashable, PartValues] = {}
    for values in itertools.product(*choices.values()):
        head = Head(**dict(zip(choices, values)))
        last = ANY_STAGE.model_copy(update={"block": "encoder", "channels": channels, "tokens": tokens})
        if ends_problem(Stem(), [last], head):
            continue
        rows.setdefault(head_key(head, channels, tokens), _row(head, effective_head_fields(head)))
    return list(rows.values())


def _row(part: Stem | Head, fields: tuple[str, ...]) -> PartValues:
    return {name: getattr(part, name) for name in fields}
