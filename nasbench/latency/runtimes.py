"""The runtimes that a network can be measured in: how each is given the network, and how it runs it.

A runtime either runs a file (onnxruntime, openvino, ncnn), which a pack can carry to another device, or the torch
module itself (torch, torch-compile). `RUNTIMES` lists them; files are loaded by standalone.py, which the pack carries.
"""

from __future__ import annotations

import contextlib
import copy
import io
import os
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nasbench.errors import UserError
from nasbench.hardware import require_device
from nasbench.latency.device import Settings, runtime_version
from nasbench.latency.standalone import LOADERS, Run

if TYPE_CHECKING:
    from torch import nn

Write = Callable[["nn.Module", int, Settings, Path], Path]  # module, resolution, settings, path without suffix -> file
CALIBRATION_IMAGES = 4  # for static int8 quantisation; few, as scales do not change how long a kernel takes


@dataclass(frozen=True)
class Runtime:
    """`write` makes the file that `standalone.LOADERS` opens; None where the torch module itself is run."""

    dtypes: tuple[str, ...]
    accelerators: tuple[str, ...] = ("cpu",)
    write: Write | None = None
    batched: bool = True  # whether it takes more than one image at a time
    options: Mapping[str, type] = field(default_factory=dict)  # that its loader knows: {name: type}


def check(settings: Settings) -> None:
    """UserError unless the runtime is known, installed, and can do what the settings say."""
    if settings.runtime not in RUNTIMES:
        raise UserError(f"unknown runtime {settings.runtime!r}; known: {', '.join(RUNTIMES)}")
    runtime = RUNTIMES[settings.runtime]
    runtime_version(settings.runtime)
    if settings.dtype not in runtime.dtypes:
        known = ", ".join(runtime.dtypes)
        raise UserError(f"{settings.runtime} is not measured in {settings.dtype} here; known for it: {known}")
    if settings.accelerator.partition(":")[0] not in runtime.accelerators:
        known = ", ".join(runtime.accelerators)
        raise UserError(f"{settings.runtime} does not run on {settings.accelerator!r} here; known for it: {known}")
    if settings.batch > 1 and not runtime.batched:
        raise UserError(f"{settings.runtime} takes one image at a time; batch {settings.batch} cannot be measured")
    for name, value in settings.options.items():
        if not isinstance(value, runtime.options.get(name, ())):
            known = ", ".join(f"{name} ({kind.__name__})" for name, kind in runtime.options.items()) or "none"
            raise UserError(f"{settings.runtime} has no option {name}={value!r} here; known for it: {known}")


def runs_files(settings: Settings) -> bool:
    return RUNTIMES[settings.runtime].write is not None


def write_file(module: nn.Module, resolution: int, settings: Settings, stem: Path) -> Path:
    """The file that the runtime runs, beside `stem` (a path without suffix)."""
    write = RUNTIMES[settings.runtime].write
    assert write is not None
    return write(module, resolution, settings, stem)


def open_file(path: Path, settings: Settings) -> Run:
    """A call without arguments that runs the file once on a fixed random image."""
    return LOADERS[settings.runtime](str(path), settings.threads, {**settings.options, "dtype": settings.dtype})


def _write_onnx(module: nn.Module, resolution: int, settings: Settings, stem: Path) -> Path:
    from nasbench.blocks.metablock import image_channels
    from nasbench.latency.export import export_onnx

    path = stem.with_name(stem.name + ".onnx")
    content = export_onnx(module, resolution, settings.batch)
    if settings.runtime == "onnxruntime" and settings.dtype == "fp16":
        content = half(content)
    path.write_bytes(content)
    if settings.runtime == "onnxruntime" and settings.dtype == "int8":
        _quantise(path, (settings.batch, image_channels(module), resolution, resolution))
    return path


def half(content: bytes) -> bytes:
    """Weights and arithmetic in float16, input and output in float32, by onnxruntime's own converter."""
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    model = onnx.shape_inference.infer_shapes(onnx.load_from_string(content))
    return convert_float_to_float16(model, keep_io_types=True).SerializeToString()


def _quantise(path: Path, shape: tuple[int, ...]) -> None:
    """Replace the ONNX file by its int8 form (QDQ, one scale per channel), by onnxruntime's quantiser.

    shape: of the network's input.
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    from nasbench.latency.onnx_session import INPUT

    rng = np.random.default_rng(0)

    class Images(CalibrationDataReader):  # type: ignore[misc]
        left = CALIBRATION_IMAGES

        def get_next(self) -> dict[str, np.ndarray] | None:
            self.left -= 1
            return {INPUT: rng.standard_normal(shape, dtype=np.float32)} if self.left >= 0 else None

    prepared = path.with_name(path.stem + "-prepared.onnx")
    with silence():
        quant_pre_process(str(path), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared), str(path), Images(), quant_format=QuantFormat.QDQ, per_channel=True,
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
        )  # fmt: skip
    prepared.unlink()


def _write_ncnn(module: nn.Module, resolution: int, settings: Settings, stem: Path) -> Path:
    """Converted by pnnx; the file's name ends in -SIDE, or -CHANNELSxSIDE, as its loader expects."""
    import tempfile

    import torch

    from nasbench.arch.parts import IMAGE_CHANNELS
    from nasbench.blocks.metablock import image_channels
    from nasbench.latency.export import ConstantShapes

    try:
        import pnnx
    except ImportError:
        raise UserError("ncnn's converter pnnx is not installed; run `pip install 'nasbench[ncnn]'`") from None
    channels = image_channels(module)
    before = "" if channels == IMAGE_CHANNELS else f"{channels}x"
    out = stem.with_name(f"{stem.name}-{before}{resolution}.param")
    with tempfile.TemporaryDirectory() as folder, silence(), ConstantShapes():
        here = os.getcwd()
        try:  # pnnx writes a debugging file to the current folder
            os.chdir(folder)
            image = torch.zeros(1, channels, resolution, resolution)
            pnnx.export(module.eval(), f"{folder}/net.pt", image, check_trace=False, fp16=settings.dtype == "fp16")
        finally:
            os.chdir(here)
        produced = Path(folder) / "net.ncnn.param"
        if not produced.is_file():
            raise RuntimeError("pnnx did not convert the network")
        out.write_bytes(produced.read_bytes())
        out.with_suffix(".bin").write_bytes(produced.with_suffix(".bin").read_bytes())
    return out


@contextmanager
def silence() -> Iterator[None]:
    """Discard what converters print within the context, in this process and in its children."""
    import logging

    previous = logging.root.manager.disable
    logging.disable(logging.WARNING)
    saved = os.dup(1), os.dup(2)
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            os.dup2(null, 1)
            os.dup2(null, 2)
            yield
    finally:
        os.dup2(saved[0], 1)
        os.dup2(saved[1], 2)
        for handle in (null, *saved):
            os.close(handle)
        logging.disable(previous)


def open_module(module: nn.Module, resolution: int, settings: Settings) -> Run:
    """The torch module itself, eager or compiled, on the CPU or a GPU, as a call that runs it once."""
    import torch

    from nasbench.blocks.metablock import image_channels

    dtype = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[settings.dtype]
    generator = torch.Generator().manual_seed(0)
    shape = (settings.batch, image_channels(module), resolution, resolution)
    image = torch.randn(shape, generator=generator)
    require_device(settings.accelerator)
    image = image.to(settings.accelerator, dtype)
    model: Any = copy.deepcopy(module).eval().to(settings.accelerator, dtype)
    if settings.runtime == "torch-compile":
        model = _compiled(model)
    if settings.accelerator.startswith("cuda"):
        return CudaRun(model, image)

    def run() -> object:
        with torch.inference_mode():
            return model(image)

    return run


def _compiled(model: nn.Module) -> Any:
    """The network compiled without graph breaks, as a function with a code object of its own.

    torch.compile caches by code object, of each no more than eight forms; all networks of a class share one object.
    """
    import torch

    def forward(image: Any) -> Any:
        return model(image)

    code = forward.__code__.replace(co_name=f"network_{id(model)}")
    own = types.FunctionType(code, forward.__globals__, closure=forward.__closure__)
    return torch.compile(own, fullgraph=True, dynamic=False)


class CudaRun:
    """A network captured as a CUDA graph; `device_us` replays it once between two events."""

    def __init__(self, model: Any, image: Any) -> None:
        import torch

        self._torch, stream = torch, torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.inference_mode(), torch.cuda.stream(stream):
            for _ in range(3):  # libraries choose their kernels before the capture
                model(image)
        torch.cuda.current_stream().wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        with torch.inference_mode(), torch.cuda.graph(self._graph):
            self._output = model(image)
        self._events = [torch.cuda.Event(enable_timing=True) for _ in range(2)]

    def __call__(self) -> object:
        self._graph.replay()
        self._torch.cuda.synchronize()
        return self._output

    def device_us(self) -> float:
        first, last = self._events
        first.record()
        self._graph.replay()
        last.record()
        last.synchronize()
        return 1e3 * first.elapsed_time(last)


TORCH_DTYPES = ("fp32", "bf16", "fp16")
RUNTIMES: dict[str, Runtime] = {
    "onnxruntime": Runtime(("fp32", "fp16", "int8"), write=_write_onnx, options={"optimise": bool, "providers": list}),
    "openvino": Runtime(("fp32", "fp16", "bf16"), write=_write_onnx, options={"device": str}),
    "ncnn": Runtime(("fp32", "fp16"), write=_write_ncnn, batched=False),
    "torch": Runtime(TORCH_DTYPES, ("cpu", "cuda")),
    "torch-compile": Runtime(TORCH_DTYPES, ("cpu", "cuda")),
}
