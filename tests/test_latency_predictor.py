"""The predictor on synthetic devices whose true coefficients are known."""

from dataclasses import dataclass

import numpy as np
import pytest

from nasbench.latency.features import RUNTIMES, features, kernels
from nasbench.latency.predictor import EXTRAPOLATION_WIDENING, fit

TRUE = {"pointwise.macs": 2e-8, "depthwise.bytes": 3e-7, "act:silu.bytes": 1e-7, "ops": 2e-3, "nets": 0.05}


@dataclass(frozen=True)
class Op:
    kind: str
    macs: int = 1000
    params: int = 100
    inputs: int = 100
    outputs: int = 100


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


@pytest.mark.parametrize("swallowed", sorted(RUNTIMES["onnxruntime"].fused))
def test_what_the_runtime_fuses_launches_no_kernel(swallowed: str) -> None:
    op = Op("mul") if swallowed == "scale" else Op(swallowed)
    assert [k.kind for k in kernels([Op("pointwise"), op])] == ["pointwise"]
    assert len(kernels([Op("softmax"), op])) == 2
    assert len(kernels([Op("pointwise"), op], runtime="none")) == 2


def test_a_residual_sum_stays_a_kernel_where_a_layer_norm_read_its_input() -> None:
    block = [Op("layer_norm"), Op("pointwise"), Op("add")]
    assert [k.kind for k in kernels([*block, Op("pointwise"), Op("add")])] == [
        "layer_norm",
        "pointwise",
        "add",
        "pointwise",
    ]


def test_features_by_hand() -> None:
    """A 3x3 convolution of the image to 24 channels, a 1x1 to 40, at 10 x 10; both have biases."""
    ops = [
        Op("conv", 24 * 27 * 100, 24 * 28, 300, 2400),
        Op("pointwise", 24 * 40 * 100, 40 * 25, 2400, 4000),
        Op("act:silu", 0, 0, 4000, 4000),
        Op("depthwise", 9 * 4000, 40 * 9, 4000, 4000),
        Op("batch_norm", 0, 80, 4000, 4000),
        Op("add", 0, 0, 8000, 4000),
        Op("mul", 0, 0, 4040, 4000),
    ]
    assert features(ops) == pytest.approx(
        {
            "nets": 1.0,
            "ops": 5,
            "weights": 4 * (24 * 28 + 40 * 25 + 40 * 9),
            "image_conv.macs": 32 * 27 * 100,  # 24 channels written as 32
            "image_conv.bytes": 4 * 2700 * 32 / 24,
            "pointwise.macs": 32 * 48 * 100,
            "pointwise.bytes": 4 * 6400 * 48 / 40,
            "act:silu.bytes": 4 * 8000,
            "depthwise.macs": 9 * 4800,
            "depthwise.bytes": 4 * 8000 * 48 / 40 + 4 * 4000,  # and the residual that the fused sum reads
            "mul.bytes": 4 * 8040,
        }
    )
    assert features([Op("add", 0, 0, 2 * 2**20, 2**20)])["uncached"] == 8 * 2**20
