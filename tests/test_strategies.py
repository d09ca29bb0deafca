"""Strategies: what they propose is new, fits, repeats with the seed, and gets better with what is known."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shared_spaces import DEFAULT as SPACE
from shared_spaces import FIXED, SMALL

from nasbench.commands.studies import STRATEGY_HELP
from nasbench.costs.budget import Budget
from nasbench.errors import UserError, shown
from nasbench.pareto import hypervolume
from nasbench.space import RejectionCounter, SearchSpace
from nasbench.space.limits import Limits
from nasbench.strategies import STRATEGIES, Candidate, Context, StrategyChoice
from nasbench.strategies.context import Expected, Informed
from nasbench.strategies.gaussian import Regression, _Posterior
from nasbench.strategies.model import MARGIN, below, volume_improvement
from nasbench.strategies.surrogate import most_promising
from nasbench.strategies.warm import best_within, bred_pool

OWN = [name for name in STRATEGIES if not name.startswith("optuna:")]  # those have a file of their own
TINY = SearchSpace.from_dict(
    {"name": "tiny", "resolution": 64, "stages": [{"channels": [16, 24], "depth": [1, 2], "kernel": [3, 5, 7]}]}
)


def losses(arch):
    """Two objectives at odds, cheap to work out: a stand-in for error and latency."""
    size = sum(stage.channels * stage.depth * stage.expansion for stage in arch.stages)
    kernels = sum(stage.kernel for stage in arch.stages)
    return 1e4 / size + 0.1 * abs(kernels - 15), size * (1 + 0.1 * kernels)


class ToyTable:
    """Knows `truth` of every design, and holds some; believes trials no more than itself."""

    trust = 1.0

    def __init__(self, designs, truth):
        self.designs, self.truth = tuple(designs), truth

    def before(self, designs):
        return Expected(np.array([self.truth(arch) for arch in designs]), np.full(len(designs), 0.01))

    def after(self, seen, accuracies):
        found = dict(zip((arch.id for arch in seen), accuracies))

        def expected(designs):
            told = self.before(designs)
            return told._replace(mean=np.array([found.get(arch.id, mean) for arch, mean in zip(designs, told.mean)]))

        return Informed(expected, expected, expected, self.trust)


TABLE = ToyTable(FIXED.values(), lambda arch: 1 / (1 + losses(arch)[0]))


FEW = {"warm": {"pool": 60}, "model": {"candidates": 24}}  # made for a choice, which is quicker than many


def ask(name, space, trials, seed, n, budgets=(), predict=None, speed=None, counter=None, known=TABLE, **settings):
    """What the strategy proposes next; from few candidates, which are quick to breed."""
    limits, rng = Limits(tuple(budgets), 1000, predict), np.random.default_rng(seed)
    counter = RejectionCounter() if counter is None else counter
    context = Context(space, tuple(trials), rng, limits, speed, counter, known=known)
    settings = {**FEW.get(name, {}), **settings}
    return StrategyChoice.from_dict({"name": name, **settings}).propose(context, n)


def search(name, space, evaluations, seed, score=losses):
    trials = []
    while len(trials) < evaluations:
        proposed = ask(name, space, trials, (seed, len(trials)), 1)
        trials += [Candidate(arch, score(arch)) for arch in proposed]
        if not proposed:
            break
    return trials


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", OWN)
def test_proposals_are_new_members_within_the_budgets(name):
    from nasbench.costs.analytic import cost

    limit, counter = Budget.parse("800MFLOP"), RejectionCounter()
    trials = [Candidate(arch, losses(arch)) for arch in FIXED.values() if cost(arch).flops <= limit.limit]
    trials += [Candidate(SPACE.sample(seed, [limit]), None) for seed in range(3)]  # still running
    proposed = ask(name, SPACE, trials, 0, 12, budgets=[limit], counter=counter)
    ids = {arch.id for arch in proposed}
    assert len(ids) == 12
    assert not ids & {trial.architecture.id for trial in trials}
    assert all(SPACE.contains(arch) and cost(arch).flops <= limit.limit for arch in proposed)
    assert counter.rejected["budget 800MFLOP"] > 0 or name == "local"  # whose small steps seldom leave a budget


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", OWN)
def test_equal_seeds_propose_the_same(name):
    trials = [Candidate(arch, losses(arch)) for arch in FIXED.values()]
    first, second = (ask(name, SPACE, trials, 3, 4) for _ in range(2))
    assert [arch.id for arch in first] == [arch.id for arch in second]
    assert [arch.id for arch in first] != [arch.id for arch in ask(name, SPACE, trials, 4, 4)]


@pytest.mark.parametrize("name", OWN)
def test_a_small_space_is_used_up_and_no_more(name):
    trials = search(name, TINY, 100, seed=0)
    assert {trial.architecture.id for trial in trials} == {arch.id for arch in TINY}
    assert len(trials) == TINY.size() == 12


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", OWN)
def test_a_budget_that_nobody_meets_is_told(name):
    with pytest.raises(UserError, match="budget 1KFLOP: no design of space 'tiny' met it"):
        ask(name, TINY, [], 0, 1, budgets=[Budget.parse("1KFLOP")])


@pytest.mark.parametrize("name", OWN)
def test_latency_budgets_wait_for_a_predictor(name):
    limit = [Budget.parse("5ms")]
    assert len(ask(name, SMALL, [], 0, 2, budgets=limit)) == 2
    quick = ask(
        name,
        SMALL,
        [],
        0,
        2,
        budgets=limit,
        predict=lambda arch: {"latency_ms": sum(s.depth for s in arch.stages) + 1.5},
    )
    assert all(sum(stage.depth for stage in arch.stages) <= 3 for arch in quick)


KNOWN = f"known strategies: {', '.join(sorted(STRATEGIES))}, FILE.py:FUNCTION"
SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        "initial": st.integers(0, 50),
        "population": st.integers(2, 50),
        "tournament": st.integers(1, 10),
        "crossover": st.one_of(st.floats(0, 1, allow_subnormal=False), st.integers(0, 1)),
        "explore": st.floats(0, 1, allow_subnormal=False),
        "children": st.integers(1, 50),
        "climb": st.one_of(st.floats(0, 1, allow_subnormal=False), st.integers(0, 1)),
    },
)


@given(SETTINGS)
def test_a_choice_is_written_back_as_it_was_given(settings):
    choice = StrategyChoice.from_dict({"name": "evolution", **settings})
    written = choice.to_dict()
    assert written == {"name": "evolution", **settings}
    assert [type(written[key]) for key in settings] == [type(value) for value in settings.values()]  # 1 stays no 1.0
    assert all(getattr(choice.settings, key) == value for key, value in settings.items())


@given(SETTINGS, st.integers(0, 2**32), st.integers(0, 12))
def test_whatever_the_settings_proposals_are_new_members(settings, seed, known):
    members = list(TINY)
    trials = [Candidate(arch, losses(arch)) for arch in members[:known]]
    proposed = ask("evolution", TINY, trials, seed, 3, **settings)
    left = {arch.id for arch in members[known:]}
    assert len({arch.id for arch in proposed}) == len(proposed) == min(3, len(left))
    assert {arch.id for arch in proposed} <= left


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ({}, "strategy: key 'name' is missing; add the name of a strategy, such as name = \"random\""),
        (
            {"name": "luck"},
            f"strategy: unknown strategy 'luck'; {KNOWN}",
        ),
        (
            {"name": ["luck"]},
            f"strategy: unknown strategy ['luck']; {KNOWN}",
        ),
        (
            {"name": "x" * 999},
            f"strategy: unknown strategy {shown('x' * 999)}; {KNOWN}",
        ),
        ({"name": "random", "initial": 3}, "strategy: unknown key 'initial'; correct or remove it"),
        (
            {"name": "evolution", "popilation": 3},
            "strategy: unknown key 'popilation'; known keys: children, climb, crossover, explore, initial, population, "
            "tournament",
        ),
        (
            {"name": "evolution", "explore": 1.5},
            "strategy: explore = 1.5: input should be less than or equal to 1",
        ),
        (
            {"name": "evolution", "initial": "6"},
            "strategy: initial = '6': must be a whole number; write it without quotes",
        ),
        (
            {"name": "evolution", "population": 1},
            "strategy: population = 1: input should be greater than or equal to 2",
        ),
    ],
)
def test_wrong_settings_are_told_in_one_line(content, text):
    with pytest.raises(UserError) as caught:
        StrategyChoice.from_dict(content, "strategy")
    assert str(caught.value) == text


def test_every_strategy_is_in_the_help_and_in_the_docs():
    page = (Path(__file__).parents[1] / "docs" / "strategies.md").read_text(encoding="utf-8")
    for name in STRATEGIES:
        assert re.search(rf"\b{name.removeprefix('optuna:')}\b", STRATEGY_HELP)
        assert f"| `{name}` |" in page


def test_failed_trials_are_no_parents():
    trials = [Candidate(SMALL.sample(seed), None) for seed in range(30)]
    assert len(ask("evolution", SMALL, trials, 0, 5)) == 5


def test_trials_outside_the_space_are_known_but_no_parents():
    trials = [Candidate(arch, losses(arch)) for arch in FIXED.values()]
    assert all(SMALL.contains(arch) for arch in ask("evolution", SMALL, trials, 0, 5))


def test_children_resemble_the_front():
    """With no exploration every proposal is a few fields away from a parent."""
    parents = [FIXED["emo_1m"], FIXED["emo_2m"]]
    trials = [Candidate(parent, losses(parent)) for parent in parents]
    children = ask("evolution", SPACE, trials, 0, 10, initial=0, explore=0.0)
    blocks = [stage.block for child in children for stage in child.stages]
    assert blocks.count("irmb") > 0.7 * len(blocks)


@pytest.mark.exhaustive
def test_evolution_finds_more_than_random_search():
    """The further from MobileViT-S's design the worse: by chance a draw is rarely near."""
    target = SPACE.encode(FIXED["mobilevit_s"])

    def distance(arch):
        return (float(np.abs(SPACE.encode(arch) - target).sum()),)

    best = {
        name: [min(t.losses for t in search(name, SPACE, 100, seed, distance))[0] for seed in range(3)]
        for name in ("evolution", "random")
    }
    assert np.mean(best["evolution"]) < min(best["random"])


def test_one_objective_will_do():
    found = search("evolution", SMALL, 60, 0, score=lambda arch: losses(arch)[:1])
    assert min(trial.losses for trial in found) < min(trial.losses for trial in found[:15])


def test_the_surrogate_prefers_what_resembles_the_better_trials():
    """Error falls with depth here, at equal speed: of shallow and deep designs the deep ones are picked."""
    designs = {arch.id: arch for arch in (SPACE.sample(seed) for seed in range(60))}
    depth = {key: sum(stage.depth for stage in arch.stages) for key, arch in designs.items()}
    trials = [Candidate(arch, (1 / depth[key], 1.0)) for key, arch in list(designs.items())[:40]]
    untried = list(designs.values())[40:]
    chosen = most_promising(SPACE, untried, trials, lambda arch: 1.0)
    ranks = sorted((depth[arch.id] for arch in untried), reverse=True)
    assert depth[chosen.id] >= ranks[len(ranks) // 3]


def test_speed_is_asked_for_once_trials_are_enough():
    asked = []

    def speed(arch):
        asked.append(arch.id)
        return losses(arch)[1]

    trials = [Candidate(arch, losses(arch)) for arch in FIXED.values()]
    proposed = ask("evolution", SPACE, trials, 0, 2, explore=0.0, speed=speed, children=5)
    assert len(proposed) == 2
    assert {arch.id for arch in proposed} <= set(asked)
    asked.clear()
    ask("evolution", SPACE, trials[:7], 0, 1, explore=0.0, speed=speed)
    assert not asked


@pytest.mark.exhaustive
def test_climbing_proposes_changes_of_the_most_accurate_that_are_no_slower():
    """Accuracy that grows with depth alone, time with width alone: climbing keeps to the best one's time."""

    def score(arch):
        return 1 / sum(stage.depth for stage in arch.stages), float(sum(stage.channels for stage in arch.stages))

    rng = np.random.default_rng(0)
    trials = [Candidate(arch, score(arch)) for arch in (SPACE.sample(rng) for _ in range(12))]
    best = min(trials, key=lambda trial: trial.losses)
    settings = {"speed": lambda arch: score(arch)[1], "explore": 0.0, "initial": 0}
    climbed = ask("evolution", SPACE, trials, 1, 4, climb=1.0, **settings)
    assert all(score(arch)[1] <= best.losses[1] for arch in climbed)
    spread = ask("evolution", SPACE, trials, 1, 4, climb=0.0, **settings)
    assert np.mean([score(arch)[0] for arch in climbed]) < np.mean([score(arch)[0] for arch in spread])


def test_climbing_stops_when_it_has_enough():
    """Every change is no slower here: as many are made as one step looks at, not as many as may be tried."""

    class Counted:
        made = 0

        def __getattr__(self, name):
            return getattr(SPACE, name)

        def mutate(self, arch, rng, changes):
            Counted.made += 1
            return SPACE.mutate(arch, rng, changes)

    rng = np.random.default_rng(0)
    trials = [Candidate(arch, losses(arch)) for arch in (SPACE.sample(rng) for _ in range(12))]
    settings = {"explore": 0.0, "initial": 0, "climb": 1.0, "children": 3}
    ask("evolution", Counted(), trials, 1, 1, speed=lambda arch: 1.0, **settings)
    assert 3 <= Counted.made < 12  # a change now and then is one that was made before


# Warm start


def test_a_warm_start_without_a_table_is_the_cold_model():
    trials = [Candidate(arch, losses(arch)) for arch in list(TINY)[:8]]
    warm = ask("warm", TINY, trials, 0, 2, known=None, explore=0.0)
    cold = ask("model", TINY, trials, 0, 2, known=None, candidates=200)
    assert [arch.id for arch in warm] == [arch.id for arch in cold]


@pytest.mark.exhaustive
def test_the_pool_keeps_budgets_and_is_better_than_what_the_table_holds():
    from nasbench.costs.analytic import cost

    limit = Budget.parse("600MFLOP")
    found = bred_pool(SPACE, TABLE, (limit,), 1000, 80)
    pool = found.designs
    assert len({arch.id for arch in pool}) == len(pool) == 80
    assert all(SPACE.contains(arch) and cost(arch).flops <= limit.limit for arch in pool)
    held = [arch for arch in TABLE.designs if SPACE.contains(arch) and cost(arch).flops <= limit.limit]
    assert max(map(TABLE.truth, pool)) > max(map(TABLE.truth, held))
    assert bred_pool(SPACE, TABLE, (limit,), 1000, 80) is found


@pytest.mark.exhaustive
def test_a_good_table_finds_more_than_evolution_does():
    def best(name):
        return np.mean([max(TABLE.truth(t.architecture) for t in search(name, SMALL, 12, seed)) for seed in range(6)])

    assert best("warm") > best("evolution")


def test_after_many_trials_a_correction_serves_several_proposals():
    class Counted(ToyTable):
        asked = 0

        def after(self, seen, accuracies):
            Counted.asked += 1
            return super().after(seen, accuracies)

    table, rng = Counted(TABLE.designs, TABLE.truth), np.random.default_rng(0)
    designs = list({arch.id: arch for arch in (SMALL.draw(rng) for _ in range(200))}.values())[:150]
    trials = [Candidate(arch, losses(arch), told=float(index)) for index, arch in enumerate(designs)]
    for count in (147, 148, 149, 150):
        late = trials[count - 1 :: -1]  # submitted in another order than they ended in
        (proposed,) = ask("warm", SMALL, late, 0, 1, known=table, explore=0.0)
        assert proposed.id not in {trial.architecture.id for trial in late}
    assert Counted.asked == 3  # made of the first 146, 148 (for 149, too) and 150


def test_the_first_proposal_is_the_surest_challenger_of_the_best_published_network():
    networks = sorted(FIXED.values(), key=TABLE.truth)[1:]  # not the best of all, which no design may beat
    trials = [Candidate(arch, None, published=True) for arch in networks]
    best = networks[-1]

    def asked(trials):
        return ask("warm", SPACE, trials, 0, 1, known=TABLE, speed=lambda arch: losses(arch)[1], explore=1.0)

    (first,) = asked(trials)
    able = [arch for arch in bred_pool(SPACE, TABLE, (), 1000, 60).designs if losses(arch)[1] <= losses(best)[1]]
    known = {arch.id for arch in networks}
    assert TABLE.truth(first) == max(TABLE.truth(arch) for arch in able if arch.id not in known)
    # once, and not where no network was published
    assert asked([*trials, Candidate(first)])[0].id not in {arch.id for arch in able}
    assert asked([Candidate(arch) for arch in networks])[0].id not in {arch.id for arch in able}


@pytest.mark.parametrize("trust", [0.0, 0.1])
def test_a_table_that_trials_do_not_bear_out_leaves_proposals_to_evolution(trust):
    table = ToyTable(TABLE.designs, TABLE.truth)
    table.trust = trust
    trials = [Candidate(arch, losses(arch)) for arch in list(TINY)[:8]]
    found = ask("warm", TINY, trials, 0, 1, known=table)
    rng = np.random.default_rng(0)  # without any trust every draw is that of a search without a table
    assert trust == 0 or rng.random() > trust
    limits = Limits((), 1000, None)
    expected = StrategyChoice.from_dict({"name": "evolution"}).propose(
        Context(TINY, tuple(trials), rng, limits, None, RejectionCounter(), known=table), 1
    )
    assert [arch.id for arch in found] == [arch.id for arch in expected]


def test_the_best_that_is_no_slower():
    speeds, accuracies = np.array([3.0, 1.0, 2.0]), np.array([0.5, 0.4, 0.6])
    assert best_within(speeds, accuracies, np.array([0.5, 1.0, 1.5, 2.0, 9.0])).tolist() == [0.4, 0.4, 0.4, 0.6, 0.6]


def test_the_expected_improvement_is_that_of_a_normal_figure():
    lead, std = np.array([0.3, -0.2, 0.1]), np.array([1e-9, 0.1, 0.2])
    drawn = np.random.default_rng(0).normal(lead, std, (400_000, 3))
    assert below(0.0, -lead, std) == pytest.approx(np.maximum(drawn, 0).mean(0), abs=5e-4)


def test_latency_bands_take_turns():
    trials = [Candidate(arch, losses(arch)) for arch in FIXED.values()]
    proposed = ask("warm", SPACE, trials, 0, 8, speed=lambda arch: losses(arch)[1], explore=0.0)
    speeds = np.log2([losses(arch)[1] for arch in proposed])
    assert speeds.max() - speeds.min() > 1


def test_the_process_finds_which_columns_matter_and_how_noisy_losses_are():
    rng = np.random.default_rng(0)
    x = rng.integers(2, size=(80, 6)).astype(float)
    truth = 3 * x[:, 0] - 2 * x[:, 1] * x[:, 2]
    model = Regression.fit(x, truth + 0.3 * rng.normal(size=80))
    new = rng.integers(2, size=(200, 6)).astype(float)
    mean, std = model.predict(new)
    off = mean - (3 * new[:, 0] - 2 * new[:, 1] * new[:, 2])
    assert np.sqrt((off**2).mean()) < 0.2
    assert 0.15 < model.spread * np.exp(model.parameters[2]) < 0.5  # the noise
    assert (np.abs(off) < 3 * std).mean() > 0.95


def test_the_slope_of_the_posterior_is_that_of_its_values():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(12, 3)), rng.normal(size=12)
    posterior, at = _Posterior(x, y, np.zeros(6), np.ones(6)), rng.normal(size=6) / 2
    steps = 1e-5 * np.eye(6)
    numeric = [(posterior(at + step)[0] - posterior(at - step)[0]) / 2e-5 for step in steps]
    assert np.allclose(posterior(at)[1], numeric, rtol=1e-4, atol=1e-5)


def test_expected_volume_is_that_of_many_draws():
    rng = np.random.default_rng(2)
    known = rng.random((9, 2))
    means, stds = rng.random((4, 2)), np.array([[0.1, 0.2], [0.3, 0.05], [0.2, 0.0], [0.0, 0.0]])
    reference = known.max(0) + MARGIN * np.ptp(known, axis=0)
    before = hypervolume(known, reference)
    drawn = means[:, None] + stds[:, None] * rng.normal(size=(4, 4000, 2))
    gains = [np.mean([hypervolume([*known, one], reference) - before for one in draws]) for draws in drawn]
    assert np.allclose(volume_improvement(known, means, stds), gains, atol=0.01)


def test_the_model_recommends_what_it_believes_and_not_the_luckiest_seed():
    rng, members = np.random.default_rng(0), list(TINY)
    truth = {arch.id: 0.1 * sum(stage.kernel for stage in arch.stages) for arch in members}
    trials = [Candidate(arch, (truth[arch.id] + 0.01 * rng.normal(),)) for arch in members]
    worst = max(range(len(trials)), key=lambda i: truth[trials[i].architecture.id])
    best = min(trials, key=lambda one: one.losses)
    trials[worst] = Candidate(trials[worst].architecture, (best.losses[0] - 0.01,))  # a seed too good to be true
    context = Context(TINY, tuple(trials), rng)
    assert StrategyChoice.from_dict({"name": "random"}).pick(context) is trials[worst]
    assert truth[StrategyChoice.from_dict({"name": "model"}).pick(context).architecture.id] == min(truth.values())
