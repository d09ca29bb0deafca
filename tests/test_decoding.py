"""nasbench.proxy.data.decoding: every depth of samples by one rule, every suffix that Pillow reads."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nasbench.proxy.data.decoding import decode, suffixes

RAMP = np.linspace(0, 1, 64)[None].repeat(64, 0)  # black to white
EIGHT_BITS = np.round(RAMP * 255).astype(np.uint8)


def _saved(path: Path, samples: np.ndarray) -> Path:
    Image.fromarray(samples).save(path)
    return path


@pytest.mark.parametrize(
    ("name", "samples"),
    [
        ("16-bit.png", (RAMP * 65535).astype(np.uint16)),
        ("16-bit.tif", (RAMP * 65535).astype(np.uint16)),
        ("16-bit-big-endian.tif", (RAMP * 65535).astype(">u2")),
        ("16-bit.pgm", (RAMP * 65535).astype(np.uint16)),
        ("int32-of-8.tif", EIGHT_BITS.astype(np.int32)),
        ("int32-of-16.tif", (RAMP * 65535).astype(np.int32)),
        ("float-to-1.tif", RAMP.astype(np.float32)),
        ("float-to-1.pfm", RAMP.astype(np.float32)),
        ("float-to-255.tif", (RAMP * 255).astype(np.float32)),
        ("float-to-65535.tif", (RAMP * 65535).astype(np.float32)),
    ],
)
def test_deep_samples_decode_to_the_same_picture_as_8_bits(tmp_path, name, samples):
    if name.endswith((".pgm", ".pfm")):
        _write_netpbm(tmp_path / name, samples)
    else:
        _saved(tmp_path / name, samples)
    pixels = decode(tmp_path / name, 64)
    assert pixels is not None
    assert pixels.shape == (64, 64, 3)
    assert np.abs(pixels.astype(int) - EIGHT_BITS[..., None]).max() <= 1


def _write_netpbm(path: Path, samples: np.ndarray) -> None:
    if path.suffix == ".pgm":
        path.write_bytes(b"P5\n64 64\n65535\n" + samples.astype(">u2").tobytes())
    else:
        path.write_bytes(b"Pf\n64 64\n-1.0\n" + samples.astype("<f4").tobytes())


@pytest.mark.parametrize("dark", [0, 40])
def test_a_dark_16_bit_image_stays_dark_whatever_its_largest_sample(tmp_path, dark):
    pixels = decode(_saved(tmp_path / "dark.png", np.full((8, 8), dark * 257, np.uint16)), 8)
    assert pixels is not None
    assert np.unique(pixels).tolist() == [dark]


def test_samples_far_below_white_are_named(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "nasbench.data"):
        decode(_saved(tmp_path / "sensor.png", (RAMP * 4095).astype(np.uint16)), 8)
    assert "sensor.png is dark: its samples reach 4095, and 65535 is white" in caplog.text


@pytest.mark.parametrize(
    "samples",
    [
        RAMP.astype(np.float32) - 0.5,
        np.full((8, 8), np.nan, np.float32),
        np.full((8, 8), np.inf, np.float32),
        (RAMP * 1e6).astype(np.int32),
    ],
)
def test_samples_without_a_known_scale_are_named_and_skipped(tmp_path, caplog, samples):
    path = _saved(tmp_path / "odd.tif", samples)
    with caplog.at_level(logging.WARNING, "nasbench.data"):
        assert decode(path, 8) is None
    assert f"{path} is skipped" in caplog.text
    assert "they must lie in 0 to 1 (floats), 255 or 65535" in caplog.text


@pytest.mark.parametrize("suffix", sorted({".jpg", ".jfif", ".jp2", ".png", ".apng", ".tga", ".ico", ".webp", ".pcx"}))
def test_what_pillow_reads_is_decoded_whatever_its_suffix(tmp_path, suffix):
    path = tmp_path / f"image{suffix}"
    Image.new("RGB", (32, 32), (200, 100, 50)).save(path)
    pixels = decode(path, 16)
    assert suffix in suffixes()
    assert pixels is not None
    assert np.abs(pixels.astype(int) - (200, 100, 50)).max() <= 3


def test_documents_films_and_tables_are_no_images():
    assert not suffixes() & {".pdf", ".mpg", ".h5", ".eps", ".txt", ".json", ".npy"}


@pytest.mark.parametrize("transparency", [0, bytes(range(256))], ids=["one colour", "all colours"])
def test_transparent_palettes_keep_their_colours_without_a_warning(tmp_path, recwarn, transparency):
    grey = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16))
    grey.convert("P").save(tmp_path / "p.png", transparency=transparency)
    pixels = decode(tmp_path / "p.png", 16)
    assert pixels is not None
    assert (pixels == np.asarray(grey)[..., None]).all()
    assert not recwarn.list
