"""nasbench.study.fidelity: recipes in files, fidelities as they are stored, ladders."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nasbench.arch.library import load
from nasbench.cli import parser
from nasbench.errors import UserError
from nasbench.files import read_toml
from nasbench.study.fidelity import (
    ABSENT_MEANS,
    FORMER,
    NEUTRAL,
    STANDARD,
    Fidelity,
    Ladder,
    Recipe,
    load_recipe,
    recipe_files,
    recipe_name,
)
from nasbench.study.runner import runner_ladder, shipped_runners
from nasbench.study.trials import Trial

ROOT = Path(__file__).parents[1]
STORED = ("default", "default-former", "reference", "scaling")


def test_fidelity_needs_no_torch() -> None:
    code = "import sys, nasbench.study.fidelity; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# Recipes


def test_no_figure_of_a_training_has_a_default_in_the_code() -> None:
    assert [name for name, field in Fidelity.model_fields.items() if not field.is_required()] == []
    assert Fidelity.model_fields.keys() - Recipe.model_fields.keys() == {"samples"}


@pytest.mark.parametrize("name", recipe_files())
def test_every_recipe_file_is_whole(name: str) -> None:
    content = read_toml(recipe_files()[name])
    assert content.keys() == Recipe.model_fields.keys()
    assert load_recipe(name).to_dict() == content


def test_the_standard_recipe_and_the_former_one_are_shipped() -> None:
    assert {STANDARD, FORMER} <= recipe_files().keys()
    assert load_recipe() == load_recipe(STANDARD) != load_recipe(FORMER)


def test_a_scaling_study_is_trained_by_the_standard_recipe() -> None:
    words = ["scale", "train", "emo_1m", "--to", "1GFLOP", "--out", "x"]
    assert parser().parse_args(words).recipe == STANDARD


@pytest.mark.parametrize("missing", sorted(Recipe.model_fields.keys() - NEUTRAL.keys()))
def test_a_recipe_that_leaves_a_figure_out_is_refused(missing: str, tmp_path: Path) -> None:
    lines = recipe_files()[STANDARD].read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if line.split(" = ")[0].strip() != missing]
    assert len(kept) == len(lines) - 1
    (tmp_path / "mine.toml").write_text("\n".join(kept), encoding="utf-8")
    with pytest.raises(UserError, match=rf"mine\.toml: key '{missing}' is missing; add it"):
        load_recipe(tmp_path / "mine.toml")


def test_a_recipe_may_leave_the_younger_figures_out(tmp_path: Path) -> None:
    lines = recipe_files()["proxy"].read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if line.split(" = ")[0].strip() not in NEUTRAL]
    assert len(kept) == len(lines) - len(NEUTRAL)
    (tmp_path / "mine.toml").write_text("\n".join(kept), encoding="utf-8")
    assert load_recipe(tmp_path / "mine.toml") == load_recipe("proxy")


def test_a_recipe_at_a_length_is_a_fidelity_with_the_changes_asked_for() -> None:
    recipe = load_recipe()
    fidelity = recipe.at(320, width=0.5)
    assert (fidelity.samples, fidelity.width) == (320, 0.5)
    assert fidelity.recipe == recipe.replace(width=0.5)
    with pytest.raises(UserError, match=r"width = 1\.5"):
        recipe.at(320, width=1.5)


def test_a_fidelity_is_called_by_its_recipe_and_what_it_changes_in_it() -> None:
    assert recipe_name(load_recipe().at(100)) == STANDARD
    assert recipe_name(load_recipe(FORMER).at(100)) == FORMER
    assert recipe_name(load_recipe(FORMER).at(100, evaluate=50)) == FORMER
    assert recipe_name(load_recipe().at(100, width=0.5)) == f"{STANDARD} with width = 0.5"
    assert recipe_name(load_recipe(FORMER).at(9, lr=0.1, flip=False)) == f"{FORMER} with lr = 0.1, flip = False"


def test_an_image_is_never_smaller_than_16_pixels() -> None:
    fidelity = load_recipe("proxy").at(1)
    assert (fidelity.resolution_scale, fidelity.image_multiple) == (0.125, 1)
    whole = fidelity.replace(image_multiple=8)
    exact, whole = ([each.image_size(side) for side in (32, 160, 224, 256)] for each in (fidelity, whole))
    assert exact == [16, 20, 28, 32]
    assert whole == [16, 24, 32, 32]  # multiples of the total stride that is left, 8


def test_strides_come_out_in_powers_of_two() -> None:
    recipe = load_recipe()
    assert recipe.replace(resolution_scale=0.5, map_scale=0.5).strides_out == 0
    assert recipe.replace(resolution_scale=0.125, map_scale=0.5).strides_out == 2


# What is stored


def _submitted(study: str) -> Iterator[dict]:
    lines = (ROOT / "results" / study / "trials.jsonl").read_text(encoding="utf-8").splitlines()
    return (record for record in map(json.loads, lines) if record["kind"] == "submitted")


@pytest.mark.parametrize("study", STORED)
def test_a_stored_fidelity_is_read_and_written_unchanged_and_its_trial_keeps_its_key(study: str) -> None:
    count = 0
    for record in _submitted(study):
        fidelity = Fidelity.from_dict(record["fidelity"])
        assert fidelity.to_dict() == record["fidelity"]
        trial = Trial.from_record(record)
        again = Trial.new(trial.design, fidelity, trial.seed, trial.data, trial.split)
        assert (again.key, again.architecture_id) == (record["key"], record["architecture_id"])
        count += 1
    assert count > 40


def test_ids_and_keys_from_before_the_younger_fields_hold() -> None:
    """Both were taken before those existed: with others a resumed study would train all again."""
    old = load_recipe(FORMER).at(3200, evaluate=1200)
    assert not old.to_dict().keys() & ABSENT_MEANS.keys()
    assert old.id == "9145a9662d18"
    assert Trial.new(load("emo_1m"), old, 0, "d").key == "8ea114b6b5e2c56b"


def test_a_field_absent_from_a_stored_fidelity_has_the_value_of_then() -> None:
    read = Fidelity.from_dict(load_recipe(FORMER).at(1).to_dict())
    assert (read.optimiser, read.branch_gain, read.linear_gain) == ("sgd", 1, 0)


@pytest.mark.parametrize(
    "changes",
    [
        {"optimiser": "muon"},
        {"branch_gain": 0.2},
        {"linear_gain": 1.0},
        {"identity_bias": 1.0},
        {"image_multiple": 8},
        {"smallest_patch": 2},
        {"adam_gates": True},
    ],
)
def test_a_younger_field_is_stored_where_it_says_something_new(changes: dict[str, object]) -> None:
    former = load_recipe(FORMER)
    new = former.at(3200, **changes)
    assert new.to_dict().items() >= changes.items()
    assert Fidelity.from_dict(new.to_dict()) == new
    assert new.id != former.at(3200).id


def test_what_is_switched_off_stays_off() -> None:
    off = load_recipe().at(1, layer_scale=0, clip_norm=0, branch_gain=0)
    assert Fidelity.from_dict(off.to_dict()) == off


@pytest.mark.parametrize("name", Recipe.model_fields)
def test_any_other_figure_is_another_id(name: str) -> None:
    fidelity = load_recipe().at(100)
    words: dict[str, object] = {"optimiser": "sgd", "flip": False, "pool": 4800, "evaluate": 5000, "batch_size": 16}
    words |= {"image_multiple": 4, "smallest_patch": 4, "identity_bias": 0.5, "adam_gates": False}
    other = words[name] if name in words else getattr(fidelity, name) / 2
    changed = fidelity.replace(**{name: other})
    assert changed.id != fidelity.id


# Ladders


def test_a_table_without_a_recipe_takes_the_standard_one_and_a_stored_one_the_former() -> None:
    tables = [{"trials": 3, "samples": 200, "width": 0.5}]
    assert Ladder.from_recipes(tables).rungs[0].fidelity == load_recipe(STANDARD).at(200, width=0.5)
    assert Ladder.from_stored(tables).rungs[0].fidelity == load_recipe(FORMER).at(200, width=0.5)


def test_a_table_may_name_its_recipe_or_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(recipe_files()[STANDARD].read_text(encoding="utf-8").replace("lr = 0.02 ", "lr = 0.01 "))
    tables = [{"trials": 3, "samples": 200, "recipe": name} for name in (FORMER, str(path))]
    first, second = Ladder.from_recipes(tables).rungs
    assert first.fidelity == load_recipe(FORMER).at(200)
    assert second.fidelity == load_recipe(STANDARD).at(200, lr=0.01)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "key 'samples' is missing"),
        ({"samples": 10, "epochs": 3}, "unknown key 'epochs'; known keys: .*batch_size"),
        ({"samples": 0}, "samples = 0"),
        ({"samples": 10, "width": 1.5}, "width = 1.5"),
        ({"samples": 10, "optimiser": "adam"}, "optimiser = 'adam'"),
        ({"samples": 10, "map_scale": 0.3}, "it must be 1, 2, 4"),
        ({"samples": 10, "map_scale": 0.0625}, "it must be 1, 2, 4"),
        ({"samples": 10, "trials": 0}, "trials = 0"),
    ],
)
def test_a_bad_table_is_one_line_with_its_place(content: dict[str, object], message: str) -> None:
    good = {"trials": 3, "samples": 5}
    with pytest.raises(UserError, match=rf"^mine\.toml: ladder\[1\]: .*{message}") as error:
        Ladder.from_recipes([good, {"trials": 3, **content}], "mine.toml")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("recipe", "message"), [("nope", "unknown recipe 'nope'; .* proxy"), (3, "recipe = 3: give")])
def test_an_unknown_recipe_is_one_line(recipe: object, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        Ladder.from_recipes([{"trials": 3, "samples": 10, "recipe": recipe}], "mine.toml")
    assert "\n" not in str(error.value)


def test_a_ladder_must_rise_and_not_be_empty() -> None:
    with pytest.raises(UserError, match=r"mine\.toml: no \[\[ladder\]\] table"):
        Ladder.from_recipes([], "mine.toml")
    tables = [{"trials": 3, "samples": samples} for samples in (200, 100)]
    with pytest.raises(UserError, match=r"mine\.toml: ladder\[1\] trains on 100 samples after 200"):
        Ladder.from_recipes(tables, "mine.toml")


@pytest.mark.parametrize("name", shipped_runners())
def test_shipped_ladders_are_stored_whole_and_read_back(name: str) -> None:
    ladder = runner_ladder(name)
    assert ladder.top == len(ladder.rungs) - 1
    assert Ladder.from_stored(ladder.to_tables()) == ladder
    for table in ladder.to_tables():
        assert table.keys() | ABSENT_MEANS.keys() >= Fidelity.model_fields.keys() | {"trials", "name"}


# The code itself


def literal_fidelities(text: str) -> list[str]:
    """Calls that make a Fidelity, a Recipe or a Rung's figures from literals of training."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        given = {word.arg: word.value for word in node.keywords}
        literal = [key for key, value in given.items() if key in Fidelity.model_fields and _is_literal(value)]
        if name in ("Fidelity", "Recipe") or (name in ("at", "replace", "from_dict") and literal):
            found += [f"{name}({key})" for key in literal]
    return found


def _is_literal(node: ast.expr) -> bool:
    return all(
        isinstance(part, (ast.Constant, ast.UnaryOp, ast.BinOp, ast.operator, ast.unaryop)) for part in ast.walk(node)
    )


def test_literal_figures_would_be_found() -> None:
    assert literal_fidelities("Fidelity(samples=3, lr=given)") == ["Fidelity(samples)"]
    assert literal_fidelities("load_recipe().at(n, width=2 * 0.25)") == ["at(width)"]
    assert literal_fidelities("recipe.at(n, width=chosen)") == []


def test_no_module_holds_figures_of_a_training() -> None:
    paths = sorted((ROOT / "nasbench").rglob("*.py"))
    assert len(paths) > 100
    found = {str(path): literal_fidelities(path.read_text(encoding="utf-8")) for path in paths}
    assert {path: calls for path, calls in found.items() if calls} == {}


def test_a_runner_whose_rungs_train_alike_is_refused(tmp_path: Path) -> None:
    """The trials of one would be the other's, and no finalist would be found."""
    rung = '[[ladder]]\ntrials = 2\nsamples = 64\nevaluate = 100\nname = "{}"\n'
    (tmp_path / "q.toml").write_text('kind = "serial"\n' + rung.format("screen") + rung.format("full"))
    with pytest.raises(UserError, match=r"ladder\[1\] trains on 64 samples exactly as ladder\[0\] does.*; give"):
        runner_ladder(tmp_path / "q.toml")
