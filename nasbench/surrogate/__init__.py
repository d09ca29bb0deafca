"""What a design's accuracy will be, from few noisy trainings of others, and how sure that is."""

from nasbench.surrogate.cokriging import Prediction, Surrogate, fit

__all__ = ["Prediction", "Surrogate", "fit"]
