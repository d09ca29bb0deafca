"""The device profile of a study: read, or fitted while trainings run, and refined by what the study measures.

Measurements run in background processes. The refined profile lies in the study's folder, so that a resumed study
predicts as it did before; the profile in the user's cache is not touched.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nasbench.arch.architecture import Architecture
from nasbench.arch.library import fixed_points
from nasbench.costs.budget import RESOURCES
from nasbench.errors import UserError
from nasbench.latency.background import BackgroundFit, extend_in_background, fit_in_background
from nasbench.latency.names import THIS_MACHINE
from nasbench.latency.profile import DeviceProfile, load_device, study_profile_path
from nasbench.latency.selection import calibration_set, covering_set
from nasbench.progress import Progress
from nasbench.space import SearchSpace
from nasbench.study.study import Study

FIRST_NETWORKS = 32  # measured where there is no profile; designs of the study itself follow
MORE_NETWORKS = 16  # of the space, measured where the profile was fitted to others
LOOKED_AT = 32  # members of the space by which its coverage is estimated
UNCOVERED = 0.2  # share of them for which predictions extrapolate, from which on `MORE_NETWORKS` are measured


class DeviceSource:
    """Called, it gives the profile as soon as there is one; `measure` extends it by designs of the study."""

    def __init__(self, study: Study, space: SearchSpace, folder: Path, progress: Progress) -> None:
        self.study, self.progress = study, progress
        self.profile: DeviceProfile | None = None
        self._path = study_profile_path(folder)
        self._own = False  # whether `profile` is the study's, not that of the cache
        self._fit: BackgroundFit | None = None
        self._extension: BackgroundFit | None = None
        self._widening: BackgroundFit | None = None
        try:
            self.profile = self._study_profile() or load_device(study.device)
        except UserError as error:
            if study.device != THIS_MACHINE:
                raise
            self._begin(space, "unknown device" in str(error), str(error))
        else:
            self.profile.require_metrics(study.device_metrics)
            if study.device == THIS_MACHINE and not self._own:
                self._widen(self.profile, space)

    def _widen(self, profile: DeviceProfile, space: SearchSpace) -> None:
        """Start measuring networks of the space, where the profile was fitted to networks that are unlike them."""
        rng = np.random.default_rng(self.study.seed)
        members = [space.sample(rng, num_classes=self.study.classes) for _ in range(LOOKED_AT)]
        outside = float(profile.predict(members, self.study.classes).extrapolating.mean())
        if outside < UNCOVERED:
            return
        designs = covering_set(space, MORE_NETWORKS, rng, fixed_points().values(), self.study.classes)
        memory = "memory_bytes" in self.study.device_metrics
        self._widening = extend_in_background(THIS_MACHINE, designs, self._path, self.study.classes, memory)
        self.progress.note(
            f"{outside:.0%} of the space {space.name} lies outside what the latency profile of this machine was fitted "
            f"to: measuring {len(designs)} networks of it meanwhile"
        )

    def _study_profile(self) -> DeviceProfile | None:
        """The profile that the study has refined before; None where it has not, or on another machine than this."""
        if not self._path.is_file():
            return None
        try:
            profile = load_device(str(self._path))
            profile.require_this_device()
        except UserError as error:
            self.progress.note(f"{error}; going on without what the study had measured for it")
            return None
        self._own = True
        return profile

    def _begin(self, space: SearchSpace, first: bool, problem: str) -> None:
        study, rng = self.study, np.random.default_rng(self.study.seed)
        designs = calibration_set(space, FIRST_NETWORKS, rng, fixed_points().values(), num_classes=study.classes)
        memory, energy = "memory_bytes" in study.device_metrics, "energy_j" in study.device_metrics
        self._fit = fit_in_background(designs, num_classes=study.classes, memory=memory, energy=energy)
        reason = "no latency profile of this machine yet" if first else problem
        self.progress.note(f"{reason}: measuring {len(designs)} networks meanwhile, once")

    def __call__(self) -> DeviceProfile | None:
        if self._fit is not None and self._fit.done():
            self._take(self._fit)
        if self._widening is not None and self._widening.done():
            self._take_widened(self._widening)
        return self.profile

    def wait(self) -> DeviceProfile | None:
        """The profile, once it is there."""
        if self._fit is not None:
            self._take(self._fit)
        if self._widening is not None:
            self._take_widened(self._widening)
        return self.profile

    @property
    def can_measure(self) -> bool:
        """Whether designs can be measured now: the device is this machine, and nothing else is being measured."""
        there = self() is not None  # the call takes in finished measurements
        idle = self._extension is None and self._widening is None
        return self.study.device == THIS_MACHINE and there and idle

    @property
    def under_way(self) -> bool:
        """Whether a process of this source measures now."""
        return any(job is not None and not job.done() for job in self._jobs)

    def measure(self, designs: Sequence[Architecture]) -> None:
        """Start measuring `designs`, and fitting the profile again with them; see `extended`."""
        base = str(self._path) if self._own else THIS_MACHINE
        memory = "memory_bytes" in self.study.device_metrics
        self._extension = extend_in_background(base, designs, self._path, self.study.classes, memory)

    def extended(self, wait: bool = False) -> DeviceProfile | None:
        """The profile as extended by `measure`, returned once when it is there; it becomes the study's own."""
        if self._extension is None or not (wait or self._extension.done()):
            return None
        extension, self._extension = self._extension, None
        return self.profile if self._take_measured(extension, "designs") else None

    def keep(self, profile: DeviceProfile) -> None:
        """Make `profile` the study's own."""
        profile.save(self._path)
        self.profile, self._own = profile, True

    def stop(self) -> None:
        for job in self._jobs:
            if job is not None:
                job.stop()

    @property
    def _jobs(self) -> tuple[BackgroundFit | None, ...]:
        return self._fit, self._widening, self._extension

    def _take_widened(self, widening: BackgroundFit) -> None:
        self._widening = None
        self._take_measured(widening, "networks of the space")

    def _take_measured(self, job: BackgroundFit, what: str) -> bool:
        """Make the profile that `job` extended the study's own; False, and a note, where it could not."""
        try:
            self.profile, self._own = job.result(), True
        except (RuntimeError, UserError) as error:
            self.progress.note(f"{what} could not be measured meanwhile: {error}")
            return False
        return True

    def _take(self, fit: BackgroundFit) -> None:
        self._fit = None
        try:
            self.profile = fit.result()
        except (RuntimeError, UserError) as error:
            self.progress.note(f"no latency profile: {error}; designs are ranked by multiply-adds, finalists measured")
            return
        self.profile.require_metrics(self.study.device_metrics)
        held_out = self.profile.predictor.held_out
        self.progress.note(
            f"latency profile of this machine: {len(self.profile.records)} networks measured; held out, predictions "
            f"rank them with Spearman {held_out.spearman:.3f} and are off by {held_out.mape:.0%} on average"
            + "".join(
                f"; in {RESOURCES[metric][0]} by {predictor.held_out.mape:.0%}"
                for metric, predictor in self.profile.resources.items()
                if metric in self.study.device_metrics
            )
        )
