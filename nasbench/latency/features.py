"""What a network asks of a runtime: work, traffic and launches per kind of kernel, as the runtime will run it.

Every amount is non-negative and grows with the network, so that time is a non-negative weighted sum of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from nasbench.latency.launches import CONVOLUTIONS, LAUNCH_RULES, PASS, Kernel

VERSION = 5  # of these features: a stored predictor of another version is fitted again from its raw measurements
BYTES = 4  # an element, float32
CACHE_BYTES = 4 * 2**20  # traffic of one kernel beyond this leaves a core's own cache
PADDED = frozenset({"image_conv", "conv", "depthwise", "pointwise"})
SET = 4  # blocks of output channels that one pass over the input serves (onnxruntime's MLAS; oneDNN is alike)


def network_features(kernels: Iterable[Kernel], runtime: str = "onnxruntime") -> dict[str, float]:
    """Of a network's kernels, {name: amount}: `KIND.bytes` and `KIND.launches` of every kind, and of those that compute
    `KIND.macs`, `KIND.reads` (inputs fetched again for each set of output channels) and `KIND.weights` in bytes.

    `uncached` is traffic beyond the cache, `nets` is 1: what one call costs before any kernel runs.
    """
    amounts: defaultdict[str, float] = defaultdict(float)
    amounts["nets"] = 1.0
    block = LAUNCH_RULES.get(runtime, LAUNCH_RULES["none"]).channel_block
    for kernel in kernels:
        for name, amount in kernel_features(kernel, block).items():
            amounts[name] += amount
    return {name: amount for name, amount in amounts.items() if amount}


def kernel_features(kernel: Kernel, block: int) -> dict[str, float]:
    """One kernel's share of the features."""
    kind = shape_kind(kernel)
    c_in, c_out = (_whole(kernel.c_in, block), _whole(kernel.c_out, block)) if kernel.kind in PADDED else (1, 1)
    grown_in, grown_out = (
        (c_in / kernel.c_in, c_out / kernel.c_out) if kernel.kind in PADDED and kernel.c_in else (1, 1)
    )
    traffic = BYTES * (kernel.inputs * (1 if kernel.kind == "image_conv" else grown_in) + kernel.outputs * grown_out)
    amounts = {f"{kind}.bytes": traffic, f"{kind}.launches": 1.0, "uncached": max(traffic - CACHE_BYTES, 0.0)}
    if kernel.macs:
        single = kernel.kind in ("image_conv", "depthwise")  # their input channels are not summed in blocks
        amounts[f"{kind}.macs"] = kernel.macs * grown_out * (1.0 if single else grown_in)
        amounts["weights"] = BYTES * kernel.params
    if kernel.kind in ("pointwise", "conv"):
        sets = -(-c_out // (SET * block))
        amounts[f"{kind}.reads"] = float(c_in * kernel.kernel**2 * kernel.area * sets * block)
    return amounts


def shape_kind(kernel: Kernel) -> str:
    """The kernel's kind, told apart further where the shape chooses the code that runs: `depthwise5`, `conv3/2`."""
    if kernel.kind not in CONVOLUTIONS or kernel.kind == "pointwise":
        return counted_as(kernel)
    stride = f"/{kernel.stride}" if kernel.stride > 1 else ""
    return f"{kernel.kind}{kernel.kernel}{stride}"


def counted_as(kernel: Kernel) -> str:
    """The kind whose times tell the kernel's."""
    return "act:relu" if kernel.kind == PASS else kernel.kind


def kind_of(feature: str) -> str:
    """The kernel kind a feature belongs to: `pointwise.macs` -> `pointwise`, `uncached` -> `uncached`."""
    return feature.rsplit(".", 1)[0]


def _whole(channels: int, block: int) -> int:
    return -(-channels // block) * block
