"""A study as Optuna, TensorBoard and MLflow read it: the same designs, fields, scores and latencies."""

from __future__ import annotations

import struct
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import optuna
import pytest
from tensorboardX.proto.event_pb2 import Event

from nasbench import cli
from nasbench.errors import UserError
from nasbench.report import mlflow_runs
from nasbench.report.mlflow_runs import write_mlflow
from nasbench.report.optuna_file import write_optuna
from nasbench.report.results import StudyResult, open_study
from nasbench.report.tensorboard_files import write_tensorboard
from nasbench.space import SearchSpace

STUDY = Path(__file__).parent.parent / "results" / "default"


@pytest.fixture(scope="module")
def result() -> StudyResult:
    """Of the default run two finalists and two designs of the lowest rung alone: Optuna stores a field at a time."""
    whole = open_study(STUDY)
    final = dict.fromkeys(trial.architecture_id for trial in whole.trials if trial.level.final)
    above = {trial.architecture_id for trial in whole.trials if trial.level.final or trial.level.rung > 0}
    others = dict.fromkeys(trial.architecture_id for trial in whole.trials if trial.architecture_id not in above)
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
    metrics = {run.info.run_id: run.data.metrics for run in runs}
    assert write_mlflow(result, store) == len(designs)
    again = client.search_runs([client.get_experiment_by_name("default").experiment_id])
    assert {run.info.run_id: run.data.metrics for run in again} == metrics
    other = replace(result, trials=tuple(replace(trial, submitted_at=1.0) for trial in result.trials))
    with pytest.raises(UserError, match="has another experiment 'default' already"):
        write_mlflow(other, store)


class Page(list[SimpleNamespace]):
    token: int | None = None


class ToyStore:
    """What an export asks of MLflow, in memory; it breaks off when `left` calls are made."""

    def __init__(self) -> None:
        self.experiments: dict[str, SimpleNamespace] = {}
        self.runs: list[SimpleNamespace] = []
        self.history: list[tuple[str, str, int, float]] = []
        self.left = 10**6

    def _call(self) -> None:
        if not self.left:
            raise ConnectionError("the server went away")
        self.left -= 1

    def get_experiment_by_name(self, name: str) -> SimpleNamespace | None:
        self._call()
        return self.experiments.get(name)

    def create_experiment(self, name: str, tags: dict[str, str]) -> str:
        self._call()
        self.experiments[name] = SimpleNamespace(tags=tags, experiment_id="1")
        return "1"

    def search_runs(self, ids: list[str], max_results: int, page_token: int | None = None) -> Page:
        self._call()
        start = page_token or 0
        page = Page(self.runs[start : start + max_results])
        page.token = start + max_results if start + max_results < len(self.runs) else None
        return page

    def create_run(self, experiment: str, start_time: int, tags: dict[str, str], run_name: str) -> SimpleNamespace:
        self._call()
        info = SimpleNamespace(run_id=str(len(self.runs)), status="RUNNING")
        self.runs.append(SimpleNamespace(info=info, data=SimpleNamespace(tags=dict(tags), metrics={})))
        return self.runs[-1]

    def get_metric_history(self, run: str, key: str) -> list[SimpleNamespace]:
        self._call()
        found = [each for each in self.history if each[:2] == (run, key)]
        return [SimpleNamespace(key=key, step=step, value=value) for _, _, step, value in found]

    def log_batch(self, run: str, metrics: list[Any], params: list[Any], tags: list[Any]) -> None:
        self._call()
        self.history += [(run, each.key, each.step, each.value) for each in metrics]
        self.runs[int(run)].data.metrics.update({each.key: each.value for each in metrics})
        self._call()  # it breaks off when half is written
        self.runs[int(run)].data.tags.update({each.key: each.value for each in tags})

    def set_terminated(self, run: str, status: str, end_time: int) -> None:
        self._call()
        self.runs[int(run)].info.status = status


@pytest.fixture
def toy_store(monkeypatch: pytest.MonkeyPatch) -> ToyStore:
    store = ToyStore()
    entities: Any = ModuleType("mlflow.entities")
    mlflow: Any = ModuleType("mlflow")
    exceptions: Any = ModuleType("mlflow.exceptions")
    mlflow.MlflowClient = lambda tracking_uri: store
    exceptions.MlflowException = ConnectionError
    entities.Metric = lambda key, value, timestamp, step: SimpleNamespace(key=key, value=value, step=step)
    entities.Param = entities.RunTag = lambda key, value: SimpleNamespace(key=key, value=value)
    for module in (mlflow, exceptions, entities):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(mlflow_runs, "require_extra", lambda *_: None)
    monkeypatch.setattr(mlflow_runs, "PAGE", 2)
    return store


def test_an_export_to_mlflow_goes_on_wherever_it_broke_off(result: StudyResult, toy_store: ToyStore) -> None:
    told = []
    for calls in range(40):  # each try breaks off a call later than the one before
        toy_store.left = calls
        try:
            assert write_mlflow(result, "http://here") == 4
            break
        except UserError as error:
            told.append(str(error))
    assert told[0] == "http://here: MLflow says: the server went away; give the address of a store"
    assert told[-1].endswith("the server went away; 3 of 4 designs are there, and the same command adds the others")
    assert len({run.data.tags["design"] for run in toy_store.runs}) == len(toy_store.runs) == 4
    assert {run.info.status for run in toy_store.runs} == {"FINISHED"}
    written = list(toy_store.history)
    assert len(set(written)) == len(written)
    toy_store.left = 100
    assert write_mlflow(result, "http://here") == 4
    assert (len(toy_store.runs), toy_store.history) == (4, written)


def test_without_mlflow_it_says_what_to_install(
    result: StudyResult, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'nasbench\[mlflow\]'"):
        write_mlflow(result, str(tmp_path / "runs"))
