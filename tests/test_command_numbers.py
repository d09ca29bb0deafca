"""Every number that a verb of the command line takes: what it cannot be is refused in one line, before any work."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nasbench import cli
from nasbench.commands.benches import names
from nasbench.commands.common import MOST_HOURS, MOST_SECONDS
from nasbench.commands.latency_options import option

BAD = ("-1", "nan", "inf", "-inf", "1e400", "1" + "0" * 30, "9" * 5000, "", " ", "0x10", "½", "１２", "1e3x", "\0")
BAD_SIZES = (
    *("-1FLOP", "0FLOP", "nanFLOP", "infFLOP", "1e400FLOP", "1e30FLOP", "1e-30FLOP", "9" * 5000 + "FLOP", "", " "),
    *("nan", "1e400", "-1", "0x", "nanx", "infx", "1e400x", "-1x", "1e30x", "\0", "1\0FLOP", "1FLOP" * 100),
)
UNITS = {"BUDGET", "TARGET", "SIZE", "MACS"}  # what options call a number with a unit
# What stands for a positional argument, by its name, where another one is looked at.
NEEDED = {
    **dict.fromkeys(("architecture", "architectures", "names"), "emo_1m"),
    **dict.fromkeys(("folder", "folders", "studies", "file", "study", "on"), "nowhere"),
    "strategies": "random",
    **dict.fromkeys(("first", "second", "name"), "own"),
    **{"space": "small", "text": "emo", "out": "nowhere", "output": "nowhere.onnx", "to": "200MFLOP"},
}


def verbs(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    for group in groups:
        for child in group.choices.values():
            yield from verbs(child)
    if not groups:
        yield parser


def words(verb: argparse.ArgumentParser, without: argparse.Action) -> list[str]:
    """A call of the verb that has all that it needs but one option."""
    needed = [action for action in verb._actions if action is not without and action.dest != "help"]
    positional = [NEEDED[action.dest] for action in needed if not action.option_strings]
    options = [(a.option_strings[-1], NEEDED[a.dest]) for a in needed if a.option_strings and a.required]
    return [*verb.prog.split()[1:], *positional, *(word for pair in options for word in pair)]


def options(sizes: bool) -> list[tuple[argparse.ArgumentParser, argparse.Action]]:
    """Every option that takes a number; of `sizes` those with a unit."""
    found = [(verb, action) for verb in verbs(cli.parser()) for action in verb._actions if action.option_strings]
    if sizes:
        return [(verb, action) for verb, action in found if action.metavar in UNITS]
    return [(verb, action) for verb, action in found if action.type not in (None, Path, option, names)]


Run = Callable[[list[str]], object]


def refusal(capsys: pytest.CaptureFixture[str], arguments: list[str], run: Run = cli.main) -> str:
    """The one line of the error of a call that must end with exit code 2."""
    try:
        code = run(arguments)
    except SystemExit as end:
        code = int(end.code or 0)
    shown = capsys.readouterr()
    assert code == 2, (arguments, code, shown)
    assert shown.out == ""
    line = shown.err.removesuffix("\n")
    assert line.startswith("error: ")
    assert "\n" not in line
    assert len(line) < 600, line
    return line


@pytest.mark.parametrize(
    ("verb", "action"), options(sizes=False), ids=lambda each: getattr(each, "prog", None) or each.option_strings[-1]
)
def test_a_number_that_cannot_be_is_refused(
    verb: argparse.ArgumentParser, action: argparse.Action, capsys: pytest.CaptureFixture[str]
) -> None:
    flag, call = action.option_strings[-1], words(verb, action)
    for value in BAD:
        assert flag in refusal(capsys, [*call, f"{flag}={value}"], cli.parser().parse_args)
    assert callable(action.type)
    for value in ("0", "1", "64", "1000000", "1e6", "1e9", "1e300"):  # what is taken lies within a bound
        try:
            taken = action.type(value)
        except (argparse.ArgumentTypeError, ValueError):
            continue
        assert taken is None or 0 <= taken <= max(MOST_SECONDS, MOST_HOURS), (flag, value, taken)


@pytest.mark.parametrize(
    ("verb", "action"), options(sizes=True), ids=lambda each: getattr(each, "prog", None) or each.option_strings[-1]
)
def test_a_size_that_cannot_be_is_refused(
    verb: argparse.ArgumentParser,
    action: argparse.Action,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NASBENCH_CACHE", str(tmp_path / "cache"))
    flag, call = action.option_strings[-1], words(verb, action)
    if verb.prog.endswith("search"):
        call += ["--space", "small", "--out", "nowhere"]
    for value in BAD_SIZES:
        line = refusal(capsys, [*call, f"{flag}={value}"])
        assert "nowhere" not in line, "the number is looked at first"
    assert [path.name for path in tmp_path.iterdir() if path.name != "cache"] == []


def test_a_rate_is_of_multiply_adds(capsys: pytest.CaptureFixture[str]) -> None:
    line = refusal(capsys, ["scale", "plan", "nowhere", "--rate", "5ms"])
    assert "--rate 5ms: a device's multiply-adds a second are asked for; write for example 4TMAC" in line


@pytest.mark.parametrize("text", ["a=NaN", "a=1e999", "a=" + "[" * 100_000, "a=" + "9" * 5000, "a=[Infinity]"])
def test_a_runtimes_option_that_json_does_not_know_is_text(text: str) -> None:
    assert option(text) == ("a", text.partition("=")[2])
    for wrong in ("a", "=3", " =3"):
        with pytest.raises(argparse.ArgumentTypeError, match="is not NAME=VALUE"):
            option(wrong)
