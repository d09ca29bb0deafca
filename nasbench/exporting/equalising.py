"""Channels between convolutions brought to like ranges, so that one scale of int8 serves all of them.

Between a convolution and the next, with nothing but a ReLU between them, a channel may be divided by any positive
number and the next weights multiplied by it: the network computes the same (arXiv:1906.04721, section 4.1). What is
made alike here is the largest activation of each channel on calibration images, since activations have one scale for
all channels and weights one for each output channel. Merged branches leave these ranges far apart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import onnx
from onnx import numpy_helper

from nasbench.latency.onnx_session import INPUT, open_session

STRENGTH = 0.5  # of full convolutions, where weights of one output channel share a scale: what one side gains the other
# loses (arXiv:2211.10438, section 4). Depthwise ones have a scale for each channel and lose nothing.
LARGEST = 1e3  # by which a channel is scaled at most


class Pair(NamedTuple):
    """Two convolutions and the tensor between them, which nothing else reads."""

    first: onnx.NodeProto
    second: onnx.NodeProto
    between: str


def equalised(content: bytes, batches: Sequence[np.ndarray]) -> bytes:
    """An ONNX file that computes the same, with like ranges between its convolutions where that can be."""
    model = onnx.load_from_string(content)
    pairs = list(_pairs(model.graph))
    if not pairs:
        return content
    weights = {tensor.name: numpy_helper.to_array(tensor).copy() for tensor in model.graph.initializer}
    peaks = _peaks(content, [pair.between for pair in pairs], batches)
    for pair, peak in zip(pairs, peaks):
        _scale(pair, peak, weights)
    for tensor in model.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(weights[tensor.name], tensor.name))
    return bytes(model.SerializeToString())


def _pairs(graph: onnx.GraphProto) -> Iterator[Pair]:
    """In the order of the graph."""
    readers = Counter(name for node in graph.node for name in node.input)
    by_input = {name: node for node in graph.node for name in node.input}
    initial = {tensor.name for tensor in graph.initializer}
    for first in graph.node:
        if first.op_type != "Conv" or not _own(first, initial, readers) or len(first.input) < 3:
            continue
        name, node = first.output[0], by_input.get(first.output[0])
        while node is not None and node.op_type == "Relu" and readers[name] == 1:
            name, node = node.output[0], by_input.get(node.output[0])
        alone = node is not None and node.op_type == "Conv" and readers[name] == 1 and node.input[0] == name
        if node is not None and alone and _own(node, initial, readers):
            yield Pair(first, node, name)


def _own(node: onnx.NodeProto, initial: set[str], readers: Counter[str]) -> bool:
    """Whether its weights are in the file, and no other node's."""
    return all(name in initial and readers[name] == 1 for name in node.input[1:])


def _peaks(content: bytes, names: Sequence[str], batches: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The largest magnitude (c,) of each channel of each of these tensors."""
    model = onnx.load_from_string(content)
    kept = {output.name for output in model.graph.output}
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in kept)
    session = open_session(model.SerializeToString())
    found = [session.run(list(names), {INPUT: batch}) for batch in batches]
    return [np.max([np.abs(maps[index]).max((0, 2, 3)) for maps in found], axis=0) for index in range(len(names))]


def _scale(pair: Pair, peak: np.ndarray, weights: dict[str, np.ndarray]) -> None:
    """Divide each channel of the first and multiply the second's weights of it, in place."""
    own, bias, other = pair.first.input[1], pair.first.input[2], pair.second.input[1]
    second = weights[other]
    depthwise = second.shape[1] == 1 and len(second) == len(peak)
    if not depthwise and second.shape[1] != len(peak):
        return  # in groups
    factor = np.ones_like(peak)
    alive = peak > 0
    typical = np.exp(np.log(peak[alive]).mean()) if alive.any() else 1.0
    factor[alive] = peak[alive] / typical
    if not depthwise:
        reach = np.abs(second).max((0, 2, 3))
        factor = factor**STRENGTH / np.maximum(reach / max(float(reach.mean()), 1e-12), 1 / LARGEST) ** (1 - STRENGTH)
    factor = factor.clip(1 / LARGEST, LARGEST).astype(second.dtype)
    weights[own] /= factor[:, None, None, None]
    weights[bias] /= factor
    weights[other] = second * (factor[:, None, None, None] if depthwise else factor[None, :, None, None])
