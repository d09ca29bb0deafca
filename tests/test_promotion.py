"""Who goes on to the next rung, on contenders made by hand."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from nasbench.arch.library import load
from nasbench.engine.promotion import (
    FIXED_SHARE,
    Contender,
    Promotions,
    better_than_the_worst_fixed_point,
    most_promising,
)
from nasbench.report.results import StudyResult
from nasbench.study.fidelity import load_recipe
from nasbench.study.notes import PromotionNote
from nasbench.study.trials import Kind, Level, Origin, Trial

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


def test_of_the_default_run_only_designs_above_the_best_published_one_go_on_beside_the_published_ones() -> None:
    """Seven searched designs scored above FastViT-T8 at the lowest rung; three of them and one of 22.6 % went on."""
    result = StudyResult.read(Path(__file__).parent.parent / "results" / "default-former")
    lowest = [trial for trial in result.trials if trial.level == Level(0) and trial.complete]
    everyone = [
        Contender(trial, 1 - score, result.latency_ms(trial.architecture_id), score)
        for trial in lowest
        for score in [trial.metric("accuracy")]
    ]
    best = max(each.score for each in everyone if each.fixed_point)
    above = {each.trial.key for each in everyone if each.score > best}
    assert len(above) == 7
    chosen = most_promising(everyone, 7)
    searched = {trial.key for trial in chosen if trial.origin.kind == Kind.SEARCHED}
    assert len(searched) == 4
    assert searched <= above


def positions(chosen: list[Trial]) -> dict[str, int]:
    return {trial.label: place for place, trial in enumerate(chosen)}


def test_a_fast_design_of_22_6_per_cent_never_comes_before_one_of_50_at_similar_cost() -> None:
    """It is the fastest of all, so no design dominates it, and at the end of the front nothing crowds it."""
    weak, good = contender("weak", 0.774, 3.79), contender("good", 0.50, 4.1)
    others = [contender("slow", 0.48, 12.0), contender("middle", 0.55, 3.95), contender("weaker", 0.9, 3.7)]
    published = [fixed("emo_1m", 0.95, 9.0), fixed("fastvit_t8", 0.49, 13.0), fixed("mobileone_s0", 0.8, 4.0)]
    for fixed_points in (published, published[:1], []):
        everyone = [weak, good, *others, *fixed_points]
        for places in range(1, len(everyone) + 1):
            at = positions(most_promising(everyone, places))
            assert "weak" not in at or at.get("good", 99) < at["weak"]


def random_contenders(rng: np.random.Generator) -> list[Contender]:
    published = [fixed(f"f{i}_x", rng.uniform(0.4, 0.9), rng.uniform(2, 20)) for i in range(rng.integers(0, 5))]
    return [*published, *(contender(f"s{i}", rng.uniform(0.3, 0.95), rng.uniform(2, 20)) for i in range(14))]


@pytest.mark.parametrize("seed", range(12))
def test_who_scores_above_every_published_network_goes_on_before_any_that_does_not(seed: int) -> None:
    rng = np.random.default_rng(seed)
    everyone = random_contenders(rng)
    best = max((each.score for each in everyone if each.fixed_point), default=2.0)
    searched = [each for each in everyone if not each.fixed_point]
    for places in range(1, len(everyone) + 1):
        at = positions(most_promising(everyone, places))
        room = sum(each.trial.label in at for each in searched)
        for one, other in itertools.permutations(searched, 2):
            similar = one.slowness <= 1.25 * other.slowness
            if (one.score > best >= other.score and room > 1) or (1.25 * one.error < other.error and similar):
                assert other.trial.label not in at or at.get(one.trial.label, 99) < at[other.trial.label]
