"""Local search, regularised evolution and NSGA-II: whose relatives they propose, and that they beat chance."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from nasbench.space import RejectionCounter, SearchSpace
from nasbench.space.limits import Limits
from nasbench.strategies import Candidate, Context, StrategyChoice

STAGE = {"stride": 2, "downsample": "block", "block": "mbconv", "expansion": [1, 2, 3], "kernel": [3, 5, 7]}
SPACE = SearchSpace.from_dict(
    {"resolution": 64, "stages": [{**STAGE, "channels": c, "depth": [1, 2, 3]} for c in (16, 24, 32)]}
)  # 27 * 27 * 27 members, whose fields hang on nothing but themselves
TARGET = SPACE.sample(5)


def changed(a, b):
    """In how many fields two members differ."""
    return sum(x[name] != y[name] for x, y in zip(SPACE.locate(a), SPACE.locate(b)) for name in x)


def distance(arch):
    return (float(changed(arch, TARGET)),)


def size(arch):
    """More depth is better for the one, less for the other."""
    depth = sum(stage.depth * stage.expansion for stage in arch.stages)
    return 1 / depth, float(depth)


def ask(name, trials, seed=0, n=1, **settings):
    context = Context(SPACE, tuple(trials), np.random.default_rng(seed), Limits(), None, RejectionCounter())
    return StrategyChoice.from_dict({"name": name, **settings}).propose(context, n)


def drawn(count, score, seed=0):
    rng, found = np.random.default_rng(seed), {}
    while len(found) < count:
        arch = SPACE.sample(rng)
        found[arch.id] = Candidate(arch, score(arch))
    return list(found.values())


def search(name, score, evaluations, seed, **settings):
    trials = []
    while len(trials) < evaluations:
        trials += [Candidate(arch, score(arch)) for arch in ask(name, trials, (seed, len(trials)), 1, **settings)]
    return trials


@cache
def found_by(name, seed):
    """Mean distance of the last 16 trials of 48, with populations that are filled a few times."""
    settings = {"nsga2": {"population": 8}, "regularised": {"population": 10}}.get(name, {})
    return np.mean([trial.losses[0] for trial in search(name, distance, 48, seed, **settings)[-16:]])


@pytest.mark.parametrize("name", ["local", "regularised", "nsga2"])
def test_searches_come_nearer_to_what_is_wanted(name):
    """By chance some six of the nine fields are wrong."""
    assert np.mean([found_by(name, seed) for seed in range(2)]) < np.mean([found_by("random", i) for i in range(2)]) - 1


def test_local_search_steps_from_the_best_to_its_neighbours_alone():
    trials = drawn(12, distance)
    best = min(trials, key=lambda trial: trial.losses).architecture
    steps = ask("local", trials, n=10)
    assert len({arch.id for arch in steps}) == 10
    ties = [trial.architecture for trial in trials if trial.losses == distance(best)]
    assert all(min(changed(arch, tie) for tie in ties) == 1 for arch in steps)


def test_local_search_goes_round_the_whole_front():
    trials = drawn(20, size)
    best = {}
    for trial in trials:  # of equal depth one is enough: none dominates another
        best.setdefault(trial.losses, trial)
    front = list(best.values())
    near = [
        {trial.losses for trial in front if changed(arch, trial.architecture) == 1}
        for arch in ask("local", front, n=30)
    ]
    assert all(near)
    assert set().union(*near) == set(best)


def test_local_search_starts_anew_where_all_neighbours_are_known():
    centre = TARGET
    known = [Candidate(centre, (0.0,)), *(Candidate(arch, (1.0,)) for arch in SPACE.neighbours(centre))]
    (restart,) = ask("local", known, initial=0)
    assert changed(restart, centre) > 1


def test_regularised_evolution_forgets_the_best_when_it_is_old():
    lucky = Candidate(TARGET, (-1.0,))
    others = [one for one in drawn(25, distance) if changed(one.architecture, TARGET) > 3]
    settings = {"population": len(others), "tournament": 200}
    old = ask("regularised", [lucky, *others], n=5, **settings)
    assert all(changed(arch, TARGET) > 1 for arch in old)
    best = min(others, key=lambda one: one.losses)
    ties = [one.architecture for one in others if one.losses == best.losses]
    assert all(min(changed(arch, tie) for tie in ties) == 1 for arch in old)
    young = ask("regularised", [*others, lucky], n=5, **settings)
    assert all(changed(arch, TARGET) == 1 for arch in young)


def test_regularised_evolution_counts_age_in_finished_trials():
    """Those that run or failed push nobody out, nor do they breed."""
    trials = [Candidate(TARGET, (0.0,)), *(Candidate(one.architecture, None) for one in drawn(30, distance))]
    assert all(changed(arch, TARGET) == 1 for arch in ask("regularised", trials, n=3, population=2))


def test_nsga2_breeds_from_what_ended_before_its_generation():
    """Of 16 trials the first 8 are the last generation: a better one after them has to wait for the next."""
    before, best = drawn(8, distance), Candidate(TARGET, (0.0,))
    settings = {"population": 8, "crossover": 0.0, "mutation": 1.0}
    for child in ask("nsga2", [*before, best], n=7, **settings):
        assert min(changed(child, trial.architecture) for trial in before) == 1
        assert changed(child, TARGET) > 1
    children = ask("nsga2", [*before, *drawn(7, distance, 1), best], n=7, **settings)
    assert min(changed(child, TARGET) for child in children) == 1


def test_nsga2_mixes_two_parents():
    parents = drawn(2, distance, 3)
    a, b = (SPACE.locate(trial.architecture) for trial in parents)
    for child in ask("nsga2", parents, n=1, population=2, crossover=1.0, mutation=0.0):
        assert all(values in pair for values, pair in zip(SPACE.locate(child), zip(a, b)))


def test_nsga2_keeps_both_ends_of_a_front():
    trials = drawn(64, size)
    children = ask("nsga2", trials, n=16, population=16)
    depths = [size(arch)[1] for arch in children]
    middle = np.median([trial.losses[1] for trial in trials])
    assert min(depths) < middle < max(depths)
