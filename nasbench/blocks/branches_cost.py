"""What the branches of a re-parameterised convolution cost before they are merged. Their modules: `branches.py`."""

from __future__ import annotations

from collections.abc import Callable

from nasbench.arch.extent import Extent
from nasbench.arch.metablock import Branch, Conv, Norm
from nasbench.blocks.norm_cost import norm_cost
from nasbench.blocks.op import Tape

BATCH_NORM = Norm("bn")


def branch_shape(spec: Conv, branch: Branch) -> tuple[int, int]:
    """Height and width of the kernel of a branch that is one convolution."""
    side = branch.kernel or spec.kernel
    return {"kxk": (side, side), "kx1": (side, 1), "1xk": (1, side), "1x1": (1, 1)}[branch.kind]


def chain_width(spec: Conv) -> int:
    """Channels between the two convolutions of a "1x1_kxk" branch: a depthwise one widens twofold."""
    return 2 * spec.c_in if spec.groups == spec.c_out else spec.c_in


def conv_branch_cost(tape: Tape, spec: Conv, branch: Branch, before: Extent, after: Extent) -> None:
    """A convolution, and its norm or bias."""
    shape, bias = branch_shape(spec, branch), not branch.norm
    tape.add_conv(spec.c_in, spec.c_out, shape, before.area, after.area, spec.stride, spec.groups, bias)
    norm_cost(tape, BATCH_NORM if branch.norm else None, spec.c_out, after.area)


def identity_branch_cost(tape: Tape, spec: Conv, branch: Branch, before: Extent, after: Extent) -> None:
    """The norm alone."""
    norm_cost(tape, BATCH_NORM if branch.norm else None, spec.c_out, after.area)


def pool_branch_cost(tape: Tape, spec: Conv, branch: Branch, before: Extent, after: Extent) -> None:
    """A 1x1 convolution and its norm unless depthwise, average pooling, a norm."""
    if spec.groups != spec.c_out:
        tape.add_conv(spec.c_in, spec.c_out, (1, 1), before.area, before.area, groups=spec.groups)
        norm_cost(tape, BATCH_NORM, spec.c_out, before.area)
    tape.add("pool", "pool", inputs=spec.c_out * before.area, outputs=spec.c_out * after.area)
    norm_cost(tape, BATCH_NORM, spec.c_out, after.area)


def chain_branch_cost(tape: Tape, spec: Conv, branch: Branch, before: Extent, after: Extent) -> None:
    """A 1x1 convolution, a k x k one on the padded map, a norm behind each."""
    inner = chain_width(spec)
    tape.add_conv(spec.c_in, inner, (1, 1), before.area, before.area, groups=spec.groups)
    norm_cost(tape, BATCH_NORM, inner, before.area)
    padded, shape = before.map(lambda size: size + 2 * (spec.kernel // 2)), (spec.kernel, spec.kernel)
    tape.add_conv(inner, spec.c_out, shape, padded.area, after.area, spec.stride, spec.groups)
    norm_cost(tape, BATCH_NORM, spec.c_out, after.area)


# kind of a branch -> what records its operators, from a map before to a map after
BRANCH_COSTS: dict[str, Callable[[Tape, Conv, Branch, Extent, Extent], None]] = {
    "kxk": conv_branch_cost,
    "kx1": conv_branch_cost,
    "1xk": conv_branch_cost,
    "1x1": conv_branch_cost,
    "identity": identity_branch_cost,
    "avg": pool_branch_cost,
    "1x1_kxk": chain_branch_cost,
}
