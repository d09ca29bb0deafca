"""The kernels that a runtime launches for a network: what it fuses, and the copies between layouts that it inserts.

`costs.analytic.operators` lists what the network computes, in order. A runtime folds some of it into the
convolution before it, and onnxruntime computes convolutions in blocks of channels: where another operator needs the
plain layout, it reorders the tensor, and back again. The rules were read off onnxruntime's own profile of each block,
and the tests compare the two kernel by kernel.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from nasbench.blocks.op import Op

CONVOLUTIONS = frozenset({"conv", "depthwise", "grouped", "pointwise"})
PROJECTIONS = CONVOLUTIONS | {"linear"}
FOLLOWED_BY_NORMS = CONVOLUTIONS | {"batch_norm"}
ATTENTION = frozenset({"matmul", "softmax"})  # these read queries, keys and values split apart
# A second pass over a convolution's output by an activation inside its kernel: no runtime reports it, and its time is
# modelled as that of a separate ReLU.
ACTIVATION_PASS = "pass"
# The kernels that onnxruntime runs in place of an operator that it has no single kernel for.
IN_PARTS: Mapping[str, tuple[str, ...]] = {
    "group_norm": ("group_norm", "mul", "add"),  # normalised over instances, then scaled and shifted
    "act:gelu_tanh": ("mul", "mul", "mul", "add", "mul", "tanh", "add", "mul", "mul"),
}
BLOCKED, PLAIN, CHANNELS_LAST = "blocked", "plain", "channels last"


@dataclass(frozen=True)
class LaunchRules:
    """How a runtime turns operators into kernels.

    fused: {operator: the operators that it is fused into when it directly follows one of them}; "scale" is a
    multiplication by a constant: layer scale, or attention's 1/sqrt(d). channel_block: convolutions pad their channels
    to a multiple of it. layouts: whether separate kernels reorder tensors between the layout of convolutions and that
    of other operators.
    """

    fused: Mapping[str, frozenset[str]]
    channel_block: int = 1
    layouts: bool = False
    keeps_blocks: frozenset[str] = frozenset()  # operators that also work on the blocked layout
    second_passes: frozenset[str] = frozenset()  # activations inside a convolution's kernel: see ACTIVATION_PASS


_SUMS = {"batch_norm": CONVOLUTIONS, "scale": CONVOLUTIONS, "add": CONVOLUTIONS}
_CLAMPS = {f"act:{name}": CONVOLUTIONS for name in ("relu6", "hardswish", "sigmoid")}
_SMOOTH = {f"act:{name}": CONVOLUTIONS | {"linear"} for name in ("relu", "silu", "gelu")}

LAUNCH_RULES: Mapping[str, LaunchRules] = {
    # Version 1.31 on the CPU with all optimisations: ReLU is part of a convolution's inner loop, a clamp a second pass
    # over what it wrote (MobileNetV2's convolutions take 1.5 times as long with ReLU6); SiLU and GELU stay kernels of
    # their own (QuickGelu, Gelu), and a residual sum after a convolution becomes its fourth input, unless a layer norm
    # has read the same tensor and so forced it out of the blocked layout; that layout has blocks of 16 channels with
    # AVX-512 (8 without).
    "onnxruntime": LaunchRules(
        fused=_SUMS | {"act:relu": CONVOLUTIONS | {"linear"}},
        channel_block=16,
        layouts=True,
        second_passes=frozenset(_CLAMPS),
        keeps_blocks=frozenset(
            {"act:silu", "act:gelu", "act:relu", "act:relu6", "act:sigmoid", "batch_norm", "concat"}
        ),
    ),
    "openvino": LaunchRules(fused=_SUMS | _CLAMPS | _SMOOTH, channel_block=16),  # oneDNN's post-operations
    "ncnn": LaunchRules(
        fused={"batch_norm": CONVOLUTIONS, **_CLAMPS, "act:relu": CONVOLUTIONS | {"linear"}}, channel_block=4
    ),
    "torch": LaunchRules(fused={}),  # runs every operator by itself, as it is
    "torch-compile": LaunchRules(fused={}),
    "none": LaunchRules(fused={}),
}


class Kernel(NamedTuple):
    """One kernel as the runtime launches it, with what was folded into it; inputs and outputs in elements."""

    kind: str
    macs: int = 0
    params: int = 0
    inputs: int = 0
    outputs: int = 0
    c_in: int = 0
    c_out: int = 0
    kernel: int = 0
    stride: int = 0
    groups: int = 0
    area: int = 0


def launches(operators: Iterable[Op], runtime: str = "onnxruntime") -> list[Kernel]:
    """The kernels that `runtime` launches, in order. The first convolution is a kind of its own, `image_conv`."""
    walk = _Walk(LAUNCH_RULES.get(runtime, LAUNCH_RULES["none"]))
    for op in operators:
        walk.take(op)
    kernels = walk.kernels
    if kernels and kernels[0].kind == "conv":
        kernels[0] = kernels[0]._replace(kind="image_conv")  # three input channels: slow for its multiply-adds
    return kernels


class _Walk:
    """Turns operators, taken one by one, into kernels; keeps track of the layout of the current tensor."""

    def __init__(self, rules: LaunchRules) -> None:
        self.rules = rules
        self.kernels: list[Kernel] = []
        self.layout = BLOCKED  # of the current tensor; the first convolution reads the image without a reorder
        self.past: list[tuple[Op, str, str]] = []  # operators with the layout before and after each

    def take(self, op: Op) -> None:
        before = self.layout
        kind = op.kind
        if kind == "mul" and op.inputs == op.outputs:
            kind = "scale"
        if kind == "scale" and op.name == "scale" and self.rules.layouts:
            if self.layout == BLOCKED:
                self._to_plain(self.kernels[-1].outputs)  # attention's 1/sqrt(d), folded into the product after it
        elif kind in self.rules.second_passes and self.kernels and self.kernels[-1].kind in CONVOLUTIONS:
            self.kernels.append(_kernel(ACTIVATION_PASS, op))
        elif self._fuses(kind, op):
            if kind == "add":
                last = self.kernels[-1]
                self.kernels[-1] = last._replace(inputs=last.inputs + op.outputs)  # the other summand is read
        else:
            self._launch(kind, op)
        self.past.append((op, before, self.layout))

    @property
    def previous(self) -> Op | None:
        return self.past[-1][0] if self.past else None

    def _launch(self, kind: str, op: Op) -> None:
        if not self.rules.layouts:
            self.kernels.append(_kernel(kind, op))
            return
        self._lay_out(kind, op)
        if kind in CONVOLUTIONS or kind == "add":  # most of them, and always one kernel
            self.kernels.append(_kernel(kind, op))
            return
        if kind == "act:gelu" and self.previous is not None and self.previous.kind == "mul":
            kind = "act:gelu in parts"  # after a gate onnxruntime does not fuse its five operators
        if kind in IN_PARTS:
            self.kernels += [Kernel(part, inputs=op.inputs, outputs=op.outputs) for part in IN_PARTS[kind]]
        elif op.name.startswith("roll"):
            self.kernels += 2 * [Kernel("concat", inputs=op.inputs, outputs=op.outputs)]  # one for each side
        else:
            self.kernels.append(_kernel(kind, op))
        if kind == "matmul" and op.name == "weigh":
            self._copy("transpose", op.outputs)
        elif kind == "softmax" and self.previous is not None and self.previous.kind == "pointwise":
            self._copy("transpose", op.outputs)  # over positions, not the last axis: transposed before and after

    def _fuses(self, kind: str, op: Op) -> bool:
        """Whether the runtime fuses the operator into the kernel before it."""
        fused_into = self.rules.fused.get(kind)
        if fused_into is None or not self.kernels or self.kernels[-1].kind not in fused_into:
            return False
        if kind == "batch_norm":
            return self._only_reader(op)
        return kind != "add" or not self.rules.layouts or self._summand_layout(op) == BLOCKED == self.layout

    def _only_reader(self, norm: Op) -> bool:
        """Whether nothing but the norm reads the convolution before it: no skip begins between the two.

        A skip that begins with the convolution itself holds the convolution's input meanwhile, not its output.
        """
        before = self.previous
        if before is None or before.kind not in FOLLOWED_BY_NORMS:
            return False
        held_more = norm.held - before.held == norm.inputs
        return not held_more or (before.kind in CONVOLUTIONS and before.inputs == before.outputs)

    def _summand_layout(self, add: Op) -> str:
        """The layout of the sum's other input, the skip: that of the tensor at the operator where the skip begins."""
        following: Op | None = None
        for op, before, after in reversed(self.past):
            if op.held <= add.held:
                begins = following is None or not following.kind.endswith("_norm")  # the skip's first operator
                return before if begins else after
            following = op
        return BLOCKED

    def _lay_out(self, kind: str, op: Op) -> None:
        """Bring the input into the layout that the kernel wants."""
        if kind in CONVOLUTIONS and _blocks(op, self.rules.channel_block):
            if self.layout != BLOCKED:
                self._copy("reorder_in", op.inputs)
            self.layout = BLOCKED
        elif kind == "layer_norm":
            if self.layout != CHANNELS_LAST:
                self._copy("reorder_out" if self.layout == BLOCKED else "transpose", op.inputs)
            self.layout = CHANNELS_LAST
        elif kind == "linear" and op.area > 1:
            self._lay_out_tokens(op)
        elif kind == "matmul":
            self._lay_out_product(op)
        elif kind == "softmax":
            self._to_plain(self.kernels[-1].outputs)
            if self.previous is not None and self.previous.kind == "pointwise":
                self._copy("transpose", op.inputs)
        elif kind == "add":
            self._lay_out_sum(op)
        elif kind == "pool" and self.layout == BLOCKED and (op.flops or op.name == "max pool"):
            pass  # adaptive and max pools have a kernel for the blocked layout, a mean has none
        elif kind in self.rules.keeps_blocks and self.layout == BLOCKED:
            if kind == "concat" and self._last_channels() % self.rules.channel_block:
                self._to_plain(op.outputs)  # the second input's channels would begin within a block
        elif self.layout == CHANNELS_LAST and (kind == "pool" or op.name == "unfold"):
            self.layout = PLAIN  # read as it is
        elif not kind.startswith("act:") and not op.name.startswith("roll"):
            self._to_plain(self._read_as_written(kind, op))

    def _read_as_written(self, kind: str, op: Op) -> int:
        """Elements of the operator's input that the kernel before it wrote; a gate's input without the gated map."""
        if kind in ATTENTION:
            return self.kernels[-1].outputs
        return op.inputs - op.outputs if kind == "mul" and op.inputs > op.outputs else op.inputs

    def _lay_out_tokens(self, op: Op) -> None:
        """A linear layer over tokens wants a token's channels side by side; products of attention leave them so."""
        joined = self.previous is not None and self.previous.name in ("weigh", "unfold", "roll back")
        if self.layout == BLOCKED:
            self._copy("reorder_out", op.inputs)
        elif self.layout == PLAIN and not joined:
            self._copy("transpose", op.inputs)
        self.layout = CHANNELS_LAST

    def _lay_out_product(self, op: Op) -> None:
        """Attention's products read heads apart: queries, keys and values of a linear layer are copied for that."""
        tokens = self._projects_tokens()
        if self.layout != PLAIN:
            if self.layout == BLOCKED:
                self._copy("reorder_out", self.kernels[-1].outputs)
            self.layout = PLAIN
        if tokens:
            each = (op.outputs,) if op.name == "weigh" else (op.inputs // 2,) * 2  # values; queries and keys
            for elements in each:
                self._copy("transpose", elements)

    def _projects_tokens(self) -> bool:
        """Whether queries, keys and values came from a linear layer, not from a convolution."""
        weighted = (op.kind for op, _, _ in reversed(self.past) if op.kind in PROJECTIONS)
        return next(weighted, "") == "linear"

    def _lay_out_sum(self, op: Op) -> None:
        """Both summands in one layout; a constant (positions) is stored as the other one needs it."""
        if op.name in ("positions", "bias"):
            if self.layout == BLOCKED:
                self._to_plain(op.outputs)
            return
        summand = self._summand_layout(op)
        if self.layout == summand == CHANNELS_LAST:
            return
        if self.layout != BLOCKED and summand == BLOCKED:
            self._copy("reorder_out", op.outputs)  # of the other summand
        if self.layout != BLOCKED or summand != BLOCKED:
            self._to_plain(op.outputs)

    def _last_channels(self) -> int:
        return next((k.c_out for k in reversed(self.kernels) if k.c_out), 0)

    def _to_plain(self, elements: int) -> None:
        """Bring the current tensor into the plain layout, from whichever it is in."""
        if self.layout == BLOCKED:
            self._copy("reorder_out", elements)
        elif self.layout == CHANNELS_LAST:
            self._copy("transpose", elements)
        self.layout = PLAIN

    def _copy(self, kind: str, elements: int) -> None:
        self.kernels.append(Kernel(kind, inputs=elements, outputs=elements))


def _blocks(op: Op, block: int) -> bool:
    """Whether the convolution has a blocked kernel: one group, depthwise, or groups of whole blocks."""
    if op.kind != "grouped":
        return True
    return op.c_in // op.groups % block == 0 and op.c_out // op.groups % block == 0


def _kernel(kind: str, op: Op) -> Kernel:
    _, _, macs, _, params, inputs, outputs, _, _, c_in, c_out, kernel, stride, groups, area = op
    fields = (kind, macs, params, inputs, outputs, c_in, c_out, kernel, stride, groups, area)
    return tuple.__new__(Kernel, fields)  # half the time of Kernel(...), a tenth of a whole prediction
