"""Features of a network's latency: multiply-adds, memory traffic and launches per kind of kernel of a runtime.

Every amount is non-negative and grows with the network, so that time is a non-negative weighted sum of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from nasbench.latency.launches import ACTIVATION_PASS, CONVOLUTIONS, LAUNCH_RULES, Kernel

VERSION = 5  # of these features: a stored predictor of another version is fitted again from its raw measurements
BYTES = 4  # an element, float32
CACHE_BYTES = 4 * 2**20  # traffic of one kernel beyond this leaves a core's own cache
PADDED = frozenset({"image_conv", "conv", "depthwise", "pointwise"})  # kinds whose channels are padded to whole blocks
BLOCKS_PER_READ = 4  # blocks of output channels computed for each read of the input (onnxruntime's MLAS; oneDNN alike)


def network_features(kernels: Iterable[Kernel], runtime: str = "onnxruntime") -> dict[str, float]:
    """Features {name: amount} of a network's kernels, summed; amounts of 0 are left out.

    For each kind of kernel `KIND.bytes` (read and written) and `KIND.launches`; for those that compute `KIND.macs`; for
    dense convolutions `KIND.reads` (inputs read again for each set of output channels). Over all kinds `weights` in
    bytes, `uncached` (bytes of traffic beyond the cache), and `nets`, always 1: the constant cost of one call.
    """
    amounts: defaultdict[str, float] = defaultdict(float)
    amounts["nets"] = 1.0
    block = LAUNCH_RULES.get(runtime, LAUNCH_RULES["none"]).channel_block
    for kernel in kernels:
        for name, amount in kernel_features(kernel, block).items():
            amounts[name] += amount
    return {name: amount for name, amount in amounts.items() if amount}


def kernel_features(kernel: Kernel, block: int) -> dict[str, float]:
    """The features of one kernel; `block`: the runtime's channel block."""
    kind = shape_kind(kernel)
    padded = kernel.kind in PADDED
    c_in, c_out = (_rounded_up(kernel.c_in, block), _rounded_up(kernel.c_out, block)) if padded else (1, 1)
    padding_in, padding_out = (c_in / kernel.c_in, c_out / kernel.c_out) if padded and kernel.c_in else (1, 1)
    inputs = kernel.inputs * (1 if kernel.kind == "image_conv" else padding_in)  # images are read as they are
    traffic = BYTES * (inputs + kernel.outputs * padding_out)
    amounts = {f"{kind}.bytes": traffic, f"{kind}.launches": 1.0, "uncached": max(traffic - CACHE_BYTES, 0.0)}
    if kernel.macs:
        single = kernel.kind in ("image_conv", "depthwise")  # these do not sum over blocks of input channels
        amounts[f"{kind}.macs"] = kernel.macs * padding_out * (1.0 if single else padding_in)
        amounts["weights"] = BYTES * kernel.params
    if kernel.kind in ("pointwise", "conv"):
        sets = -(-c_out // (BLOCKS_PER_READ * block))
        amounts[f"{kind}.reads"] = float(c_in * kernel.kernel**2 * kernel.area * sets * block)
    return amounts


def shape_kind(kernel: Kernel) -> str:
    """The kernel's kind, told apart further where the shape chooses the code that runs: `depthwise5`, `conv3/2`."""
    if kernel.kind not in CONVOLUTIONS or kernel.kind == "pointwise":
        return counted_as(kernel)
    stride = f"/{kernel.stride}" if kernel.stride > 1 else ""
    return f"{kernel.kind}{kernel.kernel}{stride}"


def counted_as(kernel: Kernel) -> str:
    """The kind whose time model is used for the kernel: that of a ReLU for an activation pass, else its own."""
    return "act:relu" if kernel.kind == ACTIVATION_PASS else kernel.kind


def kind_of(feature: str) -> str:
    """The kernel kind a feature belongs to: `pointwise.macs` -> `pointwise`, `uncached` -> `uncached`."""
    return feature.rsplit(".", 1)[0]


def _rounded_up(channels: int, block: int) -> int:
    return -(-channels // block) * block
