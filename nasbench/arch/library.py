"""Shipped architectures by name, a user's own by path."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from nasbench.arch.architecture import Architecture
from nasbench.files import data_dir, named_file


def load(name_or_path: str | Path) -> Architecture:
    """The architecture shipped under this name, or read from a .toml or .json file."""
    shipped = _fixed_point_files() | _swap_files()
    path = named_file(name_or_path, shipped, "architecture")
    return _shipped(path) if str(name_or_path) in shipped else Architecture.from_file(path)


def fixed_points() -> dict[str, Architecture]:
    """Every shipped architecture by name."""
    return {name: _shipped(path) for name, path in _fixed_point_files().items()}


def swaps() -> dict[str, Architecture]:
    """Name -> published network with another network's block, or other patches, in place of its own."""
    return {name: _shipped(path) for name, path in _swap_files().items()}


def named_family(name: str) -> str:
    """The family that a published network's name tells, up to the first underscore: "emo" of "emo_1m"."""
    return name.partition("_")[0]


@cache
def _shipped(path: Path) -> Architecture:
    """Read once: it is frozen, and what was worked out of it (its network, its id) stays with it."""
    return Architecture.from_file(path)


@cache
def _fixed_point_files() -> dict[str, Path]:
    return {path.stem: path for path in sorted((data_dir("search_spaces") / "fixed_points").glob("*.toml"))}


@cache
def _swap_files() -> dict[str, Path]:
    return {path.stem: path for path in sorted((data_dir("search_spaces") / "swaps").glob("*.toml"))}
