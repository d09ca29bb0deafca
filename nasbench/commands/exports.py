"""`nasbench export`: the deploy form as a file for one of several runtimes, in float32, float16 or int8."""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from nasbench.commands import weights
from nasbench.commands.common import add_classes, add_verb, cell, up_to, writable_file
from nasbench.errors import UserError, shown
from nasbench.exporting import formats

if TYPE_CHECKING:
    from torch import nn

    from nasbench.arch.architecture import Architecture
    from nasbench.exporting.request import Request
    from nasbench.nn.model import Model
    from nasbench.training.images import TrainingImages
    from nasbench.weights.saved import About

DYNAMIC = "dynamic"  # of `--batch`: any number of images at a time
MAX_BATCH = 1024
MAX_EPOCHS = 1000
SAVED = ".safetensors"
MUCH = 1  # points of accuracy lost to int8 above which fine-tuning is named
EXAMPLE = """nasbench export fastvit_t8 -o fastvit_t8.onnx
nasbench export mobilevit_s --weights mobilevit_s.safetensors -o mobilevit_s.onnx
nasbench export swin_t --dynamic-batch -o swin_t.onnx
nasbench export best.safetensors --dtype int8 --data photos/ -o mine.onnx
nasbench export best.safetensors --dtype int8 --data photos/ --fine-tune 1 -o mine.onnx
nasbench export best.safetensors --to openvino --normalise -o mine.xml
nasbench export best.safetensors --to executorch -o mine.pte"""
NAMES = (*formats.FORMATS, *formats.MISSING)  # what cannot be written is named too: the error says what to do instead
PLAIN = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}  # of ImageNet's pixels in 0 to 1


def add(verbs: Any) -> None:
    export = add_verb(verbs, "export", "the deploy form as a file for a runtime", EXAMPLE, _export)
    export.add_argument(
        "architecture", metavar="ARCH|FILE",
        help="a shipped name such as mobilevit_s, a TOML file, or a .safetensors file that nasbench saved",
    )  # fmt: skip
    export.add_argument("-o", "--output", required=True, metavar="FILE", help="where to write")
    weights.add_options(export)
    add_classes(export)
    export.add_argument(
        "--to", choices=NAMES, metavar="FORMAT",
        help=f"{', '.join(NAMES)} (default: by the suffix of -o, or else onnx)",
    )  # fmt: skip
    batch = export.add_mutually_exclusive_group()
    batch.add_argument(
        "--batch", type=_batch, default=1, metavar="N", help="images at a time, or dynamic for any number (default: 1)"
    )
    batch.add_argument(
        "--dynamic-batch", dest="batch", action="store_const", const=None, help="the same as --batch dynamic"
    )
    export.add_argument(
        "--normalise", action="store_true", help="the file takes pixels from 0 to 255 and normalises them itself"
    )
    export.add_argument(
        "--dtype", choices=("fp32", "fp16", "int8"), default="fp32",
        help="int8 is calibrated on --data, takes any number of images where the format can, and is scored beside "
        "float32 (default: fp32)",
    )  # fmt: skip
    export.add_argument("--data", metavar="PATH", help="with --dtype int8: the images that it was trained on")
    export.add_argument(
        "--fine-tune", type=up_to(MAX_EPOCHS), metavar="EPOCHS",
        help="with --dtype int8: before, train so many times over these images to answer in int8 as in float32 does",
    )  # fmt: skip


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
    """What is exported: the deploy form, the source of its weights in words, and the file's metadata."""

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
    output = writable_file(options.output, "network.onnx")
    if options.data is not None and options.dtype != "int8":
        raise UserError(f"--data {options.data}: is what --dtype int8 is calibrated on; leave it out")
    if options.fine_tune is not None and options.dtype != "int8":
        raise UserError(f"--fine-tune {options.fine_tune}: is for int8; add --dtype int8, or leave it out")
    name = formats.chosen(options.to, output)
    batch = formats.batch_of(name, options.dtype, options.batch)
    form = formats.check(name, options.dtype, batch, output)
    network = _network(options)
    written = formats.export(form, _request(network, options, batch), output)
    _tell(network, written, form, options, output, batch)
    return 0


def _request(network: _Network, options: argparse.Namespace, batch: int | None) -> Request:
    from nasbench.exporting.request import Request

    arch = network.architecture
    request = Request(network.model, arch.resolution, batch, options.dtype, _words(network, options.normalise))
    if options.dtype == "int8":
        images = _images(network, options)
        tuned = None if options.fine_tune is None else _tuned(network.model, images, options.fine_tune)
        request = replace(request, images=images, tuned=tuned)
    if options.normalise:
        mean, std = ([255 * value for value in values] for values in _normalisation(network))
        request = request.normalising(mean, std)
    return request


def _normalisation(network: _Network) -> tuple[list[float], list[float]]:
    """Mean and deviation of pixels in 0 to 1: the saved model's own, or else ImageNet's."""
    own = None if network.about is None else network.about.normalisation
    if own is not None:
        return list(own.mean), list(own.std)
    channels = network.architecture.in_channels
    if channels != len(PLAIN["mean"]):
        raise UserError(
            f"--normalise: {network.architecture.label} takes images of {channels} channels, whose normalisation is "
            "not known; leave it out, or give a .safetensors file that `nasbench train` wrote"
        )
    return PLAIN["mean"], PLAIN["std"]


def _words(network: _Network, normalising: bool) -> dict[str, str]:
    """The file's metadata: names of the classes and normalisation, where they are known."""
    about = network.about
    if normalising:
        mean, std = _normalisation(network)
    elif about is None or (not about.classes and about.normalisation is None):
        return {}
    else:
        own = about.normalisation
        mean, std = ([], []) if own is None else (list(own.mean), list(own.std))
    words = {"classes": json.dumps(list(about.classes if about is not None else ()))}
    words["resolution"] = str(network.architecture.resolution)
    words |= {"mean": json.dumps(mean), "std": json.dumps(std)} if mean else {}
    words["input"] = "pixels from 0 to 255" if normalising else "(pixels / 255 - mean) / std"
    return words


def _images(network: _Network, options: argparse.Namespace) -> TrainingImages:
    from nasbench.exporting.scoring import images_of
    from nasbench.files import data_spec
    from nasbench.study.task import DATASETS

    if options.data is None:
        raise UserError("--dtype int8 is calibrated on the images that the network was trained on; give them by --data")
    assert network.about is not None
    return images_of(data_spec(options.data, DATASETS), network.architecture, network.about)


def _tuned(model: Model, images: TrainingImages, epochs: int) -> nn.Module:
    from nasbench.exporting.fine_tuning import fine_tuned
    from nasbench.progress import ProgressState, progress_display

    begun = time.monotonic()
    with progress_display() as progress:

        def report(done: int, total: int) -> None:
            left = (time.monotonic() - begun) * (total - done) / done
            progress.update(ProgressState("fine-tuning for int8", done, total, unit="images", seconds_left=left))

        return fine_tuned(model, images, epochs, report)


def _tell(
    network: _Network, written: formats.Written, form: formats.Format, options: argparse.Namespace, output: Path,
    batch: int | None,
) -> None:  # fmt: skip
    arch, size = network.architecture, f"{cell(written.size / 1e6)} MB"
    what = f"{output}: {arch.label}, {arch.size_label}, {network.classes} classes"
    count = {None: ", any batch size", 1: ""}.get(batch, f", batch {batch}")
    pixels = ", takes pixels from 0 to 255" if options.normalise else ""
    found = written.scores
    if found is None:
        print(f"{what}{count}{pixels}, {size}, {network.source}")
        print(_compared(written, form))
        return
    sizes = f"{size}, in float32 {cell(found.bytes_fp32 / 1e6)}"
    epochs = options.fine_tune
    tuned = "" if epochs is None else f"fine-tuned for {epochs} epoch{'s' if epochs > 1 else ''}, "
    print(f"{what}, int8 ({tuned}{found.way}){count}{pixels}, {sizes}, {network.source}")
    print(
        f"accuracy by the runtime alone on {found.images} test images (measured): {100 * found.accuracy:.2f} %, "
        f"in float32 {100 * found.accuracy_fp32:.2f} %: {found.gain:+.2f} points"
    )
    print(f"one image on one thread (measured): {written.ms:.2f} ms, in float32 {written.ms_fp32:.2f} ms")
    if found.gain < -MUCH and options.fine_tune is None:
        print(f"more than {MUCH} point is lost: with --fine-tune 1 it first learns to answer in int8 as in float32")


def _compared(written: formats.Written, form: formats.Format) -> str:
    if written.difference is None:
        return f"converted, and not run: {form.title} runs on other systems than this one"
    runtime = form.runtime or form.title
    return f"{runtime} and torch differ by {written.difference:.1e} of the largest logit on random images"
