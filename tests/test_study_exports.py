"""A study as Optuna, TensorBoard and MLflow read it: the same designs, fields, scores and latencies."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from tensorboardX.proto.event_pb2 import Event

from nasbench import cli
from nasbench.errors import UserError
from nasbench.report.mlflow_runs import write_mlflow
from nasbench.report.optuna_file import write_optuna
from nasbench.report.results import StudyResult, open_study
from nasbench.report.tensorboard_files import write_tensorboard
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


def events(file: Path) -> list[Event]:
    """Of a file as TensorBoard writes it: each after its length and a checksum, and before another."""
    data, found = file.read_bytes(), []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        found.append(Event.FromString(data[12 : 12 + length]))
        data = data[12 + length + 4 :]
    return found


def test_tensorboard_has_a_run_a_design_with_its_scores_by_images_seen(result: StudyResult, tmp_path: Path) -> None:
    designs = {trial.architecture_id: trial for trial in result.trials}
    assert write_tensorboard(result, tmp_path / "runs") == len(designs)
    for folder in (tmp_path / "runs").iterdir():
        (file,) = folder.iterdir()
        values = [(event.step, value) for event in events(file) for value in event.summary.value]
        scores = {step: value.simple_value for step, value in values if value.tag == "accuracy"}
        own = [trial for trial in result.trials if folder.name in (trial.label, trial.architecture_id)]
        rungs = {t.fidelity.samples: t.metric("accuracy") for t in own if not t.level.final}
        assert scores == pytest.approx(rungs)
        latency = next(value.simple_value for _, value in values if value.tag == "latency_ms")
        assert latency == pytest.approx(result.latency_ms(own[0].architecture_id))
        (start,) = [value.metadata.plugin_data.content for _, value in values if "session_start" in value.tag]
        assert b"stages[1].block" in start


def test_a_folder_that_holds_something_is_left_alone(result: StudyResult, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="exists already"):
        write_tensorboard(result, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_mlflow_has_a_run_a_design(result: StudyResult, tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow")
    store = f"sqlite:///{tmp_path / 'runs.db'}"
    designs = {trial.architecture_id for trial in result.trials}
    assert write_mlflow(result, store) == len(designs)
    client = mlflow.MlflowClient(tracking_uri=store)
    runs = client.search_runs([client.get_experiment_by_name("default").experiment_id])
    assert {run.data.tags["design"] for run in runs} == designs
    for run in runs:
        assert run.data.metrics["latency_ms"] == pytest.approx(result.latency_ms(run.data.tags["design"]))
        assert "stages.1.block" in run.data.params
    with pytest.raises(UserError, match="has an experiment 'default' already"):
        write_mlflow(result, store)


def test_without_mlflow_it_says_what_to_install(
    result: StudyResult, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'nasbench\[mlflow\]'"):
        write_mlflow(result, str(tmp_path / "runs"))
