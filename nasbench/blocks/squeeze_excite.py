"""Squeeze-and-excitation (arXiv:1709.01507). What it costs: `squeeze_excite_cost.py`."""

from __future__ import annotations

from torch import Tensor, nn

from nasbench.arch.metablock import SqueezeExcite
from nasbench.blocks.norm import activated, make_act


class SqueezeExciteModule(nn.Module):
    """A gate for every channel from the mean of its map: (B, C, H, W) -> the same."""

    def __init__(self, spec: SqueezeExcite) -> None:
        super().__init__()
        self.spec = spec
        self.reduce = nn.Conv2d(spec.channels, spec.hidden, 1)
        self.act = make_act(spec.act)
        self.expand = nn.Conv2d(spec.hidden, spec.channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        reduced = self.reduce(x.mean((2, 3), keepdim=True))
        return x * self.expand(activated(self.act, reduced, self.reduce)).sigmoid()
