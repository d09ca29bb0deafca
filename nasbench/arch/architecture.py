"""One network as a frozen value: resolution, stem, stages, head. Reads and writes TOML; torch is not needed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import Field
from typing_extensions import Self

from nasbench.arch.as_html import architecture_html
from nasbench.arch.metablock import Conv, MetaBlock, Network, canonical_json, changed, spelled
from nasbench.arch.part_rules import ends_problem, stage_problem
from nasbench.arch.parts import (
    IMAGE_CHANNELS,
    MAX_IMAGE_CHANNELS,
    MAX_STAGES,
    Head,
    Stage,
    Stem,
    effective_fields,
    effective_head_fields,
    effective_stem_fields,
    total_stride,
)
from nasbench.arch.presets import lower
from nasbench.errors import UserError, shown
from nasbench.files import parse_toml, read_text, read_toml, readable
from nasbench.values import Name, Value, text_hash


class Architecture(Value):
    """A network. Two that build the same network have the same `id`, whatever their files or names."""

    name: Name = ""
    resolution: int = Field(ge=8, le=4096)
    in_channels: int = Field(IMAGE_CHANNELS, ge=1, le=MAX_IMAGE_CHANNELS)  # of the images: 1 for grey, 4 with depth
    stem: Stem = Stem()
    stages: tuple[Stage, ...] = Field(min_length=1, max_length=MAX_STAGES)
    head: Head = Head()

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], source: str = "architecture") -> Self:
        """Validate `content`; an error is a UserError naming `source`, key and value."""
        arch = super().from_dict(content, source)
        problem = arch.problem()
        if problem:
            raise UserError(f"{source}: {problem}")
        return arch

    @classmethod
    def from_toml(cls, text: str, source: str = "architecture") -> Architecture:
        return cls.from_dict(parse_toml(text, source), source)

    @classmethod
    def from_file(cls, path: Path | str) -> Architecture:
        """Read a .toml or .json file; a file without a name gets the file's stem."""
        path = Path(path)
        content = _read_json(path) if path.suffix == ".json" else read_toml(path)
        return cls.from_dict({"name": readable(path.stem), **content}, str(path))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; only the stages and fields that take effect."""
        images = {} if self.in_channels == IMAGE_CHANNELS else {"in_channels": self.in_channels}
        content = {
            "resolution": self.resolution,
            **images,
            "stem": _plain(self.stem, effective_stem_fields(self.stem)),
            "stages": [_plain(stage, effective_fields(stage)) for stage in self.stages if stage.depth],
            "head": _plain(self.head, effective_head_fields(self.head)),
        }
        return {"name": self.name, **content} if self.name else content

    @cached_property
    def network(self) -> Network:
        """The network in meta-blocks."""
        return lower(self.resolution, self.stem, self.stages, self.head, self.in_channels)

    @cached_property
    def id(self) -> str:
        """16 hexadecimal digits from the content of the network that this builds."""
        return text_hash(f'{{"network": {canonical_json(self.network)}, "resolution": {self.resolution}}}')

    def builds(self, other: Architecture) -> bool:
        """Whether both build the same network: their ids are equal then, and take longer to work out."""
        return self.resolution == other.resolution and self.network == other.network

    @property
    def label(self) -> str:
        return self.name or self.id[:8]

    @property
    def total_stride(self) -> int:
        return total_stride(self.stem, self.stages)

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return architecture_html(f"{self.label}, {self.size_label}", self.resolution, self.stem, self.stages, self.head)

    def problem(self) -> str | None:
        """Why no network can be built from this, or None."""
        if not any(stage.depth for stage in self.stages):
            return "every stage has depth 0; give at least one stage a depth of 1 or more"
        c_in = self.stem.channels
        for index, stage in enumerate(self.stages):
            problem = stage_problem(stage, c_in)
            if problem:
                return f"stages[{index}]: {problem}"
            c_in = stage.channels if stage.depth else c_in
        problem = ends_problem(self.stem, [stage for stage in self.stages if stage.depth], self.head, self.in_channels)
        if problem:
            return problem
        stride = self.total_stride
        if self.resolution % stride:
            near = max(1, round(self.resolution / stride)) * stride
            return f"resolution {self.resolution} is not a multiple of the total stride {stride}; use {near}"
        return None

    def require_classes(self) -> None:
        """A UserError where there is no classifier to train, export or measure."""
        if self.head.kind == "decoder":
            raise UserError(
                f"{self.label} is a masked autoencoder, which gives pixels, no classes; "
                "use the same encoder with another head, as mae_vit_base has"
            )

    def with_resolution(self, resolution: int) -> Architecture:
        return self.replace(resolution=resolution)

    @property
    def size_label(self) -> str:
        """`224 px`, and the channels of the images where they are not three."""
        count = self.in_channels
        return f"{self.resolution} px" + (f", {count} channel{'s'[: count > 1]}" if count != IMAGE_CHANNELS else "")

    def with_in_channels(self, in_channels: int) -> Architecture:
        """The same network for images of so many channels: only its stem, and pixels that it paints, change."""
        return self.replace(in_channels=in_channels)

    def replace(self, **changes: Any) -> Self:
        """A validated copy with these top-level fields changed; a stem of slots follows other `in_channels`."""
        if self.stem.kind == "slots" and "stem" not in changes and isinstance(changes.get("in_channels"), int):
            first, *others = self.stem.slots
            slots = (_taking(first, changes["in_channels"]), *others)
            changes["stem"] = self.stem.model_copy(update={"slots": slots})
        own = {name: getattr(self, name) for name in Architecture.model_fields}
        return self.from_dict({**own, **changes}, self.label)


def require_architecture(value: object) -> None:
    """A UserError where a name, a path or anything else stands for a network."""
    if not isinstance(value, Architecture):
        raise UserError(f"{shown(value)} is no architecture; load one by its name or path: nasbench.load(...)")


def _taking(block: MetaBlock, channels: int) -> MetaBlock:
    """A first meta-block for images of so many channels, where it begins with a convolution."""

    def first(part: Any) -> Any:
        return changed(part, c_in=channels) if isinstance(part, Conv) else part

    place = next((name for name in ("before", "expand", "mix", "project") if getattr(block, name)), "mix")
    part = getattr(block, place)
    part = (first(part[0]), *part[1:]) if isinstance(part, tuple) and part else first(part)
    return changed(block, **{place: part}, c_in=channels, skip=first(block.skip))


def _plain(part: Stem | Stage | Head, fields: tuple[str, ...]) -> dict[str, Any]:
    """These fields of a part as plain JSON types; None and empty are left out."""
    values = {name: getattr(part, name) for name in fields}
    return {name: spelled(value) for name, value in values.items() if value not in (None, ())}


def _read_json(path: Path) -> dict[str, Any]:
    text = read_text(path, "TOML or JSON")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not valid JSON: {error}; compare with a file in search_spaces/") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds a {type(content).__name__}, not an object with keys; see search_spaces/")
    return content
