"""A model of the time of one kernel, fitted to kernel times from onnxruntime's profiler: a roofline times a correction.

The roofline, one for each kind of kernel, is a non-negative weighted sum of work and traffic, fitted on relative error.
The correction is a forest of extremely randomised trees that predicts log(time / roofline) from the kernel's shape:
channels that do not fill a block, maps too small to keep the core busy. Both are stored as numbers. `times_ms` sums a
network's kernels per kind; predictor.py fits how much each kind's sum contributes to the latency of a whole network.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from nasbench.errors import shown
from nasbench.latency.device import KernelTime
from nasbench.latency.features import counted_as, kernel_features, shape_kind
from nasbench.latency.launches import ACTIVATION_PASS, LAUNCH_RULES, Kernel
from nasbench.latency.linear import relative_nnls
from nasbench.latency.ranges import STRICT, Amount, LogRatio, NodeIndex, Signed

TREES, MIN_SAMPLES_LEAF = 30, 2
MIN_KERNELS = 100  # of different shapes; fewer give no model
ANY = "any"  # key of the roofline that is fitted to all kinds together
MAX_LOG_PADDING = 0.3  # in log elements, between a kernel's output as listed and as reported; padding rarely adds more
MAX_EXTRAPOLATION = 4.0  # a kind's own roofline holds up to this multiple of the multiply-adds of its largest kernel
FOREST_FEATURES = 15  # numbers of a kernel that the trees split on: its kind and its shape
COLUMNS = ("launches", "bytes", "macs", "reads", "weights", "uncached")
# Kind of kernel -> the operator that onnxruntime's profile names it by; a kind that is not listed bears its own name.
REPORTED = {
    **dict.fromkeys(("image_conv", "conv", "depthwise", "grouped", "pointwise", "batch_norm"), "Conv"),
    **dict.fromkeys(("matmul", "linear"), "MatMul"),
    **dict.fromkeys(("mul", "scale"), "Mul"),
    **dict.fromkeys(("transpose", "copy"), "Transpose"),
    "softmax": "Softmax",
    "layer_norm": "LayerNormalization",
    "group_norm": "InstanceNormalization",
    "pool": "Pool",
    "add": "Add",
    "concat": "Concat",
    "resize": "Resize",
    "pad": "Pad",
    "act:silu": "QuickGelu",
    "act:gelu": "Gelu",
    "act:relu": "Relu",
    "tanh": "Tanh",
    "reorder_in": "ReorderInput",
    "reorder_out": "ReorderOutput",
}
# Operators of onnxruntime's profile that count as one of those above.
ALIASES = {
    **dict.fromkeys(("FusedConv", "BatchNormalization"), "Conv"),
    **dict.fromkeys(("FusedMatMul", "Gemm"), "MatMul"),
    **dict.fromkeys(("ReduceSum", "ReduceMean", "GlobalAveragePool", "MaxPool", "AveragePool"), "Pool"),
}
# Views, and copies of a few microseconds: in no list of launched kernels.
UNMODELLED = frozenset({"Reshape", "Squeeze", "Split", "Flatten", "Slice", "Unsqueeze"})


def matched(kernels: Sequence[Kernel], reported: Sequence[KernelTime]) -> list[tuple[Kernel, float]]:
    """Pairs of a launched kernel and the microseconds that the runtime reported for it, in order.

    The longest common subsequence of the two lists; two entries match in operator and in output size. Others are left
    out.
    """
    kept = [time for time in reported if time.operator not in UNMODELLED]
    if not kept or not kernels:
        return []
    number = {name: i for i, name in enumerate(sorted({_operator(k) for k in kernels}))}
    theirs = np.array([number.get(ALIASES.get(t.operator, t.operator), -1) for t in kept])
    written = np.array([t.outputs for t in kept], dtype=float)
    alike = [(theirs == number[_operator(k)]) & _near(written, k.outputs) for k in kernels]
    # lengths[i, j]: of the longest common subsequence of the first i launched and the first j reported kernels
    lengths = np.zeros((len(kernels) + 1, len(kept) + 1), dtype=int)
    for i, row in enumerate(alike):
        lengths[i + 1, 1:] = np.maximum.accumulate(np.maximum(lengths[i, 1:], lengths[i, :-1] + row))
    pairs, i, j = [], len(kernels), len(kept)
    while i and j:
        if alike[i - 1][j - 1] and lengths[i, j] == lengths[i - 1, j - 1] + 1:
            i, j = i - 1, j - 1
            pairs.append((kernels[i], kept[j].us))
        elif lengths[i - 1, j] == lengths[i, j]:
            i -= 1
        else:
            j -= 1
    return pairs[::-1]


def _operator(kernel: Kernel) -> str:
    return REPORTED.get(kernel.kind, kernel.kind)


def _near(written: np.ndarray, outputs: int) -> np.ndarray:
    """Which output sizes as reported match `outputs`; the runtime's may be larger, padded to whole channel blocks."""
    return np.abs(np.log(np.maximum(written, 1) / max(outputs, 1))) < MAX_LOG_PADDING


def scaled(kernels: Sequence[Kernel], reported: Sequence[KernelTime], latency_ms: float) -> list[tuple[Kernel, float]]:
    """`matched` with all times scaled so that the reported times add up to the network's measured latency.

    The kernel profile is one short run under unknown load; the latency was measured against the reference network.
    Kernels that a second pass of an activation follows are left out: their reported time includes the pass.
    """
    total = sum(time.us for time in reported)
    with_pass = {kernel for kernel, following in pairwise(kernels) if following.kind == ACTIVATION_PASS}
    pairs = [(kernel, us) for kernel, us in matched(kernels, reported) if kernel not in with_pass]
    return [(kernel, us * 1e3 * latency_ms / total) for kernel, us in pairs]


@dataclass(frozen=True)
class Forest:
    """Regression trees as flat lists over all nodes of all trees; a leaf has feature -1."""

    __pydantic_config__ = STRICT

    roots: list[NodeIndex]
    feature: list[NodeIndex]
    threshold: list[Signed]
    left: list[NodeIndex]
    right: list[NodeIndex]
    value: list[LogRatio]

    def __post_init__(self) -> None:
        nodes, columns = len(self.feature), (self.threshold, self.left, self.right, self.value)
        if not self.roots or any(len(column) != nodes for column in columns):
            raise ValueError("a forest has roots, and as many of each figure as nodes")
        feature, _, left, right, _ = self._arrays
        ends = np.concatenate([self.roots, left, right])
        if ends.min() < 0 or ends.max() >= nodes or feature.max() >= FOREST_FEATURES:
            raise ValueError(f"a forest's nodes lie among its {nodes}, and look at one of {FOREST_FEATURES} figures")
        if (np.minimum(left, right) <= np.arange(nodes))[feature >= 0].any():  # so that every walk ends
            raise ValueError("a forest's branches lead on to later nodes")

    @cached_property
    def _arrays(self) -> tuple[np.ndarray, ...]:
        return tuple(np.asarray(x) for x in (self.feature, self.threshold, self.left, self.right, self.value))

    def predict(self, rows: np.ndarray) -> np.ndarray:
        """Mean of the trees for each row of (n, features)."""
        feature, threshold, left, right, value = self._arrays
        at = np.repeat(np.asarray(self.roots)[:, None], len(rows), axis=1)  # (trees, n): the node each row is at
        row = np.arange(len(rows))[None]
        while (inner := feature[at] >= 0).any():
            goes_left = rows[row, np.maximum(feature[at], 0)] <= threshold[at]
            at = np.where(inner, np.where(goes_left, left[at], right[at]), at)
        return value[at].mean(axis=0)


@dataclass(frozen=True)
class KernelModel:
    """Predicts the microseconds of one kernel of `runtime`.

    Kernels of a kind that was not in the fit, or larger than MAX_EXTRAPOLATION allows, get the roofline ANY alone.
    """

    __pydantic_config__ = STRICT

    runtime: str
    kinds: list[str]
    roofline: Mapping[str, list[Amount]]  # kind -> microseconds per unit of each of COLUMNS; ANY for all together
    largest: Mapping[str, Amount]  # kind -> most multiply-adds of a kernel in the fit
    forest: Forest

    def __post_init__(self) -> None:
        if self.runtime not in LAUNCH_RULES:
            raise ValueError(f"runtime {shown(self.runtime)} is not known; known: {', '.join(LAUNCH_RULES)}")
        if ANY not in self.roofline or any(len(weights) != len(COLUMNS) for weights in self.roofline.values()):
            raise ValueError(f"a roofline has {len(COLUMNS)} weights for each kind, and for {ANY!r}")
        if missing := self.roofline.keys() - self.largest.keys() - {ANY}:
            raise ValueError(f"the largest kernel of {min(missing)!r} is missing")

    @cached_property
    def _cache(self) -> dict[Kernel, float]:
        """Predicted milliseconds of kernels met before."""
        return {}

    def times_ms(self, kernels: Sequence[Kernel]) -> dict[str, float]:
        """Milliseconds per kind of a network's kernels; kernels met before are looked up."""
        cache, times = self._cache, defaultdict[str, float](float)
        counts = Counter(kernels)  # most kernels come several times in a network
        if new := [kernel for kernel in counts if kernel not in cache]:
            cache.update(zip(new, (self.predict(new) / 1e3).tolist(), strict=True))
        for kernel, count in counts.items():
            times[counted_as(kernel)] += count * cache[kernel]
        return times

    def predict(self, kernels: Sequence[Kernel]) -> np.ndarray:
        """(n,) microseconds of n kernels."""
        block = LAUNCH_RULES[self.runtime].channel_block
        columns = np.array([_columns(kernel, block) for kernel in kernels])
        kinds = [counted_as(kernel) for kernel in kernels]
        known = [
            kind in self.roofline and kernel.macs <= MAX_EXTRAPOLATION * self.largest[kind]
            for kernel, kind in zip(kernels, kinds)
        ]
        rooflines = np.array([self.roofline[kind if inside else ANY] for kind, inside in zip(kinds, known)])
        number = {kind: i for i, kind in enumerate(self.kinds)}
        rows = np.array([[number.get(kind, -1), *_shape(k, block)] for k, kind in zip(kernels, kinds)])
        factor = np.where(known, np.exp(self.forest.predict(rows)), 1.0)
        return (columns * rooflines).sum(axis=1) * factor


def fit_kernels(
    times: Sequence[tuple[Kernel, float]], runtime: str, seed: int = 0, trees: int = TREES
) -> KernelModel | None:
    """A kernel model fitted to pairs of (kernel, microseconds); a kernel seen n times counts n times.

    None for fewer than MIN_KERNELS different kernels, and for a runtime without launch rules.
    """
    logs: defaultdict[Kernel, list[float]] = defaultdict(list)
    for kernel, us in times:
        logs[kernel].append(math.log(max(us, 0.5)))
    if len(logs) < MIN_KERNELS or runtime not in LAUNCH_RULES:
        return None
    from sklearn.ensemble import ExtraTreesRegressor

    block = LAUNCH_RULES[runtime].channel_block
    kernels, weight = list(logs), np.array([len(x) for x in logs.values()], dtype=float)
    microseconds = np.exp([np.mean(x) for x in logs.values()])
    columns = np.array([_columns(kernel, block) for kernel in kernels])
    kinds = sorted({kernel.kind for kernel in kernels})
    number = np.array([kinds.index(kernel.kind) for kernel in kernels])
    largest = {kind: float(max(k.macs for k in kernels if k.kind == kind)) for kind in kinds}
    roofline, residual = {ANY: _rounded(relative_nnls(columns, microseconds, weight))}, np.zeros(len(kernels))
    for index, kind in enumerate(kinds):
        rows = number == index
        solved = relative_nnls(columns[rows], microseconds[rows], weight[rows])
        roofline[kind] = _rounded(solved)
        residual[rows] = np.log(microseconds[rows] / np.maximum(columns[rows] @ solved, 1e-3))
    shapes = np.column_stack([number, [_shape(kernel, block) for kernel in kernels]])
    forest = ExtraTreesRegressor(trees, min_samples_leaf=MIN_SAMPLES_LEAF, random_state=seed)
    return KernelModel(runtime, kinds, roofline, largest, _stored(forest.fit(shapes, residual, sample_weight=weight)))


def _rounded(weights: np.ndarray) -> list[float]:
    return [float(f"{w:.6g}") for w in weights]


def _columns(kernel: Kernel, block: int) -> list[float]:
    """The amounts of COLUMNS that a kernel has: what the roofline is a weighted sum of."""
    kind, amounts = shape_kind(kernel), kernel_features(kernel, block)
    names = [name if name in ("weights", "uncached") else f"{kind}.{name}" for name in COLUMNS]
    return [amounts.get(name, 0.0) for name in names]


def _shape(kernel: Kernel, block: int) -> list[float]:
    """The numbers of a kernel that the trees split on, but for its kind; FOREST_FEATURES - 1 of them."""
    _, traffic, macs, _, weights, _ = _columns(kernel, block)
    return [
        *(math.log1p(amount) for amount in (macs, traffic, kernel.area, weights)),
        *(kernel.c_in, kernel.c_out, math.sqrt(kernel.area), kernel.kernel, kernel.stride),
        *(kernel.c_in % 16, kernel.c_out % 16, kernel.c_out % 64),
        macs / (traffic + weights + 1),
        kernel.inputs / max(kernel.outputs, 1),
    ]


def _stored(forest: object) -> Forest:
    """scikit-learn's trees as flat lists; values in four digits."""
    roots: list[int] = []
    feature: list[int] = []
    threshold: list[float] = []
    left: list[int] = []
    right: list[int] = []
    value: list[float] = []
    for estimator in forest.estimators_:  # type: ignore[attr-defined]
        tree, first = estimator.tree_, len(feature)
        leaf = tree.children_left < 0
        roots.append(first)
        feature.extend(np.where(leaf, -1, tree.feature).tolist())
        threshold.extend(float(f"{t:.7g}") for t in np.where(leaf, 0.0, tree.threshold))
        left.extend(np.where(leaf, 0, tree.children_left + first).tolist())
        right.extend(np.where(leaf, 0, tree.children_right + first).tolist())
        value.extend(float(f"{v:.4g}") for v in tree.value[:, 0, 0])
    return Forest(roots, feature, threshold, left, right, value)
