"""Networks as files of several runtimes: each runs its file alone and answers as the model does."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from nasbench import cli
from nasbench.exporting.formats import FORMATS, MISSING
from nasbench.weights.checkpoints import load_model
from nasbench.weights.saved import read_saved

Answer = Callable[[np.ndarray], np.ndarray]
Opened = tuple[Answer, Mapping[str, str]]


def onnx(path: Path) -> Opened:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda images: session.run(["logits"], {"image": images})[0], session.get_modelmeta().custom_metadata_map


def openvino(path: Path) -> Opened:
    import openvino

    model = openvino.Core().read_model(path)
    # Else it computes in bf16 on processors that can.
    compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    words = {name: model.get_rt_info(["model_info", name]).value for name in ("classes", "input")}
    return lambda images: compiled([images])[0], words


def exported_program(path: Path) -> Opened:
    extra = {"about.json": ""}
    module = torch.export.load(path, extra_files=extra).module()
    return lambda images: module(torch.from_numpy(images)).detach().numpy(), json.loads(extra["about.json"])


def executorch(path: Path) -> Opened:
    from executorch.runtime import Runtime

    program = Runtime.get().load_program(path)
    method = program.load_method("forward")
    words = {name: bytes(program.load_method(name).execute([])).decode() for name in ("classes", "input")}
    return lambda images: np.stack([method.execute([torch.from_numpy(x[None])])[0][0] for x in images]), words


def ncnn(path: Path) -> Opened:
    import ncnn

    net = ncnn.Net()
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    assert net.load_param(str(path)) == net.load_model(str(path.with_suffix(".bin"))) == 0

    def answer(image: np.ndarray) -> np.ndarray:
        extractor = net.create_extractor()
        extractor.input("in0", ncnn.Mat(image).clone())
        return np.array(extractor.extract("out0")[1])

    return lambda images: np.stack([answer(x) for x in images]), json.loads(path.with_suffix(".json").read_text())


def coreml(path: Path) -> Opened:
    import coremltools

    words = coremltools.models.MLModel(str(path), skip_model_load=True).user_defined_metadata
    return lambda images: np.empty(0), words  # it runs on Apple's systems alone


OPENED = {
    "onnx": onnx, "openvino": openvino, "exported-program": exported_program, "executorch": executorch, "ncnn": ncnn,
    "coreml": coreml,
}  # fmt: skip


def require(name: str) -> None:
    for package in FORMATS[name].packages:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")


def test_every_format_is_tried_here_and_offered(capsys: pytest.CaptureFixture[str]) -> None:
    assert set(OPENED) == set(FORMATS)
    with pytest.raises(SystemExit):
        cli.main(["export", "emo_1m", "--to", "none", "-o", "x.onnx"])
    shown = capsys.readouterr().err
    assert all(name in shown for name in (*FORMATS, *MISSING))


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", OPENED)
def test_the_file_alone_answers_as_the_model_does(
    name: str, trained: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    require(name)
    form, path = FORMATS[name], trained[0]
    odd = tmp_path / f"own\udcff{form.suffix}"  # no UTF-8, which most runtimes do not open
    options = ["--dynamic-batch"] if form.any_batch else []
    assert cli.main(["export", str(path), "--to", name, "--normalise", *options, "-o", str(odd)]) == 0
    for file in tmp_path.glob("own*"):
        file.rename(file.with_name(file.name.replace("\udcff", "")))
    out = tmp_path / f"own{form.suffix}"
    assert "takes pixels from 0 to 255" in capsys.readouterr().out
    answer, words = OPENED[name](out)
    about = read_saved(path).about
    assert json.loads(words["classes"]) == list(about.classes)
    assert words["input"] == "pixels from 0 to 255"
    assert not [each for each in tmp_path.iterdir() if each.name.startswith(".")]
    if form.opened:
        pixels = np.random.default_rng(0).integers(0, 256, (3, 3, 16, 16)).astype(np.float32)
        assert about.normalisation is not None
        own = about.normalisation
        mean, std = (torch.tensor(values)[:, None, None] for values in (own.mean, own.std))
        with torch.no_grad():
            expected = load_model(path)((torch.from_numpy(pixels) / 255 - mean) / std).numpy()
        assert np.abs(answer(pixels) - expected).max() < 1e-3 * np.abs(expected).max()


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", [name for name, form in FORMATS.items() if "int8" in form.dtypes and name != "onnx"])
def test_int8_is_scored_by_the_runtime_alone(
    name: str, trained: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from nasbench.exporting.scoring import batches, images_of

    require(name)
    path, data = trained
    if FORMATS[name].int8_packages and importlib.util.find_spec(FORMATS[name].int8_packages[0]) is None:
        pytest.skip("its quantiser is not installed")
    out = tmp_path / f"int8{FORMATS[name].suffix}"
    assert cli.main(["export", str(path), "--dtype", "int8", "--data", data, "-o", str(out)]) == 0
    shown = capsys.readouterr().out
    printed = float(re.search(r"\(measured\): ([\d.]+) %", shown)[1])  # type: ignore[index]
    answer, _ = OPENED[name](out)
    arch, about = read_saved(path)[:2]
    images = images_of(data, arch, about)
    right = [(answer(x).argmax(1) == y) for x, y in batches(images.test, images.norm, 60)]
    assert f"{printed:.2f}" == f"{100 * np.concatenate(right).mean():.2f}"
    assert re.search(r"int8 \(by .*in float32 [\d.]+", shown)


def test_the_suffix_says_the_format(trained: tuple[Path, str], tmp_path: Path) -> None:
    assert cli.main(["export", str(trained[0]), "-o", str(tmp_path / "x.pt2")]) == 0
    assert exported_program(tmp_path / "x.pt2")[0](np.zeros((1, 3, 16, 16), np.float32)).shape == (1, 10)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--to", "openvino", "-o", "x.onnx"], "x.onnx: files of OpenVINO end in .xml; write x.xml"),
        (["--to", "litert", "-o", "x.tflite"], "--to litert: its converter litert-torch (0.10.0) does not install"),
        (
            ["-o", "x.pte", "--dynamic-batch"],
            "--to executorch: its file takes a fixed number of images; give --batch N",
        ),
        (["-o", "x.param", "--batch", "2"], "--batch 2: ncnn takes one image at a time"),
        (["-o", "x.pt2", "--dtype", "fp16"], "--dtype fp16: torch's exported program is written in fp32 here"),
        (["-o", "x.xml"], "--to openvino: needs openvino; run `pip install 'nasbench[openvino]'`"),
        (["-o", "x.mlpackage"], "--to coreml: needs coremltools; run `pip install 'nasbench[coreml]'`"),
    ],
    ids=str,
)
def test_what_cannot_be_written_is_one_line(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert cli.main(["export", "emo_1m", *words]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_normalisation_that_is_not_known_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from training_toys import tiny

    grey = tiny().replace(in_channels=1)
    (tmp_path / "grey.toml").write_text(grey.to_toml())
    words = ["export", str(tmp_path / "grey.toml"), "--normalise", "-o", str(tmp_path / "x.onnx")]
    assert cli.main(words) == 2
    assert "takes images of 1 channels, whose normalisation is not known" in capsys.readouterr().err
