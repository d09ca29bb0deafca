"""A trained network in int8 for onnxruntime, by its own quantiser: calibrated on training images, scored by itself.

A few large activations cost most: one scale serves a whole map, and its ends are those of the calibration images unless
a small share of the values may lie beyond. Networks whose branches were merged have channels of uneven ranges besides,
and can lose tens of points (arXiv:2212.01593 on RepVGG). So there are several ways, from the plainest on: narrower
ends, channels brought to like ranges, attention and activations left in float32. The first whose answers hardly differ
from float32's on the validation images is taken, or else the one whose answers differ least: the divergence of all
probabilities says far more, from as many images, than which of them are right. results/int8 has what each reached.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from nasbench.exporting.equalising import equalised
from nasbench.exporting.request import Request
from nasbench.exporting.scoring import answers, divergence, onnx_run
from nasbench.latency.export import export_onnx
from nasbench.latency.onnx_session import INPUT
from nasbench.latency.runtimes import silence

LAYERS = ("Conv", "Gemm", "MatMul")  # operators with weights
ENOUGH = 0.003  # nats an image of divergence from float32's answers, below which no further way is tried


@dataclass(frozen=True)
class Way:
    """`percent` of a map's values lie between the ends of its scale. `equalise`: channels first. `layers`: nothing but
    operators with weights in int8."""

    percent: float = 100.0
    equalise: bool = False
    layers: bool = False

    def __str__(self) -> str:
        ends = "MinMax" if self.percent == 100 else f"{self.percent} % percentiles"
        more = {"channels equalised": self.equalise, "only layers with weights": self.layers}
        return ", ".join([ends, *(words for words, is_so in more.items() if is_so)])


PLAIN = Way()
WAYS = tuple(
    Way(percent, equalise, layers)
    for equalise, layers in ((False, False), (True, False), (False, True))
    for percent in (100.0, 99.99, 99.9)
)


def quantise(request: Request, ways: Sequence[Way] = WAYS) -> tuple[bytes, Way]:
    """The model in int8 (QDQ, a scale a channel), and how it was made: the first of the ways that is good enough."""
    assert request.images is not None
    validation, norm = request.images.validation, request.images.norm
    expected = answers(onnx_run(export_onnx(request.model, request.resolution, request.batch)), validation, norm)
    content = export_onnx(request.source, request.resolution, request.batch)
    calibration = request.calibration
    sources = {False: content, True: equalised(content, calibration)}
    if sources[True] is content:  # there is nothing to equalise
        ways = list(dict.fromkeys(replace(way, equalise=False) for way in ways))
    best: tuple[float, Way, bytes] | None = None
    for way in ways:
        made = _quantised(sources[way.equalise], calibration, way)
        apart = divergence(expected, answers(onnx_run(made), validation, norm))
        if best is None or apart < best[0]:
            best = apart, way, made
        if best[0] <= ENOUGH:
            break
    assert best is not None
    return best[2], best[1]


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
            calibrate_method=CalibrationMethod.MinMax if way.percent == 100 else CalibrationMethod.Percentile,
            op_types_to_quantize=list(LAYERS) if way.layers else None,
            extra_options={"CalibPercentile": way.percent} if way.percent < 100 else {},
        )  # fmt: skip
        return out.read_bytes()
