"""Measurements that a search asks for: the designs near its front, and near a budget, while trainings go on.

Predictions are made to be checked where decisions are taken. When half of the lowest rung is trained, and whenever a
rung is complete, the most promising designs that were never measured are, together with some that a budget turned away
for the width of their interval alone. The profile is fitted again with them. What was promoted before stays promoted:
decisions are kept in the store.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from nasbench.costs.budget import RESOURCES
from nasbench.engine.device_source import DeviceSource
from nasbench.engine.driver import FIRST_FRONT, Driver
from nasbench.latency.calibrate import measure_records
from nasbench.latency.names import THIS_MACHINE
from nasbench.latency.profile import DeviceProfile
from nasbench.latency.records import Record
from nasbench.progress import Progress, ProgressState
from nasbench.report.results import LATENCY_NOTE, StudyResult, predictions
from nasbench.running import Job, Outcome

NEAR_FRONT, NEAR_BUDGET = 6, 2  # designs measured at a time: about 3 s of one core each


class Measuring:
    """A `running.JobSource`: the driver's jobs, and measurements beside them."""

    def __init__(self, driver: Driver, source: DeviceSource, progress: Progress) -> None:
        self.driver, self.source, self.progress = driver, source, progress
        self._asked: set[Any] = set()
        self._predicted: dict[str, dict[str, Any]] = {}  # of what is being measured, by a profile that had not seen it

    def ask(self) -> Job | None:
        return self.driver.ask()

    def tell(self, job: Job, outcome: Outcome) -> None:
        self.driver.tell(job, outcome)
        profile = self.source.extended()
        if profile is not None:
            self._learn(profile)
        self._measure_when_due()

    def finish(self) -> None:
        """Measure, on this machine, what the closing table shows and nothing has measured yet; predict the rest."""
        profile = self.source.extended(wait=True)
        if profile is not None:
            self._learn(profile)
        if self.driver.study.device == THIS_MACHINE:
            self._measure_rest()
        stored = StudyResult.from_store(self.driver.study, self.driver.store)
        unpredicted = stored.with_measurements(self.source.profile).unpredicted
        if self.source.profile is not None and unpredicted:
            self._note([], predictions(self.source.profile, unpredicted, self.driver.study))

    def _measure_when_due(self) -> None:
        if not self.source.can_measure:
            return
        due = self._due() - self._asked
        if not due:
            return
        self._asked |= due
        designs = self.driver.contenders(NEAR_FRONT) + self.driver.turned_away(NEAR_BUDGET)
        designs = [design for design in designs if design.id not in self.driver.measured_ms]
        profile = self.source()
        if designs and profile is not None:
            self._predicted = predictions(profile, designs, self.driver.study)
            self.source.measure(designs)
            self.progress.note(f"measuring the latency of {len(designs)} designs near the front meanwhile")

    def _due(self) -> set[Any]:
        half = max(FIRST_FRONT, self.driver.study.trials // 2)
        due: set[Any] = {"half"} if self.driver.complete_at_lowest() >= half else set()
        return due | set(self.driver.complete_levels())

    def _learn(self, profile: DeviceProfile) -> None:
        """Take what a background measurement brought into the store."""
        records = [record for record in profile.records if record.id in self._predicted]
        self._note(records, self._predicted)
        errors = [abs(self._predicted[r.id]["latency_ms"] / r.measurement.latency_ms - 1) for r in records]
        self._predicted = {}
        if errors:
            off = f"{statistics.median(errors):.0%} (median), worst {max(errors):.0%}"
            self.progress.note(f"{len(errors)} designs measured: predictions were off by {off}; fitted again with them")

    def _measure_rest(self) -> None:
        designs = [row.arch for row in self.driver.result().rows() if row.id not in self.driver.measured_ms]
        if not designs:
            return
        spent = self.driver.seconds_spent()
        self.progress.update(ProgressState(f"measuring the latency of {len(designs)} networks", seconds_spent=spent))
        profile, study = self.source.profile, self.driver.study
        records = measure_records(designs, profile, study.classes, memory="memory_bytes" in study.device_metrics)
        self._note(records, {} if profile is None else predictions(profile, designs, study))
        if profile is not None:
            self.source.keep(profile.with_records(records))

    def _note(self, records: Sequence[Record], predicted: dict[str, dict[str, Any]]) -> None:
        """What was measured, and what had been predicted for it."""
        measured_ms = {record.id: record.measurement.latency_ms for record in records}
        taken = {record.id: found for record in records if (found := _taken(record))}
        note = {"measured_ms": measured_ms, "predicted": predicted, "taken": taken}
        self.driver.store.note(LATENCY_NOTE, note)
        self.driver.measured_ms |= measured_ms


def _taken(record: Record) -> dict[str, float]:
    """Its memory and energy, where they were measured."""
    return {metric: figure for metric in RESOURCES if (figure := getattr(record, metric, None)) is not None}
