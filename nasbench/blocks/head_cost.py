"""What a network's end costs. Its module: `head.py`."""

from __future__ import annotations

from nasbench.arch.extent import Extent
from nasbench.arch.metablock import HeadSpec
from nasbench.blocks.metablock_cost import blocks_cost
from nasbench.blocks.norm_cost import norm_cost
from nasbench.blocks.op import Tape


def head_cost(tape: Tape, spec: HeadSpec, extent: Extent, num_classes: int) -> None:
    """Record blocks, norm, pooling and a classifier for each token that has one."""
    extent = blocks_cost(tape, spec.blocks, extent)
    features = spec.features
    if not spec.norm_last:
        norm_cost(tape, spec.norm, features, extent.area)
    if spec.pool != "token":
        elements = features * extent.area
        flops = elements if spec.pool == "adaptive" else 0
        tape.add("pool", "pool", inputs=elements, outputs=features, flops=flops)
    if spec.norm_last:
        norm_cost(tape, spec.norm, features, 1)
    heads = spec.tokens if spec.pool == "token" else 1
    for _ in range(heads):
        tape.add_conv(features, num_classes, (1, 1), 1, 1, bias=True, kind="linear", name="classifier")
    if heads > 1:
        tape.add("average", "add", inputs=heads * num_classes, outputs=num_classes)
