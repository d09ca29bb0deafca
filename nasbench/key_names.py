"""How the tensors of our networks are called in other people's checkpoints. The names are data: `layouts/*.toml`.

A layout file has a table for each part of a network: `[stem.KIND]`, `[downsample.KIND]`, `[position]` (conditional
position encoding), `[block.KIND.SLOT]` (SLOT counts the meta-blocks of one repetition) and `[head.KIND]`. In it
`at` is where the part lies in the other checkpoint, with the counters

    s  stage, from 0              b  meta-block within the stage's own sequence
    i  repetition of the block    n  transitions, position encodings and runs of blocks so far, over all stages

written `{s}`, or `{s:+1}` to count from 1; `at_stage` overrides it for single stages and `deployed` holds names of the
re-parameterised form where they differ. Every other entry renames a module or parameter. On our side branches go by
kind and number (`mix.0.kxk.0`, `mix.0.-identity.0` with its sign), and nested transformer layers by layer and slot
(`layers.2.1`), with the norm after L layers as `norm.after.L`. A list gives alternatives.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from nasbench.architecture import Architecture, Stage
from nasbench.blocks.conv import ConvModule
from nasbench.blocks.metablock import NestModule
from nasbench.files import data_dir, read_toml
from nasbench.model import Model
from nasbench.presets import BLOCKS, TRANSITIONS

SETTINGS = ("at", "at_stage", "deployed")


class Index(int):
    """A counter that `"{s:+1}".format(s=...)` shifts."""

    def __format__(self, shift: str) -> str:
        return str(self + int(shift or 0))


@dataclass(frozen=True)
class Layout:
    """The naming of one family in one place, as read from its file."""

    family: str
    name: str
    tables: Mapping[str, Any]

    def table(self, path: tuple[str, ...]) -> Mapping[str, Any] | None:
        """The table of a part; None where this layout knows no such part."""
        found: Any = self.tables
        for key in path:
            found = found.get(key) if isinstance(found, Mapping) else None
        return found


@functools.cache
def layouts() -> tuple[Layout, ...]:
    files = (read_toml(path) for path in sorted(data_dir("layouts").glob("*.toml")))
    return tuple(Layout(file.pop("family"), file.pop("layout"), file) for file in files)


@dataclass(frozen=True)
class Part:
    """A module of ours that one table names: where it lies, its table, and its counters."""

    prefix: str
    table: tuple[str, ...]
    counters: Mapping[str, int]


def parts(arch: Architecture) -> Iterator[Part]:
    """The parts of the network, in order."""
    for i in range(len(arch.network.stem)):
        yield Part(f"stem.{i}", ("stem", arch.stem.kind), {"i": i})
    n, c_in = 0, arch.stem.channels
    for s, stage in enumerate(stage for stage in arch.stages if stage.depth):
        runs = list(_stage_parts(stage, c_in, len(arch.network.stages[s])))
        for b, (table, run, i) in enumerate(runs):
            yield Part(f"stages.{s}.{b}", table, {"s": s, "b": b, "i": i, "n": n + run})
        n, c_in = n + runs[-1][1] + 1, stage.channels
    yield Part("head", ("head", arch.head.kind), {})


def _stage_parts(stage: Stage, c_in: int, length: int) -> Iterator[tuple[tuple[str, ...], int, int]]:
    """(table, run, repetition) of each of the stage's `length` meta-blocks; a run is what `n` counts."""
    run = 0
    if stage.downsample in TRANSITIONS:
        for i in range(len(TRANSITIONS[stage.downsample](stage, c_in))):
            yield ("downsample", stage.downsample), run, i
            length -= 1
        run += 1
    if stage.block == "transformer" and stage.cpe:
        yield ("position",), run, 0
        run, length = run + 1, length - 1
    slots = len(BLOCKS[stage.block](stage, stage.channels, 1, False))
    for j in range(length):
        yield ("block", stage.block, str(j % slots)), run, j // slots


def foreign_names(model: Model, layout: Layout) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """Our keys -> the names that `layout` accepts for them, and those of our keys that it has no name for."""
    names: dict[str, tuple[str, ...]] = {}
    unnamed = []
    for part in parts(model.arch):
        table = layout.table(part.table)
        rename = _renamer(table, model.deployed, part.counters) if table is not None else None
        for own, described in describe(model.get_submodule(part.prefix)):
            found = rename(described) if rename else ()
            if found:
                names[f"{part.prefix}.{own}"] = found
            else:
                unnamed.append(f"{part.prefix}.{own}")
    return names, unnamed


def _renamer(table: Mapping[str, Any], deployed: bool, counters: Mapping[str, int]):
    """A function from a described key of a part to its foreign names; none where no entry fits."""
    entries = {key: value for key, value in table.items() if key not in SETTINGS}
    if deployed:
        entries |= table.get("deployed", {})
    rules = [(_pattern(key), [value] if isinstance(value, str) else value) for key, value in entries.items()]
    place = table.get("at_stage", {}).get(str(counters.get("s")), table.get("at", ""))
    at = place.format(**{key: Index(value) for key, value in counters.items()})

    def rename(described: str) -> tuple[str, ...]:
        path, _, leaf = described.rpartition(".")
        for subject, end in ((described, ""), (path, leaf)):  # a parameter by itself, or a module's
            for pattern, targets in rules:
                match = pattern.fullmatch(subject)
                if match:
                    return tuple(".".join(filter(None, (at, t.format(**match.groupdict()), end))) for t in targets)
        return ()

    return rename


@functools.cache
def _pattern(key: str) -> re.Pattern[str]:
    """`a.{k}.b` as a pattern in which {k} stands for a number."""
    return re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>\\d+)", re.escape(key)))


def describe(module: nn.Module, own: str = "", described: str = "") -> Iterator[tuple[str, str]]:
    """(key, key with branches and nested layers named by what they are) for all parameters and buffers."""
    for name in (*module._parameters, *module._buffers):
        if getattr(module, name) is not None:
            yield own + name, described + name
    for name, shown, child in _children(module):
        yield from describe(child, f"{own}{name}.", f"{described}{shown}.")


def _children(module: nn.Module) -> Iterator[tuple[str, str, nn.Module]]:
    """(name, name by what it is, child)."""
    if isinstance(module, ConvModule) and module.spec.branches:
        seen: Counter[str] = Counter()
        for index, branch in enumerate(module.spec.branches):
            kind = branch.kind if branch.sign > 0 else f"-{branch.kind}"
            yield f"branches.{index}", f"{kind}.{seen[kind]}", module.branches[index]
            seen[kind] += 1
    if isinstance(module, NestModule):
        slots = _period(module.spec.blocks)
        for index, block in enumerate(module.blocks):
            yield f"blocks.{index}", f"layers.{index // slots}.{index % slots}", block
        yield "norm", f"norm.after.{len(module.blocks) // slots}", module.norm
    named = {ConvModule: ("branches",), NestModule: ("blocks", "norm")}.get(type(module), ())
    for name, child in module.named_children():
        if name not in named:
            yield name, name, child


def _period(items: tuple[Any, ...]) -> int:
    """The length of the shortest run that `items` repeats."""
    return next(p for p in range(1, len(items) + 1) if len(items) % p == 0 and items == items[:p] * (len(items) // p))
