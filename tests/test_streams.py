"""Every verb of the command line prints to any stream: closed, full, of another encoding, its reader gone.

A new verb fails here until `VERBS` says how to call it.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

import pytest
from foreign_weights import small
from test_search import save_profile

from nasbench import cli
from nasbench.commands import weights
from nasbench.engine import start
from nasbench.exporting import formats
from nasbench.latency import calibrate, pack, selection, tables
from nasbench.proxy import evaluate, zero_cost
from nasbench.published import reproduce
from nasbench.report.results import StudyResult, open_study
from nasbench.scaling import training

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "results"
# How each verb is called, and with which code it ends on an ordinary stream. What takes long is stood in for below;
# laws, which take a minute to fit, are called in vain.
VERBS: dict[str, tuple[str, int]] = {
    "search": ("--space small --out new", 0),
    "resume": (f"{RESULTS / 'default'}", 0),
    "front": (f"{RESULTS / 'default'}", 0),
    "report": (f"{RESULTS / 'default'} -o ☃.html", 0),
    "watch": (f"{RESULTS / 'default'}", 0),
    "confirm": ("nowhere", 2),
    "space show": ("small", 0),
    "space size": ("small", 0),
    "space sample": ("small -n 2", 0),
    "space contains": ("small mobilevit_s", 0),
    "space importance": ("small --metric macs --designs 5", 2),
    "profile": ("☃.toml", 0),
    "draw": ("☃.toml emo_1m -o ☃.svg", 0),
    "audit": ("--rung none", 2),
    "score": ("☃.toml", 0),
    "explain": ("☃.safetensors ☃.png --out ☃", 2),
    "publish": ("☃.safetensors --to ☃", 2),
    "export-study": ("nowhere --optuna ☃.db", 2),
    "data check": ("nowhere", 2),
    "reproduce": ("mobileone_s0", 0),
    "list": ("emo_1m", 0),
    "describe": ("☃.safetensors", 2),
    "proxy": ("☃.toml", 0),
    "train": ("☃.toml --data nowhere", 2),
    "export": ("☃.toml -o ☃.onnx", 0),
    "table collect": ("--space nowhere", 2),
    "table add": ("nowhere", 2),
    "table show": ("nowhere", 2),
    "table suggest": ("--space nowhere", 2),
    "table export": ("☃.csv --table nowhere", 2),
    "bench add": ("nowhere ☃", 2),
    "bench run": ("random --on nowhere", 2),
    "bench show": ("nowhere", 2),
    "scale design": ("☃.toml --to ☃.toml --rule depth --space small --no-check", 0),
    "scale train": ("emo_1m --to 300MFLOP --out ☃", 0),
    "scale fit": ("☃", 2),
    "scale compare": ("☃", 2),
    "scale plan": ("☃", 2),
    "latency devices": ("", 0),
    "latency show": ("", 0),
    "latency fit": ("--space small", 0),
    "latency measure": ("☃.toml", 0),
    "latency predict": ("☃.toml", 0),
    "latency compare": ("this-machine this-machine ☃.toml", 0),
    "latency pack": ("there --out pack --space small", 0),
    "latency import": ("☃.json", 2),
    "doctor": ("", 0),
}


def leaves(parser: argparse.ArgumentParser, path: tuple[str, ...] = ()) -> Iterator[str]:
    groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    for group in groups:
        for name, child in group.choices.items():
            yield from leaves(child, (*path, name))
    if not groups:
        yield " ".join(path)


def encoded(encoding: str) -> TextIO:
    return io.TextIOWrapper(io.BytesIO(), encoding=encoding)


def gone() -> TextIO:
    """A pipe whose reader went away."""
    reader, writer = os.pipe()
    os.close(reader)
    return os.fdopen(writer, "w", encoding="utf-8")


STREAMS: dict[str, Callable[[], TextIO | None]] = {
    "utf-8": lambda: encoded("utf-8"),
    "ascii": lambda: encoded("ascii"),
    "cp1252": lambda: encoded("cp1252"),
    "utf-16": lambda: encoded("utf-16"),
    "shift_jis": lambda: encoded("shift_jis"),
    "closed": lambda: None,
    "gone": gone,
    "full": lambda: open("/dev/full", "w", encoding="utf-8"),  # noqa: SIM115, the test closes it
}


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A folder with a design of an odd name, and stand-ins for what takes long."""
    folder = tmp_path_factory.mktemp("wörk")
    arch = small("emo_1m", depth=1).replace(name="snow ☃")
    (folder / "☃.toml").write_text(arch.to_toml(), encoding="utf-8")
    result = open_study(RESULTS / "default")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NASBENCH_CACHE", str(folder / "cache"))
        patch.chdir(folder)
        save_profile()
        for module, name, answer in (
            (start, "search", result),
            (start, "resume", result),
            (StudyResult, "report", None),
            (reproduce, "reproduce", []),
            (evaluate, "evaluate", {"accuracy": 0.5, "note": "☃"}),
            (zero_cost, "all_scores", {"snip": 1.5}),
            (training, "train_family", Path("☃")),
            (selection, "calibration_set", []),
            (selection, "covering_set", []),
            (calibrate, "fit_profile", None),
            (tables, "measurement_table", [{"name": "☃", "measured ms": 1.5}]),
            (pack, "write_pack", None),
            (weights, "deployed", (None, "fresh ☃")),
            (formats, "export", formats.Written(4, "", 0.0)),
        ):
            patch.setattr(module, name, lambda *given, answer=answer, **named: answer)
        (folder / "pack").mkdir()
        yield folder


@contextlib.contextmanager
def streams(out: TextIO | None, err: TextIO | None) -> Iterator[None]:
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = out, err  # type: ignore[assignment]
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
        for stream in (out, err):
            with contextlib.suppress(OSError):
                if stream is not None:
                    stream.close()


def test_every_verb_is_called_here():
    assert set(leaves(cli.parser())) == set(VERBS)


@pytest.mark.exhaustive
@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_prints_to_any_stream(workplace, verb):
    words, wanted = VERBS[verb]
    for name, make in STREAMS.items():
        if name == "full" and not Path("/dev/full").exists():
            continue
        for out, err in ((make(), encoded("utf-8")), (make(), make())):
            full = name == "full" and wanted == 0 and out is not None and getattr(out, "name", "") == "/dev/full"
            with streams(out, err):
                code = cli.main([*verb.split(), *words.split()])
            assert code == (2 if full else wanted), name


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["search", "--no-such"], ["search", "--help"]], ids=str)
@pytest.mark.parametrize("name", STREAMS)
def test_help_and_mistakes_print_to_any_stream(words, name):
    if name == "full" and not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    with streams(STREAMS[name](), STREAMS[name]()), pytest.raises(SystemExit) as end:
        cli.main(words)
    assert end.value.code == (2 if "--no-such" in words else 0)
