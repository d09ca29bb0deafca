"""A study as one value and one file: what comes back, what is refused, and in which words."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shared_spaces import DEFAULT

from nasbench.errors import UserError
from nasbench.files import read_toml
from nasbench.study import journal
from nasbench.study import study as study_file
from nasbench.study.fidelity import FORMER, load_recipe
from nasbench.study.store import TrialStore
from nasbench.study.study import Study, differences

CONTENT: dict[str, Any] = {
    "space": {
        "name": "tiny",
        "content": {"resolution": [192, 224], "stages": [{"block": ["mbconv", "irmb"], "depth": [1, 2]}]},
    },
    "budgets": ["1GFLOP", "10ms"],
    "ladder": [{"trials": 32, "samples": 6000, "width": 0.5}, {"trials": 8, "samples": 19000, "width": 0.5}],
    "strategy": {"name": "evolution", "population": 20},
    "trials": 32,
    "runner": {"kind": "ray", "workers": 2},
}


def study(**changes: Any) -> Study:
    return Study.from_dict({**CONTENT, **changes})


def test_a_study_comes_back_from_its_folder(tmp_path: Path) -> None:
    before = study(trial_limit_s=90.0, commit="abc", final_seeds=(0, 1), numerics_in_keys=True)
    before.create(tmp_path / "new" / "study")
    after = Study.open(tmp_path / "new" / "study")
    assert after == before
    assert after.space.id == before.space.id
    assert [budget.metric for budget in after.budgets] == ["flops", "latency_ms"]
    assert after.device_metrics == ("latency_ms",)


fraction = st.floats(0.1, 1.0, allow_nan=False)
rungs = st.lists(st.integers(1, 10**6), min_size=1, max_size=4).map(sorted)
studies = st.builds(
    lambda samples, width, **changes: study(
        ladder=[{"name": f"r{i}", "trials": 2, "samples": n, "width": width} for i, n in enumerate(samples)], **changes
    ),
    samples=rungs,
    width=fraction,
    budgets=st.lists(st.sampled_from(["1GFLOP", "10 ms", "2MiB peak", "64MBmem", "5mJ", "3.5e6 params"]), max_size=3),
    objectives=st.sampled_from(
        [("error", "latency_ms"), ("masked_error", "latency_ms"), ("error", "predicted@4GFLOP")]
    ),
    trials=st.integers(1, 10**4),
    seed=st.integers(0, 2**31),
    final_seeds=st.lists(st.integers(0, 99), max_size=4),
    trial_limit_s=st.none() | st.floats(1e-3, 1e6),
    data=st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), min_size=1),
    strategy=st.sampled_from([{"name": "random"}, {"name": "evolution"}, {"name": "evolution", "population": 4}]),
    runner=st.sampled_from([{}, {"kind": "serial", "precision": "bf16"}, {"address": "auto", "cpus_per_trial": 0.5}]),
    numerics_in_keys=st.booleans(),
)


@given(before=studies)
def test_any_study_comes_back_from_its_file(before: Study) -> None:
    with tempfile.TemporaryDirectory() as folder:
        before.write(folder)
        after = Study.open(folder)
    assert after == before
    assert not differences(after, before)
    assert after.to_toml() == before.to_toml()


def test_a_stored_ladder_holds_whole_fidelities_and_older_ones_mean_the_former_recipe(tmp_path: Path) -> None:
    first = study().ladder.rungs[0]
    assert first.fidelity == load_recipe(FORMER).at(6000, width=0.5)
    study().create(tmp_path)
    table = read_toml(tmp_path / "study.toml")["ladder"][0]
    assert table == {"name": "", "trials": 32, **first.fidelity.to_dict()}
    named = study(ladder=[{"trials": 3, "samples": 64, "recipe": "proxy"}])
    assert named.ladder.rungs[0].fidelity == load_recipe("proxy").at(64)


def test_the_same_study_may_be_created_again(tmp_path: Path) -> None:
    study().create(tmp_path)
    study(commit="another", version="0.9").create(tmp_path)  # who ran it does not make it another study
    assert Study.open(tmp_path).commit is None


def test_another_study_is_refused_with_what_differs(tmp_path: Path) -> None:
    study().create(tmp_path)
    before = (tmp_path / "study.toml").read_bytes()
    with pytest.raises(UserError) as caught:
        study(seed=1, strategy={"name": "random"}).create(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: holds another study (seed 0 there, 1 here; strategy.name evolution there, random here; "
        "strategy.population 20 there, not given here); give another folder with --out, or go on with that one: "
        f"`nasbench resume {tmp_path}`"
    )
    with pytest.raises(UserError, match=r"holds another study \(budgets .* and 2 more\); give"):
        study(seed=1, strategy={"name": "random"}, budgets=["2GFLOP"], trials=9).create(tmp_path)
    with pytest.raises(UserError, match=r"a study of the objective supervised, not masked, .* --objective supervised$"):
        study(objectives=("masked_error", "latency_ms")).create(tmp_path)
    assert (tmp_path / "study.toml").read_bytes() == before


def test_of_two_studies_begun_in_one_new_folder_at_once_one_is_there_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second begins after the first has found the folder empty, and is written before it."""
    second, looked = study(seed=1), study_file.require_new_or_empty

    def meanwhile(folder: Path, file: str) -> None:
        looked(folder, file)
        monkeypatch.setattr(study_file, "require_new_or_empty", looked)
        second.create(folder)

    monkeypatch.setattr(study_file, "require_new_or_empty", meanwhile)
    with pytest.raises(
        UserError, match=r"holds another study \(seed 1 there, 0 here\); give another folder with --out"
    ):
        study().create(tmp_path / "new")
    assert Study.open(tmp_path / "new") == second


def test_of_two_equal_studies_begun_at_once_one_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "LOCK_WAIT_S", 0.0)
    for _ in range(2):
        study().create(tmp_path)
    with TrialStore(tmp_path), pytest.raises(UserError, match="in use by process"):
        TrialStore(tmp_path)


def test_a_study_that_runs_now_is_not_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = study(race=4)
    before.create(tmp_path)
    monkeypatch.setattr(journal, "LOCK_WAIT_S", 0.0)
    with TrialStore(tmp_path), pytest.raises(UserError, match=r"in use by process \d+ on .*; wait for it, stop it, or"):
        before.with_more_finals(2).write(tmp_path)
    assert Study.open(tmp_path) == before
    before.with_more_finals(2).write(tmp_path)
    assert Study.open(tmp_path) != before


def test_a_change_inside_the_space_is_another_study() -> None:
    changed = {"name": "tiny", "content": {**CONTENT["space"]["content"], "resolution": [192]}}
    assert [found.key for found in differences(study(), study(space=changed))] == ["space.content.resolution"]
    assert study(space=changed).space.id != study().space.id


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(UserError, match=r"holds files, but no study\.toml; give a new or empty folder"):
        study().create(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(UserError, match=r"holds no study\.toml; start a study with `nasbench search"):
        Study.open(tmp_path)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="Not a directory; give a folder that can be written"):
        study().create(tmp_path / "file" / "study")
    if os.getuid():  # root may write anywhere
        tmp_path.chmod(0o500)
        with pytest.raises(UserError, match="Permission denied"):
            study().create(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trails": 3}, "study.toml: unknown key 'trails'; known keys: budgets, classes"),
        ({"space": {"name": "x", "content": {}, "size": 3}}, "unknown key 'space.size'; known keys: content, name"),
        ({"budgets": ["10ms", "1G"]}, "study.toml: budgets[1]: budget '1G': ambiguous without a unit; write"),
        ({"trials": 0}, "study.toml: trials = 0: input should be greater than or equal to 1"),
        ({"trials": "many"}, "study.toml: trials = 'many': must be a whole number"),
        ({"ladder": []}, "ladder: no [[ladder]] table; at least one rung is needed: add [[ladder]] with trials"),
        ({"ladder": 3}, "study.toml: ladder = 3"),
        ({"ladder": [3]}, "study.toml: ladder = [3]: must be a list of tables; write [[ladder]] above each rung"),
        ({"ladder": [{"trials": 3}]}, "ladder[0]: key 'samples' is missing; add it"),
        ({"ladder": [{"samples": 3}]}, "ladder[0]: key 'trials' is missing; add it"),
        ({"ladder": [{"trials": 3, "samples": 9, "lrr": 1}]}, "ladder[0]: unknown key 'lrr'; known keys: adam_gates"),
        ({"ladder": [{"trials": 3, "samples": 9, "lr": -1}]}, "ladder[0]: lr = -1: input should be greater than 0"),
        ({"ladder": [{"trials": 3, "samples": 9}, {"trials": 3, "samples": 5}]}, "samples must not fall from rung"),
        (
            {"ladder": [{"trials": 3, "samples": 9, "recipe": "nope"}]},
            "unknown recipe 'nope'; give the path of a .toml file, or a name such as proxy",
        ),
        ({"strategy": {}}, "key 'name' is missing; add the name of a strategy, such as name = \"random\""),
        ({"strategy": {"name": "luck"}}, "unknown strategy 'luck'; known strategies: evolution, local, model"),
        ({"strategy": {"name": "random", "x": 1}}, "unknown key 'x'"),
        (
            {"runner": {"device": "tpu"}},
            "study.toml: runner.device: device = 'tpu': trainings run on 'cpu' or 'cuda'",
        ),
        ({"runner": {"gpus_per_trial": 1.5}}, "gpus_per_trial = 1.5: take a fraction below 1 or whole devices"),
        ({"objectives": ["speed"]}, "study.toml: objectives = ['speed']: the first must be one of error, masked_error"),
        ({"objectives": ["masked_error", "predicted@4GFLOP"]}, "use it with error first"),
        ({"time_limit_s": float("inf")}, "study.toml: time_limit_s = inf: input should be a finite number"),
    ],
    ids=str,
)
def test_a_bad_study_is_one_line_with_key_value_and_rule(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        study(**changes)
    assert message in str(caught.value)
    assert str(caught.value).startswith("study.toml: ")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_a_missing_key_and_a_torn_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"study\.toml: key 'trials' is missing; add it"):
        Study.from_dict({key: value for key, value in CONTENT.items() if key != "trials"})
    (tmp_path / "study.toml").write_text("trials = [")
    with pytest.raises(UserError, match=r"study\.toml: not valid TOML"):
        Study.open(tmp_path)


def test_replacing_is_checked_and_leaves_the_old_one() -> None:
    before = study()
    assert before.replace(trials=64).trials == 64
    assert before.trials == 32
    with pytest.raises(UserError, match="trials = -1"):
        before.replace(trials=-1)


def test_the_space_is_stored_whole() -> None:
    stored = study(space={"name": DEFAULT.name, "content": DEFAULT.to_dict()})
    assert type(DEFAULT).from_dict(stored.space.content).to_dict() == DEFAULT.to_dict()
