"""The structure of a space: its distinct stems and heads, its tables of stages, and how they can be combined."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from functools import cached_property

from nasbench.arch.parts import Stem
from nasbench.space.constraints import parse_constraints
from nasbench.space.equivalence import stem_key
from nasbench.space.file import Choices, FieldValue, PartValues, SpaceFile
from nasbench.space.stage_graph import StageGraph, State
from nasbench.space.stage_table import StageTable
from nasbench.space.stem_and_head import distinct_heads, distinct_stems


class Structure:
    """The parts of a space and how they can be combined. Results are cached."""

    def __init__(self, file: SpaceFile, source: str) -> None:
        self.file = file
        self.constraints = parse_constraints(file.constraints, source)
        count = len(file.stages)
        self.tables = tuple(StageTable(i, count, choices, self.constraints) for i, choices in enumerate(file.stages))
        self.stems = distinct_stems(file.stem, file.in_channels)
        self.graph = StageGraph(self.tables, self._endings)
        self._stem_rows: dict[Hashable, PartValues] = {stem_key(Stem(**stem)): stem for stem in self.stems}
        self._heads: dict[tuple[int, int], list[PartValues]] = {}

    def stem_like(self, stem: Stem) -> PartValues | None:
        """The space's stem that builds what `stem` builds; None where there is none."""
        return self._stem_rows.get(stem_key(stem))

    @cached_property
    def open_stems(self) -> list[PartValues]:
        """The stems that can be completed to a network."""
        return [stem for stem in self.stems if self.leads_on(stem)]

    def start(self, stem: Mapping[str, FieldValue]) -> State:
        """The state after this stem."""
        made = Stem(**stem)
        return State(made.channels, made.total_stride, True)

    def leads_on(self, stem: Mapping[str, FieldValue]) -> bool:
        """Whether this stem can be completed to a network."""
        return self.graph.weight(0, self.start(stem)) > 0

    @property
    def is_empty(self) -> bool:
        return not self.open_stems

    def heads(self, channels: int, tokens: int) -> list[PartValues]:
        """`distinct_heads` after this many channels and learned tokens."""
        key = (channels, tokens)
        if key not in self._heads:
            self._heads[key] = distinct_heads(self.file.head, *key)
        return self._heads[key]

    def resolutions_for(self, stride: int) -> tuple[int, ...]:
        """The resolutions that are possible with this total stride."""
        if not all(constraint.total_stride(stride) for constraint in self.constraints):
            return ()
        return tuple(resolution for resolution in self.file.resolution if resolution % stride == 0)

    def top(self, resolution: int) -> PartValues:
        """The first part of a genotype at this resolution."""
        return {name: values[0] for name, values in self.file.top.items()} | {"resolution": resolution}

    @cached_property
    def choices(self) -> tuple[Choices, ...]:
        """The choices part by part, as in a genotype."""
        return (self.file.top, self.file.stem, *self.file.stages, self.file.head)

    @cached_property
    def distinguishing_graphs(self) -> tuple[StageGraph, ...]:
        """Graphs whose paths together are all networks once each.

        One for each resolution where the maps decide which settings build the same network, else a single one.
        """
        if not any(table.merges for table in self.tables):
            return (self.graph,)
        return tuple(StageGraph(self.tables, self._endings_at(side), side) for side in self.file.resolution)

    def _endings(self, state: State) -> int:
        """The number of ways to end a network: resolutions times heads."""
        return len(self.resolutions_for(state.stride)) * len(self.heads(state.channels, state.tokens))

    def _endings_at(self, resolution: int) -> Callable[[State], int]:
        def endings(state: State) -> int:
            fits = resolution in self.resolutions_for(state.stride)
            return len(self.heads(state.channels, state.tokens)) if fits else 0

        return endings
