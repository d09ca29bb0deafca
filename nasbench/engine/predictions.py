"""Figures of designs that need no training: cost, and latency, memory and energy on the study's device."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from nasbench.arch.architecture import Architecture
from nasbench.costs.analytic import Cost, cost
from nasbench.latency.profile import DeviceProfile
from nasbench.study.predicted import Predicted, predict
from nasbench.study.study import Study

ProfileSource = Callable[[], DeviceProfile | None]  # gives the device profile once it is there


class Predictions:
    """Figures of designs, cached by architecture; predictions until the profile has been fitted again.

    `measured_ms`: architecture id -> measured latency, which is used in place of the prediction.
    """

    def __init__(self, study: Study, profile: ProfileSource, measured_ms: Mapping[str, float] | None = None) -> None:
        self.study, self.profile = study, profile
        self.measured_ms = dict(measured_ms or {})
        self._predicted: dict[str, Predicted] = {}
        self._predictor: DeviceProfile | None = None  # that made `_predicted`
        self._costs: dict[str, Cost] = {}

    @property
    def ready(self) -> bool:
        """Whether there is a profile yet."""
        return self.profile() is not None

    def cost(self, arch: Architecture) -> Cost:
        """Analytic cost of the deploy form."""
        if arch.id not in self._costs:
            self._costs[arch.id] = cost(arch, self.study.classes)
        return self._costs[arch.id]

    def predicted(self, arch: Architecture) -> Predicted:
        profile = self.profile()
        assert profile is not None
        if profile is not self._predictor:
            self._predicted, self._predictor = {}, profile
        if arch.id not in self._predicted:
            self._predicted |= predict(profile, [arch], self.study.classes, self.study.device_metrics)
        return self._predicted[arch.id]

    def latency_ms(self, arch: Architecture) -> float:
        """Measured where it was, else predicted."""
        return self.measured_ms.get(arch.id) or self.predicted(arch).latency.value

    def slowness(self, arch: Architecture) -> float:
        """Latency in ms, or multiply-adds while there is no profile."""
        return self.latency_ms(arch) if self.ready else float(self.cost(arch).macs)

    def bounds(self, arch: Architecture) -> dict[str, float]:
        """By metric, what budgets on the device bind on: the measured latency, else the intervals' upper ends."""
        upper = self.predicted(arch).upper
        return upper | {"latency_ms": self.measured_ms[arch.id]} if arch.id in self.measured_ms else upper
