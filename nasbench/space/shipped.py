"""Shipped search spaces by name, a user's own by path."""

from __future__ import annotations

from pathlib import Path

from nasbench.files import data_dir, named_file
from nasbench.space.search_space import SearchSpace


def load_space(name_or_path: str | Path) -> SearchSpace:
    """The search space shipped under this name, or read from a .toml file."""
    return SearchSpace.from_file(named_file(name_or_path, _space_files(), "search space"))


def shipped_spaces() -> list[str]:
    return list(_space_files())


def _space_files() -> dict[str, Path]:
    return {path.stem: path for path in sorted(data_dir("search_spaces").glob("*.toml"))}
