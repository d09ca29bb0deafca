"""All networks of a space: their number, and an iterator over them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from nasbench.arch.architecture import Architecture
from nasbench.space.file import PartValues
from nasbench.space.genotype import ABSENT, Genotype, express
from nasbench.space.stage_graph import StageGraph, State
from nasbench.space.structure import Structure

Stages = tuple[PartValues, ...]


def count(structure: Structure) -> int:
    """The number of different networks, exactly."""
    graphs = structure.distinguishing_graphs
    return sum(graph.count(structure.start(stem)) for graph in graphs for stem in structure.stems)


def members(structure: Structure) -> Iterator[Architecture]:
    """Every network once."""
    # With two optional tables, the same stage can stand in either: such networks come several times.
    several_alignments = sum(table.optional for table in structure.tables) > 1
    seen: set[str] = set()
    for graph in structure.distinguishing_graphs:
        for arch in map(express, _genotypes(structure, graph)):
            if several_alignments and arch.id in seen:
                continue
            if several_alignments:
                seen.add(arch.id)
            yield arch


def _genotypes(structure: Structure, graph: StageGraph) -> Iterator[Genotype]:
    """Every way to fill the tables, at the resolution of `graph` where it has one."""
    for stem in structure.stems:
        for stages, end in _walks(graph, 0, structure.start(stem)):
            resolutions = structure.resolutions_for(end.stride) if graph.resolution is None else (graph.resolution,)
            for head, resolution in itertools.product(structure.heads(end.channels, end.tokens), resolutions):
                yield (structure.top(resolution), stem, *stages, head)


def _walks(graph: StageGraph, index: int, state: State) -> Iterator[tuple[Stages, State]]:
    """Every choice of stages from table `index` on, with the state after the last."""
    if index == len(graph.tables):
        if not state.first and graph.endings(state):
            yield (), state
        return
    if graph.tables[index].optional:
        for rest, end in _walks(graph, index + 1, state):
            yield (ABSENT, *rest), end
    for step in graph.steps(index, state):
        for stages in graph.stage_sets(index, state, step):
            for rest, end in _walks(graph, index + 1, state.after(step)):
                for values in stages.settings():
                    yield (values, *rest), end
