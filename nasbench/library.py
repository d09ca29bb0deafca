"""Shipped architectures and search spaces by name, a user's own by path."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING

from nasbench.architecture import Architecture
from nasbench.errors import UserError
from nasbench.files import data_dir

if TYPE_CHECKING:
    from nasbench.space import SearchSpace

SHOWN = 6  # names in an error where none is near


def load(name_or_path: str | Path) -> Architecture:
    """The architecture shipped under this name, or read from a .toml or .json file."""
    return Architecture.from_file(_resolve(name_or_path, _fixed_point_files() | _swap_files(), "architecture"))


def load_space(name_or_path: str | Path) -> SearchSpace:
    """The search space shipped under this name, or read from a .toml file."""
    from nasbench.space import SearchSpace

    return SearchSpace.from_file(_resolve(name_or_path, _space_files(), "search space"))


def fixed_points() -> dict[str, Architecture]:
    """Every shipped architecture by name."""
    return {name: Architecture.from_file(path) for name, path in _fixed_point_files().items()}


def swaps() -> dict[str, Architecture]:
    """Name -> published network with another network's block, or other patches, in place of its own."""
    return {name: Architecture.from_file(path) for name, path in _swap_files().items()}


def shipped_spaces() -> list[str]:
    return list(_space_files())


def _fixed_point_files() -> dict[str, Path]:
    return {path.stem: path for path in sorted((data_dir("search_spaces") / "fixed_points").glob("*.toml"))}


def _swap_files() -> dict[str, Path]:
    return {path.stem: path for path in sorted((data_dir("search_spaces") / "swaps").glob("*.toml"))}


def _space_files() -> dict[str, Path]:
    return {path.stem: path for path in sorted(data_dir("search_spaces").glob("*.toml"))}


def _resolve(name_or_path: str | Path, shipped: dict[str, Path], what: str) -> Path:
    text = str(name_or_path)
    if text in shipped:
        return shipped[text]
    path = Path(text)
    if path.suffix in (".toml", ".json") or path.exists():
        return path
    near = difflib.get_close_matches(text, shipped, n=4, cutoff=0.5) or list(shipped)[:SHOWN]
    more = "" if len(near) == len(shipped) else f" ({len(shipped)} are shipped; `nasbench list` names them)"
    raise UserError(
        f"unknown {what} {text!r}; give the path of a .toml file, or a name such as {', '.join(near)}{more}"
    )
