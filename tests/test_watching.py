"""Watching a search of another process: what its folder tells, and that nothing is written there."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest
from search_toys import study_of

from nasbench import cli
from nasbench.arch.library import load
from nasbench.commands import watching as command
from nasbench.costs.analytic import cost
from nasbench.engine import watching
from nasbench.engine.watching import Watched
from nasbench.study.journal import is_locked
from nasbench.study.notes import LatencyNote, PromotionNote, RejectionNote
from nasbench.study.store import TrialStore
from nasbench.study.study import Study
from nasbench.study.trials import Kind, Origin, Outcome, State, Trial, failed

NAMES = ("emo_1m", "emo_2m", "fastvit_t8")
GOOD = Outcome(State.COMPLETE, {"accuracy": 0.5}, seconds=3.0)


def trial(study: Study, name: str, split: str = "validation", seed: int = 0) -> Trial:
    arch, fidelity = load(name), study.ladder.rungs[0].fidelity
    return Trial.new(arch, fidelity, seed, "x", split, Origin(Kind.FIXED_POINT, 0, "fixed point", cost(arch)))  # type: ignore[arg-type]


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    """Of three designs, one of which goes on to a final training with one seed; its folder is `tmp_path / "s"`."""
    monkeypatch.setenv("NASBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(watching, "QUIET_S", 0.0)  # else a folder that was just written counts as running
    found = study_of(ladder=({"trials": 3, "samples": 64},), finalists=1, final_seeds=(1,))
    found.create(tmp_path / "s")
    return found


def test_a_search_is_followed_from_start_to_end(study: Study, tmp_path: Path) -> None:
    with TrialStore(tmp_path / "s") as store:
        watched = Watched(tmp_path / "s")
        state = watched.look()
        assert watched.is_running()
        assert (state.done, state.total, state.dots, state.training) == (0, 4, (), ())

        first, second, third = (trial(study, name) for name in NAMES)
        store.submit(first)
        store.submit(second)
        assert [line.partition(" (")[0] for line in watched.look().training] == ["emo_1m", "emo_2m"]

        store.finish(first.key, GOOD)
        store.finish(second.key, failed("out of memory: 2 GiB"))
        store.note(LatencyNote(measured_ms={first.architecture_id: 6.0}))
        state = watched.look()
        assert (state.done, state.running, state.failed) == (2, 0, {"out of memory": 1})
        assert [(dot.ms, dot.score, dot.kind) for dot in state.dots] == [(6.0, 50.0, "front")]
        assert state.ended[0] == "emo_1m: 50.0 % at rung 0 after 3 s"
        assert state.ended[1] == "emo_2m: failed at rung 0, out of memory: 2 GiB"
        assert state.seconds_left is not None

        store.submit(third)
        store.finish(third.key, GOOD)
        store.note(PromotionNote(level="final", of=2, chosen=(first.key,)))
        assert not watched.is_finished()
        final = trial(study, "emo_1m", "test", 1)
        store.submit(final)
        store.finish(final.key, GOOD)
        store.note(RejectionNote(drawn=9, accepted=4, rejected={"budget 1GFLOP": 5}))
        state = watched.look()
        assert state.rejected == {"budget 1GFLOP": 5}
        assert watched.is_finished()
    assert not watched.is_running()


def test_a_search_that_was_killed_is_not_running(study: Study, tmp_path: Path) -> None:
    with TrialStore(tmp_path / "s") as store:
        store.submit(trial(study, "emo_1m"))
    watched = Watched(tmp_path / "s")
    assert not watched.is_running()
    state = watched.look()
    assert (state.training, state.seconds_left) == ((), None)


def test_one_of_another_machine_runs_as_long_as_it_writes(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with TrialStore(tmp_path / "s") as store:
        store.submit(trial(study, "emo_1m"))
    monkeypatch.setattr(watching, "QUIET_S", 120.0)
    assert Watched(tmp_path / "s").is_running()


def test_asking_for_the_lock_leaves_it_as_it_is(tmp_path: Path) -> None:
    assert not is_locked(tmp_path)
    with TrialStore(tmp_path):
        assert is_locked(tmp_path)
    assert not is_locked(tmp_path)
    began = time.monotonic()
    with TrialStore(tmp_path):
        assert time.monotonic() - began < 1.0, "nobody had to wait"


def test_the_command_prints_plain_lines_and_writes_nothing(
    study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, waited = tmp_path / "s", []
    store = TrialStore(folder)
    first, second = trial(study, "emo_1m"), trial(study, "emo_2m")
    store.submit(first)
    store.submit(second)

    def goes_on(seconds: float) -> None:
        """In place of waiting: the search goes on, then it is killed."""
        waited.append(seconds)
        if len(waited) == 1:
            store.finish(first.key, failed("diverged: NaN"))
        else:
            store.close()

    monkeypatch.setattr(command.time, "sleep", goes_on)
    before = sorted(folder.rglob("*"))
    assert cli.main(["watch", str(folder)]) == 0
    output = capsys.readouterr().out
    assert "\x1b" not in output
    assert f"trial {first.key[:8]} of emo_1m failed: diverged: NaN\n" in output
    assert output.endswith(f"Nobody runs it; `nasbench resume {folder}` goes on with it.\n")
    assert len(waited) == 2
    assert sorted(folder.rglob("*")) == before


def test_watching_stops_when_it_was_told_to(study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with TrialStore(tmp_path / "s"):
        assert cli.main(["watch", str(tmp_path / "s"), "--for", "0.001s"]) == 0
    assert "It goes on; `nasbench watch" in capsys.readouterr().out


def test_what_is_no_study_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["watch", str(tmp_path)]) == 2
    assert "holds no study.toml" in capsys.readouterr().err


def test_dots_are_those_of_the_report(study: Study, tmp_path: Path) -> None:
    with TrialStore(tmp_path / "s") as store:
        for place, name in enumerate(NAMES):
            each = trial(study, name)
            store.submit(each)
            store.finish(each.key, replace(GOOD, metrics={"accuracy": 0.5 + 0.1 * place}))
            store.note(LatencyNote(measured_ms={each.architecture_id: 9.0 - place}))
    kinds = {dot.ms: dot.kind for dot in Watched(tmp_path / "s").look().dots}
    assert kinds == {9.0: "published", 8.0: "published", 7.0: "front"}
