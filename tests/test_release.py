"""What is released: one version everywhere, extras that say what they are for, completion for shells."""

from __future__ import annotations

import importlib.util
import re
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from nasbench import cli
from nasbench.files import read_toml

ROOT = Path(__file__).parent.parent
PROJECT = read_toml(ROOT / "pyproject.toml")["project"]


def names(requirements: list[str]) -> list[str]:
    return [re.split(r"[\[<>=; ]", line)[0].lower() for line in requirements]


def test_the_version_stands_in_the_citation() -> None:
    assert f"version: {PROJECT['version']}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


def test_what_is_needed_is_named_once_and_pinned() -> None:
    extras = PROJECT["optional-dependencies"]
    named = names(PROJECT["dependencies"]) + [name for extra in extras.values() for name in names(extra)]
    assert len(names(PROJECT["dependencies"])) == len(set(names(PROJECT["dependencies"])))
    pins = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line]
    assert len(pins) == len({line.split("#")[0].strip() for line in pins})
    assert set(named) - {"nasbench"} <= {line.split("==")[0].lower() for line in pins}


def test_a_missing_extra_is_one_line_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def found(name: str, *rest: str, real=importlib.util.find_spec) -> ModuleSpec | None:  # type: ignore[no-untyped-def]
        return None if name == "captum" else real(name, *rest)

    monkeypatch.setattr(importlib.util, "find_spec", found)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["explain", "best.safetensors", "photo.jpg", "--out", "seen"]) == 2
    error = capsys.readouterr().err.strip()
    assert error.endswith("which is not installed; run `pip install 'nasbench[explain]'`")
    assert "\n" not in error
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_shells_complete_verbs_and_options(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.parser().parse_args(["--print-completion", shell])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert all(word in text for word in ("export-study", "--time-limit", "importance"))
