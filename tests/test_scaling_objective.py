"""Ranking by extrapolated error: what is shrunk, how sure it is, and that probes are designs of their own."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from nasbench.arch.library import load
from nasbench.costs.analytic import cost
from nasbench.engine.driver import Driver
from nasbench.errors import UserError
from nasbench.progress import Silent
from nasbench.report.results import StudyResult
from nasbench.running import run
from nasbench.scaling.crossing import outlook
from nasbench.scaling.objective import (
    MIN_DESIGNS,
    PROBE_RUNG,
    Reach,
    curve,
    errors_at,
    lines,
    predict_all,
    probes,
    split_objective,
)
from nasbench.space.shipped import load_space
from nasbench.study.runner import RunnerSpec
from nasbench.study.store import TrialStore
from nasbench.study.study import SpaceRecord, Study
from nasbench.study.trials import Outcome, Trial

REACH = Reach.parse("predicted@4GFLOP")


def design(level: float, slope: float, noise: float = 0.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Trainings at 1, 1/2 and 1/4 GFLOP: ln(error) on a line through ln(level) at 1 GFLOP."""
    x = np.log([1e9, 0.5e9, 0.25e9])
    rng = np.random.default_rng(seed)
    return x, math.log(level) + slope * (x - math.log(1e9)) + noise * rng.standard_normal(3)


def test_the_objective_is_read_from_the_study() -> None:
    assert Reach.of(("error", "latency_ms")) is None
    found = Reach.of(("error", "latency_ms", "predicted@2GFLOP"))
    assert found is not None
    assert found.target.limit == 2e9
    assert split_objective("predicted@2GFLOP") == ("supervised", ("predicted@2GFLOP",))
    assert split_objective("masked") == ("masked", ())
    with pytest.raises(UserError, match="designs are extrapolated over FLOPs"):
        Reach.parse("predicted@5Mparams")


def test_exact_lines_are_followed_to_the_target() -> None:
    slopes = np.linspace(-0.1, -0.4, 8)
    points = {f"d{i}": design(0.4, slope) for i, slope in enumerate(slopes)}
    found = predict_all(points, REACH)
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
        found = predict_all(points, REACH)
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
    assert predict_all({"alone": points["d0"]}, REACH)["alone"].high > ends[2, 0]  # few designs: the prior, and wide


def test_probes_are_smaller_versions_of_the_design() -> None:
    arch = load("emo_5m")
    shares = [cost(probe).flops / cost(arch).flops for probe in probes(arch)]
    assert shares == pytest.approx([0.5, 0.25], rel=0.02)


def test_lines_are_read_off_trials() -> None:
    def trial(key: str, flops: float, accuracy: float, **origin: object) -> Trial:
        made = Trial.new(
            {"name": key}, key, fidelity={}, seed=0, data="d", origin={"rung": 0, "cost": {"flops": flops}, **origin}
        )
        return made.with_outcome(Outcome("complete", {"accuracy": accuracy}), 0.0)

    found = lines([trial("a", 1e9, 0.6), trial("p", 5e8, 0.5, of="a", rung=-1), trial("a2", 1e9, 0.7, rung=1)])
    assert set(found) == {"a"}
    assert np.exp(found["a"][1]) == pytest.approx([0.4, 0.5])


def test_a_search_trains_probes_and_ranks_by_the_target(tmp_path: Path) -> None:
    space = load_space("metablock")
    study = Study(
        space=SpaceRecord(name="metablock", content=space.to_dict()),
        objectives=("error", "latency_ms", "predicted@2GFLOP"),
        budgets=("600MFLOP",),
        ladder=({"trials": 7, "samples": 100}, {"trials": 2, "samples": 1000}),
        strategy={"name": "random"},
        trials=7,
        finalists=2,
        final_seeds=(1,),
        runner={"kind": "serial"},
    )
    with TrialStore(tmp_path) as store:
        driver = Driver(study, store, space, {}, lambda: None, Silent())
        run(driver, "search_toys:evaluate", RunnerSpec(kind="serial"))
        trials = store.trials
        lowest = [t for t in trials if t.origin["rung"] == 0]
        probed = [t for t in trials if t.origin["rung"] == PROBE_RUNG]
        done = [t for t in lowest if t.state == "complete"]
        assert {t.origin["of"] for t in probed} == {t.architecture_id for t in done}
        assert all(t.fidelity == lowest[0].fidelity for t in probed)
        target = Reach.of(study.objectives)
        assert target is not None
        expected = errors_at(trials, done, target)
        assert driver._losses(done) == {t.key: (expected[t.key], t.origin["cost"]["macs"]) for t in done}
        plain = {t.key: 1 - t.metrics["accuracy"] for t in done}
        assert any(abs(expected[key] - plain[key]) > 0.01 for key in plain)
        assert len([t for t in trials if t.origin["rung"] == 1 and t.split == "validation"]) == 2
        StudyResult.from_store(study, store).report()
        assert (tmp_path / "crossing.png").stat().st_size > 1000
        best = outlook(study.objectives, trials)
        assert best[0].startswith("Predicted at 2GFLOP")
        assert 2 <= len(best) <= 6
        resumed = Driver(study, store, space, {}, lambda: None, Silent())
        assert resumed.ask() is None  # nothing is left to do, and no probe is trained twice
