"""The surrogate on designs whose true accuracy is known."""

from __future__ import annotations

import numpy as np
import pytest
from surrogate_toys import LONG, NOISE, SHORT, designs, trained, truth

from nasbench.arch.library import load
from nasbench.auditing.agreement import kendall
from nasbench.errors import UserError
from nasbench.study.fidelity import load_recipe
from nasbench.surrogate import Surrogate, fit, process
from nasbench.surrogate.cokriging import Prediction
from nasbench.surrogate.crossvalidation import coverage, folds_of, held_out, together
from nasbench.surrogate.observations import by_fidelity

SEEN = 50


@pytest.fixture(scope="module")
def surrogate() -> Surrogate:
    """50 designs once at the short fidelity, 8 of them with three seeds, 12 at the long one, 0.3 higher."""
    archs = designs()
    rows = [*archs[:SEEN], *archs[:8], *archs[:8], *archs[:12]]
    short = [*trained(archs[:SEEN]), *trained(archs[:8], 1), *trained(archs[:8], 2)]
    accuracies = [*short, *(trained(archs[:12], 3) + 0.3)]
    return fit(rows, [SHORT] * len(short) + [LONG] * 12, accuracies)


def test_it_ranks_designs_that_it_has_not_seen(surrogate: Surrogate) -> None:
    new = designs()[SEEN:]
    predicted = surrogate.predict(new, SHORT)
    assert kendall(predicted.mean, truth(designs())[SEEN:]) > 0.6
    assert predicted.std.shape == (len(new),)
    assert (predicted.std > 0).all()


def test_long_training_is_told_by_short_ones(surrogate: Surrogate) -> None:
    """Twelve long rows set the level; the order comes from fifty short ones."""
    new = designs()[SEEN:]
    long = surrogate.predict(new)
    assert surrogate.long == LONG
    assert kendall(long.mean, truth(designs())[SEEN:]) > 0.6
    assert long.mean.mean() - surrogate.predict(new, SHORT).mean.mean() == pytest.approx(0.3, abs=0.04)


def test_a_lead_at_the_short_fidelity_counts_as_much_as_it_does_in_the_end() -> None:
    """Where a point more in short trainings is worth a fifth of a point in long ones."""
    archs = designs()[:SEEN]
    short, long = trained(archs, noise=0.0), 0.7 + 0.2 * trained(archs[:20], noise=0.0)
    surrogate = fit([*archs, *archs[:20]], [SHORT] * SEEN + [LONG] * 20, [*short, *long])
    new, told = designs()[SEEN:], surrogate.predict(designs()[SEEN:], SHORT)
    as_told, better = (surrogate.after(new, SHORT, Prediction(told.mean + lead, told.std / 2)) for lead in (0.0, 0.05))
    expected = surrogate.predict(new)
    assert as_told.mean == pytest.approx(expected.mean)
    assert better.mean - as_told.mean == pytest.approx(np.full(len(new), 0.01), abs=0.004)
    assert (as_told.std <= expected.std).all()
    assert (as_told.std > 0.2 * told.std / 2 - 1e-6).all()


def test_without_long_trainings_the_highest_fidelity_stands_for_them() -> None:
    archs = designs()[:20]
    surrogate = fit(archs, [SHORT] * 20, trained(archs), LONG)
    known = Prediction(np.full(5, 0.5), np.full(5, 0.01))
    found = surrogate.after(archs[:5], SHORT, known)
    assert found.mean == pytest.approx(known.mean)
    assert found.std == pytest.approx(known.std)


def test_noise_is_read_off_the_replicates(surrogate: Surrogate) -> None:
    assert surrogate.noise(SHORT) == pytest.approx(NOISE, rel=0.5)


def test_replicates_narrow_the_posterior_and_move_it() -> None:
    """Twelve more seeds of one design, all of them better than its first."""
    archs, one = designs()[:20], designs()[:1]
    rows, accuracies = [*archs, *archs], [*trained(archs), *trained(archs, 1)]
    better = accuracies[0] + 0.05 + NOISE * np.random.default_rng(2).normal(size=12)
    once = fit(rows, [SHORT] * 40, accuracies).predict(one, SHORT)
    often = fit([*rows, *one * 12], [SHORT] * 52, [*accuracies, *better]).predict(one, SHORT)
    assert often.std[0] < 0.8 * once.std[0]
    assert once.mean[0] < often.mean[0] < better.mean()


def test_what_was_trained_is_surer_than_what_was_not(surrogate: Surrogate) -> None:
    archs = designs()
    assert surrogate.predict(archs[:8], SHORT).std.max() < surrogate.predict(archs[SEEN:], SHORT).std.min()


def test_between_fidelities_and_beyond_them(surrogate: Surrogate) -> None:
    new, recipe = designs()[SEEN:], load_recipe()
    short, between, long = (surrogate.predict(new, recipe.at(n)).mean for n in (3200, 12000, 48000))
    assert ((short < between) & (between < long)).all()
    assert (surrogate.predict(new, recipe.at(100)).mean == short).all()
    assert (surrogate.predict(new, recipe.at(10**6)).mean == long).all()


def test_how_many_images_are_scored_changes_no_training(surrogate: Surrogate) -> None:
    new = designs()[SEEN:]
    assert (
        surrogate.predict(new, load_recipe().at(3200, evaluate=100)).mean == surrogate.predict(new, SHORT).mean
    ).all()


def test_intervals_hold_what_they_promise(surrogate: Surrogate) -> None:
    """By cross-validation, so that the designs are new; 50 designs tell a share to 4 points."""
    archs = designs()[:SEEN]
    trainings = by_fidelity(archs, [SHORT] * SEEN, list(trained(archs)))
    errors = together(held_out(trainings, surrogate.levels[:1], folds_of(trainings))[0])
    widening = surrogate.levels[0].widening
    assert coverage(errors, surrogate.noise(SHORT), widening) >= 0.8
    wide = widening * np.sqrt(errors.variance.mean())
    assert wide < 1.6 * np.sqrt(np.mean((errors.truth - errors.mean) ** 2))


def test_the_same_rows_give_the_same_surrogate() -> None:
    archs, accuracies = designs()[:12], list(trained(designs()[:12]))
    first, second = (fit(archs, [SHORT] * 12, accuracies).predict(designs(), SHORT) for _ in range(2))
    assert (first.mean == second.mean).all()
    assert (first.std == second.std).all()


def test_means_stay_accuracies() -> None:
    archs = designs()[:12]
    low = fit(archs, [SHORT] * 12, list(0.02 * np.arange(12) / 11)).predict(designs(), SHORT)
    assert (low.mean >= 0).all()


def test_published_networks_of_any_kind_are_predicted(surrogate: Surrogate) -> None:
    archs = [load(name) for name in ("swin_t", "vit_r50_l32", "convnext_t", "mobilenetv2_100")]
    found = surrogate.predict(archs)
    assert np.isfinite(found.mean).all()
    assert found.std.min() > surrogate.predict(designs()[:8]).std.mean()


def test_nothing_to_predict_is_no_error(surrogate: Surrogate) -> None:
    assert surrogate.predict([]).mean.shape == (0,)


def test_a_fidelity_of_one_design_does_no_harm() -> None:
    archs, shorter = designs()[:24], load_recipe().at(1600)
    rows, accuracies = [*archs[:1], *archs], [0.2, *trained(archs)]
    with_one = fit(rows, [shorter] + [SHORT] * 24, accuracies).predict(designs()[SEEN:], SHORT).mean
    without = fit(archs, [SHORT] * 24, accuracies[1:]).predict(designs()[SEEN:], SHORT).mean
    assert kendall(with_one, without) > 0.6


def test_what_does_not_fit_is_one_clear_line() -> None:
    archs, accuracies = designs()[:4], list(trained(designs()[:4]))
    for rows, wrong in (
        ((archs, [SHORT] * 3, accuracies), "4 architectures, 3 fidelities, 4 accuracies: one each a row"),
        ((archs, [SHORT] * 4, [*accuracies[:3], 51.0]), "row 3: accuracy 51.0: must be a share from 0 to 1"),
        ((archs, [SHORT] * 4, [*accuracies[:3], float("nan")]), "row 3: accuracy nan"),
        ((archs[:3], [SHORT] * 3, accuracies[:3]), "3 designs at a fidelity: a surrogate needs 4 at least"),
        (((), (), ()), "0 designs at a fidelity"),
    ):
        with pytest.raises(UserError, match=wrong):
            fit(*rows)


def test_trees_weigh_features_as_scikit_learns_forest_does(monkeypatch: pytest.MonkeyPatch) -> None:
    from sklearn.ensemble import ExtraTreesRegressor

    monkeypatch.setattr(process, "TREES", 12)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 5))
    y = x[:, 0] + 0.3 * rng.normal(size=60)
    forest = ExtraTreesRegressor(12, min_samples_leaf=3, max_features=0.5, random_state=0).fit(x, y)
    assert process._importances(x, y).tolist() == forest.feature_importances_.tolist()
    assert process._importances(x, 0 * y).tolist() == [0.0] * 5
