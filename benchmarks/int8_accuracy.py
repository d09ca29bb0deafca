"""What int8 costs trained networks: accuracy on the test images by each runtime alone, file size and time of an image.

    python benchmarks/int8_accuracy.py results/train/*/best.safetensors --data fashion-on-earth --out results/int8

One line a network and runtime in int8.csv: float32, onnxruntime's plain way (a scale a channel, MinMax), and what
`nasbench export --dtype int8` makes; for OpenVINO and ExecuTorch, where they are installed, by their own quantisers.
With `--fine-tune EPOCHS` all of it after so many epochs of quantisation-aware fine-tuning, in lines of their own. What
has a line already is not measured again.
"""

from __future__ import annotations

import argparse
import importlib.util
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path

import pandas as pd

from nasbench.exporting.fine_tuning import fine_tuned
from nasbench.exporting.formats import FORMATS, export
from nasbench.exporting.onnx_int8 import PLAIN, quantise
from nasbench.exporting.request import Request
from nasbench.exporting.scoring import accuracy, images_of, onnx_run
from nasbench.nn.model import reparameterise
from nasbench.weights.checkpoints import load_model
from nasbench.weights.saved import About


def measured(path: Path, data: str, known: Collection[tuple[object, ...]], epochs: int) -> Iterator[dict[str, object]]:
    """A line for each runtime that is installed and, with network and epochs of fine-tuning, not among the `known`."""
    model = load_model(path)
    runtimes = [
        name
        for name in ("onnx", "openvino", "executorch")
        if (model.arch.label, name, epochs) not in known
        and all(importlib.util.find_spec(each) for each in (*FORMATS[name].packages, *FORMATS[name].int8_packages))
    ]
    if not runtimes:
        return
    about = About.of(model)
    images = images_of(data, model.arch, about)
    deploy = model if model.deployed else reparameterise(model)
    tuned = fine_tuned(deploy, images, epochs, lambda done, total: None) if epochs else None
    for runtime in runtimes:
        form = FORMATS[runtime]
        request = Request(
            deploy, model.arch.resolution, None if form.any_batch else 1, "int8", {}, images, tuned
        )  # fmt: skip
        with tempfile.TemporaryDirectory() as folder:
            written = export(form, request, Path(folder) / f"int8{form.suffix}")
        scores = written.scores
        assert scores is not None
        plain = (
            None
            if runtime != "onnx"
            else accuracy(onnx_run(quantise(request, [PLAIN])[0]), images.test, images.norm)[0]
        )
        yield {
            "network": model.arch.label, "px": model.arch.resolution, "epochs": about.figures.get("epochs"),
            "runtime": runtime, "fine_tuned": epochs, "test_images": scores.images, "fp32": scores.accuracy_fp32,
            "int8_plain": plain, "int8": scores.accuracy,
            "points": round(scores.gain, 2), "way": scores.way, "bytes_fp32": scores.bytes_fp32, "bytes": written.size,
            "ms_fp32": written.ms_fp32, "ms": written.ms,
        }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--data", default="fashion-on-earth")
    parser.add_argument("--fine-tune", type=int, default=0, metavar="EPOCHS")
    parser.add_argument("--out", type=Path, default=Path("results/int8"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    table = options.out / "int8.csv"
    rows = pd.read_csv(table).to_dict("records") if table.exists() else []
    for path in options.files:
        known = {(row["network"], row["runtime"], row["fine_tuned"]) for row in rows}
        rows += measured(path, options.data, known, options.fine_tune)
        pd.DataFrame(rows).to_csv(table, index=False, float_format="%.4g", lineterminator="\n")
    print(pd.DataFrame(rows).to_string(index=False))


if __name__ == "__main__":
    main()
