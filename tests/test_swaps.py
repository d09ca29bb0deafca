"""The tables of swapped blocks and patches: what stands in them, and that they train."""

from __future__ import annotations

import pytest

from nasbench.arch.library import load
from nasbench.errors import UserError
from nasbench.published import swaps
from nasbench.published.swaps import TABLES, Training, swap_table
from nasbench.space.shipped import load_space
from nasbench.study.fidelity import load_recipe
from nasbench.study.runner import RunnerSpec

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


def test_a_table_holds_cost_latency_and_accuracy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TABLES, "blocks", ("mobilevit_xxs",))
    measured = [{"latency_ms": 1.5} for _ in TABLES["blocks"]]
    monkeypatch.setattr("nasbench.latency.tables.measurement_table", lambda networks: measured[: len(networks)])
    training = Training(load_recipe().at(64, pool=64, evaluate=64), RunnerSpec(kind="serial"), seeds=(0, 1))
    (row,) = swap_table("blocks", training)
    assert (row["network"], row["params"], row["latency_ms"], row["seeds"]) == ("mobilevit_xxs", 1272024, 1.5, 2)
    assert 0 <= row["accuracy"] <= 100
    assert row["deviation"] >= 0


def test_an_unknown_table_is_named():
    with pytest.raises(UserError, match="unknown table 'heads'; there are blocks, patches"):
        swap_table("heads")


def test_one_seed_has_no_deviation():
    assert swaps.deviation([3.0]) == 0.0
