"""Who goes on by what is expected of designs, on contenders made by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from test_promotion import contender, fixed, names

from nasbench.engine.contests import likely_leaders
from nasbench.engine.promotion import Contender
from nasbench.strategies.context import Expected


def chosen(entries: Sequence[tuple[Contender, float, float]], places: int) -> list[str]:
    """Names of those that go on; each entry is a contender, its expected accuracy and the deviation of that."""
    _, means, deviations = zip(*entries)
    expected = Expected(np.array(means), np.array(deviations))
    return names(likely_leaders([each for each, _, _ in entries], expected, places))


FAST, SLOW = fixed("fast_net", 0.5, 4.0), fixed("slow_net", 0.4, 10.0)
PUBLISHED = [(FAST, 0.50, 0.01), (SLOW, 0.60, 0.01)]


def test_what_is_expected_counts_and_not_the_single_score() -> None:
    lucky, sound = contender("lucky", 0.30, 9.0), contender("sound", 0.42, 9.0)
    found = chosen([*PUBLISHED, (lucky, 0.58, 0.02), (sound, 0.63, 0.02)], places=2)
    assert sorted(found) == ["slow_net", "sound"]


def test_of_two_with_the_same_mean_the_surer_one_goes_on_against_a_worse_network() -> None:
    sure, unsure = contender("sure", 0.4, 9.0), contender("unsure", 0.4, 9.0)
    assert "sure" in chosen([*PUBLISHED, (unsure, 0.63, 0.10), (sure, 0.63, 0.01)], places=2)
    # and where both are expected below the published network, the one that may still be better
    assert "unsure" in chosen([*PUBLISHED, (unsure, 0.59, 0.10), (sure, 0.59, 0.005)], places=2)


def test_contests_get_a_challenger_each_and_that_of_the_most_accurate_network_comes_first() -> None:
    entries = [
        *PUBLISHED,
        *((contender(f"slow {i}", 0.4, 9.0), 0.62 - i / 1000, 0.02) for i in range(4)),
        *((contender(f"fast {i}", 0.4, 3.0), 0.56 - i / 1000, 0.02) for i in range(4)),
    ]
    assert chosen(entries, 2) == ["slow_net", "slow 0"]
    assert chosen(entries, 4) == ["slow_net", "slow 0", "fast_net", "fast 0"]
    assert chosen(entries, 6)[4:] == ["fast 1", "fast 2"]  # they answer more latencies than those of 9 ms


def test_with_places_left_a_latency_without_an_answer_comes_before_a_second_design_of_nearly_the_same() -> None:
    rivals = [(contender("slow", 0.4, 9.0), 0.66, 0.02), (contender("near", 0.4, 8.8), 0.655, 0.02)]
    quick = [(contender("quick", 0.4, 3.0), 0.52, 0.02), (contender("quicker", 0.4, 2.9), 0.515, 0.02)]
    entries = [*PUBLISHED, *rivals, *quick, (contender("between", 0.4, 5.0), 0.60, 0.02)]
    assert chosen(entries, 5) == ["slow_net", "near", "between", "fast_net", "quick"]


def test_of_challengers_that_are_nearly_as_likely_to_win_the_one_that_widens_the_front_goes_on() -> None:
    slow, fast = (contender("slow", 0.4, 9.0), 0.655, 0.02), (contender("fast", 0.4, 5.0), 0.65, 0.02)
    assert chosen([*PUBLISHED, slow, fast], 2) == ["slow_net", "fast"]
    weaker = (contender("weaker", 0.4, 3.0), 0.61, 0.02)
    assert chosen([*PUBLISHED, slow, weaker], 2) == ["slow_net", "slow"]


def test_the_most_accurate_design_goes_on_however_slow_if_it_is_surely_better_than_the_challenger() -> None:
    """Faster ones would add more to the front, which counts latencies by their ratio."""
    sure, quick = (contender("sure", 0.4, 9.0), 0.64, 0.01), (contender("quick", 0.4, 3.0), 0.55, 0.01)
    slow = contender("slow", 0.4, 12.0)
    assert chosen([*PUBLISHED, sure, quick, (slow, 0.67, 0.01)], 3) == ["slow_net", "sure", "slow"]
    assert chosen([*PUBLISHED, sure, quick, (slow, 0.642, 0.01)], 4) == ["slow_net", "sure", "fast_net", "quick"]


def test_the_published_network_that_is_best_where_it_is_decided_goes_on_too() -> None:
    """Long training is expected to rank another one first, and its challengers could win by that choice alone."""
    entries = [*PUBLISHED, *((contender(f"design {i}", 0.4, 9.0), 0.62 - i / 1000, 0.02) for i in range(4))]
    expected = Expected(np.array([mean for _, mean, _ in entries]), np.array([std for *_, std in entries]))
    ends = expected._replace(mean=np.array([0.45, 0.40, 0.5, 0.5, 0.5, 0.5]))  # fast_net is the better one there
    several = [one for one, _, _ in entries]
    assert names(likely_leaders(several, expected, 4, (), ends, last=True)) == [
        "slow_net",
        "design 0",
        "fast_net",
        "design 1",
    ]
    ends = ends._replace(mean=ends.mean[[1, 0, 2, 3, 4, 5]])
    assert names(likely_leaders(several, expected, 4, (), ends, last=True)) == [
        "slow_net",
        "design 0",
        "design 1",
        "design 2",
    ]


def test_a_challenger_is_expected_to_win_after_long_training_and_where_it_is_decided() -> None:
    """One that is better in the end alone would never be declared, one that is better now alone would not hold."""
    several = [FAST, SLOW, *(contender(name, 0.4, 9.0) for name in ("late", "early", "sound"))]
    expected = Expected(np.array([0.5, 0.6, 0.66, 0.60, 0.63]), np.full(5, 0.02))
    now = Expected(np.array([0.3, 0.4, 0.40, 0.46, 0.43]), np.full(5, 0.02))
    assert names(likely_leaders(several, expected, 2)) == ["slow_net", "late"]
    assert names(likely_leaders(several, now, 2)) == ["slow_net", "early"]
    assert names(likely_leaders(several, expected, 2, (), now)) == ["slow_net", "sound"]
    # nor would one that another published network beats where it is decided
    now = now._replace(mean=np.array([0.445, 0.4, 0.45, 0.46, 0.43]))
    assert names(likely_leaders(several, expected, 2, (), now)) == ["slow_net", "late"]


def test_long_training_counts_in_a_contest_and_not_the_middle_that_guides_the_search() -> None:
    several = [FAST, SLOW, *(contender(name, 0.4, latency) for name, latency in (("quick", 4.0), ("lasting", 9.0)))]
    guide = Expected(np.array([0.5, 0.6, 0.66, 0.65]), np.full(4, 0.02))
    now = Expected(np.array([0.3, 0.4, 0.46, 0.45]), np.full(4, 0.01))
    late = Expected(np.array([0.7, 0.8, 0.805, 0.82]), np.full(4, 0.01))
    assert names(likely_leaders(several, guide, 2, (), now)) == ["slow_net", "quick"]
    assert names(likely_leaders(several, guide, 2, (), now, late)) == ["slow_net", "lasting"]


def test_a_published_network_takes_no_place_without_a_challenger() -> None:
    entries = [*PUBLISHED, *((contender(f"design {i}", 0.4, 9.0), 0.62 - i / 1000, 0.02) for i in range(4))]
    assert chosen(entries, 4) == ["slow_net", "design 0", "design 1", "design 2"]


def test_one_design_may_challenge_two_networks() -> None:
    entries = [*PUBLISHED, (contender("good", 0.4, 3.0), 0.65, 0.01), (contender("bad", 0.4, 3.0), 0.30, 0.01)]
    assert chosen(entries, 3) == ["slow_net", "good", "fast_net"]


def test_a_challenger_comes_before_a_network_whose_challenger_is_in() -> None:
    both = [(contender("best", 0.4, 3.0), 0.65, 0.01), (contender("next", 0.4, 9.5), 0.63, 0.01)]
    assert chosen([*PUBLISHED, *both], 3) == ["slow_net", "best", "next"]


def test_every_contest_has_a_challenger_before_any_has_a_second() -> None:
    rivals = [(contender(f"slow {i}", 0.4, 9.0), 0.66 - i / 1000, 0.01) for i in range(3)]
    assert chosen([*PUBLISHED, *rivals, (contender("fast", 0.4, 3.0), 0.55, 0.01)], 4) == [
        "slow_net", "slow 0", "fast_net", "fast",
    ]  # fmt: skip


def test_a_second_design_of_nearly_the_same_latency_waits_for_a_faster_one_that_leads_by_less() -> None:
    middle = fixed("middle_net", 0.45, 9.5)
    rivals = [(contender("best", 0.4, 9.0), 0.66, 0.01), (contender("near", 0.4, 8.9), 0.65, 0.01)]
    fast = (contender("fast", 0.4, 3.0), 0.52, 0.02)  # less of a lead than `near` has over the middle one
    assert chosen([*PUBLISHED, (middle, 0.55, 0.01), *rivals, fast], 4) == ["slow_net", "best", "fast_net", "fast"]


def test_what_a_table_tells_takes_no_place() -> None:
    good, fair = contender("good", 0.4, 9.0), contender("fair", 0.4, 3.0)
    entries = [*PUBLISHED, (good, 0.62, 0.02), (fair, 0.52, 0.02)]
    expected = Expected(np.array([mean for _, mean, _ in entries]), np.array([std for _, _, std in entries]))
    found = likely_leaders([one for one, _, _ in entries], expected, 2, {FAST.trial.key, SLOW.trial.key})
    assert names(found) == ["slow_net", "good", "fast_net", "fair"]


def test_published_networks_that_take_no_place_all_go_on() -> None:
    """Also one without a challenger: which of them is best at the next rung is not known yet."""
    middle = fixed("middle_net", 0.45, 5.0)
    entries = [*PUBLISHED, (middle, 0.45, 0.01), (contender("good", 0.4, 9.0), 0.62, 0.02)]
    expected = Expected(np.array([mean for _, mean, _ in entries]), np.array([std for *_, std in entries]))
    keys = {FAST.trial.key, SLOW.trial.key, middle.trial.key}
    found = names(likely_leaders([one for one, _, _ in entries], expected, 1, keys))
    assert found[:2] == ["slow_net", "good"]
    assert sorted(found[2:]) == ["fast_net", "middle_net"]


def test_a_hopeless_design_goes_on_only_where_a_place_is_left() -> None:
    entries = [*PUBLISHED, (contender("hopeless", 0.4, 9.0), 0.30, 0.01), (contender("fair", 0.4, 3.0), 0.50, 0.02)]
    assert chosen(entries, 2) == ["fast_net", "fair"]
    assert len(chosen(entries, 4)) == 4


@pytest.mark.parametrize("places", range(7))
def test_all_places_are_taken_once_while_there_is_anybody_left(places: int) -> None:
    entries = [*PUBLISHED, *((contender(f"design {i}", 0.4, 3.0 + 2 * i), 0.5, 0.05) for i in range(3))]
    found = chosen(entries, places)
    assert len(found) == len(set(found)) == min(places, len(entries))


def test_without_published_networks_the_most_accurate_as_expected_go_on() -> None:
    entries = [(contender("a", 0.3, 5.0), 0.50, 0.01), (contender("b", 0.4, 5.0), 0.60, 0.01)]
    assert chosen(entries, 1) == ["b"]
