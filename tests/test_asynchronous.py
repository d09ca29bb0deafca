"""Designs that go on while a rung still trains: whole searches of eight workers on a clock of their own."""

from __future__ import annotations

import heapq
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from search_toys import NoDevice, study_of
from shared_spaces import SMALL
from test_schedule import ended

from nasbench.engine.levels import at_level, complete_at
from nasbench.engine.phases import Phases
from nasbench.engine.predictions import Predictions
from nasbench.engine.promotion import Promotions
from nasbench.engine.schedule import Schedule
from nasbench.errors import UserError
from nasbench.study.notes import PromotionNote
from nasbench.study.runner import Promotion, runner_promotion
from nasbench.study.study import Study
from nasbench.study.trials import Level, Trial

LADDER = ({"trials": 30, "samples": 100}, {"trials": 10, "samples": 200}, {"trials": 4, "samples": 800})
RUNGS = [Level(0), Level(1), Level(2)]
WORKERS = 8


def study(promotion: Promotion = "asynchronous", **changes: object) -> Study:
    settings = {"strategy": {"name": "random"}, "finalists": 2, "final_seeds": (1, 2), "promotion": promotion}
    return study_of(SMALL, LADDER, **{**settings, **changes})


class Cluster:
    """Workers whose trainings take longer with more samples, unevenly, on a virtual clock."""

    def __init__(self, asked: Study, limit: float = float("inf"), notes: Sequence[PromotionNote] = ()) -> None:
        self.now, self.notes = 0.0, list(notes)
        phases, promotions = (
            Phases(asked.ladder.top, limit, clock=lambda: self.now),
            Promotions(notes, self.notes.append),
        )
        self.schedule = Schedule(asked, SMALL, {}, Predictions(asked, NoDevice()), promotions, phases=phases)
        self.trials: dict[str, Trial] = {}
        self.waits: list[tuple[tuple[Trial, ...], float, int]] = []  # trials then, for how long, how many workers

    def run(self, before: Sequence[Trial] = (), until: int = 10**9) -> tuple[Trial, ...]:
        """To the end, or until so many trials have ended; of `before` those that ran are run again."""
        self.trials = {trial.key: trial for trial in before}
        running: list[tuple[float, str]] = []
        again = [trial for trial in before if not trial.finished]
        while True:
            while len(running) < WORKERS:
                following = again.pop(0) if again else self.schedule.next_trial(tuple(self.trials.values()))
                if following is None:
                    break
                assert following.key not in {key for _, key in running}
                self.trials[following.key] = replace(following, submitted_at=self.now)
                heapq.heappush(running, (self.now + seconds(following), following.key))
            if not running or sum(trial.finished for trial in self.trials.values()) >= until:
                return tuple(self.trials.values())
            if len(running) < WORKERS:
                then = tuple(self.trials.values())
                self.waits.append((then, running[0][0] - self.now, WORKERS - len(running)))
            self.now, key = heapq.heappop(running)
            self.trials[key] = replace(ended(self.trials[key]), finished_at=self.now)


def seconds(trial: Trial) -> float:
    """Lognormal, the same for equal trials."""
    rng = np.random.default_rng(zlib.crc32(trial.key.encode()))
    return trial.fidelity.samples / 10 * float(rng.lognormal(0.0, 0.5))


def idle(cluster: Cluster) -> float:
    """Seconds of workers that waited before the final."""
    return sum(
        seconds * workers
        for trials, seconds, workers in cluster.waits
        if not any(trial.level.final for trial in trials)
    )


def done(promotion: Promotion = "asynchronous") -> Cluster:
    cluster = Cluster(study(promotion))
    cluster.run()
    return cluster


MEANWHILE, IN_TURN = done(), done("rungs")
WHOLE = tuple(MEANWHILE.trials.values())


def places(trials: Sequence[Trial]) -> dict[Level, int]:
    """What each rung should have had, by those complete below it."""
    asked = study()
    above = {level: asked.places(level, len(complete_at(trials, below))) for below, level in pairwise(RUNGS)}
    return {Level(0): asked.trials, **above}


@pytest.mark.parametrize("cluster", [MEANWHILE, IN_TURN], ids=["asynchronous", "rungs"])
def test_each_rung_has_its_places_and_no_design_is_there_twice(cluster: Cluster) -> None:
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


def test_a_worker_waits_only_where_nobody_may_go_on_yet() -> None:
    """Neither is a new design left, nor has a rung less than its share of those complete below it."""
    assert MEANWHILE.waits
    for trials, _, _ in MEANWHILE.waits:
        if any(trial.level.final for trial in trials):
            continue
        assert len(at_level(trials, Level(0))) == LADDER[0]["trials"]
        for below, level in pairwise(RUNGS):
            due = len(complete_at(trials, below)) * LADDER[level.rung]["trials"] // LADDER[below.rung]["trials"]
            assert len(at_level(trials, level)) >= min(due, places(trials)[level]) or MEANWHILE.schedule.is_complete(
                below, trials
            )


def test_rung_by_rung_workers_wait_for_the_last_of_each() -> None:
    for level in RUNGS[:2]:
        assert any(
            trials[-1].level == level and len(complete_at(trials, level)) > LADDER[level.rung]["trials"] / 2
            for trials, _, _ in IN_TURN.waits
        )
    assert idle(MEANWHILE) < 0.7 * idle(IN_TURN)
    assert MEANWHILE.now < IN_TURN.now


@given(cut=st.integers(0, len(WHOLE)))
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
    trials = cluster.run(until=32)
    assert at_level(trials, Level(1)), "some have gone on"
    assert not cluster.schedule.is_complete(Level(0), trials), "while the lowest rung trains"
    a, b = cluster.schedule.next_trial(trials), cluster.schedule.next_trial(trials)
    assert (a and a.key) == (b and b.key)
    assert not cluster.notes, "a decision on a whole rung is noted once that has ended"


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
