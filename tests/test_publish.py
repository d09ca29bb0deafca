"""A published folder: its card states what the file states and no more, and its lines run."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from training_toys import tiny

from nasbench import cli
from nasbench.costs.analytic import cost
from nasbench.errors import UserError
from nasbench.nn.model import build
from nasbench.weights.checkpoints import load_model, save_weights
from nasbench.weights.publish import publish
from nasbench.weights.saved import About, ImageNormalisation

ABOUT = About(
    classes=("cat", "dog | wolf", "<b>"),
    normalisation=ImageNormalisation(mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.25)),
    figures={"test_accuracy": 0.8125, "test_images": 160, "accuracy_is": "top1"},
    provenance={"data": "pets", "seed": 3},
)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "best.safetensors"
    save_weights(build(tiny(), 3), path, ABOUT)
    return path


def test_the_folder_holds_the_model_and_says_what_it_says(saved: Path, tmp_path: Path) -> None:
    assert cli.main(["publish", str(saved), "--to", str(tmp_path / "hub"), "--licence", "mit"]) == 0
    card, config = (tmp_path / "hub" / name for name in ("README.md", "config.json"))
    assert (tmp_path / "hub" / "model.safetensors").read_bytes() == saved.read_bytes()
    content = json.loads(config.read_text())
    assert content["figures"] == ABOUT.figures
    assert content["id2label"] == {"0": "cat", "1": "dog | wolf", "2": "<b>"}
    assert content["input"]["mean"] == [0.5, 0.4, 0.3]
    text = card.read_text()
    assert f"{cost(tiny(), 3, deploy=False).params:,}" in text
    assert "| test_accuracy | 0.8125 |" in text
    assert "| data | pets |" in text
    assert "dog \\| wolf" in text
    assert "<b>" not in text
    header = dict(line.split(": ", 1) for line in text.split("---\n")[1].strip().splitlines())
    assert json.loads(header["license"]) == "mit"
    (entry,) = json.loads(header["model-index"])
    assert entry["results"][0]["metrics"][0]["value"] == 0.8125


def test_the_lines_of_the_card_run(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(saved, tmp_path / "hub")
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    monkeypatch.chdir(tmp_path / "hub")
    Image.fromarray(pixels).save("photo.png")
    block = re.search(r"```python\n(.*?)```", Path("README.md").read_text(), re.DOTALL)
    assert block is not None
    exec(block[1].replace("photo.jpg", "photo.png"), {})  # its own lines, as a reader would run them
    told = capsys.readouterr().out
    norm = ABOUT.normalisation
    assert norm is not None
    images = (pixels / 255 - np.array(norm.mean)) / np.array(norm.std)
    with torch.no_grad():
        shares = load_model(saved)(torch.tensor(images, dtype=torch.float32).permute(2, 0, 1)[None]).softmax(1)[0]
    name, _, share = told.rpartition(" ")
    assert name == ABOUT.classes[int(shares.argmax())]
    assert float(share) == pytest.approx(float(shares.max()), abs=1e-4)


def test_a_model_without_figures_claims_none(tmp_path: Path) -> None:
    save_weights(build(tiny(), 5).eval(), tmp_path / "bare.safetensors")
    publish(tmp_path / "bare.safetensors", tmp_path / "hub")
    text = (tmp_path / "hub" / "README.md").read_text()
    assert "how well the model does is not known" in text
    assert "model-index" not in text
    assert "Not stated" in text
    assert json.loads((tmp_path / "hub" / "config.json").read_text())["num_labels"] == 5


def test_damaged_weights_are_told_when_saved_and_not_published(tmp_path: Path) -> None:
    model = build(tiny(), 3)
    model.state_dict()["head.classifier.bias"][0] = torch.nan
    with pytest.warns(UserWarning, match=r"NaN or infinite: head.classifier.bias; .* neither exported nor published"):
        save_weights(model, tmp_path / "bad.safetensors")
    with pytest.raises(UserError, match=r"bad.safetensors: weights that are NaN or infinite: head.classifier.bias"):
        publish(tmp_path / "bad.safetensors", tmp_path / "hub")
    assert cli.main(["export", str(tmp_path / "bad.safetensors"), "-o", str(tmp_path / "bad.onnx")]) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["bad.safetensors"]


@pytest.mark.parametrize(
    ("words", "told"),
    [(["--licence", "my licence"], "give an identifier"), ([], "holds files, but no README.md")],
    ids=["licence", "folder"],
)
def test_what_cannot_be_published_writes_nothing(
    saved: Path, tmp_path: Path, words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub" / "mine.txt").write_text("mine")
    assert cli.main(["publish", str(saved), "--to", str(tmp_path / "hub"), *words]) == 2
    assert told in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "hub").iterdir()] == ["mine.txt"]
    assert [path.name for path in tmp_path.iterdir()] == ["hub"]
