"""A trained network in int8 for onnxruntime, by its own quantiser: calibrated on training images, scored by itself.

Networks whose branches were merged have channels of uneven ranges, and can lose tens of points (arXiv:2212.01593 on
RepVGG). So there are several ways, from the plainest on: channels brought to like ranges first, another calibration,
attention and activations left in float32, the first and last layers left in float32. The first that loses next to
nothing on the validation images is taken, or else the best; results/int8 has what each reached.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx

from nasbench.exporting.equalising import equalised
from nasbench.exporting.request import Request
from nasbench.exporting.scoring import accuracy, onnx_run
from nasbench.latency.export import export_onnx
from nasbench.latency.onnx_session import INPUT
from nasbench.latency.runtimes import silence

LAYERS = ("Conv", "Gemm", "MatMul")  # operators with weights
ENOUGH = 0.002  # a loss of accuracy on the validation images below which no further way is tried


@dataclass(frozen=True)
class Way:
    """`calibration` is onnxruntime's word. `equalise`: channels first. `layers`: nothing but operators with weights in
    int8. `ends`: the first and the last of these in float32."""

    calibration: str
    equalise: bool = False
    layers: bool = False
    ends: bool = False

    def __str__(self) -> str:
        more = {
            "channels equalised": self.equalise,
            "only layers with weights": self.layers,
            "first and last layer in float32": self.ends,
        }
        return ", ".join([self.calibration, *(words for words, is_so in more.items() if is_so)])


PLAIN = Way("MinMax")
WAYS = (
    PLAIN,
    Way("MinMax", equalise=True),
    Way("Percentile", equalise=True),
    Way("MinMax", equalise=True, layers=True),
    Way("Percentile", equalise=True, layers=True),
    Way("Entropy", equalise=True, layers=True),
    Way("MinMax", equalise=True, layers=True, ends=True),
    Way("Percentile", equalise=True, layers=True, ends=True),
)


def quantise(request: Request, ways: Sequence[Way] = WAYS) -> tuple[bytes, Way]:
    """The model in int8 (QDQ, a scale a channel), and how it was made: the first of the ways that is good enough."""
    assert request.images is not None
    validation, norm = request.images.validation, request.images.norm
    content = export_onnx(request.model, request.resolution, request.batch)
    calibration = request.calibration
    sources = {False: content, True: equalised(content, calibration)}
    wanted, _ = accuracy(onnx_run(content), validation, norm)
    best: tuple[float, Way, bytes] | None = None
    if sources[True] is content:  # there is nothing to equalise
        ways = list(dict.fromkeys(replace(way, equalise=False) for way in ways))
    for way in ways:
        made = _quantised(sources[way.equalise], calibration, way)
        reached, _ = accuracy(onnx_run(made), validation, norm)
        if best is None or reached > best[0]:
            best = reached, way, made
        if wanted - best[0] <= ENOUGH:
            break
    assert best is not None
    return best[2], best[1]


def _ends(content: bytes) -> list[str]:
    """The names of the first and the last layer with weights."""
    layers = [node.name for node in onnx.load_from_string(content).graph.node if node.op_type in LAYERS]
    return [layers[0], layers[-1]] if layers else []


def _quantised(content: bytes, batches: list[np.ndarray], way: Way) -> bytes:
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Images(CalibrationDataReader):  # type: ignore[misc]
        left = iter(batches)

        def get_next(self) -> dict[str, np.ndarray] | None:
            batch = next(self.left, None)
            return None if batch is None else {INPUT: batch}

    with tempfile.TemporaryDirectory(prefix="nasbench-int8-") as folder, silence():
        plain, prepared, out = (Path(folder) / f"{name}.onnx" for name in ("plain", "prepared", "int8"))
        plain.write_bytes(content)
        quant_pre_process(str(plain), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared), str(out), Images(), quant_format=QuantFormat.QDQ, per_channel=True,
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod[way.calibration],
            nodes_to_exclude=_ends(content) if way.ends else [],
            op_types_to_quantize=list(LAYERS) if way.layers else None,
        )  # fmt: skip
        return out.read_bytes()
