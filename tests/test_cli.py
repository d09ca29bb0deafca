"""The command line: starts fast, shows examples, and answers bad input in one line."""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from search_toys import study_of

import nasbench
from nasbench import cli
from nasbench.arch.library import load
from nasbench.commands.common import Parser, cell, seconds
from nasbench.errors import UserError
from nasbench.study.notes import LatencyNote
from nasbench.study.predicted import Interval, Predicted
from nasbench.study.store import TrialStore
from nasbench.study.trials import Kind, Origin, Outcome, State, Trial


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of one command, run in this process."""
    try:
        code = cli.main(arguments)
    except SystemExit as end:
        code = int(end.code or 0)
    shown = capsys.readouterr()
    return code, shown.out, shown.err


def leaves(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """Every verb that does something, `latency fit` counted as one."""
    groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return [leaf for group in groups for child in group.choices.values() for leaf in leaves(child)] or [parser]


ROOT = Path(__file__).parent.parent
VERBS = leaves(cli.parser())


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.prog)
def test_help_shows_an_example_that_parses(verb: argparse.ArgumentParser) -> None:
    text = verb.format_help()
    assert "example:" in text
    for line in text.split("example:\n")[1].splitlines():
        assert line.strip().startswith(verb.prog)
        cli.parser().parse_args(line.split()[1:])


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "--version")[:2] == (0, "nasbench 0.2.0\n")


def one_line(error: str) -> str:
    """The error's only line, after whatever progress was shown before it."""
    lines = error.splitlines()
    assert [line.startswith("error: ") for line in lines] == [False] * (len(lines) - 1) + [True]
    return lines[-1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["serch"], "invalid choice: 'serch'"),
        (["space"], "required: VERB"),
        (["search", "--trials", "0"], "'0' is not a whole number of at least 1"),
        (["search", "--time-limit", "soon"], "'soon' is not a time; write for example 900s, 15min or 2h"),
        (
            ["profile", "no_such_net"],
            "unknown architecture 'no_such_net'; give the path of a .toml file, or a name such as",
        ),
        (["profile", "missing.toml"], "missing.toml: cannot be read"),
        (["profile", "\x1b[31m.toml"], "?[31m.toml: cannot be read"),
        (["front", "no_such_folder"], "no_such_folder"),
        (["space", "show", "no_such_space"], "unknown search space 'no_such_space'"),
        (["space", "sample", "metablock", "--budget", "1G"], "1G"),
        (["space", "sample", "metablock", "--budget", "-1GFLOP"], "budget '-1GFLOP': the bound must be"),
        (["space", "sample", "small", "--out", "/proc/none"], "/proc/none: No such file or directory; it was removed"),
        (["latency", "measure", "emo_1m", "--device", "phone"], "unknown device 'phone'"),
        (["search", "--space", "small", "--budget", "1KFLOP", "--trials", "2", "--out", "nowhere"], "1KFLOP"),
        (["search", "--budget", "1G", "--out", "nowhere"], "1G"),
        (["search", "--space", "nope", "--out", "nowhere"], "unknown search space 'nope'"),
        (["search", "--runner", "nope", "--out", "nowhere"], "unknown runner 'nope'"),
        (["search", "--strategy", "nope", "--out", "nowhere"], "nope"),
        (["search", "--data", "no_such_images", "--out", "nowhere"], "no_such_images"),
        (["export", "emo_1m", "-o", "no_such_folder/x.onnx"], "the folder no_such_folder does not exist"),
        (["export", "emo_1m", "-o", "/dev/null"], "/dev/null: is a device or a pipe, which a file would replace"),
        (["export", "emo_1m", "-o", "x.onnx", "--batch", "0"], "'0' is neither a whole number from 1 to"),
        (["export", "emo_1m", "-o", "x.onnx", "--batch", "9" * 5000], "nor 'dynamic'"),
        (["latency", "predict", "emo_1m", "--device", "no-such-device"], "no-such-device"),
        (["proxy", "emo_1m", "--rung", "9"], "--rung 9: the ladder of runner 'laptop' has rungs 0 to"),
        (["proxy", "emo_1m", "--runner", "nope"], "unknown runner 'nope'"),
        (["reproduce", "emo_1m", "no_such_net"], "unknown architecture 'no_such_net'"),
        (["reproduce", "emo_1m", "--table", "blocks"], "--table blocks has its own networks; leave emo_1m out"),
        (["scale", "emo_1m", "--to", "200M"], "200M"),
        (["scale", "emo_1m", "--to", "200MFLOP", "--rule", "nope"], "nope"),
        (["scale", "train", "emo_1m", "--to", "200MFLOP", "--recipe", "nope", "--out", "nowhere"], "recipe 'nope'"),
        (["scale", "fit", "no_such_folder"], "no_such_folder: holds no trials.jsonl"),
        (["scale", "plan"], "no study given"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: list[str],
    words: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NASBENCH_CACHE", str(tmp_path / "cache"))
    code, output, error = run(capsys, *arguments)
    assert (code, output) == (2, "")
    assert words in one_line(error)
    assert not (tmp_path / "nowhere").exists(), "nothing half written"


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def verb(options: argparse.Namespace) -> int:
        raise error

    running(monkeypatch, verb)


def running(monkeypatch: pytest.MonkeyPatch, verb: Callable[[argparse.Namespace], int]) -> None:
    """Every command line runs `verb`."""

    def parser() -> Parser:
        top = Parser(prog="nasbench")
        top.set_defaults(run=verb, traceback=False)
        top.add_argument("--traceback", action="store_true")
        return top

    monkeypatch.setattr(cli, "parser", parser)
    monkeypatch.delenv("NASBENCH_DEBUG", raising=False)


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (UserError("budget '1G': no unit;\nwrite 1GFLOP"), 2, "error: budget '1G': no unit; write 1GFLOP"),
        (FileExistsError(17, "File exists", "runs"), 2, "runs: File exists; choose another place"),
        (OSError(28, "No space left on device", "front.csv"), 2, "front.csv: No space left on device; free some space"),
        (ZeroDivisionError("division by zero"), 1, "error: ZeroDivisionError: division by zero (this is our fault"),
        (OSError(5, "Input/output error"), 1, "Input/output error"),
        (KeyboardInterrupt(), 130, "nasbench resume DIR"),
    ],
)
def test_exit_codes(
    error: BaseException, code: int, words: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, error)
    got, output, shown = run(capsys)
    assert (got, output) == (code, "")
    assert words in one_line(shown)


def test_warnings_do_not_pass_on_what_terminals_obey() -> None:
    record = logging.LogRecord("nasbench.data", logging.WARNING, "", 0, "%s is dark\nand odd", ("\x1b[31m.png",), None)
    assert cli.Visible().format(record) == "?[31m.png is dark\nand odd"


def test_a_folder_that_was_deleted_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    code, output, shown = run(capsys, "profile", "emo_1m")
    assert (code, output) == (2, "")
    assert "the folder that this runs in was deleted" in one_line(shown)


def test_sigterm_ends_a_command_as_ctrl_c_does(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def verb(options: argparse.Namespace) -> int:
        os.kill(os.getpid(), signal.SIGTERM)
        return 0

    running(monkeypatch, verb)
    before = signal.getsignal(signal.SIGTERM)
    code, output, shown = run(capsys)
    assert (code, output) == (143, "")
    assert "stopped by SIGTERM; what was finished is kept: `nasbench resume DIR`" in one_line(shown)
    assert signal.getsignal(signal.SIGTERM) is before


def test_traceback_on_demand(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, ZeroDivisionError("why"))
    assert "Traceback" in run(capsys, "--traceback")[2]
    monkeypatch.setenv("NASBENCH_DEBUG", "1")
    assert "Traceback" in run(capsys)[2]


def test_profile_adds_up(capsys: pytest.CaptureFixture[str]) -> None:
    code, output, _ = run(capsys, "profile", "fastvit_t8", "--json")
    profile = json.loads(output)
    assert code == 0
    for name in ("params", "macs", "flops", "activations", "weight_bytes"):
        assert sum(stage[name] for stage in profile["stages"]) == profile["totals"]["deploy"][name]
    assert profile["totals"]["train"]["params"] > profile["totals"]["deploy"]["params"]
    table = run(capsys, "profile", "fastvit_t8")[1]
    assert f"{profile['totals']['deploy']['params']:,}" in table


def test_doctor_names_what_can_run(capsys: pytest.CaptureFixture[str]) -> None:
    code, output, _ = run(capsys, "doctor", "--json")
    answer = json.loads(output)
    assert code == 0
    assert {"python", "cores", "memory", "gpus"} <= {check["name"] for check in answer["checks"]}
    assert all(part["state"] in ("ok", "missing") for part in answer["parts"])
    assert "What can run" in run(capsys, "doctor")[1]


def test_a_reader_that_goes_away_is_no_error() -> None:
    command = f"{sys.executable} -m nasbench space sample metablock -n 50 --json | head -c 10; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("text", "value"), [("90", 90), ("90s", 90), ("15min", 900), ("2h", 7200), ("1.5m", 90)])
def test_times(text: str, value: float) -> None:
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["", "s", "5d", "-3s", "inf", "nan", "0"])
def test_times_that_are_none(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        seconds(text)


def test_cells() -> None:
    shown = [cell(value) for value in (None, True, 1234567, 0.000123456, 12.5, "x\x1b[31m")]
    assert shown == ["-", "yes", "1,234,567", "0.0001235", "12.5", "x?[31m"]


def test_no_abbreviated_options(capsys: pytest.CaptureFixture[str]) -> None:
    """`--trial 3` must not come to mean something else when an option is added."""
    code, _, error = run(capsys, "search", "--trial", "3")
    assert code == 2
    assert re.search("unrecognized arguments: --trial", error)


@pytest.fixture
def study_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stored study of two networks with three seeds each, as a search leaves it."""
    monkeypatch.setenv("NASBENCH_CACHE", str(tmp_path / "cache"))
    folder, study = tmp_path / "study", study_of(ladder=({"trials": 2, "samples": 64},), strategy={"name": "random"})
    study.create(folder)
    with TrialStore(folder) as store:
        for name, accuracy, kind in (("emo_1m", 0.80, Kind.FIXED_POINT), ("fastvit_t8", 0.85, Kind.SEARCHED)):
            arch = load(name)
            for seed in range(3):
                origin = Origin(kind, 0, "final", nasbench.cost(arch))
                trial = Trial.new(arch, study.ladder.rungs[0].fidelity, seed, "x", "test", origin)
                store.submit(trial)
                store.finish(trial.key, Outcome(State.COMPLETE, {"accuracy": accuracy + 0.01 * (seed - 1)}, seconds=1))
        latencies = {load("emo_1m").id: 6.0, load("fastvit_t8").id: 5.0}
        predicted = {key: Predicted(Interval(1.1 * ms, ms, 2 * ms), False) for key, ms in latencies.items()}
        store.note(LatencyNote(measured_ms=latencies, predicted=predicted))
    return folder


def test_front_reads_a_stored_study(study_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(study_folder.rglob("*"))
    code, output, error = run(capsys, "front", str(study_folder), "--json")
    answer = json.loads(output)
    assert (code, error) == (0, "")
    front = [network for network in answer["networks"] if network["on_front"]]
    assert [network["name"] for network in front] == ["fastvit_t8"]
    assert front[0]["accuracy_measured_mean"] == pytest.approx(0.85)
    assert front[0]["accuracy_measured_std"] == pytest.approx(0.01)
    assert front[0]["latency_ms_measured"] == 5.0
    assert any("the difference is more than seed noise" in line for line in answer["conclusion"])
    assert sorted(study_folder.rglob("*")) == before, "reading writes nothing"


def test_report_writes_the_files_anew(study_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, output, _ = run(capsys, "report", str(study_folder))
    assert code == 0
    assert "It beats the published network." in output
    assert {"front.csv", "front.png", "front.svg", "designs"} <= {path.name for path in study_folder.iterdir()}
    assert run(capsys, "profile", str(study_folder / "designs" / "fastvit_t8.toml"))[0] == 0


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        (("search", "--data", "", "--out", "nowhere"), "data '' is empty"),
        (("proxy", "emo_1m", "--seed", "-1"), "'-1' is not a whole number from 0"),
        (("space", "sample", "small", "--seed", "-3"), "'-3' is not a whole number from 0"),
    ],
    ids=str,
)
def test_what_a_user_writes_wrong_is_no_fault_of_ours(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], rule: str
) -> None:
    code, _, error = run(capsys, *arguments)
    assert code == 2
    assert rule in one_line(error)
    assert not Path("nowhere").exists()


def test_a_file_with_a_byte_order_mark_is_read(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "marked.toml"
    path.write_bytes(b"\xef\xbb\xbf" + load("emo_1m").to_toml().encode())
    code, out, _ = run(capsys, "profile", str(path), "--json")
    assert code == 0
    assert json.loads(out)["id"] == load("emo_1m").id


def test_names_of_images_are_known_without_their_loaders() -> None:
    from nasbench.proxy.data import DATASETS
    from nasbench.study import task

    assert set(task.DATASETS) == set(DATASETS)


@pytest.mark.parametrize("stream", ["| head -1 >/dev/null", ">&- 2>/dev/null"])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_a_reader_that_goes_away_or_knows_no_utf_8_is_no_error(stream: str, encoding: str) -> None:
    command = f"{sys.executable} -m nasbench front {ROOT / 'results' / 'default'} {stream}; exit ${{PIPESTATUS[0]}}"
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    assert subprocess.run(["bash", "-c", command], env=environment, stderr=subprocess.DEVNULL).returncode == 0
