"""Squeeze-and-excitation (arXiv:1709.01507)."""

from __future__ import annotations

from torch import Tensor, nn

from nasbench.arch.metablock import SqueezeExcite
from nasbench.blocks.norm import act_cost, make_act
from nasbench.blocks.op import Tape


class SqueezeExciteModule(nn.Module):
    def __init__(self, spec: SqueezeExcite) -> None:
        super().__init__()
        self.spec = spec
        self.reduce = nn.Conv2d(spec.channels, spec.hidden, 1)
        self.act = make_act(spec.act)
        self.expand = nn.Conv2d(spec.hidden, spec.channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        gate = self.expand(self.act(self.reduce(x.mean((2, 3), keepdim=True))))
        return x * gate.sigmoid()


def squeeze_excite_cost(tape: Tape, spec: SqueezeExcite, area: int) -> None:
    channels, hidden, elements = spec.channels, spec.hidden, spec.channels * area
    tape.add("pool", "pool", inputs=elements, outputs=channels)
    with tape.holding(elements):
        for name, c_in, c_out in (("reduce", channels, hidden), ("expand", hidden, channels)):
            weights, shape = c_in * c_out, (c_in, c_out, 1, 1, 1, 1)
            tape.add(name, "pointwise", inputs=c_in, outputs=c_out, macs=weights, params=weights + c_out, shape=shape)
            act_cost(tape, spec.act if name == "reduce" else "sigmoid", c_out)
    tape.add("gate", "mul", inputs=elements + channels, outputs=elements)
