"""A surrogate as a search's prior: believed where trials agree, gone where they don't."""

from __future__ import annotations

import numpy as np
import pytest
from surrogate_toys import LONG, NOISE, SHORT, designs, trained, truth

from nasbench.auditing.agreement import kendall
from nasbench.errors import UserError
from nasbench.surrogate import Surrogate, fit
from nasbench.surrogate.prior import TRUST, Prior

ROWS, TRIALS = 40, 16
SEEN, NEW = slice(0, TRIALS), slice(ROWS, None)


def surrogate_of(accuracies: np.ndarray) -> Surrogate:
    return fit(designs()[:ROWS], [SHORT] * ROWS, list(accuracies))


@pytest.fixture(scope="module")
def true() -> Prior:
    return Prior(surrogate_of(trained(designs()[:ROWS])), SHORT)


@pytest.fixture(scope="module")
def misleading() -> Prior:
    """The same accuracies, at other designs."""
    return Prior(surrogate_of(np.random.default_rng(5).permutation(trained(designs()[:ROWS]))), SHORT)


def test_without_trials_it_is_the_surrogate(true: Prior) -> None:
    found, plain = true.posterior([], [], designs()[NEW]), true.surrogate.predict(designs()[NEW], SHORT)
    assert (found.mean == plain.mean).all()
    assert found.agreement.weight == TRUST
    assert str(found.agreement) == "0 designs so far: too few to tell whether the table's prior helps"


def test_agreement_is_seen_and_told(true: Prior) -> None:
    found = true.posterior(designs()[SEEN], list(trained(designs()[SEEN], 7)), designs()[NEW])
    assert found.agreement.designs == TRIALS
    assert found.agreement.weight > TRUST
    assert found.agreement.correlation > 0.7
    alone = true.surrogate.predict(designs()[NEW], SHORT)
    assert kendall(found.mean, truth(designs())[NEW]) > kendall(alone.mean, truth(designs())[NEW]) - 0.02
    assert str(found.agreement).startswith(f"correlation {found.agreement.correlation:.2f} with {TRIALS} designs")


def test_a_misleading_prior_fades(misleading: Prior) -> None:
    few, many = (misleading.posterior(designs()[:n], list(trained(designs()[:n], 7)), designs()[NEW]) for n in (4, 40))
    assert many.agreement.weight < 0.2 < few.agreement.weight
    assert abs(many.agreement.slope) < 0.1
    before = misleading.surrogate.predict(designs()[NEW], SHORT)
    assert kendall(before.mean, truth(designs())[NEW]) < 0.2 < kendall(many.mean, truth(designs())[NEW])


def test_uncertainty_is_as_wide_as_the_errors(true: Prior) -> None:
    """The trials' own designs are in the table, so that they are known better than those yet to be tried."""
    found = true.posterior(designs()[SEEN], list(trained(designs()[SEEN], 7)), designs()[NEW])
    off = np.sqrt(np.mean((found.mean - truth(designs())[NEW]) ** 2))
    assert 0.6 * off < found.std.mean() < 1.6 * off


def test_other_images_move_and_scale_it(true: Prior) -> None:
    """Half the differences, 30 points higher: the order is what counts."""
    accuracies = 0.7 + 0.5 * (trained(designs()[SEEN], 7) - 0.4)
    found = true.posterior(designs()[SEEN], list(accuracies), designs()[NEW])
    assert found.agreement.weight > 0.5
    assert found.agreement.slope < 0.9
    wanted = 0.7 + 0.5 * (truth(designs())[NEW] - 0.4)
    assert np.abs(found.mean - wanted).mean() < 0.03


def test_trials_repeated_narrow_a_design_that_was_tried(true: Prior) -> None:
    archs, accuracies = list(designs()[ROWS : ROWS + 6]), list(trained(designs(), 7)[ROWS : ROWS + 6])
    once = true.posterior(archs, accuracies, archs[:1])
    often = true.posterior(archs + archs[:1] * 8, accuracies + accuracies[:1] * 8, archs[:1])
    assert often.std[0] < once.std[0]
    assert often.std[0] < NOISE
    assert often.agreement.designs == 6


def test_the_long_training_is_what_counts_by_default(true: Prior) -> None:
    surrogate = fit(
        (*designs()[:ROWS], *designs()[:8]),
        [SHORT] * ROWS + [LONG] * 8,
        [*trained(designs()[:ROWS]), *(trained(designs()[:8], 3) + 0.3)],
    )
    assert Prior(surrogate).posterior([], [], designs()[NEW]).mean.mean() > 0.6


def test_no_accuracy_is_one_clear_line(true: Prior) -> None:
    with pytest.raises(UserError, match=r"row 1: accuracy 1\.5: must be a share from 0 to 1"):
        true.posterior(designs()[:2], [0.5, 1.5], designs()[NEW])
