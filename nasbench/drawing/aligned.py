"""Several networks row by row, and where they differ.

Stages that leave maps of the same stride stand in one row, so that networks with different numbers of stages compare.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nasbench.drawing.stages import NetworkFacts, StageFacts

# What is compared of a stage, by the name of the line that shows it.
ASPECTS: dict[str, Callable[[StageFacts], object]] = {
    "map": lambda stage: stage.map_label,
    "block": lambda stage: stage.block_label,
    "channels": lambda stage: stage.channels,
    "settings": lambda stage: stage.settings,
    "attends": lambda stage: stage.attends,
    "folds": lambda stage: stage.folds,
}


@dataclass(frozen=True)
class Row:
    """One stage of each network, None where it has none here; `differing`: the aspects in which those that are here do
    not agree."""

    stages: tuple[StageFacts | None, ...]
    differing: frozenset[str]


def aligned(networks: Sequence[NetworkFacts]) -> list[Row]:
    """Stem, stages by stride, head; of several stages at one stride, in order from the first."""
    rows = [_row([network.stages[0] for network in networks])]
    inner = [network.stages[1:-1] for network in networks]
    for stride in sorted({stage.stride for stages in inner for stage in stages}):
        there = [[stage for stage in stages if stage.stride == stride] for stages in inner]
        for place in range(max(map(len, there))):
            rows.append(_row([stages[place] if place < len(stages) else None for stages in there]))
    return [*rows, _row([network.stages[-1] for network in networks])]


def _row(stages: Sequence[StageFacts | None]) -> Row:
    present = [stage for stage in stages if stage is not None]
    differing = {name for name, of in ASPECTS.items() if len({of(stage) for stage in present}) > 1}
    return Row(tuple(stages), frozenset(differing))
