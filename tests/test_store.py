"""The store of trials: what is written comes back, whatever happened to the process or the file in between."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from store_toys import done, trial

from nasbench.errors import UserError
from nasbench.study.notes import LatencyNote, PromotionNote
from nasbench.study.predicted import Interval, Predicted
from nasbench.study.spool import spool_read, spool_write
from nasbench.study.store import TrialStore
from nasbench.study.trials import Outcome, State, failed

FILE = "trials.jsonl"
TESTS = Path(__file__).parent


def test_what_is_stored_comes_back(tmp_path: Path) -> None:
    with TrialStore(tmp_path) as store:
        for n in range(3):
            store.submit(trial(n))
        store.finish(trial(0).key, done())
        store.finish(trial(1).key, failed("out of memory: 3 GB\nTraceback ..."))
        before = store.trials
    with TrialStore(tmp_path) as store:
        assert store.trials == before
        assert [t.state for t in store.trials] == ["complete", "failed", "submitted"]
        assert store.trials[0].metrics == {"error": 0.25, "words": "ein paar"}
        assert store.trials[1].reason == "out of memory: 3 GB"
        assert store.outstanding() == before[2:]
        assert [store.has_result(trial(n).key) for n in range(4)] == [True, True, False, False]


Step = tuple[str, int]  # submit trial n; finish the n-th of those outstanding; note a latency of n + 1 ms
STEPS = st.lists(st.tuples(st.sampled_from(["submit", "finish", "fail", "note"]), st.integers(0, 30)), max_size=12)


def take(store: TrialStore, step: Step) -> bool:
    """Apply a step where it is possible -> whether it was."""
    what, n = step
    if what == "note":
        store.note(LatencyNote(measured_ms={"a": n + 1.0}))
    elif what == "submit":
        if store.get(trial(n).key) is not None:
            return False
        store.submit(trial(n))
    else:
        waiting = store.outstanding()
        if not waiting:
            return False
        store.finish(waiting[n % len(waiting)].key, done(n / 100) if what == "finish" else failed(f"trial {n} broke"))
    return True


@given(steps=STEPS, where=st.floats(0, 1, allow_subnormal=False))
def test_a_file_torn_at_any_byte_holds_all_that_was_written_before(steps: list[Step], where: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path, states = Path(folder) / FILE, []
        with TrialStore(folder) as store:
            states.append((0, store.trials, store.notes(LatencyNote)))
            for step in steps:
                if take(store, step):
                    states.append((path.stat().st_size, store.trials, store.notes(LatencyNote)))
        whole = path.read_bytes()
        cut = round(where * len(whole))
        path.write_bytes(whole[:cut])
        # A record is whole without the newline behind it.
        index = max(i for i, (size, *_) in enumerate(states) if size - 1 <= cut)
        _, trials, notes = states[index]
        with TrialStore(folder, read_only=True) as store:
            assert (store.trials, store.notes(LatencyNote)) == (trials, notes)
        assert path.read_bytes() == whole[:cut]  # readers change nothing
        with TrialStore(folder) as store:
            store.submit(trial(99))
        with TrialStore(folder, read_only=True) as store:
            assert [t.key for t in store.trials] == [*(t.key for t in trials), trial(99).key]
            assert store.notes(LatencyNote) == notes


def test_every_torn_last_line_is_survived(tmp_path: Path) -> None:
    with TrialStore(tmp_path) as store:
        store.submit(trial(0))
        first = (tmp_path / FILE).stat().st_size
        store.submit(trial(1))
    whole = (tmp_path / FILE).read_bytes()
    for cut in range(first, len(whole) + 1):  # also in the middle of a character
        (tmp_path / FILE).write_bytes(whole[:cut])
        with TrialStore(tmp_path, read_only=True) as store:
            assert len(store.trials) == (2 if cut >= len(whole) - 1 else 1)


def test_a_finished_trial_is_never_run_or_finished_again(tmp_path: Path) -> None:
    with TrialStore(tmp_path) as store:
        store.submit(trial())
        store.submit(trial())  # a resumed study submits what is outstanding again
        store.finish(trial().key, done())
        with pytest.raises(ValueError, match="never run twice"):
            store.submit(trial())
        with pytest.raises(ValueError, match="never run twice"):
            store.finish(trial().key, done())
        with pytest.raises(ValueError, match="never submitted"):
            store.finish(trial(1).key, done())
    assert len((tmp_path / FILE).read_bytes().splitlines()) == 2


def test_a_line_that_cannot_be_read_is_named_and_the_rest_stays(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with TrialStore(tmp_path) as store:
        for n in range(3):
            store.submit(trial(n))
    lines = (tmp_path / FILE).read_bytes().splitlines(keepends=True)
    damaged = lines[0] + lines[1][:40] + b"\n\n" + lines[2]  # a blank line is none, and counted
    (tmp_path / FILE).write_bytes(damaged)
    for read_only in (True, False):
        caplog.clear()
        with TrialStore(tmp_path, read_only) as store:
            assert [t.key for t in store.trials] == [trial(0).key, trial(2).key]
            assert store.unread == {2: "not a JSON record"}
        (message,) = caplog.messages
        assert message.startswith(f"{tmp_path / FILE}, line 2: not a JSON record; passed over, the rest of the study")
        assert "put that line back from a copy, or delete it" in message
        assert (tmp_path / FILE).read_bytes() == damaged
    with TrialStore(tmp_path) as store:  # a resumed study trains again what the line held
        store.submit(trial(1))
        store.finish(trial(1).key, done())
    with TrialStore(tmp_path) as store:
        assert [t.key for t in store.trials] == [trial(n).key for n in (0, 2, 1)]
        assert store.has_result(trial(1).key)
        assert list(store.unread) == [2]


BEYOND = [-1, 10**400, 1e308, "3", None, [], {}]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"kind": "dream"}, "unknown kind 'dream'"),
        ({"kind": ["dream"]}, "unknown kind ['dream']"),
        ({"kind": "finished", "key": "0" * 16}, "trial '0000000000000000' is unknown"),
        ({"kind": "note", "name": "latency", "content": {"measured_ms": {"a": -1}}}, "measured_ms.a = -1"),
        ({"kind": "note", "name": "latency", "content": {"predicted": {"a": {}}}}, "predicted.a: latency_ms = None"),
        ({"kind": "note", "name": "promotion", "content": {"level": "rung 1", "chosen": []}}, "key 'of' is missing"),
        ({"kind": "note"}, "a note without content"),
        ({"origin": {"mood": "good"}}, "unknown key 'origin.mood'; known keys: cost, family"),
        ({"origin": {"rung": 10**6}}, "origin.rung = 1000000: input should be less than 1000"),
        ({"fidelity": {"samples": 3}}, "fidelity: key 'pool' is missing"),
        ({"fidelity": 3}, "fidelity = 3: input should be a valid dictionary"),
        ({"architecture": {"resolution": 64}}, "key 'stages' is missing"),
        ({"key": ...}, "key 'key' is missing"),
        ({"key": "../../../outside"}, "key = '../../../outside'"),
        *(({"seed": value}, "seed = ") for value in BEYOND),
        *(({"submitted_at": value}, "submitted_at = ") for value in BEYOND),
    ],
    ids=str,
)
def test_a_record_that_is_no_trial_is_named_in_one_line(
    tmp_path: Path, change: dict[str, object], problem: str
) -> None:
    record = {"kind": "submitted", **trial().to_record(), **change}
    good = json.dumps({"kind": "submitted", **trial(7).to_record()}) + "\n"
    bad = json.dumps({key: value for key, value in record.items() if value is not ...}) + "\n"
    (tmp_path / FILE).write_text(good + bad)
    with TrialStore(tmp_path) as store:
        assert problem in store.unread[2]
        assert [t.key for t in store.trials] == [trial(7).key]
    (tmp_path / FILE).write_text(bad)
    with pytest.raises(UserError) as caught:
        TrialStore(tmp_path)
    text = str(caught.value)
    assert text.startswith(f"{tmp_path / FILE}, line 1: ")
    assert "no line of the file can be read: was it written by a newer nasbench? read it with that one" in text
    assert "\n" not in text


@pytest.mark.parametrize(
    "change",
    [
        *({"state": value} for value in ("submitted", "dream", 3, None)),
        *({"seconds": value} for value in BEYOND),
        *({"finished_at": value} for value in BEYOND),
        *({"metrics": {"error": value}} for value in (1e308, 10**400, None, [], {})),
        {"metrics": 3},
        {"worker": 3},
        {"reason": 3},
        {"state": "failed", "reason": None},
    ],
    ids=str,
)
def test_an_outcome_that_cannot_be_is_passed_over_and_its_trial_trained_again(
    tmp_path: Path, change: dict[str, object]
) -> None:
    with TrialStore(tmp_path) as store:
        store.submit(trial())
        store.finish(trial().key, done())
    first, second = map(json.loads, (tmp_path / FILE).read_text(encoding="utf-8").splitlines())
    (tmp_path / FILE).write_text(f"{json.dumps(first)}\n{json.dumps({**second, **change})}\n", encoding="utf-8")
    with TrialStore(tmp_path) as store:
        assert list(store.unread) == [2]
        assert [left.key for left in store.outstanding()] == [trial().key]


def test_many_lines_that_cannot_be_read_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with TrialStore(tmp_path) as store:
        store.submit(trial())
    with (tmp_path / FILE).open("ab") as file:
        file.write(b"\0\xff\n" * 5000)
    with TrialStore(tmp_path, read_only=True) as store:
        assert len(store.unread) == 5000
    assert len(caplog.messages) == 4
    assert "4997 more lines cannot be read: 5, 6, 7" in caplog.messages[-1]


def test_a_line_that_stands_twice_changes_nothing(tmp_path: Path) -> None:
    with TrialStore(tmp_path) as store:
        store.submit(trial())
        store.finish(trial().key, done())
        before = store.trials
    (tmp_path / FILE).write_bytes((tmp_path / FILE).read_bytes() * 2)
    with TrialStore(tmp_path) as store:
        assert store.trials == before
        assert not store.unread


@pytest.mark.parametrize("content", [b"", b"\0\xff", b"[]", b"3", b"[" * 100_000, b'{"state": "complete"}'])
def test_a_damaged_file_in_the_spool_is_as_good_as_none(
    content: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with TrialStore(tmp_path) as store:
        for n in range(2):
            store.submit(trial(n))
            spool_write(tmp_path / "spool", trial(n).key, done())
        (tmp_path / "spool" / f"{trial(0).key}.json").write_bytes(content)
        assert [t.key for t in store.drain_spool()] == [trial(1).key]
        assert [t.key for t in store.outstanding()] == [trial(0).key]
    assert "not the outcome of a trial" in caplog.text


def test_a_full_disk_is_one_line_and_leaves_no_half_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pwrite

    def nearly_full(handle: int, data: bytes, offset: int) -> int:
        if len(data) > 30:
            return real(handle, data[:30], offset)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with TrialStore(tmp_path) as store:
        store.submit(trial(0))
        before = (tmp_path / FILE).read_bytes()
        monkeypatch.setattr(os, "pwrite", nearly_full)
        with pytest.raises(UserError, match=r"cannot write: No space left on device; make room, then `nasbench resume"):
            store.submit(trial(1))
        assert (tmp_path / FILE).read_bytes() == before
        assert len(store.trials) == 1
        monkeypatch.undo()
        store.submit(trial(1))  # room again
    with TrialStore(tmp_path) as store:
        assert len(store.trials) == 2


def test_a_second_writer_is_refused_and_readers_are_not(tmp_path: Path) -> None:
    with TrialStore(tmp_path) as store:
        store.submit(trial())
        with pytest.raises(UserError, match=rf"in use by process {os.getpid()} on .*; wait for it"):
            TrialStore(tmp_path)
        assert len(TrialStore(tmp_path, read_only=True).trials) == 1
    TrialStore(tmp_path).close()


def test_a_folder_that_cannot_be_written_is_the_users_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="give a folder that can be written"):
        TrialStore(tmp_path / "file" / "study")


def test_a_disk_that_is_full_before_the_first_record_is_told_by_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match="No space left") as error:
        TrialStore(tmp_path)
    assert error.value.filename == str(tmp_path)


def test_killing_the_writer_loses_nothing_and_frees_the_lock(tmp_path: Path) -> None:
    rng = random.Random(0)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS.parent), str(TESTS)])}
    for _ in range(3):
        command = [sys.executable, str(TESTS / "store_toys.py"), str(tmp_path)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        assert process.stdout is not None
        told = [int(process.stdout.readline())]
        time.sleep(rng.uniform(0, 0.2))
        process.send_signal(signal.SIGKILL)
        told += [int(line) for line in process.stdout.read().splitlines()]
        process.wait()
        with TrialStore(tmp_path) as store:  # the lock went with the process
            assert all(store.has_result(trial(n).key) for n in told)
            for left in store.outstanding():
                store.finish(left.key, done())


def test_the_spool_holds_what_no_driver_took(tmp_path: Path) -> None:
    with TrialStore(tmp_path) as store:
        for n in range(3):
            store.submit(trial(n))
        for n in range(3):
            assert spool_write(tmp_path / "spool", trial(n).key, done(n / 10))
        store.finish(trial(0).key, done(0.0))
        assert set(spool_read(tmp_path / "spool")) == {trial(1).key, trial(2).key}
    spool_write(tmp_path / "spool", trial(0).key, done(0.0))  # the driver died between the record and its removal
    spool_write(tmp_path / "spool", "0" * 16, done())  # of no trial of this study: left where it is
    with TrialStore(tmp_path) as store:
        assert [t.metrics["error"] for t in store.drain_spool()] == [0.1, 0.2]
        assert store.drain_spool() == ()
        assert not store.outstanding()
    assert [path.stem for path in (tmp_path / "spool").iterdir()] == ["0" * 16]


def test_a_worker_that_cannot_reach_the_spool_goes_on(tmp_path: Path) -> None:
    assert not spool_write(tmp_path / "elsewhere" / "spool", "k", done())
    assert not (tmp_path / "elsewhere").exists()


def test_a_result_that_is_not_finite_is_not_stored(tmp_path: Path) -> None:
    with TrialStore(tmp_path) as store:
        store.submit(trial())
        with pytest.raises(ValueError, match="Out of range float"):
            store.finish(trial().key, Outcome(State.COMPLETE, {"error": float("inf")}))
        assert store.outstanding()


def test_notes_live_beside_the_trials(tmp_path: Path) -> None:
    predicted = Predicted(Interval(3.1, 2.9, 3.3), False, {"memory_bytes": Interval(5e6, 4e6, 6e6)})
    latency = LatencyNote(measured_ms={"a": 3.0}, predicted={"a": predicted}, taken={"a": {"energy_j": 0.1}})
    promotion = PromotionNote(level="rung 1", of=8, chosen=("k", "l"))
    with TrialStore(tmp_path) as store:
        store.note(latency)
        store.submit(trial())
        store.note(promotion)
    with TrialStore(tmp_path, read_only=True) as store:
        assert store.notes(LatencyNote) == (latency,)
        assert store.notes(PromotionNote) == (promotion,)
        assert len(store.trials) == 1
        with pytest.raises(ValueError, match="reading only"):
            store.note(promotion)
