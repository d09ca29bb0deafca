"""The pages of the documentation site, gathered where mkdocs builds them from.

    python docs/site.py        # leaves them in build/pages; `make docs` also builds the site

README.md and the pages it leads to lie there as they lie here, so that their links hold; what they link to is copied
along. The command line's reference is made from its parser, that of Python from the docstrings of the public names.
"""

from __future__ import annotations

import argparse
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import nasbench
from nasbench.cli import parser

ROOT = Path(__file__).parent.parent
PAGES = ROOT / "build" / "pages"
BEGIN = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "results/README.md", *("docs/latency.md", "docs/scaling.md"),
         "docs/table.md", "docs/design.md", "docs/notebook.ipynb")  # fmt: skip
LINK = re.compile(r"(!?\[(?:[^\[\]]|\[[^\[\]]*\])*\])\(([^()\s]+)\)")
AS_TEXT = {"LICENSE", "NOTICE", "Containerfile"}  # without an ending: shown as pages


def gather(pages: Path = PAGES) -> None:
    """All pages anew."""
    shutil.rmtree(pages, ignore_errors=True)
    waiting, done = list(BEGIN), set[str]()
    while waiting:
        name = waiting.pop()
        if name in done:
            continue
        done.add(name)
        waiting += _copied(name, pages)
    (pages / "docs" / "commands.md").write_text(commands(), encoding="utf-8")
    (pages / "docs" / "api.md").write_text(api(), encoding="utf-8")


def _copied(name: str, pages: Path) -> list[str]:
    """Copy one file, and name those it links to; a folder is linked to by its README, or no longer."""
    source, target = ROOT / name, pages / name
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.suffix != ".md":
        shutil.copyfile(source, target)
        return []
    found: list[str] = []

    def settled(match: re.Match[str]) -> str:
        text, link = match.groups()
        path, _, anchor = link.partition("#")
        if "://" in link or not path:
            return match[0]
        linked = (source.parent / path).resolve()
        if linked.is_dir():
            if not (linked / "README.md").is_file():
                return text.removeprefix("!")[1:-1]
            path, linked = f"{path.rstrip('/')}/README.md", linked / "README.md"
        if not linked.is_file() or ROOT not in linked.parents:
            raise SystemExit(f"{name}: links to {link}, which is not there; mend the link")
        if linked.name in AS_TEXT or linked.suffix in (".py", ".toml", ".jsonl"):
            return text[1:-1]  # of the checkout, and no page
        found.append(linked.relative_to(ROOT).as_posix())
        return f"{text}({path}{'#' + anchor if anchor else ''})"

    target.write_text(LINK.sub(settled, source.read_text(encoding="utf-8")), encoding="utf-8")
    return found


def commands() -> str:
    """The reference of the command line: each verb's own help."""
    parts = ["# Command line\n", "What `nasbench VERB --help` prints, verb by verb.\n"]
    for words, verb in _verbs(parser(), ()):
        verb.formatter_class = _Wide
        parts.append(f"## nasbench {' '.join(words)}\n\n```text\n{verb.format_help().rstrip()}\n```\n")
    return "\n".join(parts)


class _Wide(argparse.RawDescriptionHelpFormatter):
    """As wide on every machine."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=100, max_help_position=28)


def _verbs(
    top: argparse.ArgumentParser, words: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], argparse.ArgumentParser]]:  # fmt: skip
    """Every verb that is called, in the order of the help."""
    groups = [action for action in top._actions if isinstance(action, argparse._SubParsersAction)]
    for group in groups:
        for name, child in group.choices.items():
            yield from _verbs(child, (*words, name))
    if not groups:
        yield words, top


def api() -> str:
    """The reference of Python: the public names, each where it is defined."""
    parts = ["# Python\n", "Each name is one of `nasbench`: `import nasbench`, then `nasbench.load(...)`.\n"]
    return "\n".join([*parts, *(f"::: nasbench.{module}.{name}\n" for name, module in nasbench._HOME.items())])


if __name__ == "__main__":
    gather()
