"""A collection from its command to its file: what is trained in which order, stopped, and gone on with."""

from __future__ import annotations

import json
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import table_toys
from fuzz_kinds import collection_folder
from PIL import Image
from search_toys import Notes
from shared_spaces import DEFAULT, FIXED, SMALL
from table_toys import evaluate, with_toys

import nasbench
from nasbench.cli import main
from nasbench.costs.budget import Budget
from nasbench.errors import UserError
from nasbench.files import parse_toml, write_toml
from nasbench.running import Job
from nasbench.space.fixed import published_members
from nasbench.space.shipped import load_space
from nasbench.strategies.relatives import in_turn
from nasbench.study.spool import spool_write
from nasbench.study.store import TrialStore
from nasbench.study.task import Task
from nasbench.study.trials import complete_or_failed
from nasbench.table import collection
from nasbench.table.collection import Collection
from nasbench.table.designs import OCTAVES, Octaves, Stratified, kind_of, spread
from nasbench.table.loading import load_table
from nasbench.table.plan import FIRST_SEED, Part, whole_plan
from nasbench.table.start import collect
from nasbench.table.table import Table

LIMIT = Budget.parse("32MFLOP")


@pytest.fixture
def toys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    return with_toys(monkeypatch, tmp_path)


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[Task]:
    """What is trained from here on."""
    tasks: list[Task] = []
    monkeypatch.setattr(table_toys, "accuracy", lambda task, real=table_toys.accuracy: tasks.append(task) or real(task))
    return tasks


def distinct(tasks: list[Task]) -> list[tuple[str, int, int]]:
    """The trainings, each once: the toy works its accuracy out twice."""
    return list(dict.fromkeys((task.architecture.id, task.fidelity.samples, task.seed) for task in tasks))


def drawing(seed: int) -> Stratified:
    return Stratified(SMALL, Octaves(LIMIT, 1000), (), np.random.default_rng(seed))


def test_octaves_get_equal_shares_and_draws_repeat_by_their_seed() -> None:
    octaves = Octaves(LIMIT, 1000)
    drawn = list(islice(drawing(3).draw(), 24))
    assert len({arch.id for arch, _ in drawn}) == 24
    shares = Counter(octaves.of(arch) for arch, _ in drawn)
    assert shares == dict.fromkeys(range(OCTAVES), 6)
    assert [arch.id for arch, _ in islice(drawing(3).draw(), 24)] == [arch.id for arch, _ in drawn]
    plain = np.random.default_rng(3)
    by_chance = Counter(octaves.of(SMALL.sample(plain, (LIMIT,))) for _ in range(24))
    assert max(by_chance.values()) > 6, "plain draws are not spread"


def test_kinds_of_blocks_are_as_even_as_there_are_any() -> None:
    def evenness(designs: list[nasbench.Architecture]) -> float:
        counts = Counter(kind_of(arch) for arch in designs)
        return max(counts.values()) / len(designs)

    drawn = [arch for arch, _ in islice(drawing(1).draw(), 24)]
    plain = np.random.default_rng(1)
    assert evenness(drawn) <= evenness([SMALL.sample(plain, (LIMIT,)) for _ in range(24)])


def test_designs_that_are_there_count_towards_the_shares() -> None:
    octaves, source = Octaves(LIMIT, 1000), drawing(5)
    there = [arch for arch, _ in islice(drawing(4).draw(), 40) if octaves.of(arch) == 1][:4]
    source.hold(there)
    drawn = Counter(octaves.of(arch) for arch, _ in islice(source.draw(), 12))
    assert len(there) == 4
    assert drawn == {0: 4, 2: 4, 3: 4}


def test_half_of_the_designs_are_children_of_published_members(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nasbench.table.designs.CANDIDATES", 1)  # so that it stays quick
    members, limit = [FIXED[name] for name in ("emo_1m", "fastvit_t8", "mobilevit_xxs")], Budget.parse("2GFLOP")
    source = Stratified(DEFAULT, Octaves(limit, 1000), members, np.random.default_rng(0), {arch.id for arch in members})
    drawn = list(islice(source.draw(), 2 * OCTAVES))
    assert Counter(origin for _, origin in drawn) == {"random": OCTAVES, "bred": OCTAVES}
    assert all(DEFAULT.contains(arch) for arch, _ in drawn)
    assert not {arch.id for arch, _ in drawn} & {arch.id for arch in members}


def test_a_budget_that_only_a_device_can_judge_is_refused() -> None:
    with pytest.raises(UserError, match="budget '10ms': designs of a table are spread over what arithmetic gives"):
        Octaves(Budget.parse("10ms"), 1000)


def test_designs_spread_over_quality_and_cost() -> None:
    accuracies = {f"d{i:02d}": i / 40 for i in range(40)}
    places = {key: index % 4 for index, key in enumerate(accuracies)}
    chosen = spread(accuracies, places, 8)
    values = sorted(accuracies[key] for key in chosen)
    assert len(set(chosen)) == 8
    assert np.diff(values).max() <= 0.25
    assert values[0] <= 0.125
    assert values[-1] >= 0.875
    assert Counter(places[key] for key in chosen) == dict.fromkeys(range(4), 2)
    assert spread(accuracies, places, 4, first=["d07", "gone"])[0] == "d07"
    assert sorted(spread(accuracies, places, 99)) == sorted(accuracies)
    assert spread({}, {}, 3) == []


def test_picks_take_the_bands_in_turn() -> None:
    bands, hopes = np.array([0, 0, 0, 5, 5]), np.array([0.9, 0.8, 0.7, 0.2, 0.1])
    assert in_turn(bands, hopes) == [0, 3, 1, 4, 2]


def test_the_whole_plan() -> None:
    assert whole_plan(0, 3, 0) == [Part(0, 0, 1), Part(0, 0, 3), Part(-1, 0, 1)]
    assert whole_plan(4, 1, 0) == [Part(0, 4, 1), Part(0, 1, 1), Part(-1, 1, 1)]
    assert whole_plan(80, 3, 1) == [Part(0, 80, 1), Part(0, 8, 3), Part(1, 10, 2), Part(-1, 8, 1)]


def test_published_members_come_first(toys: str, tmp_path: Path, trained: list[Task]) -> None:
    table = collect("emo", "1GFLOP", 2, rung="screen", seeds=2, runner=toys, out=tmp_path / "emo")
    order = distinct(trained)
    members = list(published_members(load_space("emo"), (Budget.parse("1GFLOP"),), 1000))
    assert [key for key, _, _ in order[: 2 * len(members)]] == members * 2
    assert [seed for _, _, seed in order[:: len(members)]][:2] == [FIRST_SEED, FIRST_SEED + 1]
    assert table.rows()["origin"].value_counts().to_dict()["published"] == 2 * len(members)
    assert len(table) == 2 * len(members) + 4


def test_what_is_there_is_not_trained_again_and_more_can_be_asked_for(
    toys: str, tmp_path: Path, trained: list[Task]
) -> None:
    first = collect("small", "32MFLOP", 4, rung=0, runner=toys, out=tmp_path / "mine")
    count = len(distinct(trained))
    assert collect("small", "32MFLOP", 4, rung=0, runner=toys, out=tmp_path / "mine").content == first.content
    assert len(distinct(trained)) == count == 4
    more = collect("small", "32MFLOP", 6, rung=0, runner=toys, out=tmp_path / "mine")
    assert len(more) == 6
    assert set(first.ids) < set(more.ids)
    long = collect("small", "32MFLOP", 2, rung="long", runner=toys, out=tmp_path / "mine")
    assert {row.architecture_id for row in long.content if row.rung == -1} < set(more.ids)


def test_replicates_are_spread_over_quality(toys: str, tmp_path: Path) -> None:
    def replicated(table: Table) -> list[str]:
        return [key for key in table.ids if len(table.where(architecture_id=key)) == 2]

    first = collect("small", "32MFLOP", 12, rung=0, runner=toys, out=tmp_path / "mine")
    table = collect("small", "32MFLOP", 3, rung=0, seeds=2, runner=toys, out=tmp_path / "mine")
    assert len(table) == 15
    ranked = sorted(first.content, key=lambda row: row.accuracy)
    places = sorted([row.architecture_id for row in ranked].index(key) // 4 for key in replicated(table))
    assert places == [0, 1, 2], "one of each third"
    more = collect("small", "32MFLOP", 5, rung=0, seeds=2, runner=toys, out=tmp_path / "mine")
    assert set(replicated(table)) < set(replicated(more)), "what has been begun stays"


def test_a_collection_that_was_killed_goes_on(
    toys: str, tmp_path: Path, trained: list[Task], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A torn last line, a training that had not ended, and one of which the worker left the outcome in the spool."""
    out, started = tmp_path / "cut", []

    def killed(source: Any, *_: object) -> None:
        for turn in range(4):
            job: Job = source.ask()
            started.append(job)
            outcome = complete_or_failed(evaluate(job.task), 1.0, {})
            if turn < 2:
                source.tell(job, outcome)
            elif turn == 2:
                spool_write(out / "spool", job.id, outcome)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nasbench.table.start.run", killed)
        with pytest.raises(KeyboardInterrupt):
            collect("small", "32MFLOP", 6, rung=0, runner=toys, out=out)
    with (out / "trials.jsonl").open("a") as file:
        file.write('{"kind":"submitted","key":"torn')
    trained.clear()
    notes = Notes()
    table = collect("small", "32MFLOP", 6, rung=0, runner=toys, out=out, progress=notes)
    assert len(table) == len(table.ids) == 6
    assert {job.task.architecture.id for job in started} <= set(table.ids)
    again = [key for key, _, _ in distinct(trained)]
    assert started[3].task.architecture.id == again[0], "what had not ended comes first"
    assert not {job.task.architecture.id for job in started[:3]} & set(again)
    assert "3 trainings are finished, 1 of them found in the spool; going on" in notes.notes
    assert not list((out / "spool").iterdir())


def test_a_later_part_waits_for_what_it_chooses_from(
    toys: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With four trainings at a time the second part takes designs of the first, and draws no new ones."""

    def four_at_a_time(source: Any, *_: object) -> None:
        running: list[Job] = []
        while True:
            while len(running) < 4 and (job := source.ask()) is not None:
                running.append(job)
            if not running:
                return
            job = running.pop(0)
            source.tell(job, complete_or_failed(evaluate(job.task), 1.0, {}))

    monkeypatch.setattr("nasbench.table.start.run", four_at_a_time)
    table = collect("small", "32MFLOP", 10, runner=toys, out=tmp_path / "mine")
    assert len(table.ids) == 10


def test_a_folder_of_other_rows_is_refused(toys: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "mine"
    collect("small", "32MFLOP", 1, rung=0, runner=toys, out=out)
    words = ["table", "collect", "--space", "small", "--budget", "32MFLOP", "--runner", toys, "--out", str(out)]
    before = (out / "trials.jsonl").read_bytes()
    for more, told in (
        (["--split", "test"], "other split: 'validation' there, 'test' here"),
        (["--recipe", "proxy-sgd"], "other fidelities of the rungs"),
        (["--space", "emo", "--budget", "1GFLOP"], "other space"),
        (["--rung", "third"], "rung 'third': the ladder has 0 (screen), 1 (full) and -1 (long)"),
        (["--budget", "5ms"], "budget '5ms'"),
        (["--designs", "9" * 15], "designs = 999999999999999: must be from 0"),
    ):
        assert main([*words, *more]) == 2
        assert told in capsys.readouterr().err
    assert (out / "trials.jsonl").read_bytes() == before
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    assert main([*words[:-1], str(tmp_path / "full")]) == 2
    assert "holds files, but no collection.toml" in capsys.readouterr().err


def test_a_folder_whose_designs_are_reduced_otherwise_today_is_refused(toys: str, tmp_path: Path) -> None:
    out = tmp_path / "mine"
    collect("small", "32MFLOP", 1, rung=0, runner=toys, out=out)
    lines = (out / "trials.jsonl").read_text()
    (row,) = load_table(out).content
    (out / "trials.jsonl").write_text(lines.replace(row.proxy_id, "another"))
    with pytest.raises(UserError, match="1 of its trainings are of networks that designs are not reduced to any more"):
        collect("small", "32MFLOP", 2, rung=0, runner=toys, out=out)


def test_a_training_that_fails_is_told_and_not_tried_again(
    toys: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(task: Task) -> float:
        raise RuntimeError("out of luck")

    monkeypatch.setattr(table_toys, "accuracy", fails)
    notes = Notes()
    assert len(collect("small", "32MFLOP", 2, rung=0, runner=toys, out=tmp_path / "mine", progress=notes)) == 0
    assert sum("out of luck" in note for note in notes.notes) == 2
    with TrialStore(tmp_path / "mine", read_only=True) as store:
        assert [trial.reason for trial in store.trials] == ["RuntimeError: out of luck"] * 2


def test_no_training_starts_after_the_time_limit(toys: str, tmp_path: Path) -> None:
    table = collect("small", "32MFLOP", 3, rung=0, runner=toys, out=tmp_path / "mine", time_limit=1e-9)
    assert len(table) == 0
    assert (tmp_path / "mine" / "table.csv.gz").is_file()


def test_a_surrogate_of_the_rows_predicts_and_picks(
    toys: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Picks are new designs within the budget; a run that asks for as many as there are picks no more."""
    words = ["table", "collect", "--space", "small", "--budget", "32MFLOP", "--runner", toys]
    words += ["--out", str(tmp_path / "mine")]
    assert main([*words, "--around", "2"]) == 2
    assert "holds no trainings to pick from" in capsys.readouterr().err
    assert not (tmp_path / "mine").exists()
    table = collect("small", "32MFLOP", 12, rung=0, runner=toys, out=tmp_path / "mine")
    known = [each.architecture for each in table.trainings()]
    found = table.predict(known, rung=0)
    truth = [row.accuracy for row in table.content]
    assert found.mean.shape == found.std.shape == (12,)
    assert np.corrcoef(found.mean, truth)[0, 1] > 0.8
    assert (found.std > 0).all()
    for _ in range(2):
        assert main([*words, "--around", "3"]) == 0
        picked = load_table(tmp_path / "mine").where(origin="picked")
        assert len(picked) == len(picked.ids) == 3
        assert not set(picked.ids) & set(table.ids)
        assert all(nasbench.cost(arch).macs <= 32e6 for arch in picked.architectures.values())


def test_designs_of_a_users_own(
    toys: str, tmp_path: Path, trained: list[Task], capsys: pytest.CaptureFixture[str]
) -> None:
    """All seeds of one before the next; one that is there stays what it is; nothing is begun where one does not fit;
    what a driver that was killed had begun can wait."""

    def killed(source: Any, *_: object) -> None:
        assert source.ask() is not None
        raise KeyboardInterrupt

    first = collect("small", "32MFLOP", 1, rung=0, runner=toys, out=tmp_path / "mine")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nasbench.table.start.run", killed)
        with pytest.raises(KeyboardInterrupt):
            collect("small", "32MFLOP", 2, rung=0, runner=toys, out=tmp_path / "mine")
    trained.clear()
    new = SMALL.sample(np.random.default_rng(7), (LIMIT,))
    for name, arch in (("new", new), ("there", *first.architectures.values())):
        write_toml(tmp_path / f"{name}.toml", arch.to_dict())
    words = ["table", "collect", "--space", "small", "--budget", "32MFLOP", "--runner", toys]
    words += ["--out", str(tmp_path / "mine"), "--seeds", "2", "--architectures"]
    files = [str(tmp_path / "new.toml"), str(tmp_path / "there.toml")]
    for refused, told in (
        ([files[0], "emo_1m"], "emo_1m: outside space 'small': "),
        ([*files, "--around", "2"], "--architectures says which designs are trained"),
        ([files[0], "--budget", "1MFLOP"], "new.toml: costs more than 1MFLOP"),
    ):
        assert main([*words, *refused]) == 2
        assert told in capsys.readouterr().err
    assert not trained
    for _ in range(2):
        assert main([*words, *files]) == 0
    (old,) = first.ids
    assert distinct(trained) == [(new.id, 64, 101), (new.id, 64, 102), (old, 64, 102)]
    table = load_table(tmp_path / "mine")
    assert table.where(architecture_id=new.id).rows()["origin"].unique().tolist() == ["given"]
    assert table.where(architecture_id=old).rows()["origin"].unique().tolist() == [first.content[0].origin]


def test_a_surrogate_needs_one_set_of_images_and_validation_scores(toys: str, tmp_path: Path) -> None:
    table = collect("small", "32MFLOP", 4, rung=0, runner=toys, out=tmp_path / "mine")
    first, *others = table.content
    mixed = Table([first.replace(data_id="other", data="photos"), *others])
    with pytest.raises(UserError, match=r"rows of several sets of images: photos \(other\), fashion-on-earth \(toy\)"):
        mixed.predict(list(mixed.architectures.values()))
    with pytest.raises(UserError, match="no training that counts is scored on validation images"):
        Table(row.replace(split="test") for row in table.content).predict(list(table.architectures.values()))


@pytest.fixture
def blobs(tmp_path: Path) -> Path:
    """Three classes of plain colours."""
    for index, colour in enumerate(("red", "green", "blue")):
        (tmp_path / "blobs" / colour).mkdir(parents=True)
        for number in range(15):
            pixels = np.full((32, 32, 3), 10 * number, np.uint8)
            pixels[..., index] = 255
            Image.fromarray(pixels).save(tmp_path / "blobs" / colour / f"{number}.png")
    return tmp_path / "blobs"


@pytest.mark.exhaustive
def test_a_training_for_real(
    blobs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NASBENCH_CACHE", str(tmp_path / "cache"))
    (tmp_path / "toys.toml").write_text(table_toys.RUNNER)
    words = ["--space", "small", "--designs", "1", "--rung", "0", "--runner", str(tmp_path / "toys.toml")]
    assert main(["table", "collect", *words, "--data", str(blobs), "--out", str(tmp_path / "mine"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["trainings"], told["stale"]) == (1, 0)
    assert told["provenance"]["data"] == {"blobs": 1}, "the folder's name, and not where it lies"
    (row,) = load_table(tmp_path / "mine").content
    assert 0 <= row.accuracy <= 1
    assert row.train_loss_tail is not None
    assert row.cpu_seconds is not None
    assert row.samples == 64


def test_of_two_collections_begun_in_one_new_folder_at_once_one_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = parse_toml(collection_folder()["collection.toml"].decode(), "file")
    first, second = (Collection.from_dict({**content, "split": split}) for split in ("validation", "test"))
    looked = collection.require_new_or_empty

    def meanwhile(folder: Path, file: str) -> None:
        looked(folder, file)
        monkeypatch.setattr(collection, "require_new_or_empty", looked)
        second.create(folder)

    monkeypatch.setattr(collection, "require_new_or_empty", meanwhile)
    with pytest.raises(UserError, match="holds rows of other split: 'test' there, 'validation' here; give another"):
        first.create(tmp_path)
    assert Collection.open(tmp_path) == second
