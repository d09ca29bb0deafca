"""What a network asks of a runtime: work, traffic and operator counts per operator kind, as the runtime will run them.

`operators` of nasbench.cost lists what the network computes; a runtime folds some of it into the convolution before it.
Which, is in one table a runtime, read off onnxruntime's optimised graphs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

VERSION = 1  # of these features: a stored predictor of another version is fitted again from its raw measurements
BYTES = 4  # an element, float32

CONVOLUTIONS = frozenset({"conv", "depthwise", "grouped", "pointwise"})
COMPUTE = CONVOLUTIONS | {"linear", "matmul"}

# What a runtime computes inside the operator before it: {runtime: {operator: the operators that swallow it}}.
# "scale" is a multiplication by a constant: layer scale, or attention's 1/sqrt(d). Read off onnxruntime 1.31 on the CPU
# with all optimisations: SiLU and GELU stay kernels of their own (QuickGelu, Gelu), a residual sum after a convolution
# becomes its fourth input, unless a layer norm has read the same tensor and so forced it out of the blocked layout.
FUSED: Mapping[str, Mapping[str, frozenset[str]]] = {
    "onnxruntime": {
        "batch_norm": CONVOLUTIONS,
        "scale": CONVOLUTIONS,
        "act:relu": CONVOLUTIONS | {"linear"},
        "act:relu6": CONVOLUTIONS,
        "act:hardswish": CONVOLUTIONS,
        "act:sigmoid": CONVOLUTIONS,
        "add": CONVOLUTIONS,
    },
    "none": {},  # a runtime that runs every operator by itself
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
    macs: int
    bytes: int  # activations read and written
    weight_bytes: int


def kernels(operators: Iterable[Operator], runtime: str = "onnxruntime") -> list[Kernel]:
    """The operators that `runtime` launches, in order, after folding by its rule table."""
    rules = FUSED[runtime]
    launched: list[Kernel] = []
    normed = False  # whether a layer norm came since the last residual sum
    for op in operators:
        kind = "scale" if op.kind == "mul" and op.inputs == op.outputs else op.kind
        fuses = bool(launched) and launched[-1].kind in rules.get(kind, ()) and not (kind == "add" and normed)
        normed = kind == "layer_norm" or (normed and kind != "add")
        if not fuses:
            launched.append(Kernel(kind, op.macs, BYTES * (op.inputs + op.outputs), BYTES * op.params))
        elif kind == "add":
            launched[-1].bytes += BYTES * op.outputs  # the other summand is read
    return launched


def features(operators: Iterable[Operator], runtime: str = "onnxruntime") -> dict[str, float]:
    """{name: amount}: per compute kind `.macs`, `.bytes`, `.weights`, `.ops`; per other kind `.bytes`; `ops`, `nets`.

    Every amount is non-negative and grows with the network, so that time is a non-negative weighted sum of them.
    """
    amounts: defaultdict[str, float] = defaultdict(float)
    amounts["nets"] = 1.0  # what one call costs before any operator runs
    for kernel in kernels(operators, runtime):
        kind = kernel.kind
        amounts[f"{kind}.bytes"] += kernel.bytes
        amounts["ops"] += 1
        if kind in COMPUTE:
            amounts[f"{kind}.macs"] += kernel.macs
            amounts[f"{kind}.weights"] += kernel.weight_bytes
            amounts[f"{kind}.ops"] += 1
    return dict(amounts)


def kind_of(feature: str) -> str:
    """The operator kind a feature belongs to: `pointwise.macs` -> `pointwise`, `ops` -> `ops`."""
    return feature.rsplit(".", 1)[0]
