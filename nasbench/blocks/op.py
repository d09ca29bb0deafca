"""One operator of a network as it runs, and the tape on which the formulas of the parts write theirs."""

from __future__ import annotations

from typing import NamedTuple, get_args

from nasbench.arch.metablock import ActName

IN_PLACE_KINDS = frozenset(
    ("batch_norm", "layer_norm", "group_norm", "add", "mul", "softmax", *(f"act:{name}" for name in get_args(ActName)))
)


class Op(NamedTuple):
    """An operator at batch 1. Elements are counted, not bytes.

    kind: one of conv, depthwise, grouped, pointwise, linear, matmul, batch_norm, layer_norm, group_norm, softmax, add,
    mul, concat, pool, resize, pad, copy, act:NAME. flops: what fvcore 0.1.5 counts (multiply-adds, 2 an element of a
    batch norm, 5 of a layer norm, 1 of an adaptive pool's input, 4 of a bilinear resize's output). held: elements of
    other tensors that must stay in memory meanwhile. Convolutions and linear layers say their shape too: c_in, c_out,
    kernel (the longer side), stride, groups, and area, the positions of their output.
    """

    name: str
    kind: str
    macs: int = 0
    flops: int = 0
    params: int = 0
    inputs: int = 0
    outputs: int = 0
    held: int = 0
    stage: str = ""
    c_in: int = 0
    c_out: int = 0
    kernel: int = 0
    stride: int = 0
    groups: int = 0
    area: int = 0

    @property
    def in_place(self) -> bool:
        """Whether the output may overwrite the input."""
        return self.kind in IN_PLACE_KINDS

    def holding_less(self, elements: int) -> Op:
        """The same with fewer elements held."""
        return self._replace(held=self.held - elements)


class Tape:
    """Collects the operators of a network in order of execution.

    `batch` multiplies work, not parameters (sub-grids run as a batch); `held` is added to each operator's.
    """

    def __init__(self, stage: str = "") -> None:
        self.stage = stage
        self.ops: list[Op] = []
        self.batch = 1
        self.held = 0

    def add(
        self,
        name: str,
        kind: str,
        *,
        inputs: int,
        outputs: int,
        macs: int = 0,
        flops: int | None = None,
        params: int = 0,
        held: int = 0,
        shape: tuple[int, int, int, int, int] = (0, 0, 0, 0, 0),
        area: int = 0,
    ) -> None:
        """`flops` where they are not `macs`; `shape`: c_in, c_out, kernel, stride, groups."""
        batch = self.batch
        fields = (
            name, kind, macs * batch, (macs if flops is None else flops) * batch, params, inputs * batch,
            outputs * batch, held * batch + self.held, self.stage, *shape, area * batch,
        )  # fmt: skip
        self.ops.append(tuple.__new__(Op, fields))  # half the time of Op(...), for some hundred operators a network

    def add_conv(
        self,
        c_in: int,
        c_out: int,
        shape: tuple[int, int],
        before: int,
        after: int,
        stride: int = 1,
        groups: int = 1,
        bias: bool = False,
        kind: str = "",
        name: str = "conv",
    ) -> None:
        """A convolution with a kernel of this shape from a map of `before` positions to one of `after`."""
        kernel = max(shape)
        weights = shape[0] * shape[1] * c_in * c_out // groups
        self.add(
            name,
            kind or conv_kind(c_in, c_out, kernel, groups),
            inputs=c_in * before,
            outputs=c_out * after,
            macs=weights * after,
            params=weights + c_out * bias,
            shape=(c_in, c_out, kernel, stride, groups),
            area=after,
        )

    def holding(self, elements: int) -> _Meanwhile:
        """In its `with` block a tensor of `elements` (per item of the current batch) stays in memory."""
        return _Meanwhile(self, self.batch, self.held + elements * self.batch)

    def batched(self, times: int) -> _Meanwhile:
        """In its `with` block every operator runs on `times` as many items."""
        return _Meanwhile(self, self.batch * times, self.held)


class _Meanwhile:
    """A `with` block in which a tape has another batch and other elements held."""

    __slots__ = ("batch", "held", "tape")

    def __init__(self, tape: Tape, batch: int, held: int) -> None:
        self.tape, self.batch, self.held = tape, batch, held

    def __enter__(self) -> None:
        self._swap()

    def __exit__(self, *error: object) -> None:
        self._swap()

    def _swap(self) -> None:
        tape = self.tape
        tape.batch, self.batch = self.batch, tape.batch
        tape.held, self.held = self.held, tape.held


def conv_kind(c_in: int, c_out: int, kernel: int, groups: int) -> str:
    """Which of an operator's kinds a convolution is."""
    if groups == 1:
        return "pointwise" if kernel == 1 else "conv"
    return "depthwise" if groups == c_in == c_out else "grouped"
