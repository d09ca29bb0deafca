import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nasbench.pareto import Front, best_first, crowding_distance, hypervolume, is_dominated, pareto_ranks


def beats(a: np.ndarray, b: np.ndarray) -> bool:
    return bool((a <= b).all() and (a < b).any())


def grids(most_rows: int, most_objectives: int) -> st.SearchStrategy[np.ndarray]:
    """(rows, objectives) of small whole numbers: ties and duplicates are frequent, and volumes can be counted."""
    shape = st.tuples(st.integers(1, most_rows), st.integers(1, most_objectives))
    return shape.flatmap(lambda shape: arrays(float, shape, elements=st.integers(0, 5).map(float)))


@given(grids(30, 3))
def test_dominance_and_ranks_equal_brute_force(losses: np.ndarray) -> None:
    assert is_dominated(losses).tolist() == [any(beats(b, a) for b in losses) for a in losses]
    left, rank, expected = set(range(len(losses))), 0, np.zeros(len(losses))
    while left:
        front = {i for i in left if not any(beats(losses[j], losses[i]) for j in left)}
        expected[list(front)] = rank
        left, rank = left - front, rank + 1
    assert pareto_ranks(losses).tolist() == expected.tolist()


@given(grids(30, 3))
def test_best_first_is_an_order_of_all_rows_by_rank(losses: np.ndarray) -> None:
    order = best_first(losses)
    assert sorted(order) == list(range(len(losses)))
    assert (np.diff(pareto_ranks(losses)[order]) >= 0).all()


@given(grids(30, 4))
def test_a_front_is_what_nothing_beats_and_covers_all_volume(losses: np.ndarray) -> None:
    front = Front.of(losses, reference=np.full(losses.shape[1], 6.0).tolist())
    assert set(front.indices) == set(np.flatnonzero(pareto_ranks(losses) == 0))
    assert front.losses == tuple(sorted(tuple(row) for row in losses[list(front.indices)]))
    assert front.hypervolume == hypervolume(losses, front.reference)


def test_duplicates_share_the_front() -> None:
    losses = np.array([[1.0, 2.0], [1.0, 2.0], [2.0, 1.0], [2.0, 2.0]])
    assert is_dominated(losses).tolist() == [False, False, False, True]
    assert pareto_ranks(losses).tolist() == [0, 0, 0, 1]
    assert Front.of(losses).indices == (0, 1, 2)


@given(grids(12, 4))
def test_hypervolume_equals_a_count_of_unit_cells(losses: np.ndarray) -> None:
    objectives = losses.shape[1]
    reference = np.full(objectives, 5.0)  # some rows lie on or beyond it
    cells = itertools.product(range(5), repeat=objectives)
    count = sum((losses <= np.array(cell)).all(1).any() for cell in cells)
    assert hypervolume(losses, reference) == count


def test_hypervolume_of_a_curve_approaches_its_closed_form() -> None:
    x = np.linspace(0, 1, 20_001)
    assert hypervolume(np.stack([x, 1 - np.sqrt(x)], 1), [1, 1]) == pytest.approx(2 / 3, abs=1e-4)  # ZDT1's front


def test_hypervolume_agrees_with_moocore() -> None:
    moocore = pytest.importorskip("moocore")
    losses, reference = np.random.default_rng(0).random((40, 4)), np.full(4, 1.1)
    expected = moocore.hypervolume(losses, ref=reference)
    assert hypervolume(losses, reference) == pytest.approx(expected, rel=1e-12)


def test_hypervolume_of_nothing_and_of_an_unbounded_loss() -> None:
    assert hypervolume(np.empty((0, 2)), [1, 1]) == 0.0
    assert hypervolume([[np.inf, 0.0], [0.5, 0.5]], [1, 1]) == 0.25


def test_crowding_distance_by_hand() -> None:
    losses = np.array([[0.0, 4.0], [1.0, 2.0], [1.0, 2.0], [3.0, 1.0], [4.0, 0.0]])
    # inner rows: (gap in x) / 4 + (gap in y) / 4, the duplicate counting once
    assert crowding_distance(losses).tolist() == [np.inf, 3 / 4 + 3 / 4, 0.0, 3 / 4 + 2 / 4, np.inf]
    assert crowding_distance(np.empty((0, 2))).tolist() == []
    assert crowding_distance([[1.0, 1.0]]).tolist() == [np.inf]


def test_front_is_ordered_and_keeps_its_reference() -> None:
    front = Front.of([[3.0, 1.0], [1.0, 3.0], [2.0, 2.0], [3.0, 3.0]], reference=(4, 4))
    assert front.indices == (1, 2, 0)
    assert front.losses == ((1.0, 3.0), (2.0, 2.0), (3.0, 1.0))
    assert front.hypervolume == 6.0
    assert len(front) == 3
    assert Front.of(np.empty((0, 2)), reference=(1, 1)).hypervolume == 0.0


def test_the_default_reference_lies_beyond_every_row() -> None:
    assert Front.of([[1.0, 5.0], [2.0, 5.0]]).reference == pytest.approx((2.1, 5.5))
    assert Front.of([[0.0, 0.0]]).hypervolume > 0


def test_nan_and_wrong_shapes_are_errors() -> None:
    with pytest.raises(ValueError, match="leave failed trials out"):
        is_dominated([[np.nan, 1.0]])
    with pytest.raises(ValueError, match="shape"):
        pareto_ranks([1.0, 2.0])
    with pytest.raises(ValueError, match="2 objectives"):
        hypervolume([[1.0, 1.0]], [1.0, 1.0, 1.0])
    with pytest.raises(ValueError, match="needs a reference"):
        Front.of(np.empty((0, 2)))


def test_best_first_orders_by_rank_and_then_by_loneliness():
    losses = [[4.0, 4.0], [1.0, 3.0], [1.1, 2.9], [2.0, 2.0], [3.0, 1.0], [3.0, 3.5]]
    order = best_first(losses).tolist()
    assert set(order[:4]) == {1, 2, 3, 4}  # the front
    assert order[3] == 2  # of which this one has the nearest neighbours
    assert order[4:] == [5, 0]
