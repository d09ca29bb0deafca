"""Latency measurements during a search, of designs near its front and near a budget.

When half of the lowest rung is trained, and whenever a rung is complete, those designs are measured where a wrong
prediction would matter most (worth_measuring.py), and the profile is fitted again with them. Earlier promotions stand:
they are kept in the store.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from nasbench.costs.budget import RESOURCES
from nasbench.engine.device_source import DeviceSource
from nasbench.engine.levels import complete_at
from nasbench.engine.reporting import FIRST_FRONT, Reporting
from nasbench.engine.schedule import Schedule
from nasbench.engine.worth_measuring import in_order_of_interest
from nasbench.latency.calibrate import measure_records
from nasbench.latency.names import THIS_MACHINE
from nasbench.latency.profile import DeviceProfile
from nasbench.latency.records import Record
from nasbench.progress import Progress, ProgressState
from nasbench.study.notes import LatencyNote
from nasbench.study.predicted import Predicted, predict
from nasbench.study.store import TrialStore
from nasbench.study.trials import Level, Trial

AT_A_TIME = 8  # designs measured together: about 3 s of one core each
DEPTH = 2 * AT_A_TIME  # of the designs in order of interest, how many are worth measuring at all


class Measuring:
    """Measures designs of a study on this machine, and updates the schedule's predictions."""

    def __init__(
        self, schedule: Schedule, store: TrialStore, source: DeviceSource, reporting: Reporting, progress: Progress
    ) -> None:
        self.schedule, self.store, self.source = schedule, store, source
        self.reporting, self.progress = reporting, progress
        self._measured_at: set[Level] = set()
        self._measured_at_half = False
        self._predicted: dict[str, Predicted] = {}  # of the designs being measured, by the profile before that

    def after(self, trial: Trial) -> None:
        """Called when a trial has ended: take in finished measurements, and start further ones where due."""
        self._learn(self.source.extended())
        if self.source.can_measure and self._due():
            self._measure_near_front()

    @property
    def under_way(self) -> bool:
        """Whether a measurement occupies a core beside the trainings."""
        return self.source.under_way

    def finish(self) -> None:
        """At the end of a search: measure, if on this machine, what the closing table shows; predict the rest."""
        self._learn(self.source.extended(wait=True))
        study = self.schedule.study
        if study.device == THIS_MACHINE:
            self._measure_rest()
        unpredicted = self.reporting.stored().unpredicted
        if self.source.profile is not None and unpredicted:
            self._note([], predict(self.source.profile, unpredicted, study.classes, study.device_metrics))

    def _due(self) -> bool:
        trials, levels = self.store.trials, self.schedule.levels
        half = len(complete_at(trials, levels[0])) >= max(FIRST_FRONT, self.schedule.study.trials // 2)
        complete = {level for level in levels if not level.final and self.schedule.is_complete(level, trials)}
        due = bool(complete - self._measured_at) or (half and not self._measured_at_half)
        self._measured_at |= complete
        self._measured_at_half = self._measured_at_half or half
        return due

    def _measure_near_front(self) -> None:
        profile, study = self.source(), self.schedule.study
        if profile is None:
            return
        measured = self.schedule.predictions.measured_ms
        ordered = in_order_of_interest(self.reporting.stored(), profile, AT_A_TIME, study.seed)
        designs = [design for design in ordered[:DEPTH] if design.id not in measured][:AT_A_TIME]
        if designs:
            self._predicted = predict(profile, designs, study.classes, study.device_metrics)
            self.source.measure(designs)
            self.progress.note(f"measuring the latency of {len(designs)} designs near the front meanwhile")

    def _learn(self, profile: DeviceProfile | None) -> None:
        """Store the measurements by which a profile was extended, if one is given."""
        if profile is None:
            return
        records = [record for record in profile.records if record.id in self._predicted]
        self._note(records, self._predicted)
        errors = [abs(self._predicted[r.id].latency.value / r.measurement.latency_ms - 1) for r in records]
        self._predicted = {}
        if errors:
            off = f"{statistics.median(errors):.0%} (median), worst {max(errors):.0%}"
            self.progress.note(f"{len(errors)} designs measured: predictions were off by {off}; fitted again with them")

    def _measure_rest(self) -> None:
        measured = self.schedule.predictions.measured_ms
        designs = [row.arch for row in self.reporting.result().rows() if row.id not in measured]
        if not designs:
            return
        phase = f"measuring the latency of {len(designs)} networks"
        self.progress.update(ProgressState(phase, seconds_spent=self.reporting.seconds_spent()))
        profile, study = self.source.profile, self.schedule.study
        records = measure_records(designs, profile, study.classes, memory="memory_bytes" in study.device_metrics)
        known = {} if profile is None else predict(profile, designs, study.classes, study.device_metrics)
        self._note(records, known)
        if profile is not None:
            self.source.keep(profile.with_records(records))

    def _note(self, records: Sequence[Record], predicted: Mapping[str, Predicted]) -> None:
        """Store measurements beside what had been predicted."""
        measured_ms = {record.id: record.measurement.latency_ms for record in records}
        taken = {record.id: found for record in records if (found := _resources(record))}
        self.store.note(LatencyNote(measured_ms=measured_ms, predicted=dict(predicted), taken=taken))
        self.schedule.predictions.measured_ms |= measured_ms


def _resources(record: Record) -> dict[str, float]:
    """Its memory and energy, where they were measured."""
    return {metric: figure for metric in RESOURCES if (figure := getattr(record, metric, None)) is not None}
