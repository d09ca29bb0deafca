"""How far a search has come and how long it will take: by hand, and for whole searches on a false clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from search_toys import NoDevice, Notes, Search, search_parts, study_of

from nasbench import hardware
from nasbench.costs.analytic import cost
from nasbench.engine.driver import Driver
from nasbench.engine.time_left import Pace, Progressing, TimeLeft, progress_state
from nasbench.progress import ProgressState
from nasbench.proxy.reduction import reduced
from nasbench.running import Job, RunnerSpec, Usage
from nasbench.study.store import TrialStore
from nasbench.study.task import Task
from nasbench.study.trials import Kind, Level, Origin, Outcome, State, Trial, failed

# 4 trials of 100 samples, 2 of 300, and 1 finalist with 2 seeds of 300. Nothing is said of images to score on.
LADDER = (
    {"name": "screen", "trials": 4, "samples": 100, "evaluate": 40},
    {"trials": 2, "samples": 300, "evaluate": 120},
)


@pytest.fixture
def search(tmp_path: Path) -> Iterator[Search]:
    study = study_of(ladder=LADDER, finalists=1, final_seeds=(1, 2))
    with TrialStore(tmp_path) as store:
        yield search_parts(study, store)


def trial(search: Search, n: int, seconds: float | None = 10.0, rung: int = 0) -> Trial:
    """Complete after so many seconds; without any it still runs."""
    study, arch = search.schedule.study, search.schedule.space.sample(n)
    origin = Origin(Kind.SEARCHED, rung, cost=cost(arch))
    made = Trial.new(arch, study.ladder.rungs[rung].fidelity, study.seed, study.data_name, origin=origin)
    outcome = None if seconds is None else Outcome(State.COMPLETE, {"accuracy": 0.1 * n}, None, seconds)
    return made if outcome is None else made.with_outcome(outcome, 0)


def left(search: Search, trials: list[Trial], pace: Pace | None = None) -> float | None:
    return TimeLeft(search.schedule).seconds(trials, pace or Pace())


def running(*trials: Trial, since: float = 0.0, **facts: float) -> Pace:
    return Pace({each.key: Progressing(since) for each in trials}, len(trials), **facts)  # type: ignore[arg-type]


def test_nothing_is_said_before_a_trial_has_ended(search: Search) -> None:
    assert left(search, []) is None
    assert left(search, [trial(search, 0, seconds=None)]) is None


def test_a_level_that_was_not_reached_counts_by_its_samples(search: Search) -> None:
    trials = [trial(search, 0, seconds=8.0), trial(search, 1, seconds=12.0)]
    # 10 s a trial of 100 samples: 2 more of them, then 2 and 2 of 300 samples at 30 s each.
    assert left(search, trials) == pytest.approx(2 * 10 + 2 * 30 + 2 * 30)
    assert left(search, trials, Pace(at_a_time=2)) == pytest.approx(140 / 2)


def test_levels_wait_for_one_another_however_many_workers_there_are(search: Search) -> None:
    trials = [trial(search, 0), trial(search, 1), trial(search, 2)]
    assert left(search, trials, Pace(at_a_time=8)) == pytest.approx(10 + 30 + 30)


def test_a_place_that_hangs_on_the_last_of_the_rung_below_is_not_taken_before(tmp_path: Path) -> None:
    """Of two places the first is due when two of four have ended, the second with the fourth, in 10 s."""
    study = study_of(ladder=LADDER, finalists=1, final_seeds=(1, 2), promotion="asynchronous")
    with TrialStore(tmp_path) as store:
        parts = search_parts(study, store)
    trials = [trial(parts, 0), trial(parts, 1), trial(parts, 2)]
    assert left(parts, trials, Pace(at_a_time=8)) == pytest.approx(10 + 30 + 30)


def ended(each: Trial, seconds: float) -> Trial:
    return each.with_outcome(Outcome(State.COMPLETE, {"accuracy": 0.5}, None, seconds), 0)


def test_a_level_that_was_reached_counts_by_its_own_trials(search: Search) -> None:
    trials = [trial(search, n) for n in range(4)]
    first, second = search.schedule.decided(Level(1), trials)
    trials.append(ended(first, 60.0))  # twice what its samples say
    assert left(search, trials) == pytest.approx(1 * 60 + 2 * 60)
    trials.append(ended(second, 60.0))
    assert left(search, trials) == pytest.approx(2 * 60)
    trials.append(ended(search.schedule.decided(Level(1, final=True), trials)[0], 20.0))
    assert left(search, trials) == pytest.approx(1 * 20)


def test_a_design_takes_what_it_took_before(search: Search) -> None:
    trials = [trial(search, n, seconds=(5.0, 10.0, 20.0, 40.0)[n]) for n in range(4)]
    seconds = {each.architecture_id: each.seconds for each in trials}
    known = [3 * seconds[each.architecture_id] for each in search.schedule.decided(Level(1), trials)]
    assert left(search, trials) == pytest.approx(sum(known) + 2 * sum(known) / 2)  # a finalist is one of the two


def test_a_new_design_takes_what_its_cost_says(search: Search) -> None:
    new, known = trial(search, 4, seconds=None), trial(search, 0)
    macs = [cost(reduced(each.design, each.fidelity), 10, deploy=False).macs for each in (new, known)]
    assert left(search, [known, new], running(new)) == pytest.approx(
        10 * (macs[0] / macs[1]) ** 0.66 + 2 * 10 + 4 * 30, rel=1e-6
    )


def test_it_grows_when_nothing_ends(search: Search) -> None:
    slow = trial(search, 3, seconds=None)
    trials = [*(trial(search, n) for n in range(3)), slow]
    told = [left(search, trials, running(slow, now=now)) for now in (0.0, 2.0, 20.0, 50.0, 100.0, 400.0)]
    values = [value for value in told if value is not None]
    assert values[1] == pytest.approx(values[0] - 2, abs=0.01)
    assert values[2] < values[3] < values[4] < values[5]
    assert values[5] > 10 * 120  # 400 s instead of 10: what is left is 40 times slower at worst, and far from 120 s


def test_it_counts_by_the_share_of_the_processor_that_trials_have_now(search: Search) -> None:
    figures = {"accuracy": 0.1, "train_seconds": 10.0, "cpu_seconds": 8.0}
    trials = [
        trial(search, n, seconds=None).with_outcome(Outcome(State.COMPLETE, figures, None, 10.0), 0) for n in (0, 1)
    ]
    # 8 processor seconds a trial of the lowest rung: 2 more of them, then 4 of three times that.
    assert left(search, trials, Pace(share=1.0)) == pytest.approx(2 * 8 + 4 * 24)
    assert left(search, trials, Pace(share=0.1)) == pytest.approx(10 * (2 * 8 + 4 * 24))


def test_no_trial_starts_after_the_deadline(search: Search) -> None:
    trials = [trial(search, 0), trial(search, 1)]
    assert left(search, trials, Pace(now=100.0, deadline=115.0)) == pytest.approx(20)


def test_a_failed_trial_is_done_and_says_nothing_of_how_long_one_takes(search: Search) -> None:
    broken = trial(search, 1, seconds=None).with_outcome(failed("broken: twice", 500.0), 0)
    assert left(search, [broken]) is None
    assert left(search, [broken, trial(search, 0)]) == pytest.approx(2 * 10 + 4 * 30)


def test_the_state_says_where_the_search_stands(search: Search) -> None:
    broken = trial(search, 3, seconds=None).with_outcome(failed("broken: twice", 500.0), 0)
    trials = [*(trial(search, n) for n in range(3)), broken, trial(search, 1, None, 1)]
    search.schedule.rejections.reject("budget 1GFLOP")
    state = progress_state(search.schedule, trials, running(trials[-1]), 61.0, 90.0)
    assert (state.phase, state.rung) == ("search", "rung 1")
    assert (state.done, state.total, state.running) == (4, 4 + 2 + 2, 1)
    assert (state.best, state.best_name) == (pytest.approx(0.2), trials[2].label)
    assert (state.seconds_spent, state.seconds_left) == (61.0, 90.0)
    assert (state.rejected, state.failed) == ({"budget 1GFLOP": 1}, {"broken": 1})
    assert progress_state(search.schedule, [], Pace(), 0.0, None).rung == "screen"
    done = [*trials[:4], trial(search, 0, rung=1), trial(search, 1, rung=1)]
    assert progress_state(search.schedule, done, Pace(), 0.0, None).phase == "final training, test split"


def test_probes_are_part_of_the_plan(tmp_path: Path) -> None:
    objectives = ("error", "latency_ms", "predicted@4GFLOP")
    study = study_of(ladder=LADDER, finalists=1, final_seeds=(1, 2), objectives=objectives)
    with TrialStore(tmp_path) as store:
        probed = search_parts(study, store).schedule
    assert probed.planned() == [(Level(-1), 8), (Level(0), 4), (Level(1), 2), (Level(1, True), 2)]


# Whole searches on a false clock: the time left that is shown against what then came.

TWO_RUNGS = (
    {"name": "screen", "trials": 18, "samples": 3200, "evaluate": 1200},
    {"name": "full", "trials": 6, "samples": 4800, "evaluate": 5000},
)
GROWING = (
    {"trials": 14, "samples": 2000, "evaluate": 500},
    {"trials": 6, "samples": 5000, "evaluate": 1000},
    {"trials": 3, "samples": 12000, "evaluate": 5000},
)
STEP_S, WORKERS = 5.0, 2
Share = Callable[[float], float]


class Shown(Notes):
    """Keeps what was shown, and when."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[float, float | None]] = []

    def update(self, state: ProgressState) -> None:
        self.told.append((time.monotonic(), state.seconds_left))


def accuracy(task: Task) -> float:
    """Larger networks are better, with a scatter."""
    scatter = np.random.default_rng(int(task.architecture.id, 16)).normal(0.0, 0.06)
    return 0.3 + 0.2 * min(1.0, cost(task.architecture).macs / 1e9) + scatter


class Machine:
    """Two workers, whose trials take 13 to 50 s of a processor at 3,200 samples and get `share(now)` of it."""

    def __init__(self, share: Share, watched: bool) -> None:
        self.share, self.watched = share, watched
        self.now, self.jobs = 0.0, dict[str, SimpleNamespace]()

    def effort(self, job: Job) -> tuple[float, float]:
        """Of training, and of all: a power of its cost, another than is assumed, and a scatter that cost can't tell."""
        fidelity, design = job.task.fidelity, job.task.architecture
        macs = cost(reduced(design, fidelity), 10, deploy=False).macs
        own = np.random.default_rng(int(design.id, 16)).lognormal(0.0, 0.2)
        a_sample = float(6e-3 * (macs / 1.2e7) ** 0.8 * own)
        return a_sample * fidelity.samples, 2.0 + a_sample * (fidelity.samples + 0.2 * fidelity.evaluate)

    def run(self, driver: Driver) -> float:
        """The search to its end -> when that was."""
        while self.start(driver) or self.jobs:
            self.now += STEP_S
            for each in self.jobs.values():
                each.used += STEP_S * self.share(self.now)
            driver.watch(Usage(len(self.jobs) * STEP_S * self.share(self.now), WORKERS) if self.watched else None)
            for key in [key for key, each in self.jobs.items() if each.used >= each.effort[1]]:
                each = self.jobs.pop(key)
                seconds, part = self.now - each.since, each.effort[0] / each.effort[1]
                figures = {"train_seconds": part * seconds, "cpu_seconds": part * each.used}
                figures["accuracy"] = accuracy(each.job.task)
                driver.tell(each.job, Outcome(State.COMPLETE, figures, None, seconds))
        return self.now

    def start(self, driver: Driver) -> bool:
        while len(self.jobs) < WORKERS and (job := driver.ask()) is not None:
            self.jobs[job.id] = SimpleNamespace(job=job, since=self.now, used=0.0, effort=self.effort(job))
        return bool(self.jobs)


Ladder = Sequence[Mapping[str, object]]
Simulated = Callable[..., tuple[Shown, float]]


@pytest.fixture
def simulated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Simulated:
    """A search on workers that get `share(now)` of a processor -> what was shown, and when it ended."""

    def simulate(
        share: Share, ladder: Ladder = TWO_RUNGS, watched: bool = True, promotion: str = "rungs"
    ) -> tuple[Shown, float]:
        machine, shown = Machine(share, watched), Shown()
        monkeypatch.setattr(time, "monotonic", lambda: machine.now)
        runner = RunnerSpec(kind="ray", workers=WORKERS)
        settings = {"strategy": {"name": "random"}, "budgets": ("1GFLOP",), "finalists": 3, "promotion": promotion}
        study = study_of(ladder=ladder, runner=runner, **settings)
        with TrialStore(tmp_path) as store:
            return shown, machine.run(search_parts(study, store, progress=shown).driver)

    return simulate


def within_a_quarter(shown: Shown, end: float, since: float) -> bool:
    """Of the time that was left, at each moment from `since` on; half a minute more or less is no error."""
    told = [(now, left) for now, left in shown.told if since <= now < end]
    return bool(told) and all(
        left is not None and abs(left - (end - now)) < 0.25 * (end - now) + 30 for now, left in told
    )


def slow_notes(shown: Shown) -> list[str]:
    return [note for note in shown.notes if "of a processor core" in note]


@pytest.mark.parametrize("ladder", [TWO_RUNGS, GROWING])
@pytest.mark.parametrize("watched", [True, False])
def test_on_an_idle_machine_it_is_right_within_a_quarter_from_the_second_minute_on(
    simulated: Simulated, ladder: Ladder, watched: bool
) -> None:
    shown, end = simulated(lambda now: 1.0, ladder, watched)
    assert within_a_quarter(shown, end, 120.0)
    assert not slow_notes(shown)


def test_where_designs_go_on_meanwhile_it_is_right_too(simulated: Simulated) -> None:
    shown, end = simulated(lambda now: 1.0, GROWING, promotion="asynchronous")
    assert within_a_quarter(shown, end, 120.0)


@pytest.mark.parametrize("watched", [True, False])
def test_beside_other_work_it_is_right_as_soon_as_a_trial_has_ended_and_the_user_is_told_why(
    simulated: Simulated, watched: bool
) -> None:
    """Beside processes of higher priority trials get 10 to 30 % of a core."""
    shown, end = simulated(lambda now: 0.2 + 0.1 * np.sin(now / 10), TWO_RUNGS, watched)
    first = next(now for now, told in shown.told if told is not None)
    assert within_a_quarter(shown, end, max(120.0, first + 60))
    (note,) = slow_notes(shown)
    assert ("--priority normal" in note) == watched


@pytest.mark.parametrize("watched", [True, False])
def test_a_machine_that_others_begin_to_use_is_noticed(simulated: Simulated, watched: bool) -> None:
    shown, end = simulated(lambda now: 1.0 if now < 240 else 0.2, TWO_RUNGS, watched)
    told = [(now, left) for now, left in shown.told if left is not None]
    before = next(left for now, left in told if now >= 235)
    soon = next(left for now, left in told if now >= 400)
    assert soon > 1.5 * before  # it has grown, though nothing may have ended
    assert within_a_quarter(shown, end, 540.0 if watched else 700.0)
    assert len(slow_notes(shown)) == 1


def test_what_is_measured_beside_the_first_trials_ends_and_is_no_other_work(
    simulated: Simulated, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On two cores of which the calibration takes one for 100 s."""
    monkeypatch.setattr(hardware, "cpu_cores", lambda: 2)
    monkeypatch.setattr(NoDevice, "under_way", property(lambda _: time.monotonic() < 100))
    shown, end = simulated(lambda now: 0.5 if now < 100 else 1.0)
    assert within_a_quarter(shown, end, 120.0)
    assert not slow_notes(shown)
