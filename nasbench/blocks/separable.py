"""Separable self-attention (MobileViTv2, arXiv:2206.02680)."""

from __future__ import annotations

from torch import Tensor, nn

from nasbench.arch.extent import Extent
from nasbench.arch.metablock import SeparableAttention
from nasbench.blocks.branches import conv_cost
from nasbench.blocks.norm import act_cost
from nasbench.blocks.op import Tape


class SeparableAttentionModule(nn.Module):
    """(B, C, H, W) -> (B, C, H, W); H and W are multiples of the patch."""

    def __init__(self, spec: SeparableAttention) -> None:
        super().__init__()
        self.spec = spec
        self.qkv = nn.Conv2d(spec.channels, 1 + 2 * spec.channels, 1, bias=spec.bias)
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        c, patch = self.spec.channels, self.spec.patch
        b, _, h, w = x.shape
        query, key, value = self.qkv(x).split((1, c, c), 1)
        squares = (h // patch, patch, w // patch, patch)
        # One distribution for each place within a patch: over all patches.
        scores = query.reshape(b, *squares).permute(0, 2, 4, 1, 3).flatten(3).softmax(-1)
        scores = scores.reshape(b, patch, patch, h // patch, w // patch).permute(0, 3, 1, 4, 2).reshape(b, 1, h, w)
        context = (key * scores).reshape(b, c, *squares).sum((2, 4), keepdim=True)
        return (self.act(value).reshape(b, c, *squares) * context).reshape(b, c, h, w)


def separable_attention_cost(tape: Tape, spec: SeparableAttention, extent: Extent) -> Extent:
    """The weighted sum and the gate are elementwise: the papers count them as nothing."""
    c, area = spec.channels, extent.area
    elements = c * area
    conv_cost(tape, c, 1 + 2 * c, (1, 1), area, area, bias=spec.bias)
    tape.add("softmax", "softmax", inputs=area, outputs=area, held=2 * elements)
    tape.add("weigh", "mul", inputs=elements + area, outputs=elements, held=elements)
    tape.add("context", "pool", inputs=elements, outputs=c * spec.patch**2, held=elements)
    act_cost(tape, "relu", elements)
    tape.add("gate", "mul", inputs=elements + c * spec.patch**2, outputs=elements)
    return extent
