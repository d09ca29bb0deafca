"""nasbench.proxy.data.folder, splits and tree: which files of a folder are images, of which class and split."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nasbench.errors import UserError
from nasbench.proxy.data import load_dataset
from nasbench.proxy.data.folder import FileImages
from nasbench.proxy.data.images import ImageData
from nasbench.proxy.data.pool import PoolSpec, open_pool, select


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NASBENCH_CACHE", str(tmp_path / "cache"))


def _fill(folder: Path, count: int = 10, shade: int = 0) -> None:
    folder.mkdir(parents=True)
    for index in range(count):
        Image.fromarray(np.full((8, 8, 3), shade + index, np.uint8)).save(folder / f"{index}.png")


def _split(root: Path, classes: Iterable[str] = ("cat", "dog"), shade: int = 0) -> None:
    for name in classes:
        _fill(root / name, shade=shade)


def _names(data: ImageData) -> tuple[set[str], ...]:
    """Files of train, validation (none: cut from train) and test."""
    parts = (data.train, data.validation, data.test)
    return tuple(set(part.names) if isinstance(part, FileImages) else set() for part in parts)


def _tops(names: set[str]) -> set[str]:
    return {name.split("/")[0] for name in names}


# Splits


@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("train", "test"), ("Train", "Test"), ("TRAIN", "TESTING"), ("training", "validation"), ("train", "eval"),
        ("train", "valid"), ("trainset", "testset"), ("TrainImages", "ValImages"), ("train2017", "val2017"),
        ("training_set", "test-set"), ("train", "dev"), ("train_data", "holdout"), ("val", "test"),
    ],
)  # fmt: skip
def test_splits_are_known_by_their_usual_names(tmp_path, train, test, labelled):
    for name in (train, test):
        _split(tmp_path / "d" / name)
    data = load_dataset(str(tmp_path / "d"), labelled=labelled)
    trained, validated, tested = _names(data)
    assert (_tops(trained), validated, _tops(tested)) == ({train}, set(), {test})
    assert (len(trained), len(tested), data.classes) == (20, 20, ("cat", "dog") if labelled else ())


@pytest.mark.parametrize("labelled", [True, False])
def test_a_validation_split_is_used_where_there_is_one(tmp_path, labelled):
    for shade, name in ((0, "train"), (100, "val"), (200, "test")):
        _split(tmp_path / "d" / name, shade=shade)
    data = load_dataset(str(tmp_path / "d"), labelled=labelled)
    assert [_tops(names) for names in _names(data)] == [{"train"}, {"val"}, {"test"}]
    for shade, split in ((0, "train"), (100, "validation"), (200, "test")):
        for _ in range(2):  # the second is read from the cache
            (pixels, _), *_ = open_pool(data, PoolSpec(split, 8, 1000, 0)).batches([np.arange(20)])
            assert sorted(pixels[:, 0, 0, 0].tolist()) == sorted([*range(shade, shade + 10)] * 2)
    assert len(select(data, PoolSpec("validation", 8, 6, 0))[1]) == 6


def test_a_class_may_be_called_train(tmp_path):
    _split(tmp_path / "d", ("bus", "car", "train"))
    assert load_dataset(str(tmp_path / "d")).classes == ("bus", "car", "train")
    for name in ("train", "test"):
        _split(tmp_path / "two" / name, ("bus", "car", "train"))
    assert load_dataset(str(tmp_path / "two")).classes == ("bus", "car", "train")


def test_words_of_splits_in_the_names_of_classes_make_no_splits(tmp_path):
    classes = ("bullet_train", "crash-test", "train_station")
    _split(tmp_path / "d", classes)
    assert load_dataset(str(tmp_path / "d")).classes == classes


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (("cat", "dog", "test"), "test would be a class beside the others"),
        (("cat", "dog", "val/cat", "val/dog"), "val would be a class beside the others"),
        (("train/cat", "train/dog", "cow/left"), "train holds folders itself"),
        (("train/cat", "train/dog", "Training/cat", "Training/dog"), "Training, train are both the train split"),
        (("train/cat", "train/dog", "val/cat", "val/dog", "valid/cat"), "val, valid are both the validation split"),
        (("train/cat", "train/dog", "test/cat", "test/dog", "test_new/cat"), "test_new looks like a split"),
        (("my_train/cat", "my_train/dog", "my_test/cat", "my_test/dog"), "my_test, my_train look like splits"),
        (("test/cat", "test/dog"), "test is a split without one to train on"),
        (("train/cat", "train/dog", "test"), "must hold the same class folders; only one has cat, dog"),
    ],
)
def test_what_looks_like_a_split_and_cannot_be_one_is_refused(tmp_path, folders, message):
    for folder in folders:
        _fill(tmp_path / "d" / folder)
    with pytest.raises(UserError, match=message) as error:
        load_dataset(str(tmp_path / "d"))
    assert "\n" not in str(error.value)


# Splits inside classes


@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize(
    ("train", "held_out"), [("train", "test"), ("Training", "Validation"), ("trainset", "val"), ("val", "test")]
)
def test_class_folders_may_hold_their_own_splits(tmp_path, caplog, train, held_out, labelled):
    for name in ("bus", "car", "train"):  # a class may have a split's name
        _fill(tmp_path / "d" / name / train)
        _fill(tmp_path / "d" / name / held_out, 12, shade=100)
    data = load_dataset(str(tmp_path / "d"), labelled=labelled)
    trained, validated, tested = _names(data)
    assert data.classes == (("bus", "car", "train") if labelled else ())
    assert ({name.split("/")[1] for name in trained}, len(trained), validated) == ({train}, 30, set())
    assert ({name.split("/")[1] for name in tested}, len(tested)) == ({held_out}, 36)
    assert "3 class folders hold their own" in caplog.text


def test_all_three_splits_inside_classes_are_used_and_what_lies_beside_them_is_counted(tmp_path):
    for name in ("cat", "dog"):
        for shade, split in ((0, "train"), (50, "val"), (100, "test"), (150, "sketches")):
            _fill(tmp_path / "d" / name / split, shade=shade)
    Image.new("RGB", (8, 8)).save(tmp_path / "d" / "cat" / "cover.png")
    data = load_dataset(str(tmp_path / "d"))
    assert [len(names) for names in _names(data)] == [20, 20, 20]
    assert data.notes[0].startswith("left out: 21 images in folders that are no split")


def test_a_folder_inside_a_class_may_be_called_train(tmp_path):
    for name in ("vehicles/train", "vehicles/bus", "animals/cat"):
        _fill(tmp_path / "d" / name)
    assert load_dataset(str(tmp_path / "d")).classes == ("animals", "vehicles")


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (("cat/train", "cat/val", "dog"), "cat/val would train with the rest of its class"),
        (("cat/train", "cat/val", "dog/train"), "cat/val would train with the rest of its class"),
        (("cat/train", "cat/val", "dog/train", "dog/test"), "cat, dog are classes that hold different splits"),
        (("cat/train", "cat/val", "cat/valid", "dog/train", "dog/val"), "val, valid are both the validation split"),
        (("cat/train", "cat/val", "cat/val_old", "dog/train", "dog/val"), "val_old looks like a split beside"),
        (("train/train", "train/val", "val/train", "val/val"), "and have such names themselves"),
        (("images/train/cat", "images/train/dog", "images/val/cat", "images/val/dog"), "give that folder"),
    ],
)
def test_splits_inside_classes_that_do_not_agree_are_refused(tmp_path, folders, message):
    for folder in folders:
        _fill(tmp_path / "d" / folder)
    with pytest.raises(UserError, match=message) as error:
        load_dataset(str(tmp_path / "d"))
    assert "\n" not in str(error.value)


def test_folders_beside_splits_are_counted_and_named(tmp_path, caplog):
    for name in ("train/cat", "train/dog", "test/cat", "test/dog", "samples"):
        _fill(tmp_path / "d" / name)
    data = load_dataset(str(tmp_path / "d"))
    assert data.notes == (f"left out: 10 images in folders that are no split (.png 10); the first is "
                          f"{tmp_path / 'd' / 'samples' / '0.png'}",)  # fmt: skip
    assert data.notes[0] in caplog.text


# What is left out

SYSTEM_FOLDERS = ("__MACOSX", ".ipynb_checkpoints", "@eaDir", "#recycle", "$RECYCLE.BIN", ".thumbnails", "lost+found")


@pytest.mark.parametrize("place", ["{}", "cat/{}", "cat/2019/{}"])
@pytest.mark.parametrize("labelled", [True, False])
def test_hidden_files_and_system_folders_are_left_out_at_every_level(tmp_path, caplog, place, labelled):
    root = tmp_path / ".hidden" / "d"  # what lies above the folder does not count
    _split(root)
    before = load_dataset(str(root), labelled=labelled)
    for name in SYSTEM_FOLDERS:
        _fill(root / place.format(name) / "cat", 2)
    Image.new("RGB", (8, 8)).save(root / place.format("._0.png"))
    data = load_dataset(str(root), labelled=labelled)
    assert (data.id, data.classes) == (before.id, before.classes)
    assert data.notes[0].startswith(f"left out: {2 * len(SYSTEM_FOLDERS) + 1} hidden or system files (.png")
    assert data.notes[0] in caplog.text


def test_files_of_other_suffixes_are_counted_and_named_once(tmp_path, caplog):
    _split(tmp_path / "d")
    for name in ("a.heic", "b.HEIC", "c.txt", "d"):
        (tmp_path / "d" / "cat" / name).write_text("no image")
    with caplog.at_level(logging.WARNING, "nasbench.data"):
        for _ in range(2):
            data = load_dataset(str(tmp_path / "d"))
    (note,) = data.notes
    assert "left out: 4 files whose suffix is none of an image that Pillow reads (.heic 2, " in note
    assert str(tmp_path / "d" / "cat" / "a.heic") in note
    assert sum(note in record.getMessage() for record in caplog.records) == 1


def test_images_outside_class_folders_and_broken_links_are_counted(tmp_path):
    _split(tmp_path / "d")
    Image.new("RGB", (8, 8)).save(tmp_path / "d" / "loose.png")
    (tmp_path / "d" / "cat" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    notes = " ".join(load_dataset(str(tmp_path / "d")).notes)
    assert "1 images outside class folders" in notes
    assert "1 links that lead nowhere" in notes


def test_a_folder_of_which_nothing_can_be_read_is_no_class(tmp_path):
    _split(tmp_path / "d")
    for index in range(12):
        (tmp_path / "d" / "cat" / f"{index}.txt").write_text("a note")
        (tmp_path / "d" / "annotations").mkdir(exist_ok=True)
        (tmp_path / "d" / "annotations" / f"{index}.png").write_bytes(b"not an image")
    (tmp_path / "d" / "empty").mkdir()
    data = load_dataset(str(tmp_path / "d"))
    assert data.classes == ("cat", "dog")
    assert any("2 class folders without an image that can be read" in note for note in data.notes)


def test_linked_class_folders_are_read_and_circles_end(tmp_path):
    _split(tmp_path / "elsewhere")
    (tmp_path / "d").mkdir()
    for name in ("cat", "dog"):
        (tmp_path / "d" / name).symlink_to(tmp_path / "elsewhere" / name)
    (tmp_path / "elsewhere" / "cat" / "again").symlink_to(tmp_path / "elsewhere" / "cat")
    data = load_dataset(str(tmp_path / "d"))
    assert sum(len(names) for names in _names(data)) == 20
