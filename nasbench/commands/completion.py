"""Completion for shells: `nasbench --print-completion bash`, by shtab."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence

SHELLS = ("bash", "zsh", "tcsh")


class PrintCompletion(argparse.Action):
    """Prints what makes a shell complete verbs, options and files, and ends."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: str | Sequence[object] | None,
        option_string: str | None = None,
    ) -> None:  # fmt: skip
        import shtab

        for action in _actions(parser):
            if action.choices is None and action.nargs != 0:  # its value is the user's own: most often a file or folder
                action.complete = shtab.FILE  # type: ignore[attr-defined]
        print(shtab.complete(parser, shell=str(values)))
        parser.exit(0)


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Of the parser and of all verbs below it."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for verb in action.choices.values():
                yield from _actions(verb)
