"""What a user is told while a search runs: fronts after the first few trials and with each complete level."""

from __future__ import annotations

from pathlib import Path

import pytest
from search_toys import EVALUATE, SERIAL, SPACE, Notes, ToyProfile, search_parts, study_of

from nasbench.arch.library import load
from nasbench.costs.analytic import cost
from nasbench.engine.reporting import FIRST_FRONT
from nasbench.engine.run import _note_rejections
from nasbench.progress import ProgressState
from nasbench.report.results import StudyResult
from nasbench.running import Job, run
from nasbench.running.worker import run_job
from nasbench.study.notes import LatencyNote, RejectionNote
from nasbench.study.store import TrialStore
from nasbench.study.study import Study
from nasbench.study.task import Task
from nasbench.study.trials import Level

FIXED = {arch.id: arch for arch in (load("emo_1m"), load("mobilevit_xxs"))}  # the second of them fails


def study(trials: int = 12) -> Study:
    ladder = ({"trials": trials, "samples": 100}, {"trials": 4, "samples": 1000})
    changes = {"budgets": ("600MFLOP",), "strategy": {"name": "random"}, "device": "by-formula"}
    return study_of(SPACE, ladder, final_seeds=(1, 2), finalists=2, **changes)


def evaluate(task: Task) -> dict[str, float]:
    if task.architecture.name == "mobilevit_xxs":
        raise ValueError("out of order today")
    return {"accuracy": 0.3 + 1e-5 * task.fidelity.samples + 1e-12 * cost(task.architecture).macs}


class Fitted:
    """A device with a profile, where nothing can be measured."""

    can_measure = under_way = False

    def __init__(self) -> None:
        self.profile = ToyProfile()

    def __call__(self) -> ToyProfile:
        return self.profile

    def extended(self, wait: bool = False) -> None:
        return None


class Told(Notes):
    """Counts the trials that had ended when a front was written."""

    def __init__(self, store: TrialStore) -> None:
        super().__init__()
        self.store = store
        self.fronts: list[dict[Level, int]] = []
        self.states: list[ProgressState] = []

    def update(self, state: ProgressState) -> None:
        self.states.append(state)

    def note(self, text: str) -> None:
        super().note(text)
        if text.startswith("front of"):
            ended = [trial.level for trial in self.store.trials if trial.finished]
            self.fronts.append({level: ended.count(level) for level in set(ended)})


def searched(asked: Study, folder: Path, workers: int) -> tuple[Told, dict[Level, int]]:
    """Run with so many trials at a time -> what was told, and how many trials each level had."""
    with TrialStore(folder) as store:
        told, source = Told(store), Fitted()
        driver = search_parts(asked, store, fixed=FIXED, source=source, progress=told).driver
        running: list[Job] = []
        while True:
            while len(running) < workers and (job := driver.ask()) is not None:
                running.append(job)
            if not running:
                break
            first = running.pop(0)
            driver.tell(first, run_job(first, evaluate, None))
        levels = [trial.level for trial in store.trials]
    return told, {level: levels.count(level) for level in set(levels)}


@pytest.mark.exhaustive
@pytest.mark.parametrize("workers", [1, 3])
def test_a_front_is_written_after_the_first_few_and_once_with_each_complete_level(workers: int, tmp_path: Path) -> None:
    told, levels = searched(study(), tmp_path, workers)
    assert sorted(levels) == [Level(0), Level(1), Level(1, True)]
    first, *whole = told.fronts
    assert sum(first.values()) == FIRST_FRONT + 1  # one has failed, and does not count
    assert len(whole) == 3
    ended: dict[Level, int] = {}
    for level, front in zip(sorted(levels), whole):
        ended[level] = levels[level]
        assert front == ended
    assert (tmp_path / "front.csv").is_file()
    assert sum("of mobilevit_xxs failed: ValueError: out of order today" in text for text in told.notes) == 1


@pytest.mark.exhaustive
def test_a_study_shorter_than_the_first_front_is_reported_with_its_levels(tmp_path: Path) -> None:
    told, levels = searched(study(trials=4), tmp_path, 1)
    assert [sum(front.values()) for front in told.fronts] == [4, 4 + levels[Level(1)], sum(levels.values())]


def test_the_display_is_told_of_the_front_what_trains_and_what_ended(tmp_path: Path) -> None:
    told, _ = searched(study(trials=4), tmp_path, 2)
    first, last = told.states[0], told.states[-1]
    assert (first.dots, first.training, first.ended) == ((), ("emo_1m (rung 0, 0 s)",), ())
    assert max(len(state.training) for state in told.states) == 2
    assert last.training == ()
    assert len(last.ended) == 3
    assert any(
        "failed at rung 0, ValueError: out of order today" in text for state in told.states for text in state.ended
    )
    assert {dot.kind for dot in last.dots} <= {"front", "published", "other"}
    assert any(dot.kind == "front" for dot in last.dots)


def test_what_the_last_report_says_is_not_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[StudyResult] = []
    monkeypatch.setattr(StudyResult, "report", lambda self: written.append(self))
    with TrialStore(tmp_path) as store:
        parts = search_parts(study(trials=4), store, fixed=FIXED, source=Fitted())
        run(parts.driver, EVALUATE, SERIAL)
        assert len(written) == 3  # with each level
        assert parts.reporting.write().trials == written[-1].trials
        assert len(written) == 3
        parts.measuring.finish()
        store.note(LatencyNote(measured_ms={written[-1].trials[0].architecture_id: 1.0}, predicted={}, taken={}))
        parts.reporting.write()
        assert len(written) == 4


def test_what_a_run_rejected_is_stored_by_rule(tmp_path: Path) -> None:
    asked = study(trials=4)
    with TrialStore(tmp_path) as store:
        schedule = search_parts(asked, store, fixed=FIXED).schedule
        _note_rejections(schedule, store)
        assert store.notes(RejectionNote) == (), "nothing was drawn yet"
        while (trial := schedule.next_trial(store.trials)) is not None:
            store.submit(trial)
        _note_rejections(schedule, store)
    with TrialStore(tmp_path, read_only=True) as store:
        (note,) = store.notes(RejectionNote)
    assert note.drawn == schedule.rejections.drawn >= note.accepted > 0
    assert note.rejected == schedule.rejections.rejected


def test_without_a_profile_no_front_is_written_and_with_one_it_follows(tmp_path: Path) -> None:
    with TrialStore(tmp_path) as store:
        notes = Notes()
        parts = search_parts(study(), store, fixed=FIXED, progress=notes)
        for _ in range(12):
            job = parts.driver.ask()
            assert job is not None
            parts.driver.tell(job, run_job(job, evaluate, None))
        assert not any(text.startswith("front of") for text in notes.notes)
        parts.reporting.profile = Fitted()
        parts.reporting.after(store.trials[-1])
        parts.reporting.after(store.trials[-1])
        assert sum(text.startswith("front of") for text in notes.notes) == 1
