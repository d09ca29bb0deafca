"""A study of which a part is damaged: the line is named, and every verb goes on with the rest."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from fuzz import lay
from fuzz_kinds import pack_folder, profile_folder, scaling_folder, search_folder

from nasbench import cli
from nasbench.errors import UserError
from nasbench.latency.profile import load_device
from nasbench.latency.standalone import read_manifest
from nasbench.report.results import StudyResult
from nasbench.scaling.points import read_points
from nasbench.study.fidelity import load_recipe
from nasbench.study.study import Study


@pytest.fixture
def study(tmp_path: Path) -> Path:
    lay(tmp_path / "study", search_folder())
    return tmp_path / "study"


def damage(folder: Path, number: int, line: str) -> None:
    lines = (folder / "trials.jsonl").read_text(encoding="utf-8").splitlines()
    lines[number - 1] = line
    (folder / "trials.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def line_of(folder: Path, number: int) -> dict[str, object]:
    content = json.loads((folder / "trials.jsonl").read_text(encoding="utf-8").splitlines()[number - 1])
    assert isinstance(content, dict)
    return content


def test_the_front_is_printed_without_what_a_damaged_line_held(
    study: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(study, 3, '{"kind": "submitted", "ke')
    for verb in ("front", "report"):
        caplog.clear()
        assert cli.main([verb, str(study)]) == 0
        assert "front" in capsys.readouterr().out.lower()
        assert f"{study / 'trials.jsonl'}, line 3: not a JSON record; passed over" in caplog.text
        assert "line 4: trial " in caplog.text  # the outcome of what stood in line 3


@pytest.mark.parametrize("metrics", [{}, {"accuracy": "high"}, {"accuracy": 3.0}, {"accuracy": True, "loss": 1e300}])
def test_a_trial_without_its_score_is_passed_over(metrics: dict[str, object], study: Path) -> None:
    whole = len(StudyResult.read(study).trials)
    damage(study, 2, json.dumps({**line_of(study, 2), "metrics": metrics}))
    result = StudyResult.read(study)
    assert result.rows()
    assert sum(trial.complete for trial in result.trials) < whole


def test_a_trial_of_a_rung_that_the_study_has_not_is_passed_over(study: Path, caplog: pytest.LogCaptureFixture) -> None:
    record = line_of(study, 1)
    damage(study, 1, json.dumps({**record, "origin": {**record["origin"], "rung": 7}}))  # type: ignore[dict-item]
    with caplog.at_level(logging.WARNING):
        assert StudyResult.read(study).rows()
    assert "line 1: rung 7 of a study whose highest is 1; passed over" in caplog.text


def test_laws_are_fitted_without_a_damaged_training(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    lay(tmp_path, scaling_folder())
    whole = len(read_points([tmp_path]))
    damage(tmp_path, 2, json.dumps({**line_of(tmp_path, 2), "metrics": {"accuracy": 0.5}}))
    damage(tmp_path, 4, "}")
    assert len(read_points([tmp_path])) == whole - 2
    assert "line 1: its outcome has no 'proxy_params'; passed over" in caplog.text
    assert "line 4: not a JSON record" in caplog.text


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("trials = 4", "trials = 99999999999", "trials = 99999999999"),
        ("seed = 0", "seed = -1", "seed = -1: input should be greater than or equal to 0"),
        ("classes = 1000", "classes = 1e300", "classes = 1e+300"),
        ("finalists = 5", "finalists = 99999999999", "finalists = 99999999999"),
        ("classes = 1000", "classes = 1000\ntrial_limit_s = 1e300", "trial_limit_s = 1e+300"),
        ("classes = 1000", "classes = 1000\ntime_limit_s = inf", "time_limit_s = inf"),
        ('"1GFLOP"', '"1e400GFLOP"', "the bound must be a finite number above zero"),
        ('"1GFLOP"', "1e9", "write it as text with its unit"),
        ('name = "evolution"', 'name = "evolution"\npopulation = 99999999999', "population = 99999999999"),
        ("children = 4", "children = 0", "children = 0"),
    ],
)
def test_numbers_of_a_study(before: str, after: str, words: str, study: Path) -> None:
    text = (study / "study.toml").read_text(encoding="utf-8")
    assert before in text
    (study / "study.toml").write_text(text.replace(before, after, 1), encoding="utf-8")
    with pytest.raises(UserError) as caught:
        Study.open(study)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def _with(change: dict[str, object], *path: str) -> Callable[[], bytes]:
    return lambda: _changed(change, path)


def _changed(change: dict[str, object], path: tuple[str, ...]) -> bytes:
    content = json.loads(profile_folder()["own.json"])
    inside = content
    for key in path:
        inside = inside[int(key) if key.isdigit() else key]
    inside.update(change)
    return json.dumps(content).encode()


FOREST = ("predictor", "kernel_model", "forest")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (_with({"left": [0, 0, 0, 0]}, *FOREST), "a forest's branches lead on to later nodes"),
        (_with({"right": [9, 0, 0, 0]}, *FOREST), "a forest's nodes lie among its 4"),
        (_with({"feature": [99, -1, -1, -1]}, *FOREST), "a forest's nodes lie among its 4, and look at one of 15"),
        (_with({"roots": []}, *FOREST), "a forest has roots"),
        (_with({"runtime": "dream"}, "predictor", "kernel_model"), "runtime 'dream' is not known"),
        (_with({"largest": {}}, "predictor", "kernel_model"), "the largest kernel of 'pointwise' is missing"),
        (_with({"alpha": []}, "predictor", "residual"), "a process has one alpha a point"),
        (_with({"mean": [0.3]}, "predictor", "residual"), "each of 2 figures"),
        (_with({"log_error": 1e308}, "predictor"), "predictor.log_error = 1e+308"),
        (_with({"cpu_us": []}, "records", "0", "passes", "0"), "a pass must hold runs"),
        (_with({"cpu_us": [0, 1]}, "records", "0", "passes", "0"), "a run must take 1 to"),
        (_with({"num_classes": 10**30}), "num_classes = 1000"),
        (_with({"cores": 0}, "device"), "device.cores = 0"),
        (_with({"quiet_ms": 0}, "reference"), "reference.quiet_ms = 0"),
        (_with({"clock": "sundial"}, "protocol"), "protocol.clock = 'sundial'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_profile_that_cannot_be_is_refused(content: Callable[[], bytes], words: str, tmp_path: Path) -> None:
    (tmp_path / "own.json").write_bytes(content())
    with pytest.raises(UserError) as caught:
        load_device(str(tmp_path / "own.json"))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_network_that_stands_twice_in_a_profile_counts_once(tmp_path: Path) -> None:
    own = json.loads(profile_folder()["own.json"])
    own["records"] *= 2
    (tmp_path / "own.json").write_text(json.dumps(own))
    assert len(load_device(str(tmp_path / "own.json")).records) == len(own["records"]) / 2


@pytest.mark.parametrize("name", ["x" * 3000, "a\nb"], ids=["long", "two lines"])
def test_a_name_of_any_length_is_one_short_line(name: str, tmp_path: Path) -> None:
    own = json.loads(profile_folder()["own.json"])
    own["device"]["dtype"] = name
    (tmp_path / "own.json").write_text(json.dumps(own))
    manifest = json.loads(pack_folder()["manifest.json"])
    manifest["files"] = {name: "0"}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    for error, call in (
        (UserError, lambda: load_device(str(tmp_path / "own.json")).settings),
        (UserError, lambda: load_recipe(name)),
        (SystemExit, lambda: read_manifest(tmp_path)),
    ):
        with pytest.raises(error) as caught:
            call()
        assert len(str(caught.value).splitlines()) == 1
        assert name not in str(caught.value)
