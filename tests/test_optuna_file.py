"""A study as Optuna reads it: the same designs, fields, scores and latencies; the file refused where it exists."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import optuna
import pytest

from nasbench import cli
from nasbench.report.optuna_file import write_optuna
from nasbench.report.results import StudyResult, open_study
from nasbench.space import SearchSpace

STUDY = Path(__file__).parent.parent / "results" / "default"


@pytest.fixture(scope="module")
def result() -> StudyResult:
    """Of the default run two designs that were finalists and two that were not: Optuna stores a field at a time."""
    whole = open_study(STUDY)
    final = dict.fromkeys(trial.architecture_id for trial in whole.trials if trial.level.final)
    others = dict.fromkeys(trial.architecture_id for trial in whole.trials if trial.architecture_id not in final)
    chosen = {*list(final)[:2], *list(others)[:2]}
    return replace(whole, trials=tuple(trial for trial in whole.trials if trial.architecture_id in chosen))


@pytest.fixture(scope="module")
def file(result: StudyResult, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("optuna") / "a study ☃#1.db"
    assert write_optuna(result, path) == len({trial.architecture_id for trial in result.trials})
    return path


def opened(file: Path, name: str, tmp_path: Path) -> optuna.Study:
    plain = tmp_path / "plain.db"  # a URL needs a plain name
    plain.write_bytes(file.read_bytes())
    return optuna.load_study(study_name=name, storage=f"sqlite:///{plain}")


def test_designs_are_trials_with_their_fields_scores_and_latencies(
    file: Path, result: StudyResult, tmp_path: Path
) -> None:
    study = opened(file, "default", tmp_path)
    assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    trials = {trial.user_attrs["design"]: trial for trial in study.trials}
    space = SearchSpace.from_dict(result.study.space.content)
    for stored in result.trials:
        if stored.complete and stored.level == (0, False):
            found = trials[stored.architecture_id]
            expected = (stored.metric("accuracy"), result.latency_ms(stored.architecture_id))
            assert tuple(found.values or ()) == pytest.approx(expected)
            genotype = space.locate(stored.design)
            assert not isinstance(genotype, str)
            stage = genotype[3]
            assert found.params["stages[1].block"] == stage["block"]
            assert ("stages[1].patch" in found.params) == ("patch" in stage), "only what takes effect"
    assert {trial.user_attrs["design"] for trial in study.best_trials} <= set(trials)


def test_those_that_went_no_further_are_pruned(file: Path, result: StudyResult, tmp_path: Path) -> None:
    study = opened(file, "default by rung", tmp_path)
    top = {trial.architecture_id for trial in result.trials if trial.level == (result.study.ladder.top, False)}
    states = {trial.user_attrs["design"]: trial.state.name for trial in study.trials}
    assert {key for key, state in states.items() if state == "COMPLETE"} == top
    assert set(states.values()) == {"COMPLETE", "PRUNED"}
    for trial in study.trials:
        rungs = {
            each.level.rung: each.metric("accuracy")
            for each in result.trials
            if each.architecture_id == trial.user_attrs["design"] and not each.level.final
        }
        assert trial.intermediate_values == pytest.approx(rungs)
    best = max(study.trials, key=lambda trial: trial.user_attrs.get("final score, test images", 0))
    assert best.user_attrs["design"] == max(result.rows(), key=lambda row: (row.split == "test", row.accuracy)).id


def test_a_file_that_exists_is_left_alone(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = file.read_bytes()
    assert cli.main(["export-study", str(STUDY), "--optuna", str(file)]) == 2
    assert "exists already; remove it, or give another file" in capsys.readouterr().err
    assert file.read_bytes() == before
    assert cli.main(["export-study", str(STUDY), "--optuna", str(file.parent / "none" / "x.db")]) == 2
