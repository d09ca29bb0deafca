"""Searches without training or measuring: a score and a latency by formula, and the parts of a search around them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from shared_spaces import DEFAULT

from nasbench.arch.architecture import Architecture
from nasbench.costs.analytic import cost
from nasbench.engine.driver import Driver
from nasbench.engine.measuring import Measuring
from nasbench.engine.phases import Phases
from nasbench.engine.predictions import Predictions
from nasbench.engine.promotion import Promotions
from nasbench.engine.reporting import Reporting
from nasbench.engine.run import fixed_points_within
from nasbench.engine.schedule import Schedule
from nasbench.latency.prediction import Prediction
from nasbench.progress import Progress, Silent
from nasbench.report.results import StudyResult
from nasbench.running import run
from nasbench.space import SearchSpace
from nasbench.study.notes import PromotionNote
from nasbench.study.runner import RunnerSpec
from nasbench.study.store import TrialStore
from nasbench.study.study import SpaceRecord, Study
from nasbench.study.task import Task

EVALUATE = "search_toys:evaluate"
SERIAL = RunnerSpec(kind="serial")
SPACE = DEFAULT


def evaluate(task: Task) -> dict[str, Any]:
    """More multiply-adds and more samples help, a mobilevit block hurts, seeds scatter a little."""
    if any(stage.block == "mobilevit" for stage in task.architecture.stages):
        raise ValueError("mobilevit is out of order today")
    gain = 0.2 * min(1.0, cost(task.architecture).macs / 1e9) + 1e-6 * task.fidelity.samples
    return {"accuracy": 0.3 + gain + 0.001 * task.seed, "samples": task.fidelity.samples}


def evaluate_masked(task: Task) -> dict[str, Any]:
    """The same under the other objective's name; a low share of variance, as short trainings give."""
    assert task.objective == "masked"
    figure = -0.2 + 0.5 * min(1.0, cost(task.architecture).macs / 1e9) + 0.001 * task.seed
    return {"masked_r2": figure, "masked_error": 1 - figure}


def study_of(
    space: SearchSpace = SPACE, ladder: Sequence[Mapping[str, object]] = ({"trials": 8, "samples": 64},), **changes: Any
) -> Study:
    """A study of the lowest rung's trials, with the defaults of a study file."""
    content = {
        "space": SpaceRecord(name=space.name, content=space.to_dict()),
        "ladder": ladder,
        "strategy": {"name": "evolution", "children": 4},  # few to choose from, which is quick
        "trials": ladder[0]["trials"],
        "runner": SERIAL,
    }
    return Study.from_dict({**content, **changes}, "study.toml")


def true_ms(arch: Architecture) -> float:
    """Slower per multiply-add the more activations there are: what the first profile does not know."""
    figures = cost(arch)
    return 1e-8 * figures.macs + 1e-6 * figures.activations


class ToyProfile:
    """Knows what it has measured; guesses the rest from multiply-adds alone, and far off."""

    num_classes = 1000

    def __init__(self, known: Sequence[Architecture] = ()) -> None:
        self.records = [
            SimpleNamespace(id=a.id, measurement=SimpleNamespace(latency_ms=true_ms(a)), architecture=a) for a in known
        ]

    def predict(self, designs: Sequence[Architecture], classes: int) -> Prediction:
        factor = 1.0 if self.records else 2.0
        guesses = factor * np.array([1e-8 * cost(a).macs for a in designs])
        return Prediction(guesses, 0.9 * guesses, 1.2 * guesses, guesses < 0, ("",) * len(designs))


class NoDevice:
    """A source of a profile that never comes."""

    profile: Any = None
    can_measure = under_way = False

    def __call__(self) -> Any:
        return self.profile

    def measure(self, designs: Sequence[Architecture]) -> None:
        raise AssertionError("nothing can be measured here")

    def extended(self, wait: bool = False) -> Any:
        return None


class ToyDevice(NoDevice):
    """Measures at once what it is asked to; the profile that comes of it is there at the next look."""

    def __init__(self) -> None:
        self.profile, self.asked, self._next = ToyProfile(), [], None

    @property
    def can_measure(self) -> bool:  # type: ignore[override]
        return self._next is None

    def measure(self, designs: Sequence[Architecture]) -> None:
        self.asked.append(list(designs))
        self._next = ToyProfile([r.architecture for r in self.profile.records] + list(designs))

    def extended(self, wait: bool = False) -> Any:
        if self._next is None:
            return None
        self.profile, self._next = self._next, None
        return self.profile


class Notes(Silent):
    """A progress display that keeps what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@dataclass
class Search:
    """The parts of a search, wired as `search` wires them."""

    schedule: Schedule
    reporting: Reporting
    measuring: Measuring
    driver: Driver


def search_parts(
    study: Study,
    store: TrialStore,
    space: SearchSpace = SPACE,
    fixed: Mapping[str, Architecture] | None = None,
    source: Any = None,
    progress: Progress | None = None,
    phases: Phases | None = None,
    known: Any = None,
) -> Search:
    """By default: with the fixed points that fit, and without any device."""
    source, progress = source or NoDevice(), progress or Silent()
    measured = StudyResult.from_store(study, store).measured_ms
    promotions = Promotions(store.notes(PromotionNote), store.note)
    fixed = fixed_points_within(study, space) if fixed is None else fixed
    schedule = Schedule(study, space, fixed, Predictions(study, source, measured), promotions, known, phases)
    reporting = Reporting(schedule, store, source, progress)
    measuring = Measuring(schedule, store, source, reporting, progress)
    return Search(schedule, reporting, measuring, Driver(schedule, store, reporting, measuring))


def run_search(study: Study, folder: Path, evaluate: str = EVALUATE, **parts: Any) -> StudyResult:
    """The study run to its end in this process, one trial after another."""
    with TrialStore(folder) as store:
        found = search_parts(study, store, **parts)
        run(found.driver, evaluate, SERIAL)
        found.measuring.finish()
        return StudyResult.from_store(study, store)
