"""`search` and `resume` as a user calls them: a real small study through Ray, and what is refused before it starts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from search_toys import Notes, study_of

import nasbench
from nasbench.engine.device_source import DeviceSource
from nasbench.errors import UserError
from nasbench.latency.device import Measurement, this_device
from nasbench.latency.profile import load_device, new_profile, study_profile_path
from nasbench.latency.records import Protocol, Record, Reference
from nasbench.report.rows import ReportRow
from nasbench.space.shipped import load_space

RUNNER = """
kind = "ray"
workers = 2
memory_gib_per_trial = 0.5
[[ladder]]
name = "low"
trials = 4
samples = 256
pool = 256
evaluate = 100
width = 0.25
[[ladder]]
name = "high"
trials = 2
samples = 512
pool = 256
evaluate = 100
width = 0.25
"""


def save_profile() -> None:
    """A profile of this machine by formula: fitting a real one takes a minute."""
    space, rng, records = load_space("small"), np.random.default_rng(0), []
    for arch in {arch.id: arch for arch in (space.sample(rng) for _ in range(60))}.values():
        latency_ms = 0.1 + 2e-8 * nasbench.cost(arch).macs
        measured = Measurement(latency_ms, latency_ms / 2, 0.01, latency_ms, latency_ms, 2.0, 60, 3, False)
        records.append(Record(id=arch.id, architecture=arch.to_dict(), measurement=measured))
    reference = Reference(name="by formula", sha256="", quiet_ms=2.0)
    new_profile("this-machine", records[:30], this_device(), Protocol(), reference).save()


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A folder with a runner file and a cache that holds a device profile."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "tiny.toml").write_text(RUNNER)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NASBENCH_CACHE", str(folder / "cache"))
        patch.chdir(folder)
        save_profile()
        yield folder


def command(workplace: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "nasbench", *words]


SEARCH = ("search", "--space", "small", "--budget", "100MFLOP", "--runner", "tiny.toml", "--out", "mine")


@pytest.fixture(scope="module")
def study(workplace):
    """Started from the command line, killed with -9 once two trials are finished, resumed to its end."""
    environment = {**os.environ, "PYTHONPATH": str(Path(nasbench.__file__).parents[1])}
    log = (workplace / "log.txt").open("w")
    process = subprocess.Popen(command(workplace, *SEARCH), env=environment, stdout=log, stderr=log)
    trials, deadline = workplace / "mine" / "trials.jsonl", time.monotonic() + 240
    while time.monotonic() < deadline and process.poll() is None:
        if trials.exists() and trials.read_text().count('"finished"') >= 2:
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = {key for key, record in finished(trials).items()}
    assert len(before) >= 2, (workplace / "log.txt").read_text()
    done = subprocess.run(
        command(workplace, "resume", "mine", "--json"), env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return workplace / "mine", before, json.loads(done.stdout)


def finished(trials: Path) -> dict[str, list[dict]]:
    records: dict[str, list[dict]] = {}
    for line in trials.read_text().splitlines():
        record = json.loads(line)
        if record["kind"] == "finished":
            records.setdefault(record["key"], []).append(record)
    return records


def test_a_killed_search_loses_nothing_and_trains_nothing_twice(study):
    folder, before, _ = study
    records = finished(folder / "trials.jsonl")
    assert before <= set(records)
    assert all(len(of_key) == 1 for of_key in records.values())
    assert [r[0]["reason"] for r in records.values() if r[0]["state"] != "complete"] == []
    assert len(records) == 4 + 2 + 2 * 3


def test_every_trial_counts_its_network_and_checks_its_deploy_form(study):
    folder, _, _ = study
    for (record,) in finished(folder / "trials.jsonl").values():
        metrics = record["metrics"]
        assert metrics["proxy_macs"] > 0
        assert metrics["deploy_difference"] < 1e-9
        assert 0 <= metrics["accuracy"] <= 1


def test_the_folder_holds_what_the_user_takes_away(study):
    folder, _, printed = study
    names = {path.name for path in folder.iterdir()}
    assert {
        "study.toml",
        "environment.json",
        "trials.jsonl",
        "front.csv",
        "front.png",
        "front.svg",
        "front.pdf",
        "designs",
        "report.html",
    } <= names
    front = [network for network in printed["networks"] if network["on_front"]]
    assert front
    for network in front:
        arch = nasbench.load(folder / network["file"])
        assert arch.id == network["id"]
        assert network["latency_ms_measured"] > 0
        assert network["split"] == "test"
        assert network["seeds"] == 3
    assert len(json.loads((folder / "environment.json").read_text())["runs"]) == 2


def test_the_same_search_again_trains_nothing(study, workplace):
    folder, _, _ = study
    before = (folder / "trials.jsonl").read_text().count('"finished"')
    result = nasbench.search(space="small", budgets=["100MFLOP"], runner="tiny.toml", out="mine")
    assert (folder / "trials.jsonl").read_text().count('"finished"') == before
    assert all(isinstance(row, ReportRow) for row in result.front())
    assert len(result.to_pandas()) == before


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"budgets": ["1KFLOP"]}, "1KFLOP"),
        ({"budgets": ["1G"]}, "ambiguous"),
        ({"space": "nowhere"}, "unknown search space 'nowhere'"),
        ({"strategy": "luck"}, "unknown strategy 'luck'; known strategies: evolution, local"),
        ({"runner": "mainframe"}, "unknown runner 'mainframe'"),
        ({"data": "no/such/folder"}, "no/such/folder"),
        ({"device": "pixel-9"}, "unknown device 'pixel-9'"),
        ({"trials": 0}, "trials"),
        ({"trials": "3"}, "trials = '3': is no whole number"),
        ({"seed": True}, "seed = True: is no whole number"),
        ({"time_limit": "10min"}, "time_limit = '10min': is no number"),
        ({"runner": None}, "runner = None: is no name or path"),
        ({"objective": 3}, "objective = 3: is no text"),
        ({"strategy_options": ["a"]}, "strategy_options = ['a']: is no dict"),
    ],
)
def test_bad_input_is_refused_in_one_line_before_anything_is_written(workplace, changes, text):
    wanted = {"space": "small", "budgets": ["100MFLOP"], "runner": "tiny.toml", "out": "refused"} | changes
    with pytest.raises(UserError) as error:
        nasbench.search(**wanted)
    assert text in str(error.value)
    assert "\n" not in str(error.value)
    assert not Path("refused").exists()


def test_what_is_no_path_is_refused_alike_everywhere():
    for read in (nasbench.resume, nasbench.open_study, nasbench.load_table, nasbench.load_model):
        with pytest.raises(UserError, match="= 3: is no name or path"):
            read(3)
    with pytest.raises(UserError, match="seeds = '2': is no whole number"):
        nasbench.audit(["emo_1m"], seeds="2")
    with pytest.raises(UserError, match=r"seeds = 2\.5: is no whole number"):
        nasbench.confirm("mine", seeds=2.5)
    with pytest.raises(UserError, match="unknown architecture '3'"):
        nasbench.audit(3)


def test_a_folder_of_another_study_is_left_alone(study):
    folder, _, _ = study
    before = (folder / "study.toml").read_bytes()
    with pytest.raises(UserError, match=r"holds another study .*nasbench resume"):
        nasbench.search(space="small", budgets=["90MFLOP"], runner="tiny.toml", out="mine")
    assert (folder / "study.toml").read_bytes() == before


def test_a_cluster_that_does_not_answer(workplace):
    with pytest.raises(UserError, match=r"ray address '127.0.0.1:1' does not answer"):
        nasbench.search(space="small", budgets=["100MFLOP"], runner="tiny.toml", out="far", address="127.0.0.1:1")
    assert not Path("far").exists()


def test_a_study_from_another_machine_goes_on_with_this_one_s_profile(workplace, tmp_path):
    """What it measured there says nothing here; the profile in the cache does, and nothing is measured anew."""
    progress = Notes()
    here, space = load_device(), load_space("small")
    study = study_of(space, ({"trials": 4, "samples": 64},), strategy={"name": "random"})
    elsewhere = here.model_copy(update={"made": "elsewhere", "device": replace(here.device, cpu="Z80")})
    elsewhere.save(study_profile_path(tmp_path))
    source = DeviceSource(study, space, tmp_path, progress)
    assert source().made == here.made
    assert "Z80" in progress.notes[0]
    assert "going on without" in progress.notes[0]
    assert len(progress.notes) == 1  # no fit was begun
    own = here.model_copy(update={"made": "here, by the study"})
    own.save(study_profile_path(tmp_path))
    assert DeviceSource(study, space, tmp_path, progress)().made == "here, by the study"
