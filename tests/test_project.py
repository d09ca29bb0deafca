"""The project's files agree with the tree: packaging, notices, make targets, documentation."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import pytest

from nasbench.files import read_toml

ROOT = Path(__file__).parent.parent
PROJECT = read_toml(ROOT / "pyproject.toml")
SETUPTOOLS = PROJECT["tool"]["setuptools"]


def test_every_package_is_listed() -> None:
    folders = {path.parent.relative_to(ROOT) for path in (ROOT / "nasbench").rglob("__init__.py")}
    mapped = set(SETUPTOOLS["package-dir"])
    assert {".".join(folder.parts) for folder in folders} | mapped == set(SETUPTOOLS["packages"])


def test_nothing_but_nasbench_lands_in_site_packages() -> None:
    assert {name.partition(".")[0] for name in SETUPTOOLS["packages"]} == {"nasbench"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel as setuptools builds it from a copy of the sources, without the network."""
    import shutil

    build_meta = pytest.importorskip("setuptools.build_meta")
    copy, out = tmp_path_factory.mktemp("sources"), tmp_path_factory.mktemp("wheel")
    for name in ("nasbench", "search_spaces", "runners"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, copy / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(copy)
        name = build_meta.build_wheel(str(out))
    return zipfile.ZipFile(out / name)


def test_the_wheel_ships_every_data_file(wheel: zipfile.ZipFile) -> None:
    shipped = set(wheel.namelist())
    for folder, ends in (
        ("search_spaces", {".toml", ".gz"}),
        ("runners", {".toml", ".yaml"}),
        ("nasbench", {".py", ".toml", ".npz", ".jpg", ".html", ".css", ".js", ".jinja"}),
    ):
        inside = Path("nasbench") if folder != "nasbench" else Path()
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in ends and "__pycache__" not in path.parts:
                assert (inside / path.relative_to(ROOT)).as_posix() in shipped
    tops = {name.partition("/")[0] for name in shipped}
    assert tops == {"nasbench", f"nasbench-{PROJECT['project']['version']}.dist-info"}
    assert "nasbench/datasets/NOTICE.md" in shipped


def test_version_is_one() -> None:
    import nasbench

    assert nasbench.__version__ == PROJECT["project"]["version"]
    assert f"## {nasbench.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_licence_and_the_notices_are_there() -> None:
    assert "Apache License" in (ROOT / "LICENSE").read_text(encoding="utf-8")
    notice = (ROOT / "NOTICE").read_text(encoding="utf-8")
    assert "Zalando" in notice
    assert "NASA" in notice
    assert "Plotly Technologies" in notice


def test_ci_ends_with_the_tests() -> None:
    commands = (ROOT / ".ci" / "run").read_text(encoding="utf-8").strip().splitlines()
    assert commands[0] == "#!/usr/bin/env bash"
    assert commands[-1] == "make test"
    rules = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert {"search", "test", "lint", "docs"} <= set(rules)


DOCUMENTS = ("README.md", "CONTRIBUTING.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")))


@pytest.mark.parametrize("path", [*DOCUMENTS, "results/README.md"])
def test_links_between_documents_lead_somewhere(path: str) -> None:
    text = (ROOT / path).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert ((ROOT / path).parent / target).exists(), f"{path} links to {target}"


def test_commands_in_the_documents_are_real() -> None:
    """Every `nasbench ...` line of a code block parses as the command line has it."""
    from nasbench.cli import parser as described

    parser = described()
    for name in DOCUMENTS:
        text = (ROOT / name).read_text(encoding="utf-8")
        for block in re.findall(r"```(?:sh|bash|console)\n(.*?)```", text, re.DOTALL):
            for line in re.findall(r"^(?:\$ )?nasbench (.*?)(?:\s+#.*)?$", block, re.MULTILINE):
                parser.parse_args(line.split())
