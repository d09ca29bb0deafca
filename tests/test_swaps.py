"""The tables of swapped blocks and patches: what stands in them, and what is trained for them."""

from __future__ import annotations

import pytest

from nasbench.arch.library import load
from nasbench.errors import UserError
from nasbench.published.swaps import TABLES, Training, deviation, swap_table
from nasbench.space.shipped import load_space
from nasbench.study.fidelity import load_recipe
from nasbench.study.runner import RunnerSpec
from nasbench.study.task import DataSplit, Task

SPACES = {"deit_ti_irmb": "vit", "pvt_tiny_irmb": "pvt", "mobilevit_s_842": "mobilevit"}


@pytest.mark.parametrize("name", SPACES)
def test_swaps_are_points_of_their_family_s_space(name):
    assert load_space(SPACES[name]).contains(load(name))


def test_patches_change_nothing_but_patches():
    for name in TABLES["patches"][1::2]:
        swapped, published = load(name), load(name.removesuffix("_842"))
        assert [stage.patch for stage in swapped.stages[2:]] == [8, 4, 2]
        stages = [stage.model_copy(update={"patch": 2}) for stage in swapped.stages[2:]]
        assert tuple(stages) == published.stages[2:]
        assert swapped.stages[:2] == published.stages[:2]


def test_a_table_holds_cost_latency_and_accuracy(monkeypatch):
    monkeypatch.setitem(TABLES, "blocks", ("mobilevit_xxs",))
    measured = [{"latency_ms": 1.5} for _ in TABLES["blocks"]]
    monkeypatch.setattr("nasbench.latency.tables.measurement_table", lambda networks: measured[: len(networks)])
    tasks: list[Task] = []

    def evaluate(task: Task) -> dict[str, float]:
        tasks.append(task)
        return {"accuracy": 0.5 + 0.2 * task.seed}

    monkeypatch.setattr("nasbench.proxy.evaluate.evaluate", evaluate)
    fidelity, runner, data = load_recipe().at(64), RunnerSpec(precision="bf16"), DataSplit("fashion-on-earth", 5)
    (row,) = swap_table("blocks", Training(fidelity, runner, seeds=(0, 1), data=data))
    assert (row["network"], row["params"], row["latency_ms"], row["seeds"]) == ("mobilevit_xxs", 1272024, 1.5, 2)
    assert row["accuracy"] == pytest.approx(60)
    assert row["deviation"] == pytest.approx(200**0.5)
    assert tasks == [Task(load("mobilevit_xxs"), fidelity, seed, data, runner) for seed in (0, 1)]


def test_an_unknown_table_is_named():
    with pytest.raises(UserError, match="unknown table 'heads'; there are blocks, patches"):
        swap_table("heads")


def test_one_seed_has_no_deviation():
    assert deviation([3.0]) == 0.0
    assert deviation([1.0, 3.0]) == pytest.approx(2**0.5)
