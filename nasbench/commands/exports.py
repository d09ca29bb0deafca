"""`nasbench export`: the deploy form as a file for a runtime, in float32, float16 or int8."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from nasbench.commands import weights
from nasbench.commands.common import add_verb, cell, positive, writable_file
from nasbench.errors import UserError, shown

if TYPE_CHECKING:
    from nasbench.arch.architecture import Architecture
    from nasbench.nn.model import Model
    from nasbench.weights.saved import About

TOLERANCE = 1e-3  # of the largest logit in float32; what is right differs by about 1e-6
DYNAMIC = "dynamic"  # of `--batch`: any number of images at a time
MAX_BATCH = 1024
SAVED = ".safetensors"
EXAMPLE = """nasbench export fastvit_t8 -o fastvit_t8.onnx
nasbench export mobilevit_s --weights mobilevit_s.safetensors -o mobilevit_s.onnx
nasbench export swin_t --batch dynamic -o swin_t.onnx
nasbench export best.safetensors --dtype int8 --data photos/ -o mine.onnx"""


def add(verbs: Any) -> None:
    export = add_verb(verbs, "export", "the deploy form as an ONNX file", EXAMPLE, _export)
    export.add_argument(
        "architecture", metavar="ARCH|FILE",
        help="a shipped name such as mobilevit_s, a TOML file, or a .safetensors file that nasbench saved",
    )  # fmt: skip
    export.add_argument("-o", "--output", required=True, metavar="FILE", help="where to write")
    weights.add_options(export)
    export.add_argument("--classes", type=positive, default=1000, metavar="N", help="classes (default: 1000)")
    export.add_argument(
        "--batch", type=_batch, default=1, metavar="N", help="images at a time, or dynamic for any number (default: 1)"
    )
    export.add_argument(
        "--dtype", choices=("fp32", "fp16", "int8"), default="fp32",
        help="int8 is calibrated on --data, takes any number of images, and is scored beside float32 (default: fp32)",
    )  # fmt: skip
    export.add_argument("--data", metavar="PATH", help="with --dtype int8: the images that it was trained on")


def _batch(text: str) -> int | None:
    """An argparse type: a number of images, or None for any."""
    if text == DYNAMIC:
        return None
    if not text.isascii() or not text.isdigit() or not 1 <= len(text) <= 9 or not 1 <= int(text) <= MAX_BATCH:
        raise argparse.ArgumentTypeError(
            f"{shown(text)} is neither a whole number from 1 to {MAX_BATCH} nor {DYNAMIC!r}"
        )
    return int(text)


class _Network(NamedTuple):
    """What is exported: the deploy form, in words where its weights come from, and what its file says of itself."""

    architecture: Architecture
    classes: int
    model: Model
    source: str
    about: About | None = None


def _network(options: argparse.Namespace) -> _Network:
    import torch

    from nasbench.arch.library import load

    if Path(options.architecture).suffix == SAVED:
        return _saved(options)
    if options.dtype == "int8":
        raise UserError(
            f"--dtype int8 {options.architecture}: is for trained networks; give the .safetensors file of one "
            "(`nasbench train` saves them)"
        )
    arch = load(options.architecture)
    arch.require_classes()
    torch.manual_seed(0)
    return _Network(arch, options.classes, *weights.deployed(arch, options))


def _saved(options: argparse.Namespace) -> _Network:
    from nasbench.nn.model import reparameterise
    from nasbench.weights.checkpoints import load_model
    from nasbench.weights.saved import About

    if options.weights is not None:
        raise UserError(f"--weights {options.weights}: {options.architecture} brings its own; leave one of them out")
    model = load_model(options.architecture)
    model.arch.require_classes()
    deploy = model if model.deployed else reparameterise(model)
    return _Network(model.arch, model.num_classes, deploy, str(options.architecture), About.of(model))


def _export(options: argparse.Namespace) -> int:
    from nasbench.files import write_atomic
    from nasbench.latency.export import export_onnx

    output = writable_file(options.output, "network.onnx")
    if options.data is not None and options.dtype != "int8":
        raise UserError(f"--data {options.data}: is what --dtype int8 is calibrated on; leave it out")
    network = _network(options)
    if options.dtype == "int8":
        return _export_int8(network, options, output)
    content = export_onnx(network.model, network.architecture.resolution, options.batch)
    error = _difference(network, content, options.batch)
    if options.dtype == "fp16":
        from nasbench.latency.runtimes import half

        content = half(content)
    content = _labelled(content, network)
    write_atomic(output, content)
    batch = {None: ", any batch size", 1: ""}.get(options.batch, f", batch {options.batch}")
    print(f"{output}: {_told(network)}{batch}, {cell(len(content) / 1e6)} MB, {network.source}")
    print(f"onnxruntime and torch differ by {error:.1e} of the largest logit on random images")
    return 0


def _told(network: _Network) -> str:
    arch = network.architecture
    return f"{arch.label}, {arch.size_label}, {network.classes} classes"


def _difference(network: _Network, content: bytes, batch: int | None) -> float:
    """By how much the file's logits differ from torch's, as a share of the largest."""
    import numpy as np

    from nasbench.latency.export import onnx_difference

    model, arch = network.model, network.architecture
    tried = (1, 3) if batch is None else (batch,)
    error = float(np.max([onnx_difference(model, content, arch.resolution, batch=count) for count in tried]))
    if not error <= TOLERANCE:  # also where it is NaN
        raise RuntimeError(f"the exported {arch.label} differs from torch by {error:.1e} of the largest logit")
    return error


def _labelled(content: bytes, network: _Network) -> bytes:
    """With the names of the classes and the normalisation in the file's metadata, where they are known."""
    import onnx

    about = network.about
    if about is None or (not about.classes and about.normalisation is None):
        return content
    model = onnx.load_from_string(content)
    own = about.normalisation
    known = {"classes": json.dumps(list(about.classes)), "resolution": str(network.architecture.resolution)}
    known |= {} if own is None else {"mean": json.dumps(list(own.mean)), "std": json.dumps(list(own.std))}
    onnx.helper.set_model_props(model, known)
    return bytes(model.SerializeToString())


def _export_int8(network: _Network, options: argparse.Namespace, output: Path) -> int:
    """Calibrated on the training images, and scored on the test images beside float32, by onnxruntime alone."""
    from nasbench.files import data_spec, write_atomic
    from nasbench.study.task import DATASETS
    from nasbench.training.int8 import images_of, quantise

    if options.data is None:
        raise UserError("--dtype int8 is calibrated on the images that the network was trained on; give them by --data")
    about = network.about
    assert about is not None
    found = quantise(network.model, images_of(data_spec(options.data, DATASETS), network.architecture, about))
    content = _labelled(found.content, network)
    write_atomic(output, content)
    sizes = f"{cell(len(content) / 1e6)} MB, in float32 {cell(found.bytes_fp32 / 1e6)}"
    print(f"{output}: {_told(network)}, int8 ({found.way}), any batch size, {sizes}, {network.source}")
    print(
        f"accuracy by onnxruntime on {found.images} test images (measured): {100 * found.accuracy:.2f} %, "
        f"in float32 {100 * found.accuracy_fp32:.2f} %: {found.gain:+.2f} points"
    )
    return 0
