"""Optuna's samplers as strategies: what they are told, what they propose, and searches by them that are killed."""

from __future__ import annotations

import itertools
import os
import signal
import warnings

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState
from search_toys import NoDevice, study_of
from shared_spaces import FIXED, SMALL

from nasbench.costs.analytic import cost
from nasbench.costs.budget import Budget
from nasbench.engine.predictions import Predictions
from nasbench.engine.promotion import Promotions
from nasbench.engine.schedule import Schedule
from nasbench.errors import UserError
from nasbench.space import RejectionCounter, SearchSpace
from nasbench.space.limits import Limits
from nasbench.strategies import STRATEGIES, Candidate, Context, StrategyChoice
from nasbench.strategies.by_optuna import PREFIX
from nasbench.strategies.context import Proposals
from nasbench.strategies.optuna_study import NO_FIT, SAMPLERS, Asking, encoding_of, kept
from nasbench.study.store import TrialStore
from nasbench.study.trials import Outcome, State, failed

BLOCK = {"block": ["mbconv", "repvgg"], "downsample": "block", "stride": 2, "kernel": [3, 5, 7], "expansion": [1, 2, 3]}
SPACE = SearchSpace.from_dict(
    {"resolution": 64, "stages": [{**BLOCK, "channels": [c, 2 * c], "depth": [1, 2, 3]} for c in (16, 32)]}
)
TINY = SearchSpace.from_dict(
    {"name": "tiny", "resolution": 64, "stages": [{"channels": [16, 24], "depth": [1, 2], "kernel": [3, 5, 7]}]}
)
LIMIT = Budget.parse("20MFLOP")
SMALL_LIMIT = Budget.parse("5MFLOP")
QUICK = [name for name in SAMPLERS if name != "gp"]


def shallow(arch):
    """The first loss falls with every 3 x 3 kernel and every mbconv, the second with multiply-adds."""
    wrong = sum((stage.kernel != 3) + (stage.block != "mbconv") for stage in arch.stages)
    return float(wrong), cost(arch).macs / 1e6


def context_of(trials, seed=0, budgets=(), space=SPACE):
    return Context(space, tuple(trials), np.random.default_rng(seed), Limits(tuple(budgets)), None, RejectionCounter())


def ask(sampler, trials, n=1, seed=0, budgets=(), space=SPACE, **settings):
    context = context_of(trials, seed, budgets, space)
    return StrategyChoice.from_dict({"name": PREFIX + sampler, **settings}).propose(context, n), context.rejections


def drawn(count, seed=0, budgets=(), space=SPACE):
    rng, found = np.random.default_rng(seed), {}
    while len(found) < count:
        arch = space.sample(rng, budgets)
        found[arch.id] = Candidate(arch, shallow(arch))
    return list(found.values())


def asking(sampler, trials, budgets=(), **settings):
    context = context_of(trials, 0, budgets)
    return Asking(SPACE, context, Proposals(context), sampler, STRATEGIES[PREFIX + sampler].settings(**settings))


@pytest.mark.parametrize("sampler", QUICK)
def test_proposals_are_new_members_within_the_budgets(sampler):
    """With designs from elsewhere, running and failed ones among the trials."""
    trials = drawn(18, budgets=[LIMIT])
    running = [Candidate(one.architecture, None, failed=i < 2) for i, one in enumerate(drawn(22, 1, [LIMIT])[18:])]
    outside = [Candidate(FIXED[name], shallow(FIXED[name])) for name in ("emo_1m", "vit_ti16")]
    trials = [*outside, *trials, *(one for one in running if one.architecture not in {t.architecture for t in trials})]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        proposed, _ = ask(sampler, trials, 3, budgets=[LIMIT])
    assert len({arch.id for arch in proposed} - {one.architecture.id for one in trials}) == 3
    assert all(SPACE.contains(arch) and cost(arch).flops <= LIMIT.limit for arch in proposed)
    again, _ = ask(sampler, trials, 3, budgets=[LIMIT])
    assert [arch.id for arch in again] == [arch.id for arch in proposed]


def test_a_gaussian_process_takes_two_losses_constraints_and_trials_under_way():
    trials = [*drawn(6, budgets=[SMALL_LIMIT], space=TINY), Candidate(TINY.sample(99), None)]
    proposed, _ = ask("gp", trials, 1, budgets=[SMALL_LIMIT], space=TINY, initial=5)
    assert proposed[0].id not in {one.architecture.id for one in trials}
    assert cost(proposed[0]).flops <= SMALL_LIMIT.limit


@pytest.mark.parametrize("sampler", QUICK)
def test_a_small_space_is_used_up_and_no_more(sampler):
    trials = []
    while proposed := ask(sampler, trials, space=TINY, seed=len(trials))[0]:
        trials += [Candidate(arch, shallow(arch)) for arch in proposed]
    assert len(trials) == len({trial.architecture.id for trial in trials}) == TINY.size() == 12


@pytest.mark.parametrize("sampler", ["tpe", "auto", "nsga2", "nsga3"])
def test_samplers_learn_from_the_trials(sampler):
    """Four fields make the first loss and it alone counts: by chance three designs in four have two of them wrong."""
    trials = [Candidate(one.architecture, one.losses[:1]) for one in drawn(40)]
    proposed, _ = ask(sampler, trials, 4)
    assert np.mean([shallow(arch)[0] for arch in proposed]) < np.mean([one.losses[0] for one in trials]) - 0.7


def test_the_study_is_told_every_member_as_it_stands():
    scored, (runs, failed) = drawn(12, budgets=[LIMIT]), drawn(14, 5)[12:]
    trials = [Candidate(FIXED["vit_ti16"], (0.5, 1.0)), *scored]
    trials += [Candidate(runs.architecture), Candidate(failed.architecture, failed=True)]
    study = asking("tpe", trials, [LIMIT]).study
    told = study.get_trials()
    assert [trial.state for trial in told] == [TrialState.COMPLETE] * 12 + [TrialState.RUNNING, TrialState.FAIL]
    assert [tuple(trial.values) for trial in told[:12]] == [one.losses for one in scored]
    assert [direction.name for direction in study.directions] == ["MINIMIZE", "MINIMIZE"]
    encoding = encoding_of(SPACE)
    for trial, one in zip(told, scored):
        values = {name: encoding.meant(name, value) for name, value in trial.params.items()}
        assert values == SPACE.parameters(one.architecture)
        assert trial.constraints["20MFLOP"] == pytest.approx(cost(one.architecture).flops / LIMIT.limit - 1)


def test_genetic_samplers_are_told_generations_and_whole_designs():
    told = asking("nsga2", drawn(40), population=16).study.get_trials()
    assert [trial.system_attrs["NSGAIISampler:generation"] for trial in told] == [0] * 16 + [1] * 16 + [2] * 8
    assert all(trial.params.keys() == SPACE.parameter_choices.keys() for trial in told)
    assert any(trial.params.keys() != SPACE.parameters(one.architecture).keys() for trial, one in zip(told, drawn(40)))


def test_numbers_are_told_in_their_order():
    space = SearchSpace.from_dict(
        {"resolution": 64, "stages": [{"channels": [32, 16, 24], "depth": 1, "kernel": [5, 3]}]}
    )
    encoding = encoding_of(space)
    assert [encoding.told("stages[0].channels", value) for value in (16, 24, 32)] == [0, 1, 2]
    assert encoding.meant("stages[0].kernel", 1) == 5


def test_what_is_over_the_budget_is_told_as_infeasible_and_what_is_known_as_under_way():
    trials = drawn(12, budgets=[LIMIT])
    each = asking("tpe", trials, [LIMIT])
    dear = next(one.architecture for one in drawn(60, 3) if cost(one.architecture).flops > LIMIT.limit)
    each._tell(dear, False)
    each._tell(trials[0].architecture, False)
    dear_told, known_told = each.study.get_trials()[-2:]
    assert dear_told.state == TrialState.COMPLETE
    assert dear_told.constraints["20MFLOP"] > 0
    assert dear_told.values == np.max([one.losses for one in trials], 0).tolist()
    assert known_told.state == TrialState.RUNNING


def test_a_draw_takes_the_place_of_a_sampler_that_finds_nothing_and_is_counted():
    smallest = min((cost(one.architecture).flops for one in drawn(300)), default=0)
    tight = Budget.parse(f"{smallest / 1e6 * 1.02}MFLOP")
    proposed, rejections = ask("random", [], 2, budgets=[tight])
    assert len(proposed) == 2
    assert rejections.rejected[NO_FIT] == 2
    assert rejections.rejected[f"budget {tight}"] >= 40


def test_the_best_and_the_latest_trials_are_kept():
    trials = [Candidate(one.architecture, (float(abs(i - 5)),)) for i, one in enumerate(drawn(60))]
    places = [trials.index(one) for one in kept(trials, 20)]
    assert places == [3, 4, 5, 6, 7, *range(45, 60)]
    assert kept(trials[:20], 20) == trials[:20]


def test_optuna_says_nothing_and_is_left_as_it_was(capfd):
    before = optuna.logging.get_verbosity()
    ask("tpe", drawn(12), 1)
    assert optuna.logging.get_verbosity() == before
    assert capfd.readouterr() == ("", "")


def test_a_table_without_parameters_is_told_so():
    with pytest.raises(UserError, match="strategy 'optuna:tpe': needs a search space with parameters; use evolution"):
        ask("tpe", [], space=object())


# --- searches


SETTINGS = {"optuna:tpe": {"initial": 4}, "optuna:nsga2": {"population": 6}, "nsga2": {"population": 6}}
SEARCHED = ("optuna:tpe", "optuna:nsga2", "regularised", "nsga2", "local")


def schedule(name):
    """A new one, which knows nothing but the trials that it is asked about."""
    strategy = {"name": name, **SETTINGS.get(name, {})}
    study = study_of(SMALL, ({"trials": 14, "samples": 64},), strategy=strategy, budgets=("100MFLOP",), finalists=0)
    return Schedule(study, SMALL, {}, Predictions(study, NoDevice()), Promotions([], lambda note: None))


def outcome(trial):
    """Fails for one design in sixteen; else better with more multiply-adds."""
    if trial.architecture_id.startswith("0"):
        return failed("out of order")
    accuracy = 0.3 + 0.2 * min(1.0, cost(trial.design).macs / 1e8)
    return Outcome(State.COMPLETE, {"accuracy": accuracy, "majority_share": 0.1}, None, 1.0)


def proposed_by(name, stops=()):
    """The designs of a search, whose driver is lost after so many trials."""
    found, trials = schedule(name), ()
    while (trial := found.next_trial(trials)) is not None:
        trials += (trial.with_outcome(outcome(trial), 1.0),)
        found = schedule(name) if len(trials) in stops else found
    return [trial.architecture_id for trial in trials]


@pytest.mark.parametrize("name", SEARCHED)
def test_a_driver_that_is_lost_changes_nothing(name):
    whole = proposed_by(name)
    assert whole == proposed_by(name, stops=(5, 9, 12))
    assert len(whole) == len(set(whole)) == 14


def go_on(folder, name, workers, trainings=None):
    """Search in `folder` with so many trials under way at once; dead by its own hand after so many trainings."""
    with TrialStore(folder) as store:
        found, running = schedule(name), list(store.outstanding())
        for turn in itertools.count():
            while len(running) < workers and (trial := found.next_trial(store.trials)) is not None:
                store.submit(trial)
                running.append(trial)
            if not running:
                return store.trials
            if turn == trainings:
                os.kill(os.getpid(), signal.SIGKILL)  # as a machine that loses its power
            trial = running.pop(0)
            store.finish(trial.key, outcome(trial))


@pytest.mark.parametrize("name", ["optuna:tpe", "optuna:nsga2"])
def test_a_killed_search_with_several_trials_under_way_goes_on(name, tmp_path):
    child = os.fork()
    if child == 0:
        go_on(tmp_path, name, 3, trainings=7)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    trials = go_on(tmp_path, name, 3)
    assert len(trials) == len({trial.architecture_id for trial in trials}) == 14
    assert all(trial.finished and cost(trial.design).flops <= 1e8 for trial in trials)
    assert {trial.origin.how for trial in trials} == {name}
