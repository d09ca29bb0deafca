"""What a network asks of a runtime: work, traffic and operator counts per operator kind, as the runtime will run them.

`operators` of nasbench.cost lists what the network computes; a runtime folds some of it into the convolution before it,
and pads channels to whole vectors. Which and how, is in one table a runtime, read off onnxruntime's optimised graphs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

VERSION = 2  # of these features: a stored predictor of another version is fitted again from its raw measurements
BYTES = 4  # an element, float32
CACHE_BYTES = 4 * 2**20  # traffic of one operator beyond this leaves a core's own cache

CONVOLUTIONS = frozenset({"conv", "depthwise", "grouped", "pointwise"})
PADDED = frozenset({"conv", "depthwise", "pointwise"})


@dataclass(frozen=True)
class Runtime:
    """How a runtime changes what it is given.

    fused: {operator: the operators before it that swallow it}; "scale" is a multiplication by a constant: layer scale,
    or attention's 1/sqrt(d). channel_block: convolutions compute whole blocks of so many channels.
    """

    fused: Mapping[str, frozenset[str]]
    channel_block: int = 1


RUNTIMES: Mapping[str, Runtime] = {
    # Version 1.31 on the CPU with all optimisations: SiLU and GELU stay kernels of their own (QuickGelu, Gelu), a
    # residual sum after a convolution becomes its fourth input, unless a layer norm has read the same tensor and so
    # forced it out of the blocked layout; that layout has blocks of 16 channels with AVX-512 (8 without).
    "onnxruntime": Runtime(
        fused={
            "batch_norm": CONVOLUTIONS,
            "scale": CONVOLUTIONS,
            "act:relu": CONVOLUTIONS | {"linear"},
            "act:relu6": CONVOLUTIONS,
            "act:hardswish": CONVOLUTIONS,
            "act:sigmoid": CONVOLUTIONS,
            "add": CONVOLUTIONS,
        },
        channel_block=16,
    ),
    "none": Runtime(fused={}),  # runs every operator by itself, as it is
}


class Operator(Protocol):
    """The part of nasbench.cost.Op that is read here; inputs and outputs in elements."""

    @property
    def kind(self) -> str: ...
    @property
    def macs(self) -> int: ...
    @property
    def params(self) -> int: ...
    @property
    def inputs(self) -> int: ...
    @property
    def outputs(self) -> int: ...


@dataclass
class Kernel:
    """One operator as a runtime launches it, with what was folded into it."""

    kind: str
    macs: float
    bytes: float  # activations read and written
    weight_bytes: float


def kernels(operators: Iterable[Operator], runtime: str = "onnxruntime") -> list[Kernel]:
    """The operators that `runtime` launches, in order, by its rules. The first convolution is a kind of its own."""
    rules = RUNTIMES[runtime]
    launched: list[Kernel] = []
    normed = False  # whether a layer norm came since the last residual sum
    for op in operators:
        kind = "scale" if op.kind == "mul" and op.inputs == op.outputs else op.kind
        producers = rules.fused.get(kind, ())
        fuses = bool(launched) and launched[-1].kind in producers and not (kind == "add" and normed)
        normed = kind == "layer_norm" or (normed and kind != "add")
        if not fuses:
            launched.append(_kernel(op, kind, rules.channel_block))
        elif kind == "add":
            launched[-1].bytes += BYTES * op.outputs  # the other summand is read
    if launched and launched[0].kind == "conv":
        launched[0].kind = "image_conv"  # three input channels: slow for its multiply-adds
    return launched


def features(operators: Iterable[Operator], runtime: str = "onnxruntime") -> dict[str, float]:
    """{name: amount}: `KIND.bytes` of every kind, `KIND.macs` of those that compute; `weights` and `uncached` in bytes.

    `ops` counts the kernels and `nets` is 1. Every amount is non-negative and grows with the network, so that time is
    a non-negative weighted sum of them.
    """
    amounts: defaultdict[str, float] = defaultdict(float)
    amounts["nets"] = 1.0  # what one call costs before any operator runs
    for kernel in kernels(operators, runtime):
        amounts["ops"] += 1
        amounts[f"{kernel.kind}.bytes"] += kernel.bytes
        amounts["uncached"] += max(kernel.bytes - CACHE_BYTES, 0.0)
        amounts["weights"] += kernel.weight_bytes
        if kernel.macs:
            amounts[f"{kernel.kind}.macs"] += kernel.macs
    return {name: amount for name, amount in amounts.items() if amount}


def kind_of(feature: str) -> str:
    """The operator kind a feature belongs to: `pointwise.macs` -> `pointwise`, `ops` -> `ops`."""
    return feature.rsplit(".", 1)[0]


def _kernel(op: Operator, kind: str, block: int) -> Kernel:
    padding_in, padding_out = _padding(op, block) if kind in PADDED else (1.0, 1.0)
    traffic = BYTES * (op.inputs + op.outputs) * padding_out
    return Kernel(kind, op.macs * padding_in * padding_out, traffic, BYTES * op.params)


def _padding(op: Operator, block: int) -> tuple[float, float]:
    """By what factors the channels read (of a 1x1 convolution) and written grow to whole blocks."""
    per_output = op.macs // op.outputs  # kernel area x input channels of a group
    with_bias = op.params // (per_output + 1)
    fits = with_bias > 0 and with_bias * (per_output + 1) == op.params and op.outputs % with_bias == 0
    channels_out = with_bias if fits else op.params // per_output
    reads_blocks = op.kind == "pointwise" and per_output >= block
    return (_grown(per_output, block) if reads_blocks else 1.0), _grown(channels_out, block)


def _grown(channels: int, block: int) -> float:
    return -(-channels // block) * block / channels
