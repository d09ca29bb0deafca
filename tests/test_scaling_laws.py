"""Laws: what is put in comes out, intervals hold, and what data cannot tell is said."""

from __future__ import annotations

import numpy as np
import pytest

from nasbench.errors import UserError
from nasbench.scaling.comparison import crossings, standings, win_probabilities
from nasbench.scaling.intervals import analyse, measured_noise
from nasbench.scaling.isoflop import CostModel, best_params, growth, isoflop, split
from nasbench.scaling.laws import Data, PowerLaw, fit_law
from nasbench.scaling.plots import draw_isoflop
from nasbench.scaling.points import Point
from nasbench.scaling.quoted_families import families, family, fit_published

SIZES = np.repeat(3.0 ** np.arange(6) * 1e8, 3)


def noisy(floor: float, amplitude: float, alpha: float, noise: float, seed: int, sizes: np.ndarray = SIZES) -> Data:
    """error = floor + amplitude * (size / 1e8)^-alpha, with normal noise in its logarithm."""
    rng = np.random.default_rng(seed)
    errors = (floor + amplitude * (sizes / 1e8) ** -alpha) * np.exp(noise * rng.standard_normal(len(sizes)))
    return Data.of(("flops",), sizes, errors)


def test_a_law_without_noise_is_found_exactly() -> None:
    for floor, amplitude, alpha in ((0.2, 0.3, 0.4), (0.05, 0.6, 0.15), (0.3, 0.1, 1.2)):
        law = fit_law(noisy(floor, amplitude, alpha, 0.0, 0)).law
        assert law.floor == pytest.approx(floor, abs=2e-3)
        assert law.exponents[0] == pytest.approx(alpha, rel=0.02)
        assert law.predict(1e8)[0] == pytest.approx(floor + amplitude, rel=1e-3)
        assert law.coefficients[0] * 1e8 ** -law.exponents[0] == pytest.approx(amplitude, rel=0.02)


def test_two_variables_are_told_apart() -> None:
    params, samples = np.meshgrid(2.0 ** np.arange(4) * 1e5, 2.0 ** np.arange(4) * 1e3)
    x = np.stack([params.ravel(), samples.ravel()], axis=1)
    y = 0.1 + 0.2 * (x[:, 0] / 1e5) ** -0.5 + 0.4 * (x[:, 1] / 1e3) ** -0.3
    law = fit_law(Data.of(("params", "samples"), x, y)).law
    assert law.floor == pytest.approx(0.1, abs=0.01)
    assert law.exponents == pytest.approx([0.5, 0.3], abs=0.03)


def test_one_outlier_does_not_carry_a_law_away() -> None:
    data = noisy(0.2, 0.3, 0.4, 0.01, 1)
    spoilt = data.with_errors(np.where(np.arange(len(data.y)) == 4, 1.5 * data.y, data.y))
    far = 1e11
    truth = 0.2 + 0.3 * 1e3**-0.4
    robust = float(fit_law(spoilt).law.predict(far)[0])
    assert robust == pytest.approx(truth, rel=0.06)
    least_squares = float(fit_law(spoilt, delta=10.0).law.predict(far)[0])
    assert abs(robust - truth) < abs(least_squares - truth)


@pytest.mark.exhaustive
def test_intervals_hold_as_often_as_they_say() -> None:
    """A small part of benchmarks/scaling_coverage.py; 12 draws at 90 % miss more than four with probability 0.004."""
    held = {"E": 0, "A": 0, "alpha": 0}
    for seed in range(12):
        found = analyse(noisy(0.2, 0.4, 0.5, 0.015, seed), draws=60, seed=seed)
        assert found.identified
        reference = found.law.reference[0] / 1e8
        truth = {"E": 0.2, "A": 0.4 * reference**-0.5, "alpha": 0.5}
        for name, value in truth.items():
            low, high = found.interval(name)
            held[name] += low <= value <= high
    assert min(held.values()) >= 8
    low, high = found.profile[0]
    assert low < found.law.exponents[0] < high


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (noisy(0.2, 0.3, 0.3, 0.015, 2, np.repeat([1e8, 1.5e8, 2.2e8], 3)), "spans a factor of 2.2 only"),
        (noisy(0.3, 0.01, 0.3, 0.04, 3, np.repeat([1e8, 2e8, 4e8, 8e8], 3)), "the error falls by"),
        (noisy(0.2, 0.3, 0.3, 0.0, 3, np.array([1e8, 4e8, 16e8])), "leave nothing to test it by"),
    ],
)
def test_what_cannot_be_identified_is_flagged(data: Data, reason: str) -> None:
    found = analyse(data, draws=25)
    assert found.unidentified == ("flops",)
    assert any(reason in line for line in found.warnings), found.warnings


def test_too_few_scales_and_bad_values_are_errors() -> None:
    with pytest.raises(UserError, match="2 different values of flops: a law needs at least 3"):
        fit_law(noisy(0.2, 0.3, 0.3, 0.01, 0, np.repeat([1e8, 2e8], 3)))
    with pytest.raises(UserError, match="above zero; leave it out"):
        Data.of(("flops",), [1e8, 2e8, 4e8], [0.3, float("nan"), 0.2])


def test_scatter_between_scales_widens_the_noise() -> None:
    rng = np.random.default_rng(0)
    calm = noisy(0.2, 0.3, 0.4, 0.005, 0)
    shifts = np.repeat(rng.normal(0, 0.05, 6), 3)
    assert measured_noise(fit_law(calm)).scale == 0
    assert measured_noise(fit_law(calm.with_errors(calm.y * np.exp(shifts)))).scale > 0.02


def test_the_likelier_winner_is_named_with_a_probability() -> None:
    fits = {
        "steep": analyse(noisy(0.10, 0.40, 0.5, 0.01, 1), draws=50),
        "flat": analyse(noisy(0.20, 0.20, 0.5, 0.01, 2), draws=50, seed=1),
        "twin": analyse(noisy(0.10, 0.40, 0.5, 0.01, 3), draws=50, seed=2),
    }
    far = win_probabilities(fits, 1e11)
    assert sum(far.values()) == pytest.approx(1)
    assert far["flat"] < 0.01
    assert 0.02 < far["twin"] < 0.98  # the same law: nobody can tell
    assert win_probabilities(fits, 1e8)["flat"] > 0.95
    assert standings(fits, 1e11)[-1].name == "flat"
    pair = {name: fits[name] for name in ("steep", "flat")}
    crossing = crossings(pair, 1e8, 1e11)[0]
    assert crossing.at == pytest.approx(4e8, rel=0.15)  # 0.1 + 0.4 z = 0.2 + 0.2 z at z = 1/2: four times 1e8
    assert crossing.low <= crossing.at <= crossing.high
    assert crossing.probability > 0.95


def cost_model() -> CostModel:
    points = [
        Point("f", "d", 0, n, d, 3 * 20 * n**0.9 * d, 0.5, 1.5, 0, 1.0) for n in (1e5, 2e5, 4e5) for d in (1e3, 2e3)
    ]
    return CostModel.of(points)


def test_the_split_is_the_minimum_of_its_isoflop_curve() -> None:
    cost = cost_model()
    assert (cost.factor, cost.power) == pytest.approx((20, 0.9))
    law = PowerLaw(("params", "samples"), 0.1, np.array([0.2, 0.3]), np.array([0.5, 0.3]), np.array([2e5, 1.5e3]))
    x = np.array([(n, d) for n in (1e5, 2e5, 4e5, 8e5) for d in (1e3, 2e3, 4e3) for _ in range(3)])
    rng = np.random.default_rng(0)
    fit = analyse(Data.of(law.variables, x, law.predict(x) * np.exp(0.002 * rng.standard_normal(len(x)))), draws=30)
    for compute in (1e10, 1e11, 1e12):
        grid = np.geomspace(1e3, 1e8, 4001)
        error, _ = isoflop(fit, cost, compute, grid)
        assert best_params(fit.law, cost, compute) == pytest.approx(grid[error.argmin()], rel=0.01)
        chosen = split(fit, cost, compute)
        assert cost.compute(chosen.params, chosen.samples) == pytest.approx(compute)
        assert chosen.params_interval[0] <= chosen.params <= chosen.params_interval[1]
    power, (low, high) = growth(fit, cost)
    assert low <= 0.3 / (0.5 + 0.9 * 0.3) <= high
    assert low <= power <= high


def test_isoflop_curves_show_the_loss_that_was_fitted() -> None:
    """A cross-entropy above 1 is drawn too, an error above 1 cannot be."""
    law = PowerLaw(("params", "samples"), 1.2, np.array([0.4, 0.3]), np.array([0.5, 0.3]), np.array([2e5, 1.5e3]))
    x = np.array([(n, d) for n in (1e5, 2e5, 4e5, 8e5) for d in (1e3, 2e3, 4e3)])
    points = [
        Point("f", "d", 0, n, d, 60 * n**0.9 * d, 0.5, float(loss), 0, 1.0) for (n, d), loss in zip(x, law.predict(x))
    ]
    fit = analyse(Data.of(law.variables, x, law.predict(x)), draws=4)
    cost, computes = CostModel.of(points), [1e9, 4e9]
    axes = draw_isoflop(fit, cost, computes, points, "toy", "loss").axes[0]
    assert axes.get_ylabel().startswith("loss")
    drawn = {round(float(value), 6) for line in axes.lines for value in np.ravel(line.get_ydata())}
    assert {round(point.loss, 6) for point in points} <= drawn
    assert 0.5 not in drawn
    row = split(fit, cost, computes[0]).row("loss")
    assert float(row["loss (predicted)"]) > 1.2


@pytest.mark.parametrize("key", sorted(families()))
def test_published_tables_are_whole_and_fall(key: str) -> None:
    found = family(key)
    assert found.source
    assert found.counted
    assert (np.diff(found.flops) > 0).all()
    assert np.corrcoef(np.log(found.flops), found.error)[0, 1] < -0.8
    assert 1e8 < found.flops[0] < 1e10
    assert 1e6 < found.params[0] < 1e9


@pytest.mark.exhaustive
def test_published_laws_are_those_of_the_tables() -> None:
    fit = fit_published(family("regnety"), draws=30)
    assert fit.identified
    assert np.abs(fit.fit.residuals).max() < 0.015
    assert 0.17 < fit.law.floor < 0.19
    assert not fit_published(family("swin"), draws=20).identified
    with pytest.raises(UserError, match="unknown published family 'resnet'; known: regnetx"):
        family("resnet")
    with pytest.raises(UserError, match="--over samples: published tables hold flops and params"):
        fit_published(family("emo"), over="samples")
