import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nasbench.errors import UserError
from nasbench.study.spool import spool_read, spool_write
from nasbench.study.store import TrialStore
from nasbench.study.trials import Outcome, Trial, complete_or_failed, failed

FIDELITY = {"samples": 6000, "resolution": 32}


def trial(n: int = 0, **changes: object) -> Trial:
    content = {"fidelity": FIDELITY, "seed": 0, "data": "toy", **changes}
    return Trial.new({"name": f"näme {n} → ☃"}, f"{n:016x}", **content)  # type: ignore[arg-type]


def done(error: float = 0.25) -> Outcome:
    return Outcome("complete", {"error": error, "curve": [1.0, 0.5]}, None, 1.5, {"host": "here"})


def test_what_is_stored_comes_back(tmp_path: Path) -> None:
    with TrialStore(tmp_path) as store:
        for n in range(3):
            store.submit(trial(n, origin={"strategy": "random"}))
        store.finish(trial(0).key, done())
        store.finish(trial(1).key, failed("out of memory: 3 GB\nTraceback ..."))
        before = store.trials
    with TrialStore(tmp_path) as store:
        assert store.trials == before
        assert [t.state for t in store.trials] == ["complete", "failed", "submitted"]
        assert store.trials[0].metrics == {"error": 0.25, "curve": [1.0, 0.5]}
        assert store.trials[1].reason == "out of memory: 3 GB"
        assert store.outstanding() == before[2:]
        assert [store.has_result(trial(n).key) for n in range(4)] == [True, True, False, False]


def test_the_key_is_the_content() -> None:
    base = trial()
    reordered = trial(fidelity=dict(reversed(FIDELITY.items())), origin={"strategy": "evolution"})
    assert reordered.key == base.key
    others = [trial(1), trial(seed=1), trial(data="cifar10"), trial(split="test"), trial(fidelity={"samples": 1})]
    assert len({base.key, *(t.key for t in others)}) == 6


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
    assert len((tmp_path / "trials.jsonl").read_bytes().splitlines()) == 2


def test_every_torn_last_line_is_survived_and_repaired(tmp_path: Path) -> None:
    with TrialStore(tmp_path) as store:
        store.submit(trial(0))
        first = (tmp_path / "trials.jsonl").stat().st_size
        store.submit(trial(1))
    whole = (tmp_path / "trials.jsonl").read_bytes()
    for cut in range(first, len(whole) + 1):  # also in the middle of a character
        (tmp_path / "trials.jsonl").write_bytes(whole[:cut])
        with TrialStore(tmp_path, read_only=True) as store:
            survived = len(store.trials)
        assert survived == (2 if cut >= len(whole) - 1 else 1)
        assert (tmp_path / "trials.jsonl").read_bytes() == whole[:cut]  # readers change nothing
        with TrialStore(tmp_path) as store:
            store.submit(trial(2))
        with TrialStore(tmp_path, read_only=True) as store:
            assert [t.key for t in store.trials] == [trial(n).key for n in (0, 1, 2) if n != 1 or survived == 2]


def test_a_corrupt_middle_line_names_file_and_line(tmp_path: Path) -> None:
    with TrialStore(tmp_path) as store:
        for n in range(3):
            store.submit(trial(n))
    lines = (tmp_path / "trials.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "trials.jsonl").write_bytes(lines[0] + lines[1][:40] + b"\n" + lines[2])
    with pytest.raises(UserError, match=r"trials\.jsonl, line 2: not a JSON record; delete that line"):
        TrialStore(tmp_path)
    (tmp_path / "trials.jsonl").write_bytes(lines[0] + lines[2])
    with TrialStore(tmp_path) as store:
        assert len(store.trials) == 2


def test_a_full_disk_is_one_line_and_leaves_no_half_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pwrite

    def nearly_full(handle: int, data: bytes, offset: int) -> int:
        if len(data) > 30:
            return real(handle, data[:30], offset)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with TrialStore(tmp_path) as store:
        store.submit(trial(0))
        before = (tmp_path / "trials.jsonl").read_bytes()
        monkeypatch.setattr(os, "pwrite", nearly_full)
        with pytest.raises(UserError, match=r"cannot write: No space left on device; make room, then `nasbench resume"):
            store.submit(trial(1))
        assert (tmp_path / "trials.jsonl").read_bytes() == before
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


WRITER = """
import sys; sys.path.insert(0, {tests!r})
from test_trials import trial, done
from nasbench.study.trials import TrialStore
with TrialStore({folder!r}) as store:
    for n in range(len(store.trials), 100_000):
        store.submit(trial(n))
        store.finish(trial(n).key, done())
        print(n, flush=True)
"""


def test_killing_the_writer_loses_nothing_and_frees_the_lock(tmp_path: Path) -> None:
    rng = random.Random(0)
    script = WRITER.format(tests=str(Path(__file__).parent), folder=str(tmp_path))
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
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


def test_no_nan_is_stored_as_a_result(tmp_path: Path) -> None:
    assert complete_or_failed({"error": float("nan")}, 1.0, {}).reason == "diverged: metric 'error' is nan"
    assert complete_or_failed({"error": 0.5, "n": 3}, 1.0, {}).state == "complete"
    with TrialStore(tmp_path) as store:
        store.submit(trial())
        with pytest.raises(ValueError, match="Out of range float"):
            store.finish(trial().key, Outcome("complete", {"error": float("inf")}))
        assert store.outstanding()


def test_notes_live_beside_the_trials(tmp_path: Path) -> None:
    with TrialStore(tmp_path) as store:
        store.note("latency", {"architecture_id": "a", "latency_ms": 3.0})
        store.submit(trial())
        store.note("rejected", {"budget 1GFLOP": 12})
    with TrialStore(tmp_path, read_only=True) as store:
        assert store.notes("latency") == ({"architecture_id": "a", "latency_ms": 3.0},)
        assert len(store.trials) == 1
        with pytest.raises(ValueError, match="reading only"):
            store.note("latency", {})


def test_a_record_of_an_unknown_kind_is_named(tmp_path: Path) -> None:
    (tmp_path / "trials.jsonl").write_text(json.dumps({"kind": "dream"}) + "\n")
    with pytest.raises(ValueError, match=r"record 1: unknown kind 'dream'"):
        TrialStore(tmp_path)
