"""The formats that a network is exported in: what each needs and can, and how its files come to lie in their place."""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nasbench.errors import UserError
from nasbench.files import errors_naming

if TYPE_CHECKING:
    from nasbench.exporting.request import Request
    from nasbench.exporting.scoring import Run, Scores

TOLERANCE = 1e-3  # of the largest logit in float32; what is right differs by about 1e-6
TIMED_SECONDS = 1.0  # for both files together


@dataclass(frozen=True)
class Format:
    """`module` of this room writes and opens it. `packages` must be there; pip brings them as `extra`."""

    title: str
    module: str
    suffix: str
    dtypes: tuple[str, ...]
    packages: tuple[str, ...] = ()
    extra: str = ""
    int8_packages: tuple[str, ...] = ()
    any_batch: bool = True
    most: int | None = None  # images at a time
    opened: bool = True  # whether its runtime runs where it is written
    runtime: str = ""  # where it is not called as the format is

    @property
    def functions(self) -> Any:
        """The module: its `write` makes the file, its `opened` gives it to its runtime, on one thread."""
        return importlib.import_module(f"nasbench.exporting.{self.module}")


FORMATS = {
    "onnx": Format("ONNX", "onnx_file", ".onnx", ("fp32", "fp16", "int8"), runtime="onnxruntime"),
    "openvino": Format(
        "OpenVINO", "openvino_file", ".xml", ("fp32", "fp16", "int8"), ("openvino",), "openvino", ("nncf",)
    ),
    "exported-program": Format(
        "torch's exported program", "exported_program", ".pt2", ("fp32",), runtime="the program alone"
    ),
    "executorch": Format(
        "ExecuTorch", "executorch_file", ".pte", ("fp32", "int8"), ("executorch",), "executorch", any_batch=False
    ),
    "coreml": Format(
        "Core ML", "coreml_file", ".mlpackage", ("fp32", "fp16"), ("coremltools",), "coreml",
        any_batch=False, opened=False,
    ),
    "ncnn": Format(
        "ncnn", "ncnn_file", ".param", ("fp32", "fp16"), ("ncnn", "pnnx"), "ncnn", any_batch=False, most=1
    ),
}  # fmt: skip
MISSING = {
    "litert": "its converter litert-torch (0.10.0) does not install beside these packages: it needs typing-extensions "
    "below 4.13, and pydantic 2.14 a newer one; write --to exported-program, and convert that in another environment",
}  # formats that cannot be written, and why


@dataclass(frozen=True)
class Written:
    """What lies on disk: bytes of all its files, in words how it was made, and by how much its runtime's answers differ
    from the model's on random images, as a share of the largest (None: not run here, or int8)."""

    size: int
    way: str
    difference: float | None
    scores: Scores | None = None
    ms: float | None = None  # of one image on one thread, int8
    ms_fp32: float | None = None


def chosen(name: str | None, output: Path) -> str:
    """The format that was asked for, or else the one of the file's suffix, or else ONNX."""
    if name is not None:
        return name
    return next((known for known, each in FORMATS.items() if each.suffix == output.suffix), "onnx")


def batch_of(name: str, dtype: str, asked: int | None) -> int | None:
    """Images at a time, None for any number, which int8 has wherever the format can."""
    if dtype != "int8" or name in MISSING:
        return asked
    return None if FORMATS[name].any_batch else 1


def check(name: str, dtype: str, batch: int | None, output: Path) -> Format:
    """The format, or a UserError: it cannot be written here, or not as asked for."""
    if name in MISSING:
        raise UserError(f"--to {name}: {MISSING[name]}")
    form = FORMATS[name]
    if name != "onnx" and output.suffix != form.suffix:
        raise UserError(
            f"{output}: files of {form.title} end in {form.suffix}; write {output.with_suffix(form.suffix)}"
        )
    if dtype not in form.dtypes:
        raise UserError(f"--dtype {dtype}: {form.title} is written in {', '.join(form.dtypes)} here; take one of these")
    if batch is None and not form.any_batch:
        raise UserError(f"--to {name}: its file takes a fixed number of images; give --batch N")
    if batch is not None and form.most is not None and batch > form.most:
        raise UserError(f"--batch {batch}: {form.title} takes one image at a time; leave it out")
    needed = (*form.packages, *(form.int8_packages if dtype == "int8" else ()))
    absent = [package for package in needed if importlib.util.find_spec(package) is None]
    if absent:
        raise UserError(f"--to {name}: needs {' and '.join(absent)}; run `pip install 'nasbench[{form.extra}]'`")
    return form


def export(form: Format, request: Request, output: Path) -> Written:
    """Write the file, whole or not at all, after its runtime alone ran it and agreed with the model.

    Beside an int8 file one in float32 is made, and both are scored and timed; only the int8 file stays. All of it under
    a plain name in a folder of the system's: most runtimes open no file whose path is not UTF-8.
    """
    with tempfile.TemporaryDirectory(prefix="nasbench-export-") as folder:
        path = Path(folder) / "whole" / f"model{form.suffix}"
        path.parent.mkdir()
        way = form.functions.write(request, path)
        written = Written(_size(path.parent), way, None)
        if request.dtype == "int8":
            written = _scored(form, request, written, path, Path(folder) / "fp32")
        elif form.opened:
            written = replace(written, difference=_difference(form, request, path))
        with errors_naming(output):
            _move(path, output)
    return written


def _difference(form: Format, request: Request, path: Path) -> float:
    import numpy as np
    import torch

    run, found = form.functions.opened(path), []
    for count in (1, 3) if request.batch is None else (request.batch,):
        images = request.noise(count)
        with request.evaluating() as model:
            expected = model(torch.from_numpy(images)).numpy()
        gap, scale = float(np.abs(run(images) - expected).max()), float(np.abs(expected).max())
        found.append(gap / scale if gap else 0.0)
    difference = float(np.max(found))
    limit = TOLERANCE if request.dtype == "fp32" else 1.0
    if not difference <= limit:  # also where it is NaN
        raise RuntimeError(f"the file for {form.title} differs from torch by {difference:.1e} of the largest logit")
    return difference


def _scored(form: Format, request: Request, written: Written, path: Path, folder: Path) -> Written:
    """Both forms run by the runtime alone: accuracy on the test images, and milliseconds an image."""
    from nasbench.exporting.scoring import BATCH, Scores, accuracy

    assert request.images is not None
    folder.mkdir()
    plain = folder / path.name
    form.functions.write(replace(request, dtype="fp32"), plain)
    runs = [form.functions.opened(each) for each in (path, plain)]
    size, test, norm = BATCH if request.batch is None else request.batch, request.images.test, request.images.norm
    (reached, count), (before, _) = (accuracy(run, test, norm, size) for run in runs)
    ms, ms_fp32 = _timed(runs, request)
    scores = Scores(written.way, reached, before, count, _size(folder))
    return replace(written, scores=scores, ms=ms, ms_fp32=ms_fp32)


def _timed(runs: Sequence[Run], request: Request) -> list[float]:
    """Median milliseconds of one image, the runs by turns."""
    image = request.noise(1)
    seconds: list[list[float]] = [[] for _ in runs]
    end = time.perf_counter() + TIMED_SECONDS
    while time.perf_counter() < end or len(seconds[0]) < 5:
        for run, own in zip(runs, seconds):
            begun = time.perf_counter()
            run(image)
            own.append(time.perf_counter() - begun)
    return [1e3 * statistics.median(own) for own in seconds]


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _move(path: Path, output: Path) -> None:
    """All files to where they should lie, under the name that was asked for, the one that is opened last."""
    others = [file for file in sorted(path.parent.iterdir()) if file != path]
    named = {file: output if file == path else output.with_suffix(file.suffix) for file in (*others, path)}
    with tempfile.TemporaryDirectory(prefix=".export-", dir=output.parent) as near:  # the first may be another disk
        for file, place in named.items():
            shutil.move(file, Path(near) / place.name)
        for place in named.values():
            os.replace(Path(near) / place.name, place)
