"""nasbench.proxy.data: the cache, archives, folders, splits, pools, augmentation."""

from __future__ import annotations

import io
import logging
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nasbench.errors import UserError
from nasbench.proxy.data import augment, cifar10, load_dataset, pool
from nasbench.proxy.data.augment import Normalisation, flip_and_shift, normalisation, shuffled_positions
from nasbench.proxy.data.cache import cached_arrays
from nasbench.proxy.data.images import ArrayImages, ImageData, resize, split_validation, stratified_subset
from nasbench.proxy.data.pool import MemoryPool, PoolSpec, StreamingPool, open_pool, select


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NASBENCH_CACHE", str(tmp_path / "cache"))


# Cache


@pytest.mark.parametrize("damage", [b"", b"not a zip", None])
def test_a_damaged_cache_is_built_again(tmp_path, caplog, damage):
    build = lambda: {"a": np.arange(1000)}  # noqa: E731
    cached_arrays("thing", build)
    (path,) = (tmp_path / "cache" / "data").glob("thing.npz")
    content = bytearray(path.read_bytes())
    content[700] ^= 1
    path.write_bytes(bytes(content) if damage is None else damage)
    with caplog.at_level(logging.WARNING, "nasbench.data"):
        assert np.array_equal(cached_arrays("thing", build)["a"], np.arange(1000))
    assert "building it again" in caplog.text
    assert np.array_equal(cached_arrays("thing", lambda: pytest.fail("not stored"))["a"], np.arange(1000))


def test_a_cache_that_cannot_be_written_costs_no_result(tmp_path, caplog):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "data").write_text("a file where a folder should be")
    assert cached_arrays("thing", lambda: {"a": np.ones(2)})["a"].sum() == 2
    assert "cannot be written" in caplog.text


# Splits


def test_validation_is_stratified_disjoint_and_set_by_the_seed():
    labels = np.repeat(np.arange(10), [100] * 5 + [20] * 5)
    train, validation = split_validation(labels, seed=3)
    assert sorted([*train, *validation]) == list(range(len(labels)))
    assert np.bincount(labels[validation]).tolist() == [20] * 5 + [4] * 5
    assert np.array_equal(validation, split_validation(labels, 3)[1])
    assert not np.array_equal(validation, split_validation(labels, 4)[1])


def test_a_subset_keeps_the_shares_of_the_classes():
    labels = np.repeat([0, 1], [300, 100])
    subset = stratified_subset(labels, 40, seed=0)
    assert len(set(subset)) == 40
    assert abs((labels[subset] == 1).sum() - 10) <= 1
    assert len(stratified_subset(labels, 1000, seed=0)) == 400


def test_resize_takes_the_mean_over_what_a_pixel_covers():
    checker = np.indices((32, 32)).sum(0) % 2 * 200
    small = resize(np.repeat(checker[None, :, :, None], 3, 3).astype(np.uint8), 8)
    assert small.shape == (1, 8, 8, 3)
    assert np.abs(small.astype(int) - 100).max() <= 3


# CIFAR-10


def _arrays(count=20):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    return pixels, np.arange(count) % 10


def _tar(path: Path, batches: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in batches.items():
            member = tarfile.TarInfo(f"cifar-10/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def _names(suffix=""):
    return [*(f"data_batch_{i}{suffix}" for i in range(1, 6)), f"test_batch{suffix}"]


def _binary(pixels, labels):
    return b"".join(
        bytes([label]) + image.transpose(2, 0, 1).tobytes() for image, label in zip(pixels, labels, strict=True)
    )


def _python(pixels, labels):
    return pickle.dumps(
        {b"data": pixels.transpose(0, 3, 1, 2).reshape(len(pixels), -1), b"labels": labels.tolist()}, protocol=2
    )


@pytest.mark.parametrize(("write", "suffix"), [(_binary, ".bin"), (_python, "")])
def test_official_archives_and_npz_give_the_same_images(tmp_path, write, suffix):
    pixels, labels = _arrays()
    path = _tar(tmp_path / "cifar.tar.gz", dict.fromkeys(_names(suffix), write(pixels, labels)))
    data = load_dataset(f"cifar10:{path}")
    assert len(data.train.labels) == 100
    np.savez(
        tmp_path / "same.npz",
        x_train=np.tile(pixels, (5, 1, 1, 1)),
        y_train=np.tile(labels, 5),
        x_test=pixels,
        y_test=labels,
    )
    assert load_dataset(f"cifar10:{tmp_path / 'same.npz'}").id == data.id
    assert np.array_equal(data.test.read(np.arange(20), 32)[0], pixels)


def test_labels_as_keras_keeps_them_are_flattened(tmp_path):
    """keras.datasets.cifar10 gives labels of shape (n, 1); one-hot rows are no labels."""
    pixels, labels = _arrays()
    held = {"x_train": pixels, "y_train": labels[:, None], "x_test": pixels}
    np.savez(tmp_path / "keras.npz", **held, y_test=labels[:, None])
    data = load_dataset(f"cifar10:{tmp_path / 'keras.npz'}")
    assert np.array_equal(data.train.labels, labels)
    assert np.array_equal(data.test.labels, labels)
    np.savez(tmp_path / "one_hot.npz", **held, y_test=np.eye(10)[labels])
    with pytest.raises(UserError, match=r"with n labels"):
        load_dataset(f"cifar10:{tmp_path / 'one_hot.npz'}")


def test_a_pickle_that_asks_for_more_than_arrays_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (complex, (1,))

    path = _tar(tmp_path / "evil.tar.gz", dict.fromkeys(_names(), pickle.dumps(Evil(), protocol=2)))
    with pytest.raises(UserError, match=r"asks for (__builtin__|builtins)\.complex, which no archive of images needs"):
        load_dataset(f"cifar10:{path}")


@pytest.mark.parametrize("content", [b"", b"\x1f\x8b\x08\x00damaged", b"plain"])
def test_a_damaged_archive_is_one_line(tmp_path, content):
    path = tmp_path / "cifar.tar.gz"
    path.write_bytes(content)
    with pytest.raises(UserError, match="cannot be read") as error:
        load_dataset(f"cifar10:{path}")
    assert "\n" not in str(error.value)


def test_no_network_is_one_line_with_the_remedy(tmp_path):
    with pytest.raises(UserError, match=r"cannot be downloaded .* give a local copy as cifar10:/path"):
        cifar10.download("http://127.0.0.1:9/cifar.tar.gz", cifar10.MD5, tmp_path / "x")


def test_a_download_with_another_content_is_refused(tmp_path):
    (tmp_path / "source").write_bytes(b"something else")
    with pytest.raises(UserError, match=r"gave a file with MD5 \w+, not c32a1d4ab5d03f1284b67883e8d87530"):
        cifar10.download((tmp_path / "source").as_uri(), cifar10.MD5, tmp_path / "x")


# Folders


def _write_images(root: Path, counts: dict[str, int], size=(40, 30)) -> Path:
    rng = np.random.default_rng(0)
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for index in range(count):
            image = Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8))
            image.save(root / name / f"{index}.{'png' if index % 2 else 'jpg'}")
    return root


def test_a_folder_is_cut_into_disjoint_splits(tmp_path):
    data = load_dataset(str(_write_images(tmp_path / "mine", {"cat": 20, "dog": 30})))
    assert (data.name, data.classes) == ("mine", ("cat", "dog"))
    assert np.bincount(data.test.labels).tolist() == [4, 6]
    assert not set(data.train.names) & set(data.test.names)
    pixels, kept = data.train.read(np.arange(5), 16)
    assert pixels.shape == (5, 16, 16, 3)
    assert kept.tolist() == [0, 1, 2, 3, 4]


def test_a_test_folder_is_used_and_its_classes_must_agree(tmp_path):
    _write_images(tmp_path / "d" / "train", {"cat": 12, "dog": 12})
    _write_images(tmp_path / "d" / "val", {"cat": 3, "dog": 3})
    data = load_dataset(str(tmp_path / "d"))
    assert (len(data.train.labels), len(data.test.labels)) == (24, 6)
    (tmp_path / "d" / "val" / "cow").mkdir()  # nothing in it: no class
    assert load_dataset(str(tmp_path / "d")).classes == ("cat", "dog")
    Image.new("RGB", (8, 8)).save(tmp_path / "d" / "val" / "cow" / "0.png")
    with pytest.raises(UserError, match="must hold the same class folders; only one has cow"):
        load_dataset(str(tmp_path / "d"))


def test_the_id_follows_the_content_and_not_the_place(tmp_path):
    one, two = (_write_images(tmp_path / name, {"cat": 10, "dog": 10}) for name in ("one", "two"))
    assert load_dataset(str(one)).id == load_dataset(str(two)).id
    Image.new("RGB", (40, 30)).save(two / "cat" / "0.jpg")
    assert load_dataset(str(one)).id != load_dataset(str(two)).id


def test_a_corrupt_image_is_named_once_and_skipped(tmp_path, caplog):
    root = _write_images(tmp_path / "mine", {"cat": 10, "dog": 10})
    data = load_dataset(str(root))
    bad = root / data.train.names[1]
    bad.write_bytes(bad.read_bytes()[:60])
    data = load_dataset(str(root))
    for _ in range(2):
        pixels, kept = data.train.read(np.arange(4), 16)
        assert kept.tolist() == [0, 2, 3]
        assert len(pixels) == 3
    assert sum(str(bad) in record.message for record in caplog.records) == 1


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({}, "has 0 class folder"),
        ({"cat": 12}, r"has 1 class folder\(s\) \(cat\) with images; two or more are needed"),
        ({"cat": 12, "dog": 0}, r"has 1 class folder\(s\) \(cat\) with images; two or more are needed"),
        ({"cat": 12, "dog": 9}, "class 'dog' has 9 images; at least 10 are needed"),
    ],
)
def test_folders_that_cannot_be_used_are_one_line(tmp_path, counts, message):
    (tmp_path / "d").mkdir()
    with pytest.raises(UserError, match=message):
        load_dataset(str(_write_images(tmp_path / "d", counts)))


def test_an_unknown_name_is_neither_a_name_nor_a_folder():
    with pytest.raises(UserError, match="data 'imagenet' is neither a known name"):
        load_dataset("imagenet")


# Pools


def _data(count=100) -> ImageData:
    pixels, labels = _arrays(count)
    return ImageData(
        "d", "id", tuple("abcdefghij"), ArrayImages(pixels, labels), ArrayImages(pixels[:20], labels[:20]), 32
    )


def test_test_images_never_enter_the_pools_of_a_search():
    data = _data()
    train, validation = (set(select(data, PoolSpec(split, 32, 10_000, 0))[1]) for split in ("train", "validation"))
    assert not train & validation
    assert select(data, PoolSpec("test", 32, 10_000, 0))[0] is data.test
    assert all(select(data, PoolSpec(split, 32, 10_000, 0))[0] is data.train for split in ("train", "validation"))


def test_streaming_gives_the_same_batches_as_memory(tmp_path, monkeypatch):
    data = load_dataset(str(_write_images(tmp_path / "mine", {"cat": 40, "dog": 40})))
    spec = PoolSpec("train", 16, 1000, 0)
    memory = open_pool(data, spec)
    monkeypatch.setattr(pool, "MEMORY_LIMIT_BYTES", 0)
    stream = open_pool(data, spec)
    assert isinstance(memory, MemoryPool)
    assert isinstance(stream, StreamingPool)
    positions = list(shuffled_positions(len(memory), 300, 16, np.random.default_rng(0)))
    for (pixels, labels), (streamed, same) in zip(memory.batches(positions), stream.batches(positions), strict=True):
        assert torch.equal(pixels, streamed)
        assert torch.equal(labels, same)
    assert normalisation(stream).mean == pytest.approx(normalisation(memory).mean, rel=1e-9)


def test_decoded_folders_are_cached(tmp_path):
    data = load_dataset(str(_write_images(tmp_path / "mine", {"cat": 10, "dog": 10})))
    spec = PoolSpec("train", 16, 1000, 0)
    first = open_pool(data, spec)
    for path in (tmp_path / "mine").rglob("*.*"):
        path.unlink()
    again = open_pool(data, spec)
    assert isinstance(first, MemoryPool)
    assert isinstance(again, MemoryPool)
    assert len(again) == len(first) > 10
    assert torch.equal(again.pixels, first.pixels)
    with pytest.raises(UserError, match="no image of the train split can be read"):
        open_pool(data, spec, cache=False)


# Augmentation


def test_positions_are_whole_passes_and_set_by_the_generator():
    positions = np.concatenate(list(shuffled_positions(50, 100, 20, np.random.default_rng(1))))
    assert sorted(positions[:50]) == list(range(50))
    assert sorted(positions[50:]) == list(range(50))
    again = np.concatenate(list(shuffled_positions(50, 100, 20, np.random.default_rng(1))))
    assert np.array_equal(positions, again)


def test_flip_and_shift_moves_whole_images():
    ramp = torch.arange(16, dtype=torch.uint8)[None, None, :, None].expand(64, 16, 16, 3).contiguous()
    still = flip_and_shift(ramp, shift=0.0, flip=False, rng=np.random.default_rng(0))
    assert torch.equal(still, ramp)
    flipped = flip_and_shift(ramp, shift=0.0, flip=True, rng=np.random.default_rng(0))
    mirrored = (flipped == ramp.flip(2)).flatten(1).all(1)
    assert 16 < mirrored.sum() < 48
    assert torch.equal(flipped[~mirrored], ramp[~mirrored])
    moved = flip_and_shift(ramp, shift=0.125, flip=False, rng=np.random.default_rng(0))
    offsets = moved[:, 0, 8, 0].int() - 8
    assert set(offsets.tolist()) == {-2, -1, 0, 1, 2}
    assert torch.equal(moved[:, :, 2:14, :].int(), ramp[:, :, 2:14, :].int() + offsets[:, None, None, None])


def test_a_pool_sorted_by_class_is_normalised_by_all_of_its_classes(monkeypatch):
    """A folder's images lie class by class, here a dark one before a bright one."""
    monkeypatch.setattr(augment, "STATISTICS_IMAGES", 10)
    labels = torch.arange(2).repeat_interleave(20)
    pixels = (100 * labels[:, None, None, None]).expand(40, 8, 8, 3).to(torch.uint8)
    assert normalisation(MemoryPool(pixels, labels)).mean == pytest.approx((50, 50, 50))
    mixed = torch.arange(40).roll(1)
    assert normalisation(MemoryPool(pixels[mixed], labels[mixed])).mean == pytest.approx((10, 10, 10))


def test_normalised_pixels_have_mean_0_deviation_1_and_lie_channels_last():
    pixels = torch.from_numpy(_arrays(50)[0])
    images = normalisation(MemoryPool(pixels, torch.zeros(50, dtype=torch.int64))).apply(pixels)
    assert images.shape == (50, 3, 32, 32)
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert images.mean((0, 2, 3)).abs().max() < 1e-4
    assert (images.std((0, 2, 3)) - 1).abs().max() < 1e-4
    assert (
        Normalisation((1.0, 1.0, 1.0), (2.0, 2.0, 2.0))
        .apply(torch.full((1, 1, 1, 3), 5, dtype=torch.uint8))
        .unique()
        .item()
        == 2
    )
