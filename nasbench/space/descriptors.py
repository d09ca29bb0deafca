"""A design as a dozen numbers, for small regression models of its accuracy."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from nasbench.arch.architecture import Architecture
from nasbench.costs.analytic import operators, total

CACHED = 1 << 13  # designs whose numbers are kept


@lru_cache(CACHED)
def descriptors(arch: Architecture) -> np.ndarray:
    """(12,) log sizes, resolution, shares of operators in the multiply-adds, blocks without a skip, number of blocks.

    Accuracy after short trainings was found to depend on these.
    """
    ops = operators(arch, deploy=True)
    cost = total(ops)
    blocks = [block for stage in arch.network.stages for block in stage]
    shares = [sum(op.macs for op in ops if op.kind == kind) / cost.macs for kind in ("depthwise", "conv", "matmul")]
    sizes = [cost.macs, cost.params, cost.activations, sum(op.macs > 0 for op in ops), blocks[-1].c_out]
    stems = sum(op.macs for op in ops if op.stage == "stem") / cost.macs
    without_skip = sum(block.skip is None for block in blocks)
    return np.array([*np.log(sizes), arch.resolution, *shares, stems, without_skip, len(blocks)], float)
