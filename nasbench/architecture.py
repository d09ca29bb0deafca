"""One network as a frozen value: resolution, stem, stages, head. Reads and writes TOML; torch is not needed."""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nasbench.block_rules import slots_problem
from nasbench.errors import UserError
from nasbench.files import parse_toml, read_toml
from nasbench.metablock import ActName, MetaBlock, Network, canonical

Downsample = Literal["none", "block", "conv", "mbconv", "patch_embed"]
Block = Literal["mbconv", "repmixer", "irmb", "mobilevit", "transformer", "repvgg", "mobileone", "slots"]
Branches = Literal["none", "repvgg", "acb", "dbb", "mobileone"]

# The fields that a block reads besides channels, depth, downsample and stride.
BLOCK_FIELDS: dict[str, tuple[str, ...]] = {
    "mbconv": ("expansion", "kernel", "branches", "se", "act"),
    "repmixer": ("expansion", "kernel", "branches"),
    "irmb": ("expansion", "kernel", "branches", "se", "attention", "head_dim", "window"),
    "mobilevit": ("expansion", "kernel", "branches", "width", "heads", "patch"),
    "transformer": ("expansion", "kernel", "head_dim", "patch", "cpe"),
    "repvgg": ("kernel", "branches", "se", "act"),
    "mobileone": ("kernel", "branches", "se", "act"),
    "slots": ("slots",),
}
# Blocks that can themselves change channels and stride, so that `downsample = "block"` makes sense.
STRIDING_BLOCKS = ("mbconv", "irmb", "repvgg", "mobileone")
STEM_STRIDE = {"conv": 2, "conv_bias": 2, "mobileone": 4}


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Stem(_Frozen):
    """conv: 3x3 BN SiLU; conv_bias: biased 3x3 BN, no activation (EMO); mobileone: three re-parameterised convolutions.

    `stride` is by default what the kind is published with: 2, 2 and 4.
    """

    kind: Literal["conv", "conv_bias", "mobileone"] = "conv"
    channels: int = Field(16, ge=1)
    stride: Literal[1, 2, 4] | None = None

    @property
    def total_stride(self) -> int:
        return self.stride or STEM_STRIDE[self.kind]


class Stage(_Frozen):
    """A change of channels and stride (`downsample`), then `depth` blocks at constant shape.

    With `downsample = "block"` the first of the `depth` blocks makes the change; an irmb has no skip there. The depth
    of a "mobilevit" stage counts the transformer layers inside its one block. A stage of depth 0 is absent.
    """

    downsample: Downsample = "conv"
    stride: Literal[1, 2] = 2
    downsample_expansion: float = Field(4, gt=0)  # of the "mbconv" transition
    block: Block = "mbconv"
    channels: int = Field(ge=1)
    depth: int = Field(ge=0)
    expansion: float = Field(4, gt=0)
    kernel: int = Field(3, ge=1, le=31)
    branches: Branches = "none"
    se: float = Field(0, ge=0, le=1)  # squeeze-excite ratio of the gated channels, 0 for none
    act: ActName | None = None  # None: the block's published one
    attention: bool = False  # irmb
    head_dim: int = Field(32, ge=1)  # irmb, transformer
    heads: int = Field(4, ge=1)  # mobilevit
    width: int | None = Field(None, ge=1)  # mobilevit's inner channels; None: 1.5 x channels
    patch: int = Field(1, ge=1)  # mobilevit, transformer: tokens attend across patch x patch interleaved grids
    window: int = Field(7, ge=1)  # irmb: tokens a side of one attention group
    cpe: bool = False  # transformer: conditional position encoding before the first block
    slots: tuple[MetaBlock, ...] = ()  # block = "slots": the meta-blocks of one of the `depth` repetitions

    @property
    def inner_width(self) -> int:
        """Channels inside a mobilevit block."""
        return self.width or self.heads * max(1, round(1.5 * self.channels / self.heads))

    @property
    def plain_blocks(self) -> int:
        """Blocks at constant shape, the transition left out."""
        return self.depth - (self.downsample == "block")

    @property
    def attends(self) -> bool:
        if self.depth == 0:
            return False
        if self.block == "irmb":
            return self.attention and self.plain_blocks > 0
        return self.block in ("mobilevit", "transformer")


class Head(_Frozen):
    """linear: mean and classifier; norm: layer norm before it (EMO); conv: 1x1 convolution to `expansion` x channels,
    at most 960 (MobileViT); mobileone: depthwise re-parameterised 3x3 to `expansion` x channels with SE (FastViT)."""

    kind: Literal["linear", "norm", "conv", "mobileone"] = "linear"
    expansion: float = Field(4, gt=0)


def effective_fields(stage: Stage) -> tuple[str, ...]:
    """The names of the fields that take effect in this stage, in the order of the file."""
    if stage.depth == 0:
        return ("depth",)
    names = {"downsample", "stride", "block", "channels", "depth", *BLOCK_FIELDS[stage.block]}
    if stage.downsample == "mbconv":
        names.add("downsample_expansion")
    if stage.block == "irmb":
        names -= _idle_irmb_fields(stage)
    if stage.act is None:
        names.discard("act")
    return tuple(name for name in Stage.model_fields if name in names)


def _idle_irmb_fields(stage: Stage) -> set[str]:
    if not stage.attention:
        return {"head_dim", "window"}
    if stage.plain_blocks > 0:
        return set()
    # Alone, the striding block does not attend; its norm and activation belong to the expansion.
    return {"head_dim", "window"} | ({"attention"} if stage.expansion == 1 else set())


def stage_problem(stage: Stage, c_in: int) -> str | None:
    """Why this stage cannot follow `c_in` channels, as `value, rule, remedy`; None where it can."""
    if stage.depth == 0:
        return None
    if stage.downsample == "none" and (stage.stride != 1 or stage.channels != c_in):
        return (
            f"downsample 'none' with stride {stage.stride} from {c_in} to {stage.channels} channels: without a "
            "transition stride must be 1 and channels stay; choose conv, mbconv, patch_embed or block"
        )
    if stage.downsample == "block" and stage.block not in STRIDING_BLOCKS:
        return (
            f"downsample 'block' with block {stage.block!r}, which keeps its shape; "
            f"use conv, mbconv or patch_embed, or one of the blocks {', '.join(STRIDING_BLOCKS)}"
        )
    if stage.downsample == stage.block == "mbconv":  # would spell most of what downsample "block" spells a second time
        return "downsample 'mbconv' with block 'mbconv': the block makes the change itself; use downsample 'block'"
    if "kernel" in effective_fields(stage) and stage.kernel % 2 == 0:
        return f"kernel {stage.kernel} is even: only odd kernels keep the map's size; use {stage.kernel + 1}"
    return _width_problem(stage)


def _width_problem(stage: Stage) -> str | None:
    if stage.block in ("irmb", "transformer") and stage.attends and stage.channels % stage.head_dim:
        return f"channels {stage.channels} is not a multiple of head_dim {stage.head_dim}; change one of them"
    if stage.block == "mobilevit" and stage.inner_width % stage.heads:
        return f"width {stage.inner_width} is not a multiple of heads {stage.heads}; change one of them"
    if stage.block == "slots":
        return slots_problem(stage.slots, stage.channels)
    return None


class Architecture(_Frozen):
    """A network. Two that build the same network have the same `id`, whatever their files or names."""

    name: str = ""
    resolution: int = Field(ge=8, le=4096)
    stem: Stem = Stem()
    stages: tuple[Stage, ...] = Field(min_length=1)
    head: Head = Head()

    @classmethod
    def from_dict(cls, content: dict[str, Any], source: str = "architecture") -> Architecture:
        """Validate `content`; an error is a UserError naming `source`, key and value."""
        try:
            arch = cls.model_validate(content)
        except ValidationError as error:
            raise UserError(f"{source}: {describe_validation_error(error)}") from None
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
        return cls.from_dict({"name": path.stem, **content}, str(path))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; only the stages and fields that take effect."""
        head: dict[str, Any] = {"kind": self.head.kind}
        if self.head.kind in ("conv", "mobileone"):
            head["expansion"] = self.head.expansion
        content = {
            "resolution": self.resolution,
            "stem": self.stem.model_dump(exclude_none=True),
            "stages": [_stage_dict(stage) for stage in self.stages if stage.depth],
            "head": head,
        }
        return {"name": self.name, **content} if self.name else content

    def to_toml(self) -> str:
        return tomli_w.dumps(self.to_dict())

    @cached_property
    def network(self) -> Network:
        """The network in meta-blocks."""
        from nasbench.presets import lower

        return lower(self)

    @cached_property
    def id(self) -> str:
        """16 hexadecimal digits from the content of the network that this builds."""
        content = {"resolution": self.resolution, "network": canonical(self.network)}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def label(self) -> str:
        return self.name or self.id[:8]

    @property
    def total_stride(self) -> int:
        stride = self.stem.total_stride
        for stage in self.stages:
            stride *= stage.stride if stage.depth else 1
        return stride

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
        stem, stride = self.stem, self.total_stride
        if stem.kind != "mobileone" and stem.total_stride > 2:
            return f"stem kind {stem.kind!r} strides by 1 or 2, not {stem.total_stride}; use 'mobileone' for 4"
        if self.resolution % stride:
            near = max(1, round(self.resolution / stride)) * stride
            return f"resolution {self.resolution} is not a multiple of the total stride {stride}; use {near}"
        return None

    def with_resolution(self, resolution: int) -> Architecture:
        return self.replace(resolution=resolution)

    def replace(self, **changes: Any) -> Architecture:
        """A validated copy with these top-level fields changed."""
        return self.from_dict({**_shallow(self), **changes}, self.label)


def describe_validation_error(error: ValidationError) -> str:
    """The first problem of a pydantic error in one line: key, value, rule."""
    first = error.errors(include_url=False)[0]
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]).lstrip(".")
    if first["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"unknown key {place!r}; remove it or correct its spelling (docs/design.md lists the keys)"
    if first["type"] == "missing":
        return f"key {place!r} is missing; add it"
    rule = first["msg"][0].lower() + first["msg"][1:]
    return f"{place} = {first['input']!r}: {rule}"


def _shallow(arch: Architecture) -> dict[str, Any]:
    return {name: getattr(arch, name) for name in Architecture.model_fields}


def _stage_dict(stage: Stage) -> dict[str, Any]:
    return stage.model_dump(include=set(effective_fields(stage)), exclude_none=True, mode="json")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}; give the path of a TOML or JSON file") from None
    except ValueError as error:
        raise UserError(f"{path}: not valid JSON: {error}; compare with a file in search_spaces/") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds a {type(content).__name__}, not an object with keys; see search_spaces/")
    return content
