"""What can be indexed, iterated over or asked for its length behaves as a sequence of Python does."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nasbench
from nasbench.latency.prediction import Prediction
from nasbench.latency.resources import Estimate

MS = np.array([1.0, 2.0, 3.0])
WHY = ("", "", "too large")
VALUES: dict[str, Any] = {
    "Prediction": Prediction(MS, 0.9 * MS, 1.1 * MS, MS > 2, WHY),
    "Estimate": Estimate("memory_bytes", MS, 0.9 * MS, 1.1 * MS, MS > 2, WHY),
    "Front": nasbench.Front.of([[3.0, 1.0], [1.0, 3.0], [2.0, 2.0]], reference=(4, 4)),
}


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_a_loop_ends_and_agrees_with_indices(value: Any) -> None:
    assert isinstance(value, Sequence)
    items = list(itertools.islice(value, 10))
    assert len(items) == len(value) == 3
    assert items == [value[0], value[1], value[2]] == [value[-3], value[-2], value[-1]] == list(value)
    assert list(reversed(value)) == items[::-1]
    assert all(item in value for item in items)
    assert value.index(items[1]) == 1
    assert value.count(items[2]) == 1
    assert value[np.int64(1)] == items[1]
    assert list(value[1:]) == items[1:]
    assert list(value[5:]) == []


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_an_index_beyond_the_end_is_an_index_error(value: Any) -> None:
    for index in (3, -4, 10**6):
        with pytest.raises(IndexError):
            value[index]
    for index in (1.0, "1", None):
        with pytest.raises(TypeError):
            value[index]


def test_rows_of_a_prediction_are_what_their_columns_say() -> None:
    for index, row in enumerate(VALUES["Prediction"]):
        assert (len(row), row.latency_ms.tolist(), row.reasons) == (1, [MS[index]], (WHY[index],))
    assert VALUES["Estimate"][2].metric == "memory_bytes"


@pytest.mark.parametrize("name", ["Prediction", "Estimate"])
def test_predictions_are_equal_where_all_their_figures_are(name: str) -> None:
    value = VALUES[name]
    assert value == value[:]
    assert value != value[:2]
    assert value != MS.tolist()


def test_membership_of_a_space_is_worked_out_and_not_searched_for() -> None:
    space = nasbench.load_space("metablock")  # of more networks than can be walked over
    assert nasbench.load("mobilevit_s") in space
    assert nasbench.load("swin_t") not in space
    assert "mobilevit_s" not in space


def test_a_loop_over_a_small_space_ends() -> None:
    stage = {"channels": [8, 16], "depth": [1, 2], "block": "repvgg"}
    space = nasbench.SearchSpace.from_dict({"resolution": [32, 64], "stages": [stage]}, "file")
    members = list(itertools.islice(space, 51))
    assert len({arch.id for arch in members}) == len(members) == space.size()
    assert all(arch in space for arch in members)


def test_whatever_can_be_indexed_is_a_sequence_or_a_mapping() -> None:
    for path in Path(nasbench.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and "__getitem__" in defined(node):
                bases = {ast.unparse(base).split("[")[0] for base in node.bases}
                assert bases & {"Sequence", "Mapping"}, f"{path.name}: {node.name} ends no loop over it"


def defined(node: ast.ClassDef) -> set[str]:
    return {item.name for item in node.body if isinstance(item, ast.FunctionDef)}
