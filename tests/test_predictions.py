"""What a search knows of designs without training them."""

from __future__ import annotations

import numpy as np
import pytest
from search_toys import NoDevice, ToyProfile, study_of, true_ms
from shared_spaces import FIXED

from nasbench.costs.analytic import cost
from nasbench.engine.predictions import Predictions
from nasbench.latency.prediction import Prediction
from nasbench.space.limits import Limits

ARCH = FIXED["emo_1m"]


class Counting(ToyProfile):
    """Counts how often it is asked."""

    asked = 0

    def predict(self, designs, classes: int) -> Prediction:
        self.asked += len(designs)
        return super().predict(designs, classes)


def source(profile: ToyProfile | None) -> NoDevice:
    found = NoDevice()
    found.profile = profile
    return found


def test_multiply_adds_stand_in_until_there_is_a_profile() -> None:
    later = source(None)
    predictions = Predictions(study_of(), later)
    assert not predictions.ready
    assert predictions.slowness(ARCH) == cost(ARCH).macs
    later.profile = ToyProfile()
    assert predictions.ready
    assert predictions.slowness(ARCH) == pytest.approx(2e-8 * cost(ARCH).macs)


def test_each_design_is_predicted_once_and_again_by_a_profile_that_was_fitted_anew() -> None:
    first, device = Counting(), source(None)
    device.profile = first
    predictions = Predictions(study_of(), device)
    for _ in range(3):
        predictions.slowness(ARCH)
        predictions.bounds(ARCH)
    assert first.asked == 1
    device.profile = Counting(known=[FIXED["emo_2m"]])
    assert predictions.latency_ms(ARCH) == pytest.approx(1e-8 * cost(ARCH).macs)


def test_what_was_measured_stands_in_for_the_prediction_and_for_its_upper_end() -> None:
    predictions = Predictions(study_of(), source(ToyProfile()), {ARCH.id: true_ms(ARCH)})
    assert predictions.slowness(ARCH) == predictions.bounds(ARCH)["latency_ms"] == true_ms(ARCH)
    other = FIXED["emo_2m"]
    assert predictions.bounds(other)["latency_ms"] == pytest.approx(1.2 * predictions.latency_ms(other))


def test_budgets_in_ms_bind_on_the_upper_end_of_the_interval() -> None:
    """A design predicted at 9 to 11 ms breaks a budget of 10.5 ms, though its middle meets it."""

    class Profile(ToyProfile):
        def predict(self, designs, classes: int) -> Prediction:
            ones = np.ones(len(designs))
            return Prediction(10 * ones, 9 * ones, 11 * ones, ones > 1, ("",) * len(designs))

    for limit, met in (("10.5ms", False), ("11.5ms", True)):
        study = study_of(budgets=(limit,))
        predictions = Predictions(study, source(Profile()))
        assert (Limits(study.budgets, 1000, predictions.bounds).violation(ARCH) == 0) is met
        assert predictions.slowness(ARCH) == 10.0
