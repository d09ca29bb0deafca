"""Trials as values: what tells two apart, how they are stored, and what may come of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nasbench.arch.library import load
from nasbench.costs.analytic import cost
from nasbench.errors import UserError
from nasbench.study.fidelity import FORMER, Fidelity, load_recipe
from nasbench.study.runner import Numerics
from nasbench.study.trials import (
    REASON_CHARACTERS,
    Kind,
    Level,
    Origin,
    Outcome,
    State,
    Trial,
    complete_or_failed,
    failed,
)

ARCH = load("emo_1m")
FIDELITY = load_recipe().at(6000)
STORED = sorted((Path(__file__).parents[1] / "results").glob("*/trials.jsonl"))


def test_the_key_is_all_that_changes_the_result_and_nothing_else() -> None:
    base = Trial.new(ARCH, FIDELITY, 0, "toy")
    origin = Origin(Kind.FIXED_POINT, 2, "promoted", cost(ARCH))
    assert Trial.new(load("emo_1m"), load_recipe().at(6000), 0, "toy", origin=origin).key == base.key
    others = [
        Trial.new(load("emo_2m"), FIDELITY, 0, "toy"),
        Trial.new(ARCH, FIDELITY.replace(lr=0.05), 0, "toy"),
        Trial.new(ARCH, FIDELITY, 1, "toy"),
        Trial.new(ARCH, FIDELITY, 0, "cifar10"),
        Trial.new(ARCH, FIDELITY, 0, "toy", "test"),
        Trial.new(ARCH, FIDELITY, 0, "toy", numerics=Numerics("cuda", "float32")),
        Trial.new(ARCH, FIDELITY, 0, "toy", numerics=Numerics("cpu", "bf16")),
        Trial.new(ARCH, FIDELITY, 0, "toy", numerics=Numerics("cuda", "bf16")),
    ]
    assert len({base.key, *(trial.key for trial in others)}) == 1 + len(others)


def test_plain_numerics_leave_a_key_as_it_was_before_they_were_told_apart() -> None:
    plain = Trial.new(ARCH, FIDELITY, 0, "toy", numerics=Numerics("cpu", "float32"))
    assert plain.key == Trial.new(ARCH, FIDELITY, 0, "toy").key


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.parent.name)
def test_every_stored_trial_has_the_key_that_it_would_get_today(path: Path) -> None:
    """A key that changed would have a resumed study train everything again."""
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    trials = [Trial.from_record(record) for record in records if record["kind"] == "submitted"]
    assert trials
    for trial in trials:
        again = Trial.new(trial.design, trial.fidelity, trial.seed, trial.data, trial.split)
        assert (again.key, again.architecture_id) == (trial.key, trial.architecture_id)


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.parent.name)
def test_a_stored_trial_is_written_as_it_was_read(path: Path) -> None:
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for record in records:
        if record.pop("kind") == "submitted":
            written = json.loads(json.dumps(Trial.from_record(record).to_record()))
            assert written == {**record, "origin": {"rung": 0, **record["origin"]}}  # scaling studies left it out


def test_a_fidelity_without_the_younger_fields_is_that_of_former_studies() -> None:
    whole = load_recipe(FORMER).at(6000)
    assert not {"optimiser", "branch_gain", "linear_gain"} & whole.to_dict().keys()
    assert Fidelity.from_dict(whole.to_dict()) == whole
    assert FIDELITY.to_dict()["optimiser"] == "muon"


def test_a_design_and_its_level() -> None:
    trial = Trial.new(ARCH, FIDELITY, 0, "toy", "test", Origin(Kind.SEARCHED, 1, "final", cost(ARCH)))
    assert trial.design == ARCH
    assert trial.label == "emo_1m"
    assert trial.level == Level(1, final=True)
    assert trial.cost == cost(ARCH)
    assert max(Level(1), Level(0, True), Level(1, True)) == Level(1, True)
    with pytest.raises(UserError, match="its record has no cost"):
        _ = Trial.new(ARCH, FIDELITY, 0, "toy").cost


def test_an_origin_comes_back_and_an_unknown_key_is_named() -> None:
    origin = Origin(Kind.SCALED, 0, "law", cost(ARCH), family="emo", rule="fast", target="1GFLOP")
    assert Origin.from_dict(json.loads(json.dumps(origin.to_dict()))) == origin
    assert Origin().to_dict() == {"kind": "searched", "rung": 0}
    with pytest.raises(ValueError, match="origin: unknown key 'mood'; known keys: cost, family"):
        Origin.from_dict({"mood": "good"})
    with pytest.raises(ValueError, match="kind = 'found': input should be 'fixed point', 'searched' or 'scaled'"):
        Origin.from_dict({"kind": "found"})


def test_no_nan_becomes_a_result() -> None:
    diverged = complete_or_failed({"error": float("nan")}, 1.0, {})
    assert (diverged.state, diverged.reason) == (State.FAILED, "diverged: metric 'error' is nan")
    assert complete_or_failed({"error": 0.5, "n": 3}, 1.0, {}).state == State.COMPLETE


def test_a_failure_has_a_reason_of_one_line() -> None:
    assert failed("out of memory: 3 GB\nTraceback ...").reason == "out of memory: 3 GB"
    assert failed(" ").reason == "no reason given"
    assert len(failed("x" * 9999).reason or "") == REASON_CHARACTERS
    with pytest.raises(ValueError, match="a failed outcome needs a reason"):
        Outcome(State.FAILED)
    with pytest.raises(ValueError, match="an outcome is complete or failed"):
        Outcome(State.SUBMITTED)
