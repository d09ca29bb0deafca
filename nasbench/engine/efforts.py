"""How long trials take, estimated from those that have ended.

A trial's effort is its processor time where all trials recorded it, else its wall-clock seconds. A design's effort is
estimated from its own trial at another level, else from the multiply-adds of the reduced network that is trained in its
place; each level has a correction factor.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from nasbench.costs.analytic import cost
from nasbench.errors import UserError
from nasbench.proxy.reduction import reduced
from nasbench.study.fidelity import SCORING, Fidelity
from nasbench.study.trials import Level, Trial

EXPONENT = 0.66  # of multiply-adds, in the time of a step: 26 designs of results/default-former, correlation .97
LEAST_SHARE, LEAST_S = 0.1, 1e-6  # of a trial's effort that is proportional to its samples
CLASSES = 10  # of the reduced network when its cost is counted; their number hardly matters


class Sizes:
    """Multiply-adds of the reduced network that a trial trains, to the power `EXPONENT`: proportional to step time."""

    def __init__(self) -> None:
        self._known: dict[str, float | None] = {}  # by trial key

    def of(self, trial: Trial) -> float | None:
        """None where the design cannot be reduced."""
        if trial.key not in self._known:
            try:
                small = reduced(trial.design, trial.fidelity)
                self._known[trial.key] = cost(small, CLASSES, deploy=False).macs ** EXPONENT
            except UserError:
                self._known[trial.key] = None
        return self._known[trial.key]


class Efforts:
    """Of all trials of a search; at least one of them must be complete."""

    def __init__(self, trials: Sequence[Trial], sizes: Sizes, by_processor: bool) -> None:
        """`by_processor`: whether effort may be processor time, which on an accelerator says little."""
        complete = sorted((trial for trial in trials if trial.complete), key=lambda trial: trial.level)
        self.by_processor = by_processor and all(_processor_share(trial) is not None for trial in complete)
        self._sizes = sizes
        scored = [(int(trial.metrics.get("scored_images", 0)), trial.fidelity.evaluate) for trial in complete]
        self._images = max((images for images, asked in scored if 0 < images < asked), default=math.inf)
        first = {trial.architecture_id: trial for trial in reversed(complete)}  # each design at its lowest level
        self._overhead = statistics.median(map(self._beside_training, complete))
        self._rates = {key: self._rate_measured(trial) for key, trial in first.items()}
        self._mean_rate = statistics.fmean(self._rates.values())
        known = [(self._rates[key], size) for key, trial in first.items() if (size := sizes.of(trial))]
        self._per_size = sum(rate for rate, _ in known) / sum(size for _, size in known) if known else None
        self._factors = {level: self._factor(level, complete) for level in {trial.level for trial in complete}}
        for trial in complete:  # each design's rate is that of its highest level, which is nearest to what comes next
            self._rates[trial.architecture_id] = self._rate_measured(trial) / self._factors[trial.level]

    def of(self, trial: Trial) -> float:
        """The effort of a trial, ended or not."""
        return self._scaled(self._rate(trial), trial.fidelity, trial.level)

    def expected(self, trial: Trial) -> float:
        """The same, but where effort is seconds, predicted from cost alone, whatever the trial took."""
        return self.of(trial) if self.by_processor else self._scaled(self._by_size(trial), trial.fidelity, trial.level)

    def like(self, level: Level, fidelity: Fidelity, others: Sequence[Trial]) -> float:
        """The expected effort of a trial at a level whose design is one of those of `others`, or like them."""
        return self._scaled(statistics.fmean(self._rate(trial) for trial in others), fidelity, level)

    def _rate(self, trial: Trial) -> float:
        """Effort per unit of work, without the level's factor."""
        own = self._rates.get(trial.architecture_id)
        return self._by_size(trial) if own is None else own

    def _by_size(self, trial: Trial) -> float:
        size = self._sizes.of(trial)
        return self._mean_rate if size is None or self._per_size is None else self._per_size * size

    def _scaled(self, rate: float, fidelity: Fidelity, level: Level) -> float:
        factor = self._factors.get(level, self._factors.get(Level(level.rung), 1.0))
        return self._overhead + rate * self._work(fidelity) * factor

    def _factor(self, level: Level, complete: Sequence[Trial]) -> float:
        there = [trial for trial in complete if trial.level == level]
        expected = sum(self._rate(trial) * self._work(trial.fidelity) for trial in there)
        return sum(self._rate_measured(trial) * self._work(trial.fidelity) for trial in there) / expected

    def _rate_measured(self, trial: Trial) -> float:
        measured = self._measured(trial)
        return max(measured - self._overhead, LEAST_SHARE * measured, LEAST_S) / self._work(trial.fidelity)

    def _beside_training(self, trial: Trial) -> float:
        """The part of its effort that is neither training nor scoring, and so does not depend on samples."""
        trained, samples = trial.metrics.get("train_seconds"), trial.fidelity.samples
        if not isinstance(trained, float) or trial.seconds <= 0:
            return 0.0
        own = trial.seconds - trained * self._work(trial.fidelity) / samples
        return max(0.0, own) * self._measured(trial) / trial.seconds

    def _measured(self, trial: Trial) -> float:
        share = _processor_share(trial) if self.by_processor else None
        return trial.seconds * (1.0 if share is None else share)

    def _work(self, fidelity: Fidelity) -> float:
        return fidelity.samples + SCORING * min(fidelity.evaluate, self._images)


def _processor_share(trial: Trial) -> float | None:
    """Processor seconds per second in its training loop, taken for the whole trial; None where not recorded."""
    used, seconds = trial.metrics.get("cpu_seconds"), trial.metrics.get("train_seconds")
    if isinstance(used, float) and isinstance(seconds, float) and seconds > 0:
        return used / seconds
    return None
