"""What a search trains next, as a function of its trials: no runner, and no file but where one is the point."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from search_toys import SPACE, NoDevice, ToyDevice, study_of
from shared_spaces import SMALL

from nasbench.arch.architecture import Architecture
from nasbench.arch.library import load
from nasbench.costs.analytic import cost
from nasbench.engine.levels import at_level
from nasbench.engine.predictions import Predictions
from nasbench.engine.promotion import Promotions
from nasbench.engine.run import fixed_points_within
from nasbench.engine.schedule import Schedule
from nasbench.scaling.objective import PROBE_RUNG, probes
from nasbench.space import SearchSpace
from nasbench.strategies import Context
from nasbench.strategies.context import Proposals
from nasbench.study.notes import PromotionNote
from nasbench.study.runner import RunnerSpec
from nasbench.study.store import TrialStore
from nasbench.study.study import Study
from nasbench.study.trials import Kind, Level, Outcome, State, Trial, failed

FORMER = Path(__file__).parent / "former_study"
STUDY = study_of(SMALL, ({"trials": 8, "samples": 100}, {"trials": 3, "samples": 400}), finalists=2, final_seeds=(1, 2))
LEVELS = [Level(0), Level(1), Level(1, final=True)]


def schedule(
    study: Study = STUDY, fixed: dict[str, Architecture] | None = None, space: SearchSpace = SMALL
) -> Schedule:
    """A new one that has decided nothing yet."""
    return Schedule(study, space, fixed or {}, Predictions(study, NoDevice()), Promotions([], lambda note: None))


def ended(trial: Trial) -> Trial:
    """With a score by formula; every design whose id ends in 7 fails."""
    if trial.architecture_id.endswith("7"):
        return trial.with_outcome(failed("odd"), 1.0)
    accuracy = 0.3 + 0.3 * min(1.0, cost(trial.design).macs / 3e8) + 1e-4 * trial.fidelity.samples + 1e-3 * trial.seed
    return trial.with_outcome(Outcome(State.COMPLETE, {"accuracy": accuracy}, None, 1.0), 1.0)


def all_trials(found: Schedule, trials: tuple[Trial, ...] = ()) -> tuple[Trial, ...]:
    """Run to the end, one trial after another."""
    while (following := found.next_trial(trials)) is not None:
        trials += (ended(following),)
    return trials


WHOLE = all_trials(schedule())


def same(a: Trial | None, b: Trial | None) -> bool:
    """Equal in all but the time at which it was made."""
    return (a and (a.key, a.origin)) == (b and (b.key, b.origin))


def test_levels_follow_one_another_and_each_has_its_places() -> None:
    assert [trial.level for trial in WHOLE] == [LEVELS[0]] * 8 + [LEVELS[1]] * 3 + [LEVELS[2]] * 4
    assert schedule().planned() == list(zip(LEVELS, (8, 3, 4)))
    assert [trial.seed for trial in WHOLE[-4:]] == [1, 1, 2, 2]
    assert len({trial.key for trial in WHOLE}) == len(WHOLE)
    for below, level in pairwise(LEVELS):
        complete = {trial.architecture_id for trial in at_level(WHOLE, below) if trial.complete}
        assert {trial.architecture_id for trial in at_level(WHOLE, level)} <= complete


@given(cut=st.integers(0, len(WHOLE)))
def test_a_search_cut_anywhere_goes_on_with_the_trial_that_followed(cut: int) -> None:
    following = WHOLE[cut] if cut < len(WHOLE) else None
    found = schedule()
    assert same(found.next_trial(WHOLE[:cut]), following)
    assert same(found.next_trial(WHOLE[:cut]), following)  # asking changes nothing


@given(cut=st.integers(0, len(WHOLE) - 1))
def test_no_trial_is_given_again_while_it_runs_and_no_level_starts_before_the_one_below_has_ended(cut: int) -> None:
    running = WHOLE[cut].with_outcome(Outcome(State.COMPLETE, {"accuracy": 0.5}), 0.0)
    submitted = Trial(**{**running.__dict__, "state": State.SUBMITTED, "metrics": {}})
    following = schedule().next_trial([*WHOLE[:cut], submitted])
    if following is not None:
        assert following.level == WHOLE[cut].level
        assert following.key not in {trial.key for trial in WHOLE[: cut + 1]}
    else:
        assert cut + 1 == len(WHOLE) or WHOLE[cut + 1].level != WHOLE[cut].level


@given(cut=st.integers(0, len(WHOLE)))
def test_a_level_is_complete_when_all_that_it_will_train_has_ended(cut: int) -> None:
    last = {level: max(i for i, trial in enumerate(WHOLE) if trial.level == level) for level in LEVELS}
    found = schedule()
    for level in LEVELS:
        assert found.is_complete(level, WHOLE[:cut]) == (cut > last[level])


def test_fixed_points_come_first_take_at_most_half_and_keep_their_kind() -> None:
    fixed = {arch.id: arch for arch in map(load, ("emo_1m", "emo_2m", "emo_5m", "mobileone_s0", "repvgg_a0"))}
    study = study_of(SPACE, ({"trials": 8, "samples": 100}, {"trials": 3, "samples": 400}))
    found = schedule(study, fixed, SPACE)
    trials: tuple[Trial, ...] = ()
    for _ in range(5):
        following = found.next_trial(trials)
        assert following is not None
        trials += (ended(following),)
    assert [trial.origin.kind for trial in trials] == [Kind.FIXED_POINT] * 4 + [Kind.SEARCHED]
    assert [trial.label for trial in trials[:4]] == ["emo_1m", "emo_2m", "emo_5m", "mobileone_s0"]


def test_kinds_stay_what_the_stored_trial_says() -> None:
    """A design that was searched stays so, though the next version ships it as a fixed point."""
    lowest = at_level(WHOLE, Level(0))
    shipped = {trial.architecture_id: trial.design for trial in lowest}
    following = schedule(fixed=shipped).next_trial(lowest)
    assert following is not None
    assert (following.level, following.origin.kind) == (Level(1), Kind.SEARCHED)


def test_numerics_tell_trials_apart_where_the_study_says_so() -> None:
    bf16 = STUDY.replace(runner=RunnerSpec(kind="serial", device="cuda", precision="bf16"))
    told = bf16.replace(numerics_in_keys=True)
    plain, old, new = (schedule(study).next_trial(()) for study in (STUDY, bf16, told))
    assert plain is not None
    assert old is not None
    assert new is not None
    assert plain.architecture_id == old.architecture_id == new.architecture_id
    assert plain.key == old.key != new.key
    assert same(schedule(STUDY.replace(numerics_in_keys=True)).next_trial(()), plain)


def test_probes_of_a_study_that_tells_numerics_apart_are_told_apart_too() -> None:
    asked = {"objectives": ("error", "latency_ms", "predicted@4GFLOP")}
    probed = STUDY.replace(**asked, runner=RunnerSpec(kind="serial", precision="bf16"))
    first = schedule(probed).next_trial(())
    assert first is not None
    old = schedule(probed).next_trial([ended(first)])
    new = schedule(probed.replace(numerics_in_keys=True)).next_trial([ended(first)])
    assert old is not None
    assert new is not None
    assert old.origin == new.origin
    assert old.level.rung == -1
    assert old.key != new.key


def test_a_former_study_goes_on_without_training_anything_twice() -> None:
    study = Study.open(FORMER)
    space = SearchSpace.from_dict(study.space.content, study.space.name)
    with TrialStore(FORMER, read_only=True) as store:
        trials, notes = store.trials, store.notes(PromotionNote)
    new: list[PromotionNote] = []
    device = ToyDevice()  # other latencies than those of then, which must not matter
    promotions = Promotions(notes, new.append)
    found = Schedule(study, space, fixed_points_within(study, space), Predictions(study, device), promotions)
    stored = [trial.key for trial in trials]
    for level in LEVELS[:2]:
        assert found.is_complete(level, trials)
    rest = [
        trial.key
        for trial in all_trials(found, tuple(t for t in trials if t.finished))[sum(t.finished for t in trials) :]
    ]
    outstanding = [trial.key for trial in trials if not trial.finished]
    assert not set(rest) & (set(stored) - set(outstanding))
    finals = 3 * min(study.finalists, 4)
    assert len(trials) + len(set(rest) - set(outstanding)) == 8 + 4 + finals
    assert not new  # nothing was decided anew


@pytest.mark.parametrize("cut", [0, 1, 8, 10, 12])
def test_a_former_study_s_own_order_is_given_again(cut: int) -> None:
    """Each fixed point, promoted and final trial is the one that today's schedule gives after those before it; what the
    strategy proposed hangs on the latencies of then."""
    study = Study.open(FORMER)
    space = SearchSpace.from_dict(study.space.content, study.space.name)
    with TrialStore(FORMER, read_only=True) as store:
        trials, notes = store.trials, store.notes(PromotionNote)
    fixed = fixed_points_within(study, space)
    found = Schedule(study, space, fixed, Predictions(study, NoDevice()), Promotions(notes, lambda note: None))
    following = found.next_trial(trials[:cut])
    assert following is not None
    assert following.key == trials[cut].key


def test_a_design_that_was_trained_as_a_probe_is_not_proposed_again() -> None:
    """Neither as a fixed point nor by a strategy: its trial would be the probe's."""
    study = STUDY.replace(objectives=("error", "latency_ms", "predicted@2GFLOP"), trials=6)
    large = SMALL.sample(np.random.default_rng(1), (), 1000)
    probe = probes(large)[0]
    trials = all_trials(schedule(study, {arch.id: arch for arch in (large, probe)}))
    assert len({trial.key for trial in trials}) == len(trials)
    assert probe.id in {trial.architecture_id for trial in at_level(trials, Level(PROBE_RUNG))}
    assert len(at_level(trials, Level(0))) == 6
    assert not Proposals(Context(SMALL, (), np.random.default_rng(1), taken=(large,))).accepts(large)
