import os
from pathlib import Path
from typing import Any

import pytest

from nasbench.errors import UserError
from nasbench.study.study import Study, differences

CONTENT: dict[str, Any] = {
    "space": {
        "name": "tiny",
        "content": {"resolution": [192, 224], "stages": [{"block": ["mbconv", "irmb"], "depth": [1, 2]}]},
    },
    "budgets": ["1GFLOP", "10ms"],
    "ladder": [{"samples": 6000, "resolution": 32, "width": 0.5}, {"samples": 19000, "resolution": 32, "width": 0.5}],
    "strategy": {"name": "evolution", "population": 20},
    "trials": 32,
    "runner": {"kind": "ray", "workers": 2},
}


def study(**changes: Any) -> Study:
    return Study.from_dict({**CONTENT, **changes})


def test_a_study_comes_back_from_its_folder(tmp_path: Path) -> None:
    before = study(trial_limit_s=90.0, commit="abc", final_seeds=(0, 1))
    before.create(tmp_path / "new" / "study")
    after = Study.open(tmp_path / "new" / "study")
    assert after == before
    assert after.space.id == before.space.id
    assert [budget.metric for budget in after.parsed_budgets] == ["flops", "latency_ms"]


def test_the_same_study_may_be_created_again(tmp_path: Path) -> None:
    study().create(tmp_path)
    study(commit="another", version="0.9").create(tmp_path)  # who ran it does not make it another study
    assert Study.open(tmp_path).commit is None


def test_another_study_is_refused_with_what_differs(tmp_path: Path) -> None:
    study().create(tmp_path)
    before = (tmp_path / "study.toml").read_bytes()
    with pytest.raises(UserError) as caught:
        study(seed=1, strategy={"name": "random"}).create(tmp_path)
    text = str(caught.value)
    assert text.startswith(
        f"{tmp_path}: holds another study (seed 0 there, 1 here; strategy.name evolution there, random"
    )
    assert "strategy.population 20 there, not given here" in text
    assert text.endswith(f"give another folder with --out, or go on with that one: `nasbench resume {tmp_path}`")
    assert (tmp_path / "study.toml").read_bytes() == before


def test_a_change_inside_the_space_is_another_study() -> None:
    changed = {"name": "tiny", "content": {**CONTENT["space"]["content"], "resolution": [192]}}
    assert [key for key, *_ in differences(study(), study(space=changed))] == ["space.content.resolution"]
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
    with pytest.raises(UserError, match=r"cannot write: .*; give another folder with --out"):
        study().create(tmp_path / "file" / "study")
    if os.getuid():  # root may write anywhere
        tmp_path.chmod(0o500)
        with pytest.raises(UserError, match="Permission denied"):
            study().create(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trails": 3}, "study.toml: trails = 3: unknown key; known keys: budgets, classes"),
        ({"space": {"name": "x", "content": {}, "size": 3}}, "space.size = 3: unknown key; known keys: content, name"),
        ({"budgets": ["1G"]}, "study.toml: budgets = ['1G']: budget '1G': ambiguous"),
        ({"trials": 0}, "trials = 0: Input should be greater than or equal to 1"),
        ({"trials": "many"}, "trials = many: Input should be a valid integer"),
        ({"ladder": []}, "ladder = []"),
        ({"strategy": {}}, 'strategy = {}: needs the name of a strategy, such as name = "random"'),
    ],
)
def test_a_bad_study_is_one_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        study(**changes)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_key_and_a_torn_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"study\.toml: trials: Field required"):
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
