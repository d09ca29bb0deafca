"""A torch network written as the ONNX file that a runtime gets, and a check that both compute the same.

The TorchScript exporter is tried first: about 0.2 s a network against 3 s for the `dynamo` one (torch 2.13). torch has
announced its removal, so the `dynamo` exporter stands behind it.
"""

from __future__ import annotations

import copy
import io
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from nasbench.blocks.metablock import image_channels
from nasbench.latency.onnx_session import INPUT, OUTPUT, open_session
from nasbench.nn.finite import require_finite

if TYPE_CHECKING:
    from nasbench.arch.architecture import Architecture

OPSET = 17  # the first opset with LayerNormalization as one operator
TOLERANCE = 1e-3  # relative, of float32 logits; published networks agree to 1e-6
_SHAPE = torch.Tensor.shape.__get__  # type: ignore[attr-defined]
TRACED_BATCH = 2  # images that are traced for a file that takes any number; exporters treat a size of 1 by itself
ROUNDING_FACTOR = 20.0  # above TOLERANCE, the difference may be this many times torch's own rounding error


class ConstantShapes(TorchFunctionMode):
    """Sizes read from tensors are plain Python ints, also under tracing.

    Else arithmetic on them is recorded, and ONNX rounds integer division toward zero where Python rounds down:
    padding by `-size % window` then came out wrong. It also halves the graph.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if func == torch.Tensor.size or func == _SHAPE:
            return torch.Size(int(n) for n in out) if isinstance(out, tuple) else int(out)
        return out


def export_onnx(model: nn.Module, resolution: int, batch: int | None = 1) -> bytes:
    """`model` in eval mode as a checked ONNX file: input `image` (batch, c, R, R), output `logits` (batch, classes).

    batch None: the file takes any number of images at a time.
    """
    require_finite(model)
    was_training = model.training
    model.eval()
    image = torch.zeros(batch or TRACED_BATCH, image_channels(model), resolution, resolution)
    try:
        with torch.no_grad():
            content = _export(model, image, any_batch=batch is None)
    finally:
        model.train(was_training)
    onnx.checker.check_model(onnx.load_from_string(content))
    return content


def _export(model: nn.Module, image: torch.Tensor, any_batch: bool) -> bytes:
    try:
        return _export_torchscript(model, image, any_batch)
    except (TypeError, AttributeError, ImportError, NotImplementedError) as error:  # what its removal would raise
        warnings.warn(f"the TorchScript exporter failed ({error}); using dynamo, about 3 s a network", stacklevel=3)
        return _export_dynamo(model, image, any_batch)


def _export_torchscript(model: nn.Module, image: torch.Tensor, any_batch: bool) -> bytes:
    buffer = io.BytesIO()
    free = {INPUT: {0: "batch"}, OUTPUT: {0: "batch"}} if any_batch else None
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*legacy TorchScript-based ONNX export", category=DeprecationWarning)
        warnings.filterwarnings("ignore", message="The feature will be removed", category=DeprecationWarning)
        # Sizes become constants, as they should: one file serves one resolution.
        warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)
        warnings.filterwarnings("ignore", message="Constant folding - Only steps=1", category=UserWarning)
        with ConstantShapes():
            torch.onnx.export(
                model, (image,), buffer, dynamo=False, opset_version=OPSET, input_names=[INPUT], output_names=[OUTPUT],
                dynamic_axes=free,
            )  # fmt: skip
    return buffer.getvalue()


def _export_dynamo(model: nn.Module, image: torch.Tensor, any_batch: bool) -> bytes:
    free = ({0: torch.export.Dim("batch")},) if any_batch else None
    program = torch.onnx.export(
        model, (image,), dynamo=True, opset_version=18, input_names=[INPUT], output_names=[OUTPUT], verbose=False,
        dynamic_shapes=free,
    )  # fmt: skip
    assert program is not None  # dynamo=True always returns a program
    return program.model_proto.SerializeToString()


def deploy_form(architecture: Architecture, num_classes: int = 1000) -> nn.Module:
    """The deploy form with fresh weights; torch's random state is left as it was."""
    from nasbench.nn.model import build, reparameterise

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return reparameterise(build(architecture, num_classes=num_classes))


def require_same_logits(model: nn.Module, content: bytes, resolution: int) -> None:
    """RuntimeError unless the ONNX file computes what `model` computes: its latency would be another network's."""
    difference = onnx_difference(model, content, resolution)
    # Written so that NaN is refused: every comparison with it is false.
    if not (difference <= TOLERANCE or difference <= ROUNDING_FACTOR * _rounding(model, resolution)):
        raise RuntimeError(f"its ONNX file differs from torch by {difference:.1e} relative")


def onnx_difference(model: nn.Module, content: bytes, resolution: int, batch: int = 1) -> float:
    """Largest |onnxruntime - torch| over the logits of random images, relative to the largest |logit|."""
    image = _random_image(model, resolution, batch)
    with torch.no_grad():
        expected = model(torch.from_numpy(image)).numpy()
    (actual,) = open_session(content).run([OUTPUT], {INPUT: image})
    return _relative(actual, expected)


def _rounding(model: nn.Module, resolution: int) -> float:
    """How far float32 is from float64 in torch alone: deep networks with random weights can amplify rounding."""
    image = torch.from_numpy(_random_image(model, resolution))
    with torch.no_grad():
        exact = copy.deepcopy(model).double()(image.double()).numpy()
        return _relative(model(image).numpy(), exact)


def _random_image(model: nn.Module, resolution: int, batch: int = 1) -> np.ndarray:
    shape = (batch, image_channels(model), resolution, resolution)
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


def _relative(actual: np.ndarray, expected: np.ndarray) -> float:
    """NaN where either holds one; zero logits agree with zero logits."""
    gap, scale = float(np.abs(actual - expected).max()), float(np.abs(expected).max())
    if gap == 0:
        return 0.0
    return gap / scale if scale else float("inf")
