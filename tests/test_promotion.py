"""Who goes on to the next rung, on contenders made by hand."""

from __future__ import annotations

import pytest

from nasbench.arch.library import load
from nasbench.engine.promotion import (
    FIXED_SHARE,
    Contender,
    Promotions,
    better_than_the_worst_fixed_point,
    most_promising,
)
from nasbench.study.fidelity import load_recipe
from nasbench.study.notes import PromotionNote
from nasbench.study.trials import Kind, Origin, Trial

ARCH, FIDELITY = load("emo_1m"), load_recipe().at(64)


def contender(name: str, error: float, slowness: float, kind: Kind = Kind.SEARCHED) -> Contender:
    trial = Trial.new(ARCH.replace(name=name), FIDELITY, seed=0, data=name, origin=Origin(kind))
    return Contender(trial, error, slowness, 1 - error)


def fixed(name: str, error: float, slowness: float) -> Contender:
    return contender(name, error, slowness, Kind.FIXED_POINT)


def names(trials: list[Trial]) -> list[str]:
    return [trial.label for trial in trials]


FIXED = [
    fixed("emo_1m", 0.30, 5.0),
    fixed("emo_2m", 0.20, 8.0),
    fixed("repvgg_a0", 0.25, 4.0),
    fixed("vit_s", 0.4, 9.0),
]
SEARCHED = [
    contender("front fast", 0.35, 1.0),
    contender("front slow", 0.10, 20.0),
    contender("front middle", 0.22, 7.0),
    contender("second", 0.24, 7.5),
    contender("third", 0.26, 7.8),
]


def test_the_best_fixed_points_of_different_families_take_up_to_their_share() -> None:
    for places in range(1, 10):
        chosen = most_promising([*SEARCHED, *FIXED], places)
        those = [trial.label for trial in chosen if trial.origin.kind == Kind.FIXED_POINT]
        room = max(1, int(places * FIXED_SHARE))
        leaders = ["emo_2m", "repvgg_a0", "vit_s"]
        assert those[: min(room, 3)] == leaders[:room]
        if places < len(SEARCHED) + min(room, 3):  # else what is left over fills the places, fixed points too
            assert those == leaders[:room]


def test_the_challenger_is_the_most_accurate_design_no_slower_than_the_best_fixed_point() -> None:
    assert names(most_promising([*SEARCHED, *FIXED], 2)) == ["emo_2m", "front middle"]
    as_fast = contender("as fast", 0.21, 8.0)
    assert names(most_promising([*SEARCHED, as_fast, *FIXED], 2)) == ["emo_2m", "as fast"]


def test_searched_designs_follow_by_pareto_rank() -> None:
    chosen = names(most_promising(SEARCHED, 5))
    assert set(chosen[:3]) == {"front fast", "front slow", "front middle"}
    assert chosen[3:] == ["second", "third"]


def test_a_design_that_learnt_less_than_every_fixed_point_is_the_last_of_the_searched() -> None:
    lost = contender("lost", 0.9, 0.1)  # the fastest of all, so on every front
    everyone = [lost, *SEARCHED, *FIXED]
    assert lost not in better_than_the_worst_fixed_point(everyone)
    chosen = most_promising(everyone, len(everyone))
    assert names([trial for trial in chosen if trial.origin.kind == Kind.SEARCHED])[-1] == "lost"
    assert better_than_the_worst_fixed_point([lost, *SEARCHED]) == [lost, *SEARCHED]  # nothing to be worse than


def test_places_are_respected_and_nobody_goes_on_twice() -> None:
    everyone = [*SEARCHED, *FIXED]
    for places in range(12):
        chosen = [trial.key for trial in most_promising(everyone, places)]
        assert len(chosen) == len(set(chosen)) == min(places, len(everyone))
    assert most_promising([], 3) == []
    assert most_promising(everyone, -1) == []


def test_the_order_in_which_trials_ended_does_not_matter() -> None:
    everyone = [*SEARCHED, *FIXED]
    assert set(names(most_promising(everyone[::-1], 6))) == set(names(most_promising(everyone, 6)))


def test_a_decision_is_taken_once_and_another_number_of_trials_is_another_question() -> None:
    noted: list[PromotionNote] = []
    trials = [each.trial for each in SEARCHED]
    promotions = Promotions([], noted.append)
    assert promotions.decide("rung 1", trials, lambda: trials[:2]) == trials[:2]
    assert promotions.decide("rung 1", trials, lambda: pytest.fail("it was decided")) == trials[:2]
    assert noted == [PromotionNote(level="rung 1", of=5, chosen=tuple(trial.key for trial in trials[:2]))]
    again = Promotions(noted, noted.append)  # after a resume, from what was noted
    assert again.decide("rung 1", trials[::-1], lambda: trials[3:]) == trials[:2]
    assert len(noted) == 1
    assert again.decide("final", trials, lambda: trials[3:]) == trials[3:]
    assert again.decide("rung 1", trials[:4], lambda: trials[2:3]) == trials[2:3]
    assert [(note.level, note.of) for note in noted] == [("rung 1", 5), ("final", 5), ("rung 1", 4)]
