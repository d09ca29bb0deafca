"""What a table tells of published networks in place of training them, and the check that it has to pass first."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import search_toys
from search_toys import EVALUATE, SERIAL, Notes, search_parts, study_of

from nasbench.arch.architecture import Architecture
from nasbench.costs.analytic import cost
from nasbench.engine.published import CHECKED
from nasbench.engine.run import fixed_points_within
from nasbench.proxy.reduction import reduced
from nasbench.running import Job, run
from nasbench.running.worker import run_job
from nasbench.strategies.context import Expected, Informed
from nasbench.study.store import TrialStore
from nasbench.study.study import Study
from nasbench.study.task import Task
from nasbench.study.trials import Kind, Level, Origin, Outcome, State, Trial
from nasbench.surrogate.prior import Agreement
from nasbench.table.rows import Circumstances, TableRow, row_of
from nasbench.table.table import Table

LADDER = ({"trials": 10, "samples": 64}, {"trials": 4, "samples": 128})
STUDY = study_of(
    ladder=LADDER, data_id="ours", strategy={"name": "random"}, finalists=2, final_seeds=(1, 2), budgets=("500MFLOP",)
)
SEEDS = (101, 102, 103)


@functools.cache
def fixed() -> dict[str, Architecture]:
    """The published networks of the study but for those that the toy cannot train."""
    fitting = fixed_points_within(STUDY, search_toys.SPACE)
    return {key: arch for key, arch in fitting.items() if not str(arch.name).startswith("mobilevit_")}


class Told:
    """A table of which nothing but its rows counts, and what it was asked with."""

    def __init__(self, table: Table) -> None:
        self.table, self.designs = table, tuple(fixed().values())
        self.seen: list[set[str]] = []

    def at(self, fidelity: object) -> Told:
        return self

    def before(self, designs: Sequence[Architecture]) -> Expected:
        return Expected(np.full(len(designs), 0.4), np.full(len(designs), 0.02))

    def after(self, seen: Sequence[Architecture], accuracies: Sequence[float]) -> Informed:
        self.seen.append({arch.id for arch in seen})
        return Informed(self.before, self.before, self.before, 1.0)

    def fresh_seed(self, arch: Architecture, fidelity: object, seed: int) -> int:
        return seed

    def agreement(self, seen: Sequence[Architecture], accuracies: Sequence[float]) -> Agreement:
        self.seen.append({arch.id for arch in seen})
        return Agreement(len(seen), 0.5, 1.0, 1.0, 1.0)


def rows(study: Study = STUDY, seeds: Sequence[int] = SEEDS, shift: float = 0.0, **where: str) -> list[TableRow]:
    """The fixed points as the toy trains them, at both rungs; `shift` is added to each accuracy."""
    found = []
    for arch in fixed().values():
        for index, rung in enumerate(study.ladder.rungs):
            for seed in seeds:
                task: Any = type("T", (), {"architecture": arch, "fidelity": rung.fidelity, "seed": seed % 100})
                accuracy = search_toys.evaluate(task)["accuracy"] + shift
                trial = Trial.new(
                    arch, rung.fidelity, seed, where.get("data_id", "ours"), "validation",
                    Origin(Kind.FIXED_POINT, index, "fixed point", cost(arch)),
                )  # fmt: skip
                metrics = {"accuracy": accuracy, "proxy_id": reduced(arch, rung.fidelity).id}
                done = trial.with_outcome(Outcome(State.COMPLETE, metrics), 1.0)
                found.append(row_of(done, Circumstances("i", where.get("numerics", "cpu float32"), study.ladder, [])))
    return found


def searched(folder: Path, known: Told, **parts: Any) -> list[Trial]:
    """All trials of the study, run to its end; nothing is measured."""
    with TrialStore(folder) as store:
        run(search_parts(STUDY, store, fixed=fixed(), known=known, **parts).driver, EVALUATE, SERIAL)
        return list(store.trials)


def at_lowest(trials: Sequence[Trial], kind: Kind = Kind.FIXED_POINT) -> list[Trial]:
    return [trial for trial in trials if trial.level == Level(0) and trial.origin.kind == kind]


def test_where_two_networks_agree_with_the_table_it_stands_for_the_others(tmp_path: Path) -> None:
    table, notes = Table(rows(), "toys"), Notes()
    trials = searched(tmp_path, Told(table), progress=notes)
    published = at_lowest(trials)
    assert sum(trial.trained_here for trial in published) == CHECKED < len(published) == len(fixed())
    told = {(row.architecture_id, row.fidelity, row.seed): row.accuracy for row in table.content}
    taken = [trial for trial in trials if not trial.trained_here]
    assert {trial.level for trial in taken} == {Level(0), Level(1)}
    for trial in taken:
        assert trial.metric("accuracy") == told[(trial.architecture_id, trial.fidelity.id, trial.seed)]
    assert all(trial.trained_here for trial in trials if trial.level.final or trial.origin.kind == Kind.SEARCHED)
    assert [note for note in notes.notes if "agree with the table" in note]
    assert len({(trial.architecture_id, trial.level, trial.seed) for trial in trials}) == len(trials)


def test_of_several_trainings_the_one_nearest_to_their_mean_stands_for_a_network(tmp_path: Path) -> None:
    by_seed = {101: -0.05, 102: 0.01, 103: 0.02}
    content = [row.replace(accuracy=row.accuracy + by_seed[row.seed]) for row in rows()]
    with TrialStore(tmp_path) as store:
        scores = search_parts(STUDY, store, fixed=fixed(), known=Told(Table(content, "toys"))).schedule.scores
    assert scores is not None
    for arch in fixed().values():
        own = {row.seed: row.accuracy for row in content if row.architecture_id == arch.id and row.rung == 0}
        mean = sum(own.values()) / len(own)
        trial = scores.trial(arch, 0, cost(arch))
        assert trial.seed == min(own, key=lambda seed: abs(own[seed] - mean))
        outcome = scores.outcome(trial)
        assert outcome is not None
        assert outcome.metrics["accuracy"] == own[trial.seed]


def test_the_check_takes_the_most_accurate_of_different_families(tmp_path: Path) -> None:
    with TrialStore(tmp_path) as store:
        scores = search_parts(STUDY, store, fixed=fixed(), known=Told(Table(rows(), "toys"))).schedule.scores
    assert scores is not None
    lowest = STUDY.ladder.rungs[0].fidelity.id
    means = {row.architecture_id: row.accuracy for row in rows(seeds=(0,)) if row.fidelity == lowest}
    assert scores.checked[0].id == max(means, key=lambda key: means[key])
    families = [str(arch.name).partition("_")[0] for arch in scores.checked]
    assert len(set(families)) == CHECKED


@pytest.mark.parametrize(
    "changes",
    [{"shift": 0.1}, {"seeds": (101,)}, {"data_id": "others"}, {"numerics": "cuda bfloat16"}],
    ids=["another truth", "no noise known", "other images", "other numerics"],
)
def test_else_all_published_networks_are_trained(changes: dict[str, Any], tmp_path: Path) -> None:
    trials = searched(tmp_path, Told(Table(rows(**changes), "toys")))
    assert all(trial.trained_here for trial in trials)
    assert len(at_lowest(trials)) == len(fixed())


def test_while_the_check_runs_the_strategy_proposes(tmp_path: Path) -> None:
    with TrialStore(tmp_path) as store:
        schedule = search_parts(STUDY, store, fixed=fixed(), known=Told(Table(rows(), "toys"))).schedule
        trials: list[Trial] = []
        for _ in range(CHECKED + 2):
            following = schedule.next_trial(trials)
            assert following is not None
            trials.append(following)
    assert [trial.origin.kind for trial in trials] == [Kind.FIXED_POINT] * CHECKED + [Kind.SEARCHED] * 2


def test_what_the_table_told_bears_nothing_in_it_out(tmp_path: Path) -> None:
    known = Told(Table(rows(), "toys"))
    trials = searched(tmp_path, known)
    assert known.seen
    taken = {trial.architecture_id for trial in at_lowest(trials) if not trial.trained_here}
    assert not taken & set.union(*known.seen)


def test_one_that_was_submitted_before_a_kill_is_told_by_the_table_after_it(tmp_path: Path) -> None:
    known = Told(Table(rows(), "toys"))
    with TrialStore(tmp_path) as store:
        found = search_parts(STUDY, store, fixed=fixed(), known=known)
        for _ in range(CHECKED):
            job = found.driver.ask()
            assert job is not None
            task = job.task
            assert isinstance(task, Task)
            found.driver.tell(job, Outcome(State.COMPLETE, search_toys.evaluate(task)))
        taken = found.schedule.next_trial(store.trials)
        assert taken is not None
        assert not taken.trained_here
        store.submit(taken)
    trials = searched(tmp_path, known)
    assert next(trial for trial in trials if trial.key == taken.key).seconds == 0
    assert sum(trial.trained_here for trial in at_lowest(trials)) == CHECKED


@pytest.mark.parametrize("workers", [3, 9])
def test_where_designs_go_on_meanwhile_no_network_is_both_told_of_and_trained(workers: int, tmp_path: Path) -> None:
    asked = STUDY.replace(promotion="asynchronous", trials=14)
    with TrialStore(tmp_path) as store:
        driver = search_parts(asked, store, fixed=fixed(), known=Told(Table(rows(), "toys"))).driver
        running: list[Job] = []
        while True:
            while len(running) < workers and (job := driver.ask()) is not None:
                running.append(job)
            if not running:
                break
            ends = running.pop(len(running) // 2)
            driver.tell(ends, run_job(ends, search_toys.evaluate, None))
        trials = list(store.trials)
    assert len({(trial.architecture_id, trial.level, trial.seed) for trial in trials}) == len(trials)
    on_rungs = [(trial.architecture_id, trial.level) for trial in trials if not trial.level.final]
    assert len(set(on_rungs)) == len(on_rungs)
    second = [trial for trial in trials if trial.level == Level(1)]
    assert sum(trial.trained_here for trial in second) == LADDER[1]["trials"]
    assert any(not trial.trained_here for trial in second)
