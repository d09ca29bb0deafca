"""Going through a space's members one by one."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from nasbench.space.compose import Genotype
from nasbench.space.paths import Paths, State

if TYPE_CHECKING:
    from nasbench.space.search_space import SearchSpace

Stages = tuple[dict[str, Any], ...]


def genotypes(space: SearchSpace, paths: Paths) -> Iterator[Genotype]:
    """Every way to fill the slots, at the resolution of `paths` where it has one."""
    for stem in space.stems:
        for stages, state in _walks(paths, 0, space.start(stem)):
            resolutions = space.resolutions_for(state.stride) if paths.resolution is None else (paths.resolution,)
            for head, resolution in itertools.product(space.heads(state.channels, state.tokens), resolutions):
                yield ({"resolution": resolution}, stem, *stages, head)


def _walks(paths: Paths, index: int, state: State) -> Iterator[tuple[Stages, State]]:
    if index == len(paths.slots):
        if not state.first and paths.endings(state):
            yield (), state
        return
    if paths.slots[index].optional:
        for rest, end in _walks(paths, index + 1, state):
            yield ({"depth": 0}, *rest), end
    for step in paths.steps(index, state):
        for box in paths.boxes(index, state, step):
            for rest, end in _walks(paths, index + 1, state.after(step)):
                for values in box.settings():
                    yield (values, *rest), end
