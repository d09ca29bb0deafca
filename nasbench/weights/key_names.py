"""The names of our networks' tensors in official and timm checkpoints. The names are data: `layouts/*.toml`.

A layout file has a table for each part of a network: `[stem.KIND]`, `[downsample.KIND]`, `[position]` (what stands
before a stage's first block: conditional position encoding, position embedding), `[block.KIND.SLOT]` (SLOT counts the
meta-blocks of one repetition) and `[head.KIND]`; `[downsample.KIND.BLOCK]` is for stages of one kind of block alone. In
it `at` is where the part lies in the other checkpoint, with the counters

    s  stage, from 0; one whose downsample is "none" goes on with the stage before it
    b  meta-block within the stage's own sequence           i  repetition of the block
    n  transitions, position encodings and runs of blocks so far, over all stages
    m  meta-blocks so far, over all stages

written `{s}`, or `{s:+1}` to count from 1; `at_stage` overrides it for single stages. `deployed` holds names of the
re-parameterised form where they differ, `plain` those of a block without expansion. Every other entry renames a module
or parameter. On our side branches go by kind and number (`mix.0.kxk.0`, `mix.0.-identity.0` with its sign), layers that
repeat by layer and slot (`layers.2.1`), with the norm after L nested layers as `norm.after.L`, and learned tokens by
their number (`tokens.2`). A list gives alternatives; "a.q + a.kv" is several tensors one after another.

Beside the tables stand `family`, `layout` (one or several of LAYOUTS), `ignored` (last parts of names that hold nothing
learned), `resize` (how position embeddings of another size are resized, where not as `weight_match.resized` does by
default) and `flax` (names as flax has them: "/" for ".", "kernel" and "scale" for "weight").
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from nasbench.arch.architecture import Architecture
from nasbench.arch.parts import Stage
from nasbench.arch.presets import stage_units
from nasbench.blocks.conv import ConvModule
from nasbench.blocks.decoder import DecoderModule
from nasbench.blocks.embedding import EmbeddingModule
from nasbench.blocks.metablock import MetaBlockModule, NestModule
from nasbench.files import data_dir, read_toml
from nasbench.nn.model import Model

LAYOUTS = ("official", "timm")  # that a user may name
SETTINGS = ("at", "at_stage", "deployed", "plain")
AND = " + "

Source = tuple[str, ...]  # names of a checkpoint's tensors that, concatenated, are one of ours
Names = dict[str, tuple[Source, ...]]  # our keys -> alternative sources


class Index(int):
    """A counter that a format specification shifts: `"{s:+1}".format(s=Index(0))` is "1"."""

    def __format__(self, shift: str) -> str:
        return str(self + int(shift or 0))


@dataclass(frozen=True)
class Layout:
    """The names that one family has in one source or several (`names`, of LAYOUTS), as read from its file."""

    family: str
    names: tuple[str, ...]
    tables: Mapping[str, Any]
    ignored: tuple[str, ...] = ()
    resize: str | None = None
    flax: bool = False

    @property
    def title(self) -> str:
        return f"{'/'.join(self.names)} {self.family}"

    def table(self, paths: tuple[tuple[str, ...], ...]) -> Mapping[str, Any] | None:
        """The first of the tables at these paths that the file has; None where it has none."""
        for path in paths:
            found: Any = self.tables
            for key in path:
                found = found.get(key) if isinstance(found, Mapping) else None
            if found is not None:
                return found
        return None


def read_layout(content: dict[str, Any]) -> Layout:
    """A layout from the content of its file."""
    names, settings = content.pop("layout"), {}
    for name in ("resize", "flax"):
        if name in content:
            settings[name] = content.pop(name)
    ignored = tuple(content.pop("ignored", ()))
    return Layout(
        content.pop("family"), (names,) if isinstance(names, str) else tuple(names), content, ignored, **settings
    )


@functools.cache
def layouts() -> tuple[Layout, ...]:
    """Every layout that is shipped."""
    return tuple(read_layout(read_toml(path)) for path in sorted(data_dir("weights/layouts").glob("*.toml")))


@dataclass(frozen=True)
class Part:
    """A module of ours that one table renames: its prefix, paths of the table (the first that exists), counters."""

    prefix: str
    tables: tuple[tuple[str, ...], ...]
    counters: Mapping[str, int]


def parts(arch: Architecture) -> Iterator[Part]:
    """The parts of the network, in order."""
    for i in range(len(arch.network.stem)):
        yield Part(f"stem.{i}", (("stem", arch.stem.kind),), {"i": i})
    c_in, s, n, m, earlier, repeated = arch.stem.channels, -1, 0, 0, 0, 0
    for index, stage in enumerate(stage for stage in arch.stages if stage.depth):
        if index == 0 or stage.downsample != "none":
            s, earlier, repeated = s + 1, 0, 0
        run, placed = 0, list(_stage_parts(stage, c_in))
        for b, (tables, run, i) in enumerate(placed):
            i += repeated if tables[0][0] == "block" else 0
            counters = {"s": s, "b": earlier + b, "i": i, "n": n + run, "m": m + b}
            yield Part(f"stages.{index}.{b}", tables, counters)
        n, m, c_in = n + run + 1, m + len(placed), stage.channels
        earlier, repeated = earlier + len(placed), repeated + placed[-1][2] + 1
    yield Part("head", (("head", arch.head.kind),), {"m": m})


def _stage_parts(stage: Stage, c_in: int) -> Iterator[tuple[tuple[tuple[str, ...], ...], int, int]]:
    """(tables, run, repetition) of each of the stage's meta-blocks; a run is what `n` counts."""
    units, run = stage_units(stage, c_in, 8), 0  # at any resolution: only the number of blocks is used
    kind = ("downsample", stage.downsample)
    for tables, blocks in ((((*kind, stage.block), kind), units.transition), ((("position",),), units.position)):
        for i in range(len(blocks)):
            yield tables, run, i
        run += bool(blocks)
    for i, slots in enumerate(units.blocks):
        for slot in range(len(slots)):
            yield (("block", stage.block, str(slot)),), run, i


def foreign_names(model: Model, layout: Layout) -> tuple[Names, str]:
    """Our keys with their sources in `layout`, up to the first key without one; and that key ("" if all have one)."""
    names: Names = {}
    for part in parts(model.arch):
        table, module = layout.table(part.tables), model.get_submodule(part.prefix)
        rename = _renamer(layout, _entries(table, model.deployed, module), part) if table is not None else None
        for own, described, tensor in describe(module):
            found = rename(described, tensor) if rename else ()
            if not found:
                return names, f"{part.prefix}.{own}"
            names[f"{part.prefix}.{own}"] = found
    return names, ""


def _entries(table: Mapping[str, Any], deployed: bool, module: nn.Module) -> dict[str, Any]:
    """The entries of a part's table that hold for this module and form, settings such as "at" among them."""
    entries = {key: value for key, value in table.items() if key in SETTINGS or not isinstance(value, Mapping)}
    if isinstance(module, MetaBlockModule) and module.spec.expand is None:
        entries |= table.get("plain", {})
    return entries | table.get("deployed", {}) if deployed else entries


def _renamer(layout: Layout, entries: Mapping[str, Any], part: Part) -> Callable[[str, Tensor], tuple[Source, ...]]:
    """A function from a part's described key (see `describe`) and tensor to its sources; () where no entry fits."""
    rules = [
        (_pattern(key), [value] if isinstance(value, str) else value)
        for key, value in entries.items()
        if key not in SETTINGS
    ]
    place = entries.get("at_stage", {}).get(str(part.counters.get("s")), entries.get("at", ""))
    counters = {key: Index(value) for key, value in part.counters.items()}
    at = place.format(**counters)

    def source(target: str, groups: Mapping[str, str], leaf: str) -> Source:
        joint = "/" if layout.flax else "."
        ends = (end.format(**counters, **groups) for end in target.split(AND))
        return tuple(joint.join(filter(None, (at, end, leaf))) for end in ends)

    def rename(described: str, tensor: Tensor) -> tuple[Source, ...]:
        path, _, leaf = described.rpartition(".")
        if layout.flax and leaf == "weight":
            leaf = "scale" if tensor.ndim == 1 else "kernel"
        for subject, end in ((described, ""), (path, leaf)):  # a parameter by itself, or a module's
            for pattern, targets in rules:
                match = pattern.fullmatch(subject)
                if match:
                    return tuple(source(target, match.groupdict(), end) for target in targets)
        return ()

    return rename


@functools.cache
def _pattern(key: str) -> re.Pattern[str]:
    """`a.{k}.b` as a pattern in which {k} matches a number."""
    return re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>\\d+)", re.escape(key)))


def describe(module: nn.Module, own: str = "", described: str = "") -> Iterator[tuple[str, str, Tensor]]:
    """(key, described key, tensor) for everything in the state dict.

    In a described key branches, layers and tokens are named as the docstring of this module says.
    """
    for name, tensor in (*module._parameters.items(), *module._buffers.items()):
        if tensor is not None and name not in module._non_persistent_buffers_set:
            tokens = f".{tensor.shape[1]}" if isinstance(module, EmbeddingModule) and name == "tokens" else ""
            yield own + name, described + name + tokens, tensor
    for name, shown, child in _children(module):
        yield from describe(child, f"{own}{name}.", f"{described}{shown}.")


def _children(module: nn.Module) -> Iterator[tuple[str, str, nn.Module]]:
    """(name, described name, child) of each child."""
    named: tuple[str, ...] = ()
    if isinstance(module, ConvModule) and module.spec.branches:
        named, seen = ("branches",), Counter[str]()
        for index, branch in enumerate(module.spec.branches):
            kind = branch.kind if branch.sign > 0 else f"-{branch.kind}"
            yield f"branches.{index}", f"{kind}.{seen[kind]}", module.branches[index]
            seen[kind] += 1
    if isinstance(module, (NestModule, DecoderModule)):
        named, slots = ("blocks",), _period(module.spec.blocks)
        for index, block in enumerate(module.blocks):
            yield f"blocks.{index}", f"layers.{index // slots}.{index % slots}", block
    if isinstance(module, NestModule):
        named = ("blocks", "norm")
        yield "norm", f"norm.after.{len(module.blocks) // slots}", module.norm
    for name, child in module.named_children():
        if name not in named:
            yield name, name, child


def _period(items: tuple[Any, ...]) -> int:
    """The length of the shortest run that `items` repeats."""
    return next(p for p in range(1, len(items) + 1) if len(items) % p == 0 and items == items[:p] * (len(items) // p))
