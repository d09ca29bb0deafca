"""Accuracy of untrained designs, with uncertainty, predicted from few noisy trainings of others."""

from nasbench.surrogate.cokriging import Prediction, Surrogate, fit

__all__ = ["Prediction", "Surrogate", "fit"]
