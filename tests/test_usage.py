"""Trials beside other work: what share of the processor they get, what is said of it, and their priority."""

from __future__ import annotations

import pytest

from nasbench import hardware
from nasbench.errors import UserError
from nasbench.running import ProcessorShare, RunnerSpec, Usage, load_runner


def looked_at(
    runner: RunnerSpec, steps: list[tuple[Usage, bool]], running: int = 2
) -> tuple[ProcessorShare, list[str]]:
    """What is known after so many looks, ten seconds apart, and what was said."""
    now, said = [0.0], list[str]()
    share = ProcessorShare(runner, said.append, "nasbench resume a", lambda: now[0])
    for usage, measuring in steps:
        now[0] += 10.0
        share.watch(usage, running, measuring)
    return share, said


def share_after(runner: RunnerSpec, steps: list[tuple[Usage, bool]]) -> ProcessorShare:
    return looked_at(runner, steps)[0]


def said_after(runner: RunnerSpec, steps: list[tuple[Usage, bool]], running: int = 2) -> list[str]:
    return looked_at(runner, steps, running)[1]


def test_a_share_is_processor_time_over_the_time_of_the_trials_that_run() -> None:
    assert share_after(RunnerSpec(), 12 * [(Usage(20.0, 2), False)]).share == pytest.approx(1.0)
    assert share_after(RunnerSpec(), 12 * [(Usage(5.0, 2), False)]).share == pytest.approx(0.25)
    assert share_after(RunnerSpec(), 12 * [(Usage(5.0, 1), False)]).share == pytest.approx(0.5)  # the other one starts
    assert share_after(RunnerSpec(), 2 * [(Usage(5.0, 2), False)]).share is None  # too early
    assert share_after(RunnerSpec(device="cuda"), 12 * [(Usage(1.0, 2), False)]).share is None
    turned = share_after(RunnerSpec(), 60 * [(Usage(20.0, 2), False)] + 60 * [(Usage(2.0, 2), False)])
    assert turned.share == pytest.approx(0.1, abs=0.01)  # what was long ago is forgotten


@pytest.mark.parametrize(
    ("runner", "used", "said"),
    [
        (RunnerSpec(), 20.0, None),
        (RunnerSpec(), 13.0, None),
        (RunnerSpec(), 2.0, "trials get 10% of a processor core: other work on this machine takes the rest, and comes "
         "first, for they run at low priority; to share alike, stop and go on by `nasbench resume a`"),
        (RunnerSpec(priority="normal"), 8.0, "trials get 40% of a processor core: other work on this machine takes the "
         "rest; they take longer until it ends"),
        (RunnerSpec(threads=2, cpus_per_trial=2), 30.0, None),
    ],
)  # fmt: skip
def test_other_work_is_told_once(runner: RunnerSpec, used: float, said: str | None) -> None:
    assert said_after(runner, 12 * [(Usage(used, 2), False)]) == ([] if said is None else [said])


def test_what_the_search_itself_measures_is_no_other_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "cpu_cores", lambda: 2)
    assert not said_after(RunnerSpec(), 12 * [(Usage(10.0, 2), True)])  # two share the other core
    assert said_after(RunnerSpec(), 12 * [(Usage(4.0, 2), True)])
    monkeypatch.setattr(hardware, "cpu_cores", lambda: 1)
    assert not said_after(RunnerSpec(), 12 * [(Usage(0.3, 1), True)], 1)


def test_trials_elsewhere_tell_of_it_themselves() -> None:
    figures = {"train_seconds": 100.0, "cpu_seconds": 9.0}
    said: list[str] = []
    ProcessorShare(RunnerSpec(device="cuda"), said.append).ended(figures, 2)
    assert not said
    ProcessorShare(RunnerSpec(address="auto"), said.append).ended(figures, 2)
    (notice,) = said
    assert "--priority" not in notice
    assert notice.startswith("trials get 9%")


def test_a_priority_is_no_part_of_a_study_and_not_ours_to_set_everywhere() -> None:
    assert "priority" not in RunnerSpec(priority="normal").to_dict()
    assert load_runner("laptop", "normal").priority == "normal"
    assert load_runner("laptop").priority == "low"
    with pytest.raises(UserError, match="RAY_worker_niceness=0"):
        RunnerSpec(address="auto").with_priority("normal")
    with pytest.raises(UserError, match="start it with `nice`"):
        RunnerSpec(kind="serial").with_priority("normal")
