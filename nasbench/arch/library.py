"""Shipped architectures by name, a user's own by path."""

from __future__ import annotations

from pathlib import Path

from nasbench.arch.architecture import Architecture
from nasbench.files import data_dir, named_file


def load(name_or_path: str | Path) -> Architecture:
    """The architecture shipped under this name, or read from a .toml or .json file."""
    return Architecture.from_file(named_file(name_or_path, _fixed_point_files() | _swap_files(), "architecture"))


def fixed_points() -> dict[str, Architecture]:
    """Every shipped architecture by name."""
    return {name: Architecture.from_file(path) for name, path in _fixed_point_files().items()}


def swaps() -> dict[str, Architecture]:
    """Name -> published network with another network's block, or other patches, in place of its own."""
    return {name: Architecture.from_file(path) for name, path in _swap_files().items()}


def _fixed_point_files() -> dict[str, Path]:
    return {path.stem: path for path in sorted((data_dir("search_spaces") / "fixed_points").glob("*.toml"))}


def _swap_files() -> dict[str, Path]:
    return {path.stem: path for path in sorted((data_dir("search_spaces") / "swaps").glob("*.toml"))}
