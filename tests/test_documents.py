"""The commands and the Python of the documentation run: the quick ones here, all of them by `make docs-check`."""

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


def test_every_page_with_commands_is_run() -> None:
    pages = {
        path for path in (ROOT / "docs").glob("*.md") if re.search(r"^```(sh|bash|python)", path.read_text(), re.M)
    }
    assert {f"docs/{path.name}" for path in pages} <= set(run_commands.PAGES)
    assert len(STEPS) > 60


def test_the_quick_ones_run(capsys: pytest.CaptureFixture[str]) -> None:
    quick = [step for step in STEPS if step.quick]
    assert len(quick) > 12
    assert run_commands.run_all(quick, quick=True) == []


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


def test_a_command_that_fails_is_told(tmp_path: Path) -> None:
    failed = run_commands.run_all([run_commands.Step("a page", "nasbench profile no-such-network", False)], quick=True)
    assert len(failed) == 1
    assert "no-such-network" in failed[0]
