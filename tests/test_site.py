"""The pages of the documentation site: their links hold, and the references name every command and public name."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

import nasbench
from nasbench.cli import parser

ROOT = Path(__file__).parent.parent
SPEC = importlib.util.spec_from_file_location("docs_site", ROOT / "docs" / "site.py")
assert SPEC is not None
assert SPEC.loader is not None
site = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(site)


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site") / "pages"
    site.gather(folder)
    return folder


def test_no_two_pages_have_one_address(pages: Path) -> None:
    """A page and a notebook of one name would: the one written last takes the other's place."""
    addresses = [
        path.relative_to(pages).with_suffix("") for path in pages.rglob("*") if path.suffix in (".md", ".ipynb")
    ]
    assert len(addresses) == len(set(addresses)) > 10


def test_every_link_of_a_page_leads_to_a_file_of_the_site(pages: Path) -> None:
    found = 0
    for page in pages.rglob("*.md"):
        for _, link in site.LINK.findall(page.read_text(encoding="utf-8")):
            path = link.partition("#")[0]
            if path and "://" not in link:
                found += 1
                assert (page.parent / path).is_file(), f"{page.name}: {link}"
    assert found > 20


def test_pages_of_the_navigation_are_there(pages: Path) -> None:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    named = re.findall(r": ([\w/]+\.md)$", text.partition("\nnav:")[2], re.MULTILINE)
    assert len(named) > 8
    for name in named:
        assert (pages / name).is_file(), name


def test_the_references_name_every_command_and_public_name(pages: Path) -> None:
    commands = (pages / "docs" / "commands.md").read_text(encoding="utf-8")
    verbs = [" ".join(words) for words, _ in site._verbs(parser(), ())]
    assert len(verbs) > 30
    for verb in verbs:
        assert f"## nasbench {verb}\n" in commands
    api = (pages / "docs" / "api.md").read_text(encoding="utf-8")
    assert re.findall(r"^::: nasbench\..*\.(\w+)$", api, re.MULTILINE) == nasbench.__all__


def test_a_link_that_leads_nowhere_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "page.md").write_text("[gone](none.md)", encoding="utf-8")
    monkeypatch.setattr(site, "ROOT", tmp_path)
    with pytest.raises(SystemExit, match=r"page.md: links to none.md, which is not there"):
        site._copied("page.md", tmp_path / "out")
