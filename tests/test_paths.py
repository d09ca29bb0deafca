"""Names of files and folders as they come: bytes that are not UTF-8, and paths of another place."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_search import save_profile

import nasbench
from nasbench import cli, files
from nasbench.arch.library import load
from nasbench.engine.device_source import DeviceSource
from nasbench.engine.measuring import Measuring
from nasbench.errors import UserError
from nasbench.files import data_path, data_spec, read_toml, write_atomic, write_toml
from nasbench.proxy.data import load_dataset
from nasbench.study.store import TrialStore

RUNNER = """
kind = "serial"
[[ladder]]
name = "only"
trials = 1
samples = 64
pool = 100
evaluate = 50
width = 0.25
"""
ODD = os.fsdecode(b"caf\xe9")


@pytest.fixture(scope="module", autouse=True)
def unmeasured():
    """Nothing is measured here, which would take a minute."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DeviceSource, "can_measure", False)
        patch.setattr(Measuring, "_measure_rest", lambda self: None)
        yield


def _odd_names() -> bool:
    """Whether the file system takes names that are not UTF-8 (macOS does not)."""
    try:
        Path(ODD).mkdir()
    except OSError:
        return False
    Path(ODD).rmdir()
    return True


def write_images(root: Path, classes: tuple[str, ...]) -> None:
    for name in classes:
        (root / name).mkdir(parents=True)
        for index in range(12):
            pixels = np.full((16, 16, 3), 20 * index, np.uint8)
            Image.fromarray(pixels).save(root / name / f"{name}{index}.png")


@pytest.fixture(scope="module")
def study(unmeasured, tmp_path_factory):
    """A search on images, classes, a space and a study whose names are not UTF-8."""
    folder = tmp_path_factory.mktemp("work")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        if not _odd_names():
            pytest.skip("this file system takes no names that are not UTF-8")
        patch.setenv("NASBENCH_CACHE", str(folder / "cache"))
        save_profile()
        write_images(folder / ODD, (ODD, "dog"))
        (folder / "quick.toml").write_text(RUNNER)
        space = nasbench.load_space("small").to_dict()
        write_toml(folder / f"{ODD}.toml", {key: value for key, value in space.items() if key != "name"})
        words = ("search", "--space", f"{ODD}.toml", "--budget", "100MFLOP", "--runner", "quick.toml")
        assert cli.main([*words, "--data", ODD, "--out", f"study {ODD}"]) == 0
        yield folder / f"study {ODD}"


def finished(folder: Path) -> int:
    with TrialStore(folder, read_only=True) as store:
        return sum(trial.finished for trial in store.trials)


@pytest.mark.exhaustive
def test_names_that_are_not_utf_8_are_searched_stored_and_resumed_from_anywhere(study, tmp_path, monkeypatch, capsys):
    stored = nasbench.Study.open(study)
    assert stored.data.endswith("/caf%E9")
    assert data_path(stored.data) == study.parent / ODD
    assert stored.space.name == "caf?"
    monkeypatch.chdir(tmp_path)
    count = finished(study)
    assert cli.main(["resume", str(study)]) == 0
    assert finished(study) == count
    for verb in ("front", "report"):
        assert cli.main([verb, str(study)]) == 0
    design = next((study / "designs").iterdir())
    (tmp_path / f"{ODD}.toml").write_bytes(design.read_bytes())
    assert cli.main(["profile", f"{ODD}.toml"]) == 0
    assert cli.main(["export", f"{ODD}.toml", "-o", f"{ODD}.onnx"]) == 0
    assert "caf\\udce9.onnx" in capsys.readouterr().out


def test_a_stored_path_is_absolute_and_can_be_written_whatever_was_typed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for typed in (ODD, f"./{ODD}", str(tmp_path / ODD), data_spec(ODD, ())):
        stored = data_spec(typed, ("cifar10",))
        assert stored == f"file://{tmp_path}/caf%E9"
        assert data_path(stored) == tmp_path / ODD
        assert data_spec(f"cifar10:{typed}", ("cifar10",)) == f"cifar10:{stored}"
    assert data_spec("é 100%", ()) == str(tmp_path / "é 100%")


def test_an_architecture_without_a_name_gets_one_that_can_be_written(tmp_path):
    content = {key: value for key, value in load("emo_1m").to_dict().items() if key != "name"}
    write_toml(tmp_path / f"{ODD}.toml", content)
    arch = load(tmp_path / f"{ODD}.toml")
    assert arch.label == "caf?"
    assert nasbench.Architecture.from_toml(arch.to_toml()).id == load("emo_1m").id


@pytest.mark.exhaustive
def test_a_relative_path_of_an_older_study_is_told_and_the_remedies_work(study, tmp_path, monkeypatch):
    content = read_toml(study / "study.toml") | {"data": "photos"}
    write_toml(study / "study.toml", content)
    (study.parent / ODD).rename(study.parent / "photos")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as error:
        nasbench.resume(study)
    text = str(error.value)
    assert "stored as 'photos', relative to where the search was started" in text
    assert str(tmp_path / "photos") in text
    assert "--data DIR" in text
    monkeypatch.chdir(study.parent)  # one remedy
    nasbench.resume(study)
    monkeypatch.chdir(tmp_path)  # the other
    before = finished(study)
    nasbench.resume(study, data=study.parent / "photos")
    assert finished(study) == before
    with pytest.raises(UserError, match="have changed since the study began, or are others; name those with"):
        nasbench.resume(study, data="fashion-on-earth")
    assert nasbench.Study.open(study).data == str(study.parent / "photos")
    (study.parent / "photos").rename(study.parent / "moved")
    with pytest.raises(UserError, match="which is not there; put them back, or say where they are"):
        nasbench.resume(study)


def test_a_path_that_is_not_there_is_named_whatever_bytes_it_has(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="neither a known name"):
        load_dataset(ODD)
    for words in (("proxy", "emo_1m", "--data", ODD), ("profile", f"{ODD}.toml"), ("front", ODD)):
        assert cli.main(words) == 2
        assert capsys.readouterr().err.startswith("error: ")


@pytest.mark.parametrize("path", ["a\0b", "file:///a%00b", "~nobody-of-this-name/photos", "a" * 5000], ids=repr)
def test_what_can_be_no_path_is_the_user_s_error(path):
    for read in (load_dataset, lambda text: data_spec(text, ())):
        with pytest.raises(UserError, match=r"is no path: .*; give a folder that is there") as error:
            read(path)
        assert len(str(error.value)) < 400


def test_names_that_are_too_long_or_lead_in_a_circle_end_with_one_line(tmp_path, capsys):
    (tmp_path / "loop.toml").symlink_to(tmp_path / "loop.toml")
    for name in ("a" * 5000, "a" * 5000 + ".toml", str(tmp_path / "loop.toml"), str(tmp_path)):
        assert cli.main(["profile", name]) == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_an_error_names_the_file_that_was_to_be_written(tmp_path):
    with pytest.raises(OSError, match="No such file") as error:
        write_atomic(tmp_path / "none" / "front.csv", "a")
    assert error.value.filename == str(tmp_path / "none" / "front.csv")


@pytest.mark.exhaustive
def test_where_the_home_cannot_be_written_to_the_work_goes_on_with_a_notice(tmp_path, monkeypatch, caplog, capsys):
    monkeypatch.delenv("NASBENCH_CACHE", raising=False)
    monkeypatch.setenv("HOME", "/proc/nobody")
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nobody/cache")  # nothing can be made there, not by root either
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    files._temporary_cache.cache_clear()
    write_images(tmp_path / "photos", ("cat", "dog"))
    (tmp_path / "quick.toml").write_text(RUNNER)
    assert cli.main(["latency", "devices"]) == 0
    assert "/proc/nobody/cache/nasbench cannot be written to" in caplog.text
    assert "NASBENCH_CACHE names another" in caplog.text
    save_profile()
    for words in (
        ("profile", "emo_1m"),
        ("latency", "predict", "emo_1m"),
        ("proxy", "emo_1m", "--runner", "quick.toml", "--data", "photos"),
        ("search", "--space", "small", "--budget", "100MFLOP", "--runner", "quick.toml", "--data", "photos"),
    ):
        assert cli.main(words) == 0, words
    assert capsys.readouterr().err.count("error") == 0
    monkeypatch.setattr(tempfile, "tempdir", "/proc/nobody")
    files._temporary_cache.cache_clear()
    with pytest.raises(UserError, match="nor a folder for temporary files can be written to"):
        files.cache_dir()
    files._temporary_cache.cache_clear()
