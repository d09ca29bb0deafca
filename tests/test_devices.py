"""A device that is not here is said in one line before anything is written, wherever one can be asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import nasbench
from nasbench import cli
from nasbench.errors import UserError
from nasbench.hardware import require_device
from nasbench.latency.device import Settings, this_device
from nasbench.study.runner import RunnerSpec

RUNNER = """
kind = "serial"
device = "{}"
[[ladder]]
name = "only"
trials = 1
samples = 64
pool = 100
evaluate = 50
"""
WITHOUT = {
    "cuda": "sees no CUDA GPU",
    "cuda:7": "CUDA_VISIBLE_DEVICES chooses the GPU",
    "mps": "trainings run on 'cpu' or 'cuda'",
    "tpu": "trainings run on 'cpu' or 'cuda'",
    "": "trainings run on 'cpu' or 'cuda'",
}


@pytest.fixture(autouse=True)
def without_gpu(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("NASBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("device", WITHOUT)
@pytest.mark.parametrize(
    "words",
    [
        ("search", "--space", "small", "--budget", "300MFLOP", "--out", "made"),
        ("proxy", "emo_1m"),
        ("scale", "train", "emo_1m", "--to", "300MFLOP", "--out", "made"),
    ],
    ids=" ".join,
)
def test_a_runner_s_device_that_is_not_here_is_refused_before_anything_is_written(capsys, words, device):
    Path("mine.toml").write_text(RUNNER.format(device))
    assert cli.main([*words, "--runner", "mine.toml"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert WITHOUT[device] in error
    assert {path.name for path in Path().iterdir()} <= {"mine.toml", "cache"}


@pytest.mark.parametrize(
    ("device", "message"),
    [("mps", "is not known"), ("cuda:x", "is not known"), ("cuda:", "is not known"), ("cuda:2", "sees no CUDA GPU")],
)
def test_devices_to_measure_on_are_checked_alike(device, message):
    with pytest.raises(UserError, match=message):
        require_device(device)
    if device.startswith("cuda"):
        with pytest.raises(UserError, match=message):
            this_device(Settings("torch", accelerator=device))


def test_gpus_are_counted(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    require_device("cuda")
    require_device("cuda:1")
    with pytest.raises(UserError, match="'cuda:7': GPUs are numbered 0 to 1 here"):
        require_device("cuda:7")
    with pytest.raises(UserError, match="set gpus_per_trial"):
        RunnerSpec(device="cuda").require_device()
    RunnerSpec(device="cuda", gpus_per_trial=0.5).require_device()


def test_what_a_cluster_has_is_not_looked_for_here():
    RunnerSpec(device="cuda", gpus_per_trial=1, address="10.0.0.1:6379").require_device()


def test_a_stored_study_waits_for_its_device(tmp_path):
    (tmp_path / "study").mkdir()
    text = (Path(__file__).parent / "former_study" / "study.toml").read_text(encoding="utf-8")
    runner = nasbench.Study.open(Path(__file__).parent / "former_study").runner
    study = nasbench.Study.open(Path(__file__).parent / "former_study").replace(
        runner=runner.replace(device="cuda", gpus_per_trial=1.0)
    )
    study.write(tmp_path / "study")
    assert (tmp_path / "study" / "study.toml").read_text(encoding="utf-8") != text
    before = sorted(path.name for path in (tmp_path / "study").iterdir())
    with pytest.raises(UserError, match="sees no CUDA GPU"):
        nasbench.resume(tmp_path / "study")
    assert sorted(path.name for path in (tmp_path / "study").iterdir()) == before
