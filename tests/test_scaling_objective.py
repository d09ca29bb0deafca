"""Ranking by extrapolated error: what is shrunk, how sure it is, and that probes are designs of their own."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from search_toys import EVALUATE, SERIAL, search_parts, study_of

from nasbench.arch.library import load
from nasbench.costs.analytic import Cost, cost
from nasbench.errors import UserError
from nasbench.report.results import StudyResult
from nasbench.running import run
from nasbench.scaling.crossing import standing_at_target
from nasbench.scaling.objective import MIN_DESIGNS, PROBE_RUNG, curve, errors_at, lines, predict_all, probes
from nasbench.study.fidelity import load_recipe
from nasbench.study.objective import extrapolation_target, split_objective
from nasbench.study.store import TrialStore
from nasbench.study.trials import Level, Origin, Outcome, State, Trial

TARGET = extrapolation_target("predicted@4GFLOP")


def design(level: float, slope: float, noise: float = 0.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Trainings at 1, 1/2 and 1/4 GFLOP: ln(error) on a line through ln(level) at 1 GFLOP."""
    x = np.log([1e9, 0.5e9, 0.25e9])
    rng = np.random.default_rng(seed)
    return x, math.log(level) + slope * (x - math.log(1e9)) + noise * rng.standard_normal(3)


def test_the_objective_is_read_from_the_study() -> None:
    assert study_of().extrapolated_to is None
    target = study_of(objectives=("error", "latency_ms", "predicted@2GFLOP")).extrapolated_to
    assert target is not None
    assert (target.metric, target.limit) == ("flops", 2e9)
    assert split_objective("predicted@2GFLOP") == ("supervised", ("predicted@2GFLOP",))
    assert split_objective("masked") == ("masked", ())
    for read in (extrapolation_target, split_objective):
        with pytest.raises(UserError, match="designs are extrapolated over FLOPs"):
            read("predicted@5Mparams")


def test_exact_lines_are_followed_to_the_target() -> None:
    slopes = np.linspace(-0.1, -0.4, 8)
    points = {f"d{i}": design(0.4, slope) for i, slope in enumerate(slopes)}
    found = predict_all(points, TARGET)
    for i, slope in enumerate(slopes):
        assert found[f"d{i}"].error == pytest.approx(0.4 * 4**slope, rel=0.01)
    order = sorted(found, key=lambda key: found[key].error)
    assert order[0] == "d7"  # alike at its own size, and steepest


def test_noisy_slopes_are_drawn_to_the_others() -> None:
    """Where all slopes are truly alike, drawing them together predicts better than each design's own line."""
    truth = 0.4 * 4**-0.2
    own_error, drawn_error, inside, count = 0.0, 0.0, 0, 0
    for trial in range(30):
        points = {f"d{i}": design(0.4, -0.2, 0.05, 100 * trial + i) for i in range(8)}
        found = predict_all(points, TARGET)
        for key, (x, y) in points.items():
            line = np.polyfit(x, y, 1)
            own_error += (np.exp(np.polyval(line, math.log(4e9))) - truth) ** 2
            drawn_error += (found[key].error - truth) ** 2
            inside += found[key].low <= truth <= found[key].high
            count += 1
    assert drawn_error < 0.5 * own_error
    assert 0.8 < inside / count < 0.99


def test_intervals_widen_with_the_distance() -> None:
    points = {f"d{i}": design(0.4, -0.2, 0.05, i) for i in range(MIN_DESIGNS + 1)}
    ends = curve(*points["d0"], np.array([0.5e9, 1e9, 4e9, 16e9]), points)
    widths = np.log(ends[:, 2] / ends[:, 1])
    assert (np.diff(widths) > 0).all()
    assert predict_all({"alone": points["d0"]}, TARGET)["alone"].high > ends[2, 0]  # few designs: the prior, and wide


def test_probes_are_smaller_versions_of_the_design() -> None:
    arch = load("emo_5m")
    shares = [cost(probe).flops / cost(arch).flops for probe in probes(arch)]
    assert shares == pytest.approx([0.5, 0.25], rel=0.02)


def trained(name: str, gflops: float, accuracy: float, **origin: object) -> Trial:
    """A complete trial of a shipped network, said to cost so much."""
    figures = Cost(**{**cost(load(name)).to_dict(), "flops": int(gflops * 1e9)})
    made = Trial.new(load(name), load_recipe().at(64), 0, "d", origin=Origin(cost=figures, **origin))  # type: ignore[arg-type]
    return made.with_outcome(Outcome(State.COMPLETE, {"accuracy": accuracy}), 0.0)


def test_lines_are_read_off_trials() -> None:
    """A design's own lowest training and its probes make its line; higher rungs do not."""
    owner = load("emo_1m").id
    trials = [
        trained("emo_1m", 1, 0.6),
        trained("emo_2m", 0.5, 0.5, of=owner, rung=PROBE_RUNG),
        trained("emo_1m", 1, 0.7, rung=1),
    ]
    found = lines(trials)
    assert set(found) == {owner}
    assert np.exp(found[owner][0]) == pytest.approx([1e9, 0.5e9])
    assert np.exp(found[owner][1]) == pytest.approx([0.4, 0.5])


def test_a_search_trains_probes_and_ranks_by_the_target(tmp_path: Path) -> None:
    study = study_of(
        objectives=("error", "latency_ms", "predicted@2GFLOP"),
        budgets=("600MFLOP",),
        ladder=({"trials": 7, "samples": 100}, {"trials": 2, "samples": 1000}),
        strategy={"name": "random"},
        finalists=2,
        final_seeds=(1,),
    )
    target = study.extrapolated_to
    assert target is not None
    with TrialStore(tmp_path) as store:
        search = search_parts(study, store, fixed={})
        run(search.driver, EVALUATE, SERIAL)
        trials = store.trials
        lowest = [trial for trial in trials if trial.level == Level(0)]
        probed = [trial for trial in trials if trial.level == Level(PROBE_RUNG)]
        done = [trial for trial in lowest if trial.complete]
        assert {trial.origin.of for trial in probed} == {trial.architecture_id for trial in done}
        assert all(trial.fidelity == lowest[0].fidelity for trial in probed)
        expected = errors_at(trials, done, target)
        for contender in search.schedule.contenders(done, trials):
            assert contender.losses == (expected[contender.trial.key], contender.trial.cost.macs)
        assert any(abs(expected[trial.key] - (1 - trial.metric("accuracy"))) > 0.01 for trial in done)
        assert len([trial for trial in trials if trial.level == Level(1)]) == 2
        StudyResult.from_store(study, store).report()
        assert (tmp_path / "crossing.png").stat().st_size > 1000
        best = standing_at_target(target, trials)
        assert best[0].startswith("Predicted at 2GFLOP")
        assert 2 <= len(best) <= 6
        assert standing_at_target(None, trials) == []
        resumed = search_parts(study, store, fixed={})
        assert resumed.driver.ask() is None  # nothing is left to do, and no probe is trained twice
