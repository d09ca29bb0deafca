"""Studies that were stopped anywhere: what is on their front, and what is marked as still to be trained."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from search_toys import SPACE, Notes, search_parts, study_of, true_ms

from nasbench import cli
from nasbench.arch.library import load
from nasbench.costs.analytic import cost
from nasbench.engine.phases import Phases
from nasbench.pareto import is_dominated
from nasbench.report.results import StudyResult, open_study
from nasbench.report.rows import ReportRow
from nasbench.running.worker import run_job
from nasbench.study.notes import LatencyNote
from nasbench.study.store import TrialStore
from nasbench.study.study import Study
from nasbench.study.task import Task
from nasbench.study.trials import Kind, Level, Trial

FIXED = {arch.id: arch for arch in (load("emo_1m"), load("emo_2m"), load("mobileone_s0"))}
STUDY = study_of(
    SPACE,
    ({"trials": 14, "samples": 100}, {"name": "top", "trials": 7, "samples": 1000}),
    budgets=("600MFLOP",), final_seeds=(1, 2), finalists=4, device="by-formula", strategy={"name": "random"},
)  # fmt: skip


def evaluate(task: Task) -> dict[str, float]:
    """Larger designs and longer trainings are better on average, and every training scatters so that order changes."""
    rng = np.random.default_rng([int(task.architecture.id[:8], 16), task.fidelity.samples, task.seed])
    gain = 0.1 * min(1.0, cost(task.architecture).macs / 6e8) + 1e-4 * task.fidelity.samples
    return {"accuracy": 0.3 + gain + float(rng.normal(0, 0.05)), "majority_share": 0.1}


def states(folder: Path, study: Study = STUDY, deadline_after: int | None = None) -> Iterator[StudyResult]:
    """The study after each trial of a search that trains one at a time, as a reader of its folder finds it."""
    study.create(folder)
    with TrialStore(folder) as store:
        driver = search_parts(study, store, fixed=FIXED, progress=Notes()).driver
        while (job := driver.ask()) is not None:  # now it is submitted, as one that a killed search leaves behind
            yield read(folder)
            driver.tell(job, run_job(job, evaluate, None))
            if len(store.trials) == deadline_after:
                driver.schedule.places.phases = Phases(limit=0.0)  # as `--time-limit`: nothing starts any more
        yield read(folder)


def read(folder: Path) -> StudyResult:
    """With every latency known."""
    result = StudyResult.read(folder)
    return replace(result, measured_ms={trial.architecture_id: true_ms(trial.design) for trial in result.trials})


def by_level(trials: tuple[Trial, ...]) -> dict[Level, dict[str, list[float]]]:
    """Level -> architecture -> its scores."""
    found: dict[Level, dict[str, list[float]]] = {}
    for trial in trials:
        if trial.complete:
            found.setdefault(trial.level, {}).setdefault(trial.architecture_id, []).append(trial.metric("accuracy"))
    return found


def front_of(scores: Mapping[str, list[float]], result: StudyResult) -> set[str]:
    """The ids that nothing of one level dominates, worked out here."""
    losses = [(1 - float(np.mean(values)), result.measured_ms[key]) for key, values in scores.items()]
    return {key for key, beaten in zip(scores, is_dominated(losses)) if not beaten}


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory) -> list[StudyResult]:
    return list(states(tmp_path_factory.mktemp("study")))


def started(result: StudyResult) -> Level | None:
    """The highest level that anything was scored at."""
    return max((trial.level for trial in result.trials if trial.complete), default=None)


def test_wherever_a_study_stops_its_front_is_that_of_the_new_scores_and_the_rest_of_the_one_before(
    cut: list[StudyResult],
) -> None:
    """No score of one level is held against one of another: those scored at the last level are compared among
    themselves, and of the others stays who was on the front when all had a score of the level below."""
    seen = 0
    for result in cut[2:]:
        top, levels = started(result), by_level(result.trials)
        assert top is not None
        chosen = {Level(1): 7, Level(1, True): 4}.get(top, 0)
        expected = front_of(levels[top], result)
        waiting: set[str] = set()
        if chosen > len(levels[top]):
            assert top.below is not None
            waiting = front_of(levels[top.below], result) - levels[top].keys()
            seen += bool(waiting)
        front = result.front()
        assert {row.id for row in front} == expected | waiting
        assert {row.id for row in front if row.lacks} == waiting
        for row in front:
            level = top.below if row.lacks else top
            assert level is not None
            assert sorted(row.accuracies.values()) == sorted(levels[level][row.id])
            assert (row.rung, row.split) == (level.rung, "test" if level.final else "validation")
    assert seen >= 6  # in the second rung as well as in the finals
    assert not any(row.lacks for row in cut[-1].rows())


def test_the_front_never_shrinks_to_what_happened_to_be_finished(cut: list[StudyResult]) -> None:
    before = [result for result in cut if started(result) == Level(1)][-1].front()
    first_final = next(result for result in cut if started(result) == Level(1, True))
    (final,) = [row for row in first_final.rows() if row.split == "test"]
    assert {row.id for row in before} - {final.id} <= {row.id for row in first_final.front()}
    assert final.on_front


def test_a_design_whose_training_failed_does_not_wait_for_it(cut: list[StudyResult], tmp_path: Path) -> None:
    first_final = next(result for result in cut if started(result) == Level(1, True))
    lacking = next(row for row in first_final.front() if row.lacks)
    again = next(t for t in first_final.trials if t.architecture_id == lacking.id)
    final = next(t for t in cut[-1].trials if t.level == Level(1, True))
    lost = replace(again, split="test", origin=replace(final.origin), state=final.state.FAILED, key="lost")
    told = replace(first_final, trials=(*first_final.trials, lost))
    assert lacking.id not in {row.id for row in told.front()}


def test_a_study_whose_promotions_were_not_noted_is_read_by_how_many_there_should_be(cut: list[StudyResult]) -> None:
    for result in cut[1:]:
        assert [row.lacks for row in replace(result, promoted={}).rows()] == [row.lacks for row in result.rows()]


def test_fixed_points_stay_in_view_while_a_rung_is_trained(cut: list[StudyResult]) -> None:
    marked = [r for r in cut if started(r) == Level(1) and any(row.lacks for row in r.rows())]
    assert marked
    for result in marked:
        assert {row.id for row in result.rows() if row.kind == Kind.FIXED_POINT} == FIXED.keys()


@pytest.fixture(params=["killed", "time limit"])
def stopped(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a study that ended within its finals, one way or the other."""
    monkeypatch.setenv("NASBENCH_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "study"
    finals = 14 + 7 + 1
    for result in states(folder, deadline_after=finals if request.param == "time limit" else None):
        if request.param == "killed" and sum(trial.finished for trial in result.trials) == finals:
            break
    with TrialStore(folder) as store:
        store.note(LatencyNote(measured_ms={t.architecture_id: true_ms(t.design) for t in store.trials}))
        assert sum(trial.finished for trial in store.trials) == finals
    return folder


@pytest.mark.exhaustive
def test_table_files_and_plot_mark_what_waits_for_its_final(stopped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows: list[ReportRow] = open_study(stopped).front()
    waiting = {row.name for row in rows if row.lacks}
    assert waiting
    assert {row.lacks for row in rows} == {"", "final training"}
    assert cli.main(["report", str(stopped)]) == 0
    table = capsys.readouterr().out
    assert all(f"○ {name}" in table for name in waiting)
    assert all(f"● {row.name}" in table for row in rows if not row.lacks)
    assert "○: on the front of the level below, without the final training so far" in table
    assert "fits the budget" not in table  # three fixed points do
    with (stopped / "front.csv").open(encoding="utf-8") as file:
        lines = [line for line in csv.DictReader(file) if line["on_front"] == "True"]
    assert {line["name"] for line in lines if line["measured_at_level_below"] == "True"} == waiting
    assert {line["split"] for line in lines if line["name"] in waiting} == {"validation"}
    assert "without the final training so far (validation images)" in (stopped / "front.svg").read_text()
    for line in lines:
        assert ("without the final training so far" in (stopped / line["file"]).read_text()) == (
            line["name"] in waiting
        )
    assert cli.main(["front", str(stopped), "--json"]) == 0
    networks = json.loads(capsys.readouterr().out)["networks"]
    assert {each["name"] for each in networks if each["measured_at_level_below"]} == waiting
