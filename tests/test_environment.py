import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from nasbench import hardware
from nasbench.errors import UserError
from nasbench.study import environment


def test_each_run_adds_an_entry(tmp_path: Path) -> None:
    environment.record(tmp_path, ["nasbench", "search", "--out", "a folder"])
    environment.record(tmp_path, ["nasbench", "resume", "x"])
    runs = json.loads((tmp_path / "environment.json").read_text())["runs"]
    assert [run["command"] for run in runs] == ["nasbench search --out 'a folder'", "nasbench resume x"]
    assert runs[0]["versions"]["numpy"].count(".") >= 1
    assert runs[0]["hardware"]["cores"] >= 1
    assert environment.read(tmp_path) == runs


def test_the_commit_is_this_checkouts(tmp_path: Path) -> None:
    root = Path(environment.__file__).parents[2]
    if not (root / ".git").exists():
        pytest.skip("not a checkout")
    head = subprocess.run(["git", "-C", root, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    commit = environment.commit()
    assert commit is not None
    assert commit.removesuffix("+changes") == head.stdout.strip()


def test_git_is_asked_without_its_lock(tmp_path: Path) -> None:
    """`git status` writes the index where a file's time has changed, under a lock that a kill would leave behind."""
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    (tmp_path / "file").write_text("a")
    for words in (["init", "-q"], ["add", "file"], ["commit", "-qm", "a"]):
        subprocess.run([*git, *words], check=True)
    os.utime(tmp_path / "file", (0, 0))
    before = (tmp_path / ".git" / "index").read_bytes()
    assert environment._git(tmp_path, "status", "--porcelain") == ""
    assert (tmp_path / ".git" / "index").read_bytes() == before


def test_a_foreign_environment_file_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "environment.json").write_text("[]")
    with pytest.raises(UserError, match="not a record of runs; move it away"):
        environment.record(tmp_path, ["x"])
    assert (tmp_path / "environment.json").read_text() == "[]"


def test_hardware_figures_are_plausible(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert 1 <= hardware.cpu_cores() <= 4096
    assert 2**28 < hardware.memory_bytes() < 2**50
    assert hardware.cpu_model()
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    (tmp_path / "memory.max").write_text("1000000000\n")
    monkeypatch.setattr(hardware, "CGROUP", tmp_path)
    assert hardware.cpu_cores() == 1
    assert hardware.memory_bytes() == 10**9
    (tmp_path / "cpu.max").write_text("max 100000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert hardware.cpu_cores() >= 1
    assert hardware.memory_bytes() > 10**9


def test_gpus_are_read_from_nvidia_smi(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "_output", lambda command: "NVIDIA H100, 81559, 550.1\nbroken line\n")
    assert hardware.gpus() == ({"name": "NVIDIA H100", "memory_bytes": 81559 * 2**20, "driver": "550.1"},)


def test_stores_and_studies_import_neither_torch_nor_ray() -> None:
    modules = (
        "study.store, study.study, study.environment, study.task, engine.schedule, report.results, running, doctor"
    )
    code = (
        f"import sys, nasbench.{modules.replace(', ', ', nasbench.')}; print({{'torch', 'ray'}} & sys.modules.keys())"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"
