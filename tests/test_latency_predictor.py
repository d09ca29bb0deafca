"""The predictor on synthetic devices whose true coefficients are known."""

import numpy as np
import pytest

from nasbench.latency.device import KernelTime
from nasbench.latency.kernels import fit_kernels
from nasbench.latency.launches import Kernel
from nasbench.latency.lowering import NetworkKernels
from nasbench.latency.predictor import EXTRAPOLATION_WIDENING, fit, fit_networks
from nasbench.latency.residual import _maximum_likelihood

TRUE = {"pointwise.macs": 2e-8, "depthwise.bytes": 3e-7, "act:silu.bytes": 1e-7, "ops": 2e-3, "nets": 0.05}


def networks(n: int, seed: int) -> list[dict[str, float]]:
    rng = np.random.default_rng(seed)
    low = {"pointwise.macs": 1e7, "depthwise.bytes": 1e6, "act:silu.bytes": 1e6, "ops": 40}
    return [{"nets": 1.0} | {k: float(v * rng.uniform(1, 20)) for k, v in low.items()} for _ in range(n)]


def times(rows: list[dict[str, float]], noise: float = 0.0, seed: int = 0) -> list[float]:
    rng = np.random.default_rng(seed)
    return [sum(TRUE[k] * v for k, v in row.items()) * float(np.exp(noise * rng.standard_normal())) for row in rows]


def test_known_coefficients_are_recovered() -> None:
    rows = networks(40, seed=1)
    fitted = fit(rows, times(rows), shrinkage=0)
    assert fitted.weights == pytest.approx(TRUE, rel=1e-6)
    assert fitted.held_out.mape < 1e-6
    assert fitted.held_out.within_10_percent == 1.0


def test_shrinkage_bends_predictions_little() -> None:
    rows, new = networks(40, seed=1), networks(40, seed=7)
    assert fit(rows, times(rows)).predict(new).latency_ms == pytest.approx(times(new), rel=0.02)


def test_shrinkage_helps_where_networks_are_few() -> None:
    """Ten noisy networks, kinds alike in cost: the coarse model is right, and drawing to it must pay."""
    rng, kinds = np.random.default_rng(5), [f"k{i}.macs" for i in range(8)]
    rows = [{"nets": 1.0} | {k: float(rng.uniform(1, 5)) for k in kinds} for _ in range(210)]
    truth = np.array([0.1 + sum(row[k] for k in kinds) for row in rows])
    noisy = (truth * np.exp(0.05 * rng.standard_normal(210))).tolist()
    errors = [
        np.abs(fit(rows[:10], noisy[:10], shrinkage=s).predict(rows[10:]).latency_ms / truth[10:] - 1).mean()
        for s in (0.0, 0.3)
    ]
    assert errors[1] < 0.8 * errors[0]


def test_interval_covers_what_it_says() -> None:
    """90 % nominal on 400 unseen networks; averaged over 10 fits of 40, as one fit's quantile varies."""
    new = networks(400, seed=99)
    truth = np.array(times(new, noise=0.05, seed=98))
    covered = []
    for seed in range(10):
        rows = networks(40, seed)
        predicted = fit(rows, times(rows, noise=0.05, seed=seed)).predict(new)
        covered.append(np.mean((predicted.low_ms <= truth) & (truth <= predicted.high_ms)))
    assert 0.86 <= np.mean(covered) <= 0.97


def test_extrapolation_is_said_and_widens_the_interval() -> None:
    rows = networks(40, seed=2)
    fitted = fit(rows, times(rows, noise=0.05))
    usual, unseen, huge, lopsided = (
        rows[0],
        rows[0] | {"resize.bytes": 5.0},
        {k: 50 * v for k, v in rows[0].items()},
        rows[0] | {"act:silu.bytes": 4e7, "pointwise.macs": 0.0},
    )
    predicted = fitted.predict([usual, unseen, huge, lopsided])
    assert predicted.extrapolating.tolist() == [False, True, True, True]
    assert predicted.reasons[0] == ""
    assert predicted.reasons[1] == "operator kinds that the profile never measured: resize"
    assert "outside the measured range" in predicted.reasons[2]
    assert "% of the time" in predicted.reasons[3]
    width = np.log(predicted.high_ms / predicted.low_ms)
    assert width[1] == pytest.approx(EXTRAPOLATION_WIDENING * width[0])


def test_prediction_indexes_like_a_sequence() -> None:
    rows = networks(40, seed=3)
    predicted = fit(rows, times(rows)).predict(rows)
    assert len(predicted) == 40
    assert len(predicted[-1]) == 1
    assert len(predicted[:3]) == 3
    assert predicted[-1].latency_ms == predicted.latency_ms[-1]


def test_too_few_networks() -> None:
    with pytest.raises(ValueError, match="5 measured networks; a predictor needs at least 8: measure more"):
        fit(networks(5, seed=0), [1.0] * 5)


def pointwise(rng: np.random.Generator) -> Kernel:
    c_in, c_out, side = (int(rng.integers(1, 20)) * 8 for _ in range(3))
    area = side**2
    work = (c_in * c_out * area, c_in * c_out, c_in * area, c_out * area)
    return Kernel("pointwise", *work, c_in=c_in, c_out=c_out, kernel=1, stride=1, groups=1, area=area)


def microseconds(kernel: Kernel) -> float:
    """A device that computes in sets of 64 channels, and the more slowly the smaller the map: no sum of work."""
    sets = -(-kernel.c_out // 64) * 64
    return 5 + 1e-4 * kernel.c_in * sets * kernel.area * (1 + 30 / kernel.area**0.5)


def timed_networks(n: int, seed: int, device: float = 1.0) -> tuple[list[NetworkKernels], np.ndarray]:
    """Networks of 10 to 40 pointwise kernels with their reported times, and their latencies on a device that is
    `device` times as slow as the one that reports."""
    rng = np.random.default_rng(seed)
    found, latency = [], []
    for _ in range(n):
        kernels = tuple(pointwise(rng) for _ in range(int(rng.integers(10, 40))))
        reported = tuple(KernelTime("Conv", k.outputs, microseconds(k)) for k in kernels)
        found.append(NetworkKernels(kernels, "onnxruntime", kernels, reported))
        latency.append(device * (sum(t.us for t in reported) / 1e3 + 0.05))
    return found, np.array(latency)


@pytest.mark.exhaustive
def test_kernel_times_teach_what_a_weighted_sum_cannot() -> None:
    seen, latency = timed_networks(40, seed=1)
    new, truth = timed_networks(60, seed=2)
    silent = [NetworkKernels(n.kernels, n.runtime) for n in seen]
    errors = [
        np.abs(fit_networks(networks, latency).predict_networks(new).latency_ms / truth - 1).mean()
        for networks in (seen, silent)
    ]
    assert errors[0] < 0.04
    assert errors[0] < 0.7 * errors[1]
    assert fit_networks(seen, latency).kernel_model is not None


def test_ten_networks_are_enough_with_a_prior() -> None:
    """The new device reports no kernels and is three times as slow; another's kernel times make the difference."""
    prior = fit_kernels(
        [(k, t.us) for n in timed_networks(40, seed=1)[0] for k, t in zip(n.kernels, n.reported)], "onnxruntime"
    )
    seen, latency = timed_networks(10, seed=3, device=3.0)
    silent = [NetworkKernels(n.kernels, n.runtime, n.prior_kernels) for n in seen]
    new, truth = timed_networks(60, seed=4, device=3.0)
    with_prior, without = (fit_networks(silent, latency, p) for p in (prior, None))
    assert with_prior.from_prior
    errors = [np.abs(f.predict_networks(new).latency_ms / truth - 1).mean() for f in (with_prior, without)]
    assert errors[0] < 0.05
    assert errors[0] < 0.8 * errors[1]


def test_the_residual_process_is_kept_only_where_it_helps() -> None:
    """A device on which pointwise work beside SiLU costs more than both alone: no sum of the two says so."""
    rows = networks(80, seed=6)
    plain = np.array(times(rows))
    mix = np.array(
        [1 / (1 + row["act:silu.bytes"] * TRUE["act:silu.bytes"] / (row["pointwise.macs"] * 2e-8)) for row in rows]
    )
    bent = plain * np.exp(0.6 * mix * (1 - mix))
    assert fit(rows, (plain * np.exp(0.03 * np.random.default_rng(0).standard_normal(80))).tolist()).residual is None
    fitted = fit(rows[:60], bent[:60].tolist())
    assert fitted.residual is not None
    errors = np.abs(fitted.predict(rows[60:]).latency_ms / bent[60:] - 1)
    assert errors.mean() < 0.03


@pytest.mark.exhaustive
def test_a_kind_that_no_kernel_was_timed_of_extrapolates() -> None:
    """Its time is unknown, and taken for zero: that must be said."""
    seen, latency = timed_networks(40, seed=1)
    fitted = fit_networks(seen, latency)
    strange = NetworkKernels((*seen[0].kernels, Kernel("matmul", 10**6, 0, 100, 100)), "onnxruntime")
    predicted = fitted.predict_networks([seen[0], strange])
    assert predicted.extrapolating.tolist() == [False, True]
    assert predicted.reasons[1] == "operator kinds that the profile never measured: matmul"


def test_the_residual_process_is_the_one_that_scikit_learn_finds() -> None:
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

    rng = np.random.default_rng(0)
    points = rng.normal(size=(30, 3))
    errors = 0.05 * np.sin(points[:, 0]) + 0.03 * rng.normal(size=30)
    size = float(np.var(errors)) + 1e-9
    kernel = ConstantKernel(0.5 * size, (1e-3 * size, 10 * size)) * RBF(3.0, (1.0, 30.0))
    kernel += WhiteKernel(0.5 * size, (1e-2 * size, 10 * size))
    theirs = GaussianProcessRegressor(kernel, random_state=0).fit(points, errors)
    variance, length, alpha = _maximum_likelihood(points, errors)
    assert variance == pytest.approx(theirs.kernel_.k1.k1.constant_value, rel=1e-4)
    assert length == pytest.approx(theirs.kernel_.k1.k2.length_scale, rel=1e-4)
    assert alpha == pytest.approx(theirs.alpha_.ravel(), rel=1e-3, abs=1e-3)
