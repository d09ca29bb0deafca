"""One operator of a network as it runs, and what it costs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

IN_PLACE_KINDS = frozenset(("batch_norm", "layer_norm", "group_norm", "add", "mul", "softmax"))


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
        return self.kind in IN_PLACE_KINDS or self.kind[:4] == "act:"


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
        shape: tuple[int, int, int, int, int, int] = (0, 0, 0, 0, 0, 0),
    ) -> None:
        """`shape`: c_in, c_out, kernel, stride, groups, area."""
        batch = self.batch
        flops = macs if flops is None else flops
        work = (macs * batch, flops * batch, params, inputs * batch, outputs * batch, held * batch + self.held)
        fields = (name, kind, *work, self.stage, *shape[:5], shape[5] * batch)
        self.ops.append(tuple.__new__(Op, fields))  # half the time of Op(...), for some hundred operators a network

    @contextmanager
    def holding(self, elements: int) -> Iterator[None]:
        """Meanwhile a tensor of `elements` (per item of the current batch) stays in memory."""
        self.held += elements * self.batch
        yield
        self.held -= elements * self.batch

    @contextmanager
    def batched(self, times: int) -> Iterator[None]:
        self.batch *= times
        yield
        self.batch //= times
