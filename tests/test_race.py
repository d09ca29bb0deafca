"""Who is trained once more, on races whose networks have a known accuracy and known noise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from nasbench.engine.race import FIRST, LEAST, Racer, is_decided, next_racer
from nasbench.report.noise import RACED, choice_factor
from nasbench.study.seed_noise import pooled_between

MOST = 12
Truth = Mapping[str, tuple[float, float, bool, float]]  # name -> accuracy, slowness, published, deviation
TWO_AGAINST_ONE: Truth = {"a": (0.60, 8, False, 0.015), "b": (0.59, 9, False, 0.015), "p": (0.56, 10, True, 0.02)}


def racers(truth: Truth) -> list[Racer]:
    return [Racer(key, slowness, published) for key, (_, slowness, published, _) in truth.items()]


def race(truth: Truth, seed: int, trainings: int = 24, most: int = MOST) -> list[Racer]:
    """Run one: how everybody stands at its end."""
    rng, standing = np.random.default_rng(seed), racers(truth)
    for _ in range(trainings):
        going = next_racer(standing, most)
        if going is None:
            break
        accuracy, _, _, deviation = truth[going.key]
        score = float(accuracy + deviation * rng.standard_normal())
        standing[standing.index(going)] = replace(going, scores=(*going.scores, score), tried=going.tried + 1)
    return standing


def test_everybody_is_trained_with_a_few_seeds_before_one_is_chosen() -> None:
    after = race(TWO_AGAINST_ONE, 0, trainings=FIRST * 3)
    assert [each.tried for each in after] == [FIRST] * 3


@pytest.mark.parametrize("trainings", [7, 12, 24, 60])
def test_nobody_is_trained_more_often_than_there_are_seeds_and_trainings_are_spent_one_by_one(trainings: int) -> None:
    level = {key: (0.5, slowness, published, 0.02) for key, (_, slowness, published, _) in TWO_AGAINST_ONE.items()}
    after = race(level, 1, trainings)
    assert sum(each.tried for each in after) <= trainings
    assert max(each.tried for each in after) <= MOST


def test_a_clear_difference_ends_the_race_early_and_no_sooner_than_both_have_enough_seeds() -> None:
    clear = {**TWO_AGAINST_ONE, "a": (0.75, 8, False, 0.015)}
    after = {each.key: each for each in race(clear, 2)}
    assert after["a"].tried == after["p"].tried == LEAST
    assert after["b"].tried == FIRST  # nothing hangs on it
    assert next_racer(list(after.values()), MOST) is None


def test_where_one_contest_is_decided_the_next_gets_the_trainings() -> None:
    truth = {
        "best": (0.70, 10, False, 0.01),
        "slow": (0.60, 12, True, 0.01),
        "quick": (0.501, 3, False, 0.01),
        "fast": (0.50, 4, True, 0.01),
    }
    after = {each.key: each for each in race(truth, 3, trainings=22)}
    assert after["best"].tried == after["slow"].tried == LEAST
    assert after["quick"].tried + after["fast"].tried == 12


def test_a_design_that_is_slower_than_every_published_network_is_in_no_contest() -> None:
    truth = {**TWO_AGAINST_ONE, "slow": (0.9, 20, False, 0.01)}
    assert {each.key: each.tried for each in race(truth, 4)}["slow"] == FIRST


@pytest.mark.parametrize("kinds", [(False, False, False), (True, True, True)])
def test_without_a_contest_all_are_trained_equally_often(kinds: tuple[bool, ...]) -> None:
    truth = {str(i): (0.5, 10.0 - i, kind, 0.02) for i, kind in enumerate(kinds)}
    assert [each.tried for each in race(truth, 5, trainings=12)] == [3, 3, 3]


def test_who_fails_every_time_holds_nobody_up() -> None:
    """A finalist without scores has used its seeds; the others go on."""
    standing = [Racer("broken", 1.0, False, (), MOST), Racer("a", 8, False), Racer("p", 10, True)]
    keys = []
    for _ in range(8):
        going = next_racer(standing, MOST)
        assert going is not None
        keys.append(going.key)
        standing[standing.index(going)] = replace(
            going, scores=(*going.scores, 0.5 + len(keys) / 500), tried=going.tried + 1
        )
    assert keys.count("a") == keys.count("p") == 4


def test_trainings_that_still_run_count_as_tried() -> None:
    standing = [Racer("a", 8, False, (0.6, 0.61), 4), Racer("p", 10, True, (0.58, 0.57), 2)]
    going = next_racer(standing, MOST)
    assert going is not None
    assert going.key == "p"


def test_luck_decides_about_as_rarely_as_the_report_says() -> None:
    """Equal networks: 400 races end with a lead of a design that the report would call more than noise in 5 % or so."""
    equal = {key: (0.6, slowness, published, 0.02) for key, (_, slowness, published, _) in TWO_AGAINST_ONE.items()}
    won = 0
    for seed in range(400):
        *designs, published = race(equal, seed)
        best = max(designs, key=lambda each: each.mean)
        others = [each.scores for each in designs if each is not best]
        noise = pooled_between(best.scores, published.scores, others)
        assert noise is not None
        error = noise.std * (1 / len(best.scores) + 1 / len(published.scores)) ** 0.5
        won += best.mean - published.mean > RACED * choice_factor(2, noise.degrees_of_freedom) * error
    assert won <= 400 * 0.05 + 3 * (400 * 0.05 * 0.95) ** 0.5


def test_a_contest_is_decided_by_the_best_design_alone() -> None:
    published = Racer("p", 10, True, (0.50, 0.51, 0.49, 0.50, 0.50), 5)
    best = Racer("a", 8, False, (0.60, 0.61, 0.59, 0.60, 0.60), 5)
    other = Racer("b", 8, False, (0.51,), 1)
    assert is_decided(published, [best, other], [published, best, other])
    assert not is_decided(published, [replace(best, scores=best.scores[:4])], [published, best])


def test_a_weak_network_that_scatters_widely_does_not_undo_a_lead_between_two_others() -> None:
    published = Racer("p", 10, True, (0.55, 0.56, 0.54, 0.55, 0.55), 5)
    best = Racer("a", 8, False, (0.60, 0.61, 0.59, 0.60, 0.60), 5)
    weak = Racer("b", 2, False, (0.30, 0.50), 2)
    assert is_decided(published, [best, weak], [published, best, weak])
    as_often = replace(weak, scores=(0.30, 0.50, 0.40), tried=3)
    assert not is_decided(published, [best, as_often], [published, best, as_often])
