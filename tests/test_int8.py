"""int8 files of trained networks: the accuracy that is printed is what onnxruntime alone reaches."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from nasbench import cli
from nasbench.errors import UserError
from nasbench.exporting.scoring import images_of
from nasbench.proxy.evaluate import dataset
from nasbench.weights.saved import read_saved


@pytest.mark.parametrize("tuned", [False, True])
def test_the_printed_accuracy_is_that_of_the_file_alone(
    tuned: bool, trained: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, data = trained
    out = tmp_path / "own.onnx"
    words = ["export", str(path), "--dtype", "int8", "--data", data, "-o", str(out)]
    assert cli.main([*words, *(("--fine-tune", "2") if tuned else ())]) == 0
    shown = capsys.readouterr().out
    assert ("fine-tuned for 2 epochs" in shown) == tuned
    printed = float(re.search(r"\(measured\): ([\d.]+) %", shown)[1])
    session = onnxruntime.InferenceSession(str(out), providers=["CPUExecutionProvider"])
    metadata = session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["classes"]) == list(dataset(data).classes)
    mean, std = (np.array(json.loads(metadata[name]), dtype=np.float32) for name in ("mean", "std"))
    pixels, _ = dataset(data).test.read(np.arange(60), int(metadata["resolution"]))
    images = ((pixels.astype(np.float32) / 255 - mean) / std).transpose(0, 3, 1, 2)
    (logits,) = session.run(["logits"], {"image": images})
    own = (logits.argmax(1) == dataset(data).test.labels).mean()
    assert printed == pytest.approx(100 * own, abs=2)  # this test rounds images to whole levels when it resizes them
    gain = float(re.search(r"%: ([+-][\d.]+) points", shown)[1])
    assert gain > -10
    kinds = {node.op_type for node in __import__("onnx").load(str(out)).graph.node}
    assert "QuantizeLinear" in kinds


def test_saved_models_are_exported_as_they_are(
    trained: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, _ = trained
    for dtype in ("fp32", "fp16"):
        assert cli.main(["export", str(path), "--dtype", dtype, "-o", str(tmp_path / f"{dtype}.onnx")]) == 0
        assert "tiny, 16 px, 10 classes" in capsys.readouterr().out
    assert (tmp_path / "fp16.onnx").stat().st_size < 0.8 * (tmp_path / "fp32.onnx").stat().st_size


def test_images_of_other_classes_are_refused(trained: tuple[Path, str]) -> None:
    path, data = trained
    arch, about = read_saved(path)[:2]
    with pytest.raises(UserError, match=r"has the classes airplane, .*, and the model tells cat, dog"):
        images_of(data, arch, about.replace(classes=("cat", "dog")))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["emo_1m", "--dtype", "int8", "--data", "x"], "--dtype int8 emo_1m: is for trained networks"),
        (["emo_1m", "--data", "x"], "--data x: is what --dtype int8 is calibrated on"),
        (["{0}", "--dtype", "int8"], "give them by --data"),
        (["{0}", "--fine-tune", "2"], "--fine-tune 2: is for int8; add --dtype int8"),
        (["{0}", "--weights", "w.pt"], "brings its own"),
        (["none.safetensors"], "none.safetensors: cannot be read"),
    ],
    ids=str,
)
def test_what_cannot_be_exported_is_one_line(
    words: list[str], message: str, trained: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "x.onnx"
    assert cli.main(["export", *(word.replace("{0}", str(trained[0])) for word in words), "-o", str(out)]) == 2
    assert message in capsys.readouterr().err
    assert not out.exists()
