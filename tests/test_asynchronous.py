"""Designs that go on while a rung still trains: whole searches of eight workers on a clock of their own."""

from __future__ import annotations

import heapq
import zlib
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from search_toys import NoDevice, study_of
from shared_spaces import SMALL
from test_schedule import ended

from nasbench.arch.architecture import Architecture
from nasbench.engine.levels import at_level, complete_at
from nasbench.engine.phases import Phases
from nasbench.engine.predictions import Predictions
from nasbench.engine.promotion import Promotions
from nasbench.engine.schedule import Schedule
from nasbench.errors import UserError
from nasbench.report.interruption import is_interrupted, promoted_by
from nasbench.strategies import Context
from nasbench.strategies.choice import STRATEGIES, Strategy
from nasbench.strategies.random import RandomSettings
from nasbench.study.notes import PromotionNote
from nasbench.study.runner import Promotion, runner_promotion
from nasbench.study.study import Study
from nasbench.study.trials import Level, Trial

LADDER = ({"trials": 48, "samples": 100}, {"trials": 20, "samples": 200}, {"trials": 10, "samples": 400})
RUNGS = [Level(0), Level(1), Level(2)]
WORKERS = 8


@cache
def designs() -> list[Architecture]:
    rng = np.random.default_rng(0)
    return [SMALL.sample(rng, (), 1000) for _ in range(LADDER[0]["trials"])]


def propose(context: Context, n: int, settings: RandomSettings) -> list[Architecture]:
    """The next of a list: to draw anew takes most of a search's time."""
    known = {candidate.architecture.id for candidate in context.candidates}
    return [arch for arch in designs() if arch.id not in known][:n]


@pytest.fixture(scope="module", autouse=True)
def _listed() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(STRATEGIES, "listed", Strategy(propose, RandomSettings))
        yield


def study(promotion: Promotion = "asynchronous", **changes: object) -> Study:
    settings = {"strategy": {"name": "listed"}, "finalists": 2, "final_seeds": (1, 2), "promotion": promotion}
    return study_of(SMALL, LADDER, **{**settings, **changes})


class Cluster:
    """Workers whose trainings take longer with more samples, unevenly, on a virtual clock."""

    def __init__(
        self, asked: Study, limit: float = float("inf"), notes: Sequence[PromotionNote] = (), workers: int = WORKERS
    ) -> None:
        self.now, self.notes, self.workers = 0.0, list(notes), workers
        phases, promotions = (
            Phases(asked.ladder.top, limit, clock=lambda: self.now),
            Promotions(notes, self.notes.append),
        )
        self.schedule = Schedule(asked, SMALL, {}, Predictions(asked, NoDevice()), promotions, phases=phases)
        self.trials: dict[str, Trial] = {}
        self.waits: list[tuple[tuple[Trial, ...], float, float, int]] = []  # trials then, from, to, how many workers

    def run(self, before: Sequence[Trial] = (), until: int = 10**9) -> tuple[Trial, ...]:
        """To the end, or until so many trials have ended; of `before` those that ran are run again."""
        self.trials = {trial.key: trial for trial in before}
        running: list[tuple[float, str]] = []
        again = [trial for trial in before if not trial.finished]
        while True:
            while len(running) < self.workers:
                following = again.pop(0) if again else self.schedule.next_trial(tuple(self.trials.values()))
                if following is None:
                    break
                assert following.key not in {key for _, key in running}
                self.trials[following.key] = replace(following, submitted_at=self.now)
                heapq.heappush(running, (self.now + seconds(following), following.key))
            if not running or sum(trial.finished for trial in self.trials.values()) >= until:
                return tuple(self.trials.values())
            if len(running) < self.workers:
                then = tuple(self.trials.values())
                self.waits.append((then, self.now, running[0][0], self.workers - len(running)))
            self.now, key = heapq.heappop(running)
            self.trials[key] = replace(ended(self.trials[key]), finished_at=self.now)


def seconds(trial: Trial) -> float:
    """Lognormal, the same for equal trials."""
    rng = np.random.default_rng(zlib.crc32(trial.key.encode()))
    return trial.fidelity.samples / 10 * float(rng.lognormal(0.0, 0.5))


def waited(cluster: Cluster) -> float:
    """Seconds of workers that waited though trainings of the rungs were still to start."""
    last = max(trial.submitted_at for trial in cluster.trials.values() if not trial.level.final)
    return sum(workers * (min(end, last) - since) for _, since, end, workers in cluster.waits if since < last)


@cache
def done(promotion: Promotion) -> Cluster:
    """A whole search."""
    cluster = Cluster(study(promotion))
    cluster.run()
    return cluster


def places(trials: Sequence[Trial]) -> dict[Level, int]:
    """What each rung should have had, by those complete below it."""
    asked = study()
    above = {level: asked.places(level, len(complete_at(trials, below))) for below, level in pairwise(RUNGS)}
    return {Level(0): asked.trials, **above}


@pytest.mark.parametrize("promotion", ["asynchronous", "rungs"])
def test_each_rung_has_its_places_and_no_design_is_there_twice(promotion: Promotion) -> None:
    cluster = done(promotion)
    trials = tuple(cluster.trials.values())
    assert {level: len(at_level(trials, level)) for level in RUNGS} == places(trials)
    assert len(at_level(trials, Level(2, final=True))) == 2 * 2
    stands = Counter((trial.architecture_id, trial.level, trial.seed) for trial in trials)
    assert set(stands.values()) == {1}
    for below, level in pairwise(RUNGS):
        complete = {trial.architecture_id: trial.finished_at for trial in complete_at(trials, below)}
        assert all(trial.submitted_at >= complete[trial.architecture_id] for trial in at_level(trials, level))
    finals = at_level(trials, Level(2, final=True))
    assert min(trial.submitted_at for trial in finals) >= max(t.finished_at for t in trials if not t.level.final)
    assert all(cluster.schedule.is_complete(level, trials) for level in RUNGS)


def test_no_worker_waits_before_the_last_training_of_the_rungs_has_started() -> None:
    assert waited(done("asynchronous")) == 0


def test_rung_by_rung_workers_wait_for_the_last_of_each() -> None:
    cluster = done("rungs")
    for level in RUNGS[:2]:
        assert any(
            trials[-1].level == level and len(complete_at(trials, level)) > LADDER[level.rung]["trials"] / 2
            for trials, *_ in cluster.waits
        )
    assert waited(cluster) > 0
    assert done("asynchronous").now < cluster.now


def test_nobody_goes_on_beyond_the_share_of_those_that_have_ended() -> None:
    """Where there are as many workers as designs, else all places would go to those that train fastest."""
    cluster = Cluster(study(), workers=60)
    asked, trials = study(), cluster.run()
    assert {level: len(at_level(trials, level)) for level in RUNGS} == places(trials)
    for below, level in pairwise(RUNGS):
        ends = sorted(trial.finished_at for trial in complete_at(trials, below))
        for taken, trial in enumerate(sorted(at_level(trials, level), key=lambda each: each.submitted_at)):
            complete = bisect_right(ends, trial.submitted_at)
            due = complete * asked.ladder.rungs[level.rung].trials // asked.ladder.rungs[below.rung].trials
            assert taken < due or complete == len(ends)


@pytest.mark.parametrize("cut", [0, 43, 50, 66, 80])
def test_a_search_cut_off_anywhere_goes_on_to_a_consistent_end(cut: int) -> None:
    """What ran is run again, who went on stays, and every rung has its places."""
    first = Cluster(study())
    left = first.run(until=cut)
    again = Cluster(study(), notes=first.notes)
    trials = again.run(left)
    assert [trial.key for trial in trials[: len(left)]] == [trial.key for trial in left]
    assert {level: len(at_level(trials, level)) for level in RUNGS} == places(trials)
    stands = Counter((trial.architecture_id, trial.level, trial.seed) for trial in trials)
    assert set(stands.values()) == {1}
    assert len(at_level(trials, Level(2, final=True))) == 4
    assert all(trial.finished for trial in trials)
    assert again.schedule.next_trial(trials) is None


def test_asking_changes_nothing() -> None:
    cluster = Cluster(study())
    trials = cluster.run(until=42)
    assert at_level(trials, Level(1)), "some have gone on"
    assert not cluster.schedule.is_complete(Level(0), trials), "while the lowest rung trains"
    a, b = cluster.schedule.next_trial(trials), cluster.schedule.next_trial(trials)
    assert (a and a.key) == (b and b.key)
    assert not cluster.notes, "a decision on a whole rung is noted once that has ended"


def test_while_a_rung_still_fills_the_front_below_counts_too() -> None:
    cluster = done("asynchronous")
    trials, notes = tuple(cluster.trials.values()), promoted_by(cluster.notes)
    assert set(notes) == {"rung 1", "rung 2", "final"}
    early = [trial for trial in trials if trial.level == Level(0) or trial.finished_at < cluster.now / 2]
    assert is_interrupted(Level(1), early, {}, study())
    assert not is_interrupted(Level(1), trials, notes, study())


def test_the_best_so_far_go_on_first() -> None:
    cluster = Cluster(study())
    trials = cluster.run(until=LADDER[0]["trials"] - WORKERS + 1)
    following = cluster.schedule.next_trial(trials)
    assert following is not None
    assert following.level == Level(1)
    complete = complete_at(trials, Level(0))
    assert len(complete) < LADDER[0]["trials"]
    best = max(complete, key=lambda trial: trial.metric("accuracy"))
    went = {trial.architecture_id for trial in [*at_level(trials, Level(1)), following]}
    assert best.architecture_id in went


@pytest.mark.parametrize("limit", [80.0, 200.0])
@pytest.mark.parametrize("open_ended", [True, False])
def test_a_time_limit_holds_and_no_level_is_left_out(limit: float, open_ended: bool) -> None:
    cluster = Cluster(study(open_ended=open_ended, race=12, final_seeds=tuple(range(1, 9))), limit)
    trials = cluster.run()
    for level in RUNGS:
        assert len(complete_at(trials, level)) >= 2
        assert cluster.schedule.is_complete(level, trials)
    assert all(trial.submitted_at <= cluster.schedule.phases.deadline for trial in trials if trial.level.rung < 2)
    if not open_ended:
        assert all(len(at_level(trials, level)) <= count for level, count in cluster.schedule.planned()[:3])


def test_older_studies_go_rung_by_rung(tmp_path: Path) -> None:
    plain = study_of(SMALL, LADDER)
    assert plain.promotion == "rungs"
    asked = study()
    asked.create(tmp_path)
    assert Study.open(tmp_path) == asked
    assert asked.asynchronous
    text = (tmp_path / "study.toml").read_text(encoding="utf-8").replace('promotion = "asynchronous"\n', "")
    (tmp_path / "study.toml").write_text(text, encoding="utf-8")
    assert not Study.open(tmp_path).asynchronous
    with pytest.raises(UserError, match=r"holds another study .promotion rungs there, asynchronous here"):
        asked.create(tmp_path)


def test_a_runner_s_file_says_how_its_searches_go_on(tmp_path: Path) -> None:
    assert runner_promotion("laptop") == "rungs"
    assert runner_promotion("cluster") == "asynchronous"
    (tmp_path / "mine.toml").write_text('promotion = "soon"\n')
    with pytest.raises(UserError, match=r"mine\.toml: promotion = 'soon': must be 'rungs' or 'asynchronous'$"):
        runner_promotion(tmp_path / "mine.toml")
