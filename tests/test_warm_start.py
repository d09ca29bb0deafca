"""What a search that names no strategy starts from, and what a table tells it, on tables made by hand."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
from search_toys import study_of
from shared_spaces import SMALL

from nasbench.costs.analytic import cost
from nasbench.engine import warm_start
from nasbench.engine.warm_start import ENOUGH_DESIGNS, ENOUGH_LONG, WARM, Known, has_table, known_before
from nasbench.errors import UserError
from nasbench.proxy.reduction import reduced
from nasbench.strategies import StrategyChoice
from nasbench.study.runner import runner_ladder
from nasbench.study.trials import Kind, Origin, Outcome, State, Trial
from nasbench.table.rows import LONG_RUNG, Circumstances, row_of
from nasbench.table.table import Table

LADDER = runner_ladder("laptop")
STUDY = study_of(SMALL, LADDER.to_tables(), data_id="ours")


def table_of(designs: int, data_id: str = "ours", recipe: str = "laptop") -> Table:
    """So many members of the small space, trained at the first rung: accuracy grows with multiply-adds."""
    ladder = LADDER if recipe == "laptop" else study_of(SMALL, ({"trials": 2, "samples": 64, "lr": 0.5},)).ladder
    rng, rows = np.random.default_rng(0), []
    found = {arch.id: arch for arch in (SMALL.draw(rng) for _ in range(3 * designs))}
    for arch in list(found.values())[:designs]:
        origin = Origin(Kind.SEARCHED, 0, "random", cost(arch))
        trial = Trial.new(arch, ladder.rungs[0].fidelity, 1, data_id, "validation", origin)
        metrics = {"accuracy": 0.3 + arch.resolution / 1000, "proxy_id": reduced(arch, trial.fidelity).id}
        done = trial.with_outcome(Outcome(State.COMPLETE, metrics), 1.0)
        rows.append(row_of(done, Circumstances("images", "cpu float32", ladder, [])))
    return Table(rows, "toys")


@pytest.fixture
def shipped(monkeypatch: pytest.MonkeyPatch) -> Callable[[Table | None], None]:
    """Sets the table that every name stands for; None: there is none."""

    def set_to(table: Table | None) -> None:
        def load(name: str) -> Table:
            if table is None:
                raise UserError(f"unknown table {name!r}")
            return table

        monkeypatch.setattr(warm_start, "load_table", load)

    return set_to


@pytest.mark.parametrize(("images", "told"), [("ours", " designs"), ("theirs", " designs on images")])
def test_a_table_of_this_recipe_is_started_from_whatever_its_images(
    shipped: Callable[[Table | None], None], images: str, told: str
) -> None:
    shipped(table_of(ENOUGH_DESIGNS, images))
    assert has_table(STUDY)
    known = known_before(STUDY.replace(strategy=StrategyChoice.from_dict({"name": WARM})))
    assert str(known).endswith(told)


def test_a_few_trainings_on_these_images_do_not_hide_many_on_others(shipped: Callable[[Table | None], None]) -> None:
    both = Table([*table_of(20).content, *table_of(ENOUGH_DESIGNS, "theirs").content], "both")
    shipped(both)
    assert has_table(STUDY)
    known = known_before(STUDY.replace(strategy=StrategyChoice.from_dict({"name": WARM})))
    assert known is not None
    assert {row.data_id for row in known.table.content} == {"theirs"}


@pytest.mark.parametrize(
    "make",
    [lambda: None, lambda: table_of(0), lambda: table_of(99), lambda: table_of(100, recipe="another")],
    ids=["no table", "an empty one", "few designs", "another recipe"],
)
def test_where_none_fits_a_search_starts_cold(
    shipped: Callable[[Table | None], None], make: Callable[[], Table | None]
) -> None:
    shipped(make())
    assert not has_table(STUDY)


@pytest.mark.parametrize("objectives", [("masked_error", "latency_ms"), ("error", "latency_ms", "predicted@4GFLOP")])
def test_a_table_of_accuracies_serves_no_other_objective(
    shipped: Callable[[Table | None], None], objectives: tuple[str, ...]
) -> None:
    shipped(table_of(ENOUGH_DESIGNS))
    assert not has_table(STUDY.replace(objectives=objectives))


def test_no_training_of_the_table_is_made_again() -> None:
    table, (low, high) = table_of(12), (rung.fidelity for rung in LADDER.rungs)
    there, other = next(iter(table.architectures.values())), table_of(13).architectures
    new = next(arch for key, arch in other.items() if key not in table.architectures)
    known = Known(table, low)
    assert known.fresh_seed(there, low, 1) == 101  # its rows have the seed 1
    assert known.fresh_seed(there, low, 0) == 0
    assert known.fresh_seed(there, high, 1) == known.fresh_seed(new, low, 1) == 1
    assert Known(table, low, "other images").fresh_seed(there, low, 1) == 1


def test_what_is_known_at_another_rung_is_of_that_rung() -> None:
    table, (low, high) = table_of(12), (rung.fidelity for rung in LADDER.rungs)
    known = Known(table, low)
    assert known.at(high).prior.fidelity == high
    assert known.at(high).table is table


def test_trust_falls_where_trials_contradict_the_table() -> None:
    table = table_of(40)
    known, designs = Known(table, LADDER.rungs[0].fidelity), list(table.architectures.values())[:14]
    told = [row.accuracy for row in table.content][:14]
    assert known.after(designs, told).trust == 1
    assert known.after(designs, list(np.random.default_rng(0).permutation(told))).trust < 0.7
    assert known.after(designs, [0.76 - accuracy for accuracy in told]).trust == 0
    assert known.after([], []).trust == 1


def test_what_the_table_has_trained_itself_is_not_in_doubt_for_what_others_reach() -> None:
    """Unless the trials are on other images, of which it has no training."""
    table, low = table_of(40), LADDER.rungs[0].fidelity
    designs = list(table.architectures.values())
    seen, others = designs[:14], designs[14:]
    reached = [row.accuracy + 0.004 * (-1) ** place for place, row in enumerate(table.content)][:14]
    informed, told = Known(table, low).after(seen, reached), table.surrogate.predict(others, low)
    assert informed.trust == 1
    assert informed.now(others).mean == pytest.approx(told.mean)
    assert informed.now(others).std == pytest.approx(told.std)
    elsewhere = Known(table, low, "other images").after(seen, reached).now(others)
    assert (elsewhere.std > told.std).all()
    # the trials themselves count for their own designs
    assert informed.now(seen).mean == pytest.approx(
        Known(table, low, "other images").after(seen, reached).now(seen).mean
    )


def with_long(table: Table, designs: int) -> Table:
    """And so many of its designs after long training, in which the fewer pixels the better."""
    long = LADDER.rungs[-1].fidelity.longer
    rows = [
        row.replace(
            rung=LONG_RUNG, fidelity=long.id, fidelity_fields=json.dumps(long.to_dict()), samples=long.samples,
            accuracy=1.2 - 1.5 * row.accuracy, proxy_id=reduced(table.architectures[row.architecture_id], long).id,
        )
        for row in list(table.content)[:designs]
    ]  # fmt: skip
    return Table([*table.content, *rows], "toys")


@pytest.mark.parametrize(("designs", "by_long"), [(ENOUGH_LONG - 1, False), (ENOUGH_LONG, True)])
def test_a_search_goes_by_long_trainings_too_once_there_are_enough(designs: int, by_long: bool) -> None:
    table, short = with_long(table_of(60), designs), LADDER.rungs[0].fidelity
    several = list(table.architectures.values())
    rung, long = table.predict(several, 0).mean, table.predict(several, LONG_RUNG).mean
    assert np.corrcoef(rung, long)[0, 1] < 0
    known = Known(table, short)
    expected = known.before(several).mean
    assert expected == pytest.approx((rung + long) / 2 if by_long else rung, abs=1e-4)
    informed = known.after([], [])
    assert informed.expect(several).mean == pytest.approx(expected)
    assert informed.late(several).mean == pytest.approx(long if by_long else rung, abs=1e-4)
    # what it expects of long training is told in either case
    told = known.long_training([], [], several)
    assert told is not None
    assert np.corrcoef(told.mean, long)[0, 1] > 0.99


def test_without_trials_the_table_speaks_alone() -> None:
    table = table_of(40)
    known, designs = Known(table, LADDER.rungs[0].fidelity), list(table_of(50).architectures.values())
    before, after = known.before(designs), known.after([], []).expect(designs)
    assert after.mean == pytest.approx(before.mean)
    assert after.std == pytest.approx(before.std)


def test_accuracies_that_lie_closer_together_contradict_nothing() -> None:
    """As on images that are harder to tell apart: the order counts."""
    table = table_of(40)
    known, designs = Known(table, LADDER.rungs[0].fidelity), list(table.architectures.values())[:14]
    told = [row.accuracy for row in table.content][:14]
    assert known.after(designs, [0.1 + 0.3 * accuracy for accuracy in told]).trust == 1


def test_a_table_that_expects_the_same_of_all_designs_is_trusted_little() -> None:
    rng = np.random.default_rng(0)
    table = table_of(40)
    rows = (row.replace(accuracy=0.4 + 0.001 * float(rng.standard_normal())) for row in table.content)
    known, designs = Known(Table(rows, "level"), LADDER.rungs[0].fidelity), list(table.architectures.values())[:14]
    assert known.after(designs, [row.accuracy for row in table.content][:14]).trust < 0.5
