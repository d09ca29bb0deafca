"""Images in WebDataset shards and by Hugging Face's `datasets`: the same as in a folder."""

from __future__ import annotations

import importlib.util
import io
import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nasbench import cli
from nasbench.errors import UserError
from nasbench.proxy.data import load_dataset

CLASSES = ("cat", "dog")
EACH = 12  # images of a class in each split


def picture(seed: int) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 255, (20, 20, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "png")
    return buffer.getvalue()


def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of images, and two shards of training and one of test images with the same."""
    root = tmp_path_factory.mktemp("pets")
    (root / "shards").mkdir()
    names = {"train": ("train-000", "train-001"), "test": ("test-000",)}
    for split, shards in names.items():
        tars = [tarfile.open(root / "shards" / f"{name}.tar", "w") for name in shards]  # noqa: SIM115
        for index in range(EACH):
            for label, name in enumerate(CLASSES):
                content = picture(1000 * (split == "test") + 100 * label + index)
                path = root / "files" / split / name / f"{index:02d}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
                tar, key = tars[index % len(tars)], f"{index:02d}{label}"
                add(tar, f"{key}.png", content)
                kind, said = [("cls", name), ("json", json.dumps({"label": name}))][index % 2]
                add(tar, f"{key}.{kind}", said.encode())
        for tar in tars:
            tar.close()
    return root


def test_folders_may_name_the_splits(root: Path, tmp_path: Path) -> None:
    """As docs/data.md says. Tars beside class folders are no shards."""
    for split, names in (("train", ("train-000", "train-001")), ("test", ("test-000",))):
        (tmp_path / split).mkdir()
        for number, name in enumerate(names):
            shutil.copy(root / "shards" / f"{name}.tar", tmp_path / split / f"{number:03d}.tar")
    shards, flat = load_dataset(str(tmp_path)), load_dataset(str(root / "shards"))
    for one, other in ((flat.train, shards.train), (flat.test, shards.test)):
        assert np.array_equal(in_order(one), in_order(other))
    for split in ("train", "test"):
        shutil.copytree(root / "files" / split, tmp_path / split, dirs_exist_ok=True)
    assert np.array_equal(in_order(load_dataset(str(tmp_path)).train), in_order(flat.train))


def in_order(images: object) -> np.ndarray:
    pixels, _ = images.read(np.arange(len(images.labels)), 20)  # type: ignore[attr-defined]
    rows = np.concatenate([pixels.reshape(len(pixels), -1), images.labels[:, None]], 1)  # type: ignore[attr-defined]
    return rows[np.lexsort(rows.T)]


def test_shards_hold_what_the_folder_holds(root: Path) -> None:
    folder, shards = load_dataset(str(root / "files")), load_dataset(str(root / "shards"))
    assert shards.classes == folder.classes == CLASSES
    for one, other in ((folder.train, shards.train), (folder.test, shards.test)):
        assert np.array_equal(in_order(one), in_order(other))
    ranged = load_dataset(str(root / "shards" / "train-{000..001}.tar"))
    assert len(ranged.train.labels) + len(ranged.test.labels) == 2 * EACH
    assert ranged.id != shards.id
    assert load_dataset(str(root / "shards")).id == shards.id


def test_another_image_in_the_same_place_is_another_data_set(root: Path, tmp_path: Path) -> None:
    for shard in (root / "shards").iterdir():
        content = bytearray(shard.read_bytes())
        if shard.stem == "train-000":
            begin = content.index(b"IDAT") + 40
            content[begin] ^= 1
        (tmp_path / shard.name).write_bytes(content)
    assert load_dataset(str(tmp_path)).id != load_dataset(str(root / "shards")).id


def test_the_command_line_checks_shards(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["data", "check", str(root / "shards"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["images"]["test"] == {"cat": EACH, "dog": EACH}


def test_shards_that_cannot_be_used_are_one_line(root: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.tar").write_bytes(b"no tar" * 200)
    with tarfile.open(tmp_path / "bare.tar", "w") as tar:
        add(tar, "1.png", picture(1))
    with tarfile.open(tmp_path / "words.tar", "w") as tar:
        add(tar, "1.cls", b"cat")
    for spec, words in (
        (tmp_path / "bad.tar", "not a tar file that can be read"),
        (tmp_path / "bare.tar", "sample '/1' has no label; write one beside it, such as .cls"),
        (tmp_path / "words.tar", "no image with a label beside it"),
        (tmp_path / "x-{000..003}.tar", "x-000.tar.*not a tar file that can be read"),
        (tmp_path / "x-{9..3}.tar", "{9..3} is no range of shards"),
    ):
        with pytest.raises(UserError, match=words):
            load_dataset(str(spec))


def test_the_hub_s_library_is_named_where_it_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert cli.main(["data", "check", "hf:someone/pets"]) == 2
    assert "data 'hf:someone/pets': needs datasets; run `pip install 'nasbench[datasets]'`" in capsys.readouterr().err


def test_a_folder_by_the_hub_s_library_is_the_same_images(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("datasets")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    folder, hub = load_dataset(str(root / "files")), load_dataset(f"hf:{root / 'files'}")
    assert hub.classes == CLASSES
    assert np.array_equal(in_order(folder.train), in_order(hub.train))
    assert np.array_equal(in_order(folder.test), in_order(hub.test))


def test_a_data_set_that_cannot_be_had_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")

    def refused(name: str) -> None:
        raise ConnectionError("no route")

    monkeypatch.setattr(datasets, "load_dataset", refused)
    with pytest.raises(UserError, match="cannot be had \\('no route'\\); check the name and the network, or fetch it"):
        load_dataset("hf:someone/pets")
