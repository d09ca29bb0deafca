"""How long one kernel takes, learnt from a runtime's own profile: a roofline a kind, and trees for what it misses.

The roofline is a non-negative weighted sum of work and traffic, fitted on relative error. How far a kernel is from it
(blocks that its channels do not fill, maps too small to keep the core busy) a forest of extremely randomised trees
learns from its shape, in log time. Both are stored as numbers. A network's kernels are summed per kind; what one
millisecond of each kind comes to in a whole network is the predictor's to fit.
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
from nasbench.latency.launches import LAUNCH_RULES, PASS, Kernel
from nasbench.latency.linear import relative_nnls
from nasbench.latency.ranges import STRICT, Amount, Log, Node, Signed

TREES, LEAF = 30, 2
MIN_KERNELS = 100  # of different shapes, from which on a model is fitted
ANY = "any"
PADDING = 0.3  # in log size, between a kernel as listed and as reported; few channels are padded by more
BEYOND = 4.0  # times the largest kernel seen of a kind, up to which its own roofline holds
SEEN = 15  # figures of a kernel that the trees look at: its kind and its shape
COLUMNS = ("launches", "bytes", "macs", "reads", "weights", "uncached")
# The operators of onnxruntime's profile that kinds of kernels appear as there; the kind itself where it is not listed.
REPORTED = {
    **dict.fromkeys(("image_conv", "conv", "depthwise", "grouped", "pointwise", "batch_norm"), "Conv"),
    **{
        "matmul": "MatMul",
        "softmax": "Softmax",
        "layer_norm": "LayerNormalization",
        "linear": "MatMul",
        "pool": "Pool",
    },
    **{"add": "Add", "mul": "Mul", "scale": "Mul", "concat": "Concat", "resize": "Resize", "pad": "Pad"},
    **{
        "act:silu": "QuickGelu",
        "act:gelu": "Gelu",
        "act:relu": "Relu",
        "tanh": "Tanh",
        "group_norm": "InstanceNormalization",
    },
    **{"reorder_in": "ReorderInput", "reorder_out": "ReorderOutput", "transpose": "Transpose", "copy": "Transpose"},
}
SAME = {
    "FusedConv": "Conv",
    "FusedMatMul": "MatMul",
    "Gemm": "MatMul",
    "ReduceSum": "Pool",
    "ReduceMean": "Pool",
    "GlobalAveragePool": "Pool",
}
SAME |= {"BatchNormalization": "Conv", "MaxPool": "Pool", "AveragePool": "Pool"}
UNMODELLED = frozenset(
    {"Reshape", "Squeeze", "Split", "Flatten", "Slice", "Unsqueeze"}
)  # views, and copies of a few us


def matched(kernels: Sequence[Kernel], reported: Sequence[KernelTime]) -> list[tuple[Kernel, float]]:
    """Launched kernels with the microseconds that the runtime reported for each, as far as the two lists agree.

    The longest common subsequence, of kernels that are alike in operator and in size.
    """
    kept = [time for time in reported if time.operator not in UNMODELLED]
    if not kept or not kernels:
        return []
    number = {name: i for i, name in enumerate(sorted({_operator(k) for k in kernels}))}
    theirs = np.array([number.get(SAME.get(t.operator, t.operator), -1) for t in kept])
    written = np.array([t.outputs for t in kept], dtype=float)
    alike = [(theirs == number[_operator(k)]) & _near(written, k.outputs) for k in kernels]
    lengths = np.zeros((len(kernels) + 1, len(kept) + 1), dtype=int)  # of what the first i and the first j share
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
    """Elements as reported against those of the list: the runtime fills channels up to whole blocks."""
    return np.abs(np.log(np.maximum(written, 1) / max(outputs, 1))) < PADDING


def scaled(kernels: Sequence[Kernel], reported: Sequence[KernelTime], latency_ms: float) -> list[tuple[Kernel, float]]:
    """The same with all times scaled so that the profile's total is the network's measured latency.

    The profile is one short run under whatever load there was; the latency has been measured with care.
    """
    total = sum(time.us for time in reported)
    longer = {kernel for kernel, following in pairwise(kernels) if following.kind == PASS}  # by that pass
    pairs = [(kernel, us) for kernel, us in matched(kernels, reported) if kernel not in longer]
    return [(kernel, us * 1e3 * latency_ms / total) for kernel, us in pairs]


@dataclass(frozen=True)
class Forest:
    """Regression trees as flat lists over all nodes of all trees; a leaf has feature -1."""

    __pydantic_config__ = STRICT

    roots: list[Node]
    feature: list[Node]
    threshold: list[Signed]
    left: list[Node]
    right: list[Node]
    value: list[Log]

    def __post_init__(self) -> None:
        nodes, columns = len(self.feature), (self.threshold, self.left, self.right, self.value)
        if not self.roots or any(len(column) != nodes for column in columns):
            raise ValueError("a forest has roots, and as many of each figure as nodes")
        feature, _, left, right, _ = self._arrays
        ends = np.concatenate([self.roots, left, right])
        if ends.min() < 0 or ends.max() >= nodes or feature.max() >= SEEN:
            raise ValueError(f"a forest's nodes lie among its {nodes}, and look at one of {SEEN} figures")
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
    """Microseconds of one kernel of `runtime`.

    Kernels of a kind that it never saw, or far larger than all that it saw, get the roofline of all kinds together.
    """

    __pydantic_config__ = STRICT

    runtime: str
    kinds: list[str]
    roofline: Mapping[str, list[Amount]]  # kind -> microseconds per unit of each of COLUMNS; ANY for all together
    largest: Mapping[str, Amount]  # kind -> most multiply-adds of a kernel seen
    forest: Forest

    def __post_init__(self) -> None:
        if self.runtime not in LAUNCH_RULES:
            raise ValueError(f"runtime {shown(self.runtime)} is not known; known: {', '.join(LAUNCH_RULES)}")
        if ANY not in self.roofline or any(len(weights) != len(COLUMNS) for weights in self.roofline.values()):
            raise ValueError(f"a roofline has {len(COLUMNS)} weights for each kind, and for {ANY!r}")
        if missing := self.roofline.keys() - self.largest.keys() - {ANY}:
            raise ValueError(f"the largest kernel of {min(missing)!r} is missing")

    @cached_property
    def _known(self) -> dict[Kernel, float]:
        return {}

    def times_ms(self, kernels: Sequence[Kernel]) -> dict[str, float]:
        """Milliseconds per kind of a network's kernels; kernels met before are looked up."""
        known, times = self._known, defaultdict[str, float](float)
        often = Counter(kernels)  # most come several times, and to look one up takes as long as to count it
        if new := [kernel for kernel in often if kernel not in known]:
            known.update(zip(new, (self.predict(new) / 1e3).tolist(), strict=True))
        for kernel, count in often.items():
            times[counted_as(kernel)] += count * known[kernel]
        return times

    def predict(self, kernels: Sequence[Kernel]) -> np.ndarray:
        """(n,) microseconds."""
        block = LAUNCH_RULES[self.runtime].channel_block
        columns = np.array([_columns(kernel, block) for kernel in kernels])
        kinds = [counted_as(kernel) for kernel in kernels]
        known = [kind in self.roofline and k.macs <= BEYOND * self.largest[kind] for k, kind in zip(kernels, kinds)]
        rooflines = np.array([self.roofline[kind if inside else ANY] for kind, inside in zip(kinds, known)])
        number = {kind: i for i, kind in enumerate(self.kinds)}
        rows = np.array([[number.get(kind, -1), *_shape(k, block)] for k, kind in zip(kernels, kinds)])
        factor = np.where(known, np.exp(self.forest.predict(rows)), 1.0)
        return (columns * rooflines).sum(axis=1) * factor


def fit_kernels(
    times: Sequence[tuple[Kernel, float]], runtime: str, seed: int = 0, trees: int = TREES
) -> KernelModel | None:
    """A model of kernels from (kernel, microseconds), equal kernels as often as they were seen.

    None for too few, and for a runtime whose kernels are not known.
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
    forest = ExtraTreesRegressor(trees, min_samples_leaf=LEAF, random_state=seed)
    return KernelModel(runtime, kinds, roofline, largest, _stored(forest.fit(shapes, residual, sample_weight=weight)))


def _rounded(weights: np.ndarray) -> list[float]:
    return [float(f"{w:.6g}") for w in weights]


def _columns(kernel: Kernel, block: int) -> list[float]:
    kind, amounts = shape_kind(kernel), kernel_features(kernel, block)
    names = [name if name in ("weights", "uncached") else f"{kind}.{name}" for name in COLUMNS]
    return [amounts.get(name, 0.0) for name in names]


def _shape(kernel: Kernel, block: int) -> list[float]:
    """What trees see of a kernel."""
    _, traffic, macs, _, weights, _ = _columns(kernel, block)
    return [
        *(math.log1p(amount) for amount in (macs, traffic, kernel.area, weights)),
        *(kernel.c_in, kernel.c_out, math.sqrt(kernel.area), kernel.kernel, kernel.stride),
        *(kernel.c_in % 16, kernel.c_out % 16, kernel.c_out % 64),
        macs / (traffic + weights + 1),
        kernel.inputs / max(kernel.outputs, 1),
    ]


def _stored(forest: object) -> Forest:
    """scikit-learn's trees as flat lists, in four digits."""
    roots: list[int] = []
    lists: tuple[list, ...] = ([], [], [], [], [])
    for estimator in forest.estimators_:  # type: ignore[attr-defined]
        tree, first = estimator.tree_, len(lists[0])
        roots.append(first)
        lists[0].extend(np.where(tree.children_left < 0, -1, tree.feature).tolist())
        lists[1].extend(float(f"{t:.7g}") for t in np.where(tree.children_left < 0, 0.0, tree.threshold))
        lists[2].extend(np.where(tree.children_left < 0, 0, tree.children_left + first).tolist())
        lists[3].extend(np.where(tree.children_right < 0, 0, tree.children_right + first).tolist())
        lists[4].extend(float(f"{v:.4g}") for v in tree.value[:, 0, 0])
    return Forest(roots, *lists)
