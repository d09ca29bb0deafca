"""The commands and the Python of the documentation run, page by page, at toy size (docs/run_commands.py)."""

from __future__ import annotations

import importlib.util
import re
import shlex
import sys
from pathlib import Path

import pytest

from nasbench.cli import parser

ROOT = Path(__file__).parent.parent
SPEC = importlib.util.spec_from_file_location("docs_run_commands", ROOT / "docs" / "run_commands.py")
assert SPEC is not None
assert SPEC.loader is not None
run_commands = importlib.util.module_from_spec(SPEC)
sys.modules[SPEC.name] = run_commands  # its dataclass looks itself up there
SPEC.loader.exec_module(run_commands)
STEPS = [step for page in run_commands.PAGES for step in run_commands.steps(page)]
TO_RUN = [step for step in STEPS if not step.left_out]


def test_every_page_with_commands_is_run() -> None:
    pages = {
        path for path in (ROOT / "docs").glob("*.md") if re.search(r"^```(sh|bash|python)", path.read_text(), re.M)
    }
    assert {f"docs/{path.name}" for path in pages} <= set(run_commands.PAGES)
    assert len(STEPS) > 60


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("documents")


@pytest.fixture(scope="module")
def made() -> set[str]:
    """What ran in the folder before, of what several pages make."""
    return set()


@pytest.mark.parametrize("page", [page for page in run_commands.PAGES if any(step.page == page for step in TO_RUN)])
def test_a_page_runs(page: str, folder: Path, made: set[str]) -> None:
    assert run_commands.run_all([step for step in TO_RUN if step.page == page], folder, made) == []


def test_pages_leave_little_out() -> None:
    assert len(TO_RUN) > 100


def test_what_stands_in_a_command_s_place_is_a_command() -> None:
    line = parser()
    for step in STEPS:
        if not step.python and not step.left_out:
            assert line.parse_args(shlex.split(step.here)), step.here


def test_what_fits_no_command_is_no_longer_needed() -> None:
    commands = [step.command for step in STEPS if not step.python]
    for pattern, _ in (*run_commands.SMALLER, *run_commands.LEFT_OUT):
        assert any(re.match(pattern, command) for command in commands), f"{pattern} fits no command of the pages"
    code = "".join(step.text for step in STEPS if step.python)
    assert all(long in code for long, _ in run_commands.SMALLER_PYTHON)


def test_a_command_that_fails_is_told(folder: Path) -> None:
    step = run_commands.Step("a page", "nasbench profile no-such-network", False)
    failed = run_commands.run_all([step], folder, set())
    assert len(failed) == 1
    assert "no-such-network" in failed[0]
