"""Shipped search spaces by name, a user's own by path."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from nasbench.files import data_dir, named_file
from nasbench.space.search_space import SearchSpace


def load_space(name_or_path: str | Path) -> SearchSpace:
    """The search space shipped under this name, or read from a .toml file."""
    path = named_file(name_or_path, _space_files(), "search space")
    return _shipped(path) if str(name_or_path) in _space_files() else SearchSpace.from_file(path)


@cache
def _shipped(path: Path) -> SearchSpace:
    """Cached, as a space caches what it computes."""
    return SearchSpace.from_file(path)


def shipped_spaces() -> list[str]:
    return list(_space_files())


@cache
def _space_files() -> dict[str, Path]:
    return {path.stem: path for path in sorted(data_dir("search_spaces").glob("*.toml"))}
