"""Weights and an image made from names alone, so that golden logits need neither checkpoints nor official code."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch

FOLDER = Path(__file__).parent / "golden"
NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))


def golden(name: str) -> dict[str, Any]:
    return json.loads((FOLDER / f"{name}.json").read_text())


def noise(key: str, n: int) -> np.ndarray:
    """n values in [-1, 1): splitmix64 of the key's crc32 and the index."""
    with np.errstate(over="ignore"):
        z = np.arange(n, dtype=np.uint64) + np.uint64(zlib.crc32(key.encode())) * np.uint64(0x9E3779B97F4A7C15)
        z = z + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(11)).astype(np.float64) / 2.0**52 - 1.0


def value(key: str, shape: list[int]) -> torch.Tensor:
    """The tensor that stands at `key`, scaled by what its name says it is."""
    x = noise(key, int(np.prod(shape))).reshape(shape)
    if key.endswith("running_var"):
        x = 1 + 0.25 * x
    elif key.endswith("running_mean"):
        x = 0.2 * x
    elif "layer_scale" in key:
        x = 0.3 + 0.2 * x
    elif "pos_embed" in key or "cls_token" in key:
        x = 0.3 * x
    elif key.endswith("relative_position_bias_table"):
        x = 0.8 * x
    elif len(shape) > 1:
        x = x * (4.5 / np.prod(shape[1:])) ** 0.5
    elif key.endswith("bias"):
        x = 0.2 * x
    else:
        x = 0.5 + 0.1 * x if "rbr_" in key else 1 + 0.2 * x
    return torch.from_numpy(x)


def state_dict(name: str) -> dict[str, torch.Tensor]:
    return {key: value(key, shape) for key, shape in golden(name)["keys"].items()}


def image(resolution: int) -> torch.Tensor:
    return torch.from_numpy((noise("image", 3 * resolution**2) * 1.7).reshape(1, 3, resolution, resolution))
