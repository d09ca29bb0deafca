"""Whether what a search returned still leads after long training, on a stored search with a stand-in for training."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from audit_toys import Images

import nasbench
from nasbench.auditing.confirmation import FOLDER, Confirmation, confirm
from nasbench.auditing.rows import read_rows
from nasbench.cli import main
from nasbench.engine.warm_start import Known, note_long_training
from nasbench.errors import UserError
from nasbench.page.content import study_content
from nasbench.proxy.reduction import reduced
from nasbench.report.noise import challengers
from nasbench.report.tables import records
from nasbench.study.fidelity import Fidelity
from nasbench.study.notes import LongNote
from nasbench.study.runner import RunnerSpec
from nasbench.study.store import TrialStore
from nasbench.study.study import Study
from nasbench.study.trials import Level
from nasbench.table.rows import LONG_RUNG, Circumstances, TableRow, row_of
from nasbench.table.table import Table

STORED = Path(__file__).parent.parent / "results" / "search" / "six" / "seed-0"  # with `confirmed`
PUBLISHED, DESIGNS = challengers(nasbench.open_study(STORED).rows())
assert PUBLISHED is not None
BEST, RIVAL = DESIGNS[0].name, PUBLISHED.name


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of a stored run whose trainings are the toy's; the more multiply-adds, the better. What its table
    expected of long training is left out."""
    copy = tmp_path / "mine"
    shutil.copytree(STORED, copy, ignore=shutil.ignore_patterns(FOLDER))
    lines = (copy / "trials.jsonl").read_text().splitlines(keepends=True)
    (copy / "trials.jsonl").write_text("".join(line for line in lines if '"name":"long"' not in line))
    study = Study.open(copy)
    study.replace(runner=RunnerSpec(kind="serial")).write(copy)
    monkeypatch.setattr("nasbench.auditing.collecting.WORK", "audit_toys:measure")
    monkeypatch.setattr("nasbench.proxy.evaluate.prepare", lambda *_: Images)
    monkeypatch.setattr("nasbench.proxy.evaluate.dataset", lambda *_: Images)
    monkeypatch.setattr(Images, "id", study.data_id)
    return copy


def test_the_best_design_and_the_best_published_networks_train_ten_times_as_long(folder: Path) -> None:
    found = confirm(folder)
    study = Study.open(folder)
    rows = read_rows(folder / FOLDER).values()
    assert {row.samples for row in rows} == {10 * study.ladder.rungs[-1].fidelity.samples}
    assert {row.seed for row in rows} == {max(study.final_seeds) + 1, max(study.final_seeds) + 2}
    names = [row.name for row in found.rows]
    assert {BEST, RIVAL} <= set(names)
    assert len(names) == 4
    table = pd.read_csv(folder / FOLDER / "confirmed.csv")
    assert list(table["network"]) == names
    assert table["long"].is_monotonic_decreasing
    assert set(table["long_seeds"]) == {2}


def test_what_is_trained_is_not_trained_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = confirm(folder)
    monkeypatch.setattr("nasbench.auditing.collecting.run", lambda *_: pytest.fail("nothing is left to train"))
    assert confirm(folder).verdict() == before.verdict()
    assert Confirmation.read(nasbench.open_study(folder)).verdict() == before.verdict()


def test_a_row_of_another_reduced_network_does_not_count(folder: Path) -> None:
    confirm(folder, networks=["emo_1m"])
    path = folder / FOLDER / "scores.jsonl"
    lines = path.read_text().splitlines()
    stale = [json.dumps(json.loads(line) | {"proxy_id": "0" * 16}) if "emo_1m" in line else line for line in lines]
    path.write_text("\n".join(stale) + "\n")
    assert [row.name for row in Confirmation.read(nasbench.open_study(folder)).rows] == [BEST]


def test_each_comparison_is_held_against_the_noise_of_its_seeds(folder: Path) -> None:
    """The toy's seeds lie a thousandth apart, so that all differences are more than noise."""
    found = confirm(folder, networks=["emo_1m", "emo_6m"], seeds=3)
    ((design, leads),) = found.leads()
    assert design.name == BEST
    for lead in leads:
        ours, other = (sum(row.accuracies.values()) / 3 for row in (design, lead.rival))
        assert lead.gap == pytest.approx(ours - other)
        assert lead.needed == pytest.approx(2 * 0.001 * (2 / 3) ** 0.5)
        assert lead.exceeds_noise is (ours > other)
    by_rival = dict(zip((lead.rival.name for lead in leads), found.verdict()))
    assert f"{BEST} (" in by_rival["emo_1m"].partition(" leads ")[0]
    assert f"{BEST} (" in by_rival["emo_6m"].partition(" leads ")[2]
    assert all("more than seed noise (0.2 needed)" in line for line in found.verdict())


def test_one_training_each_says_nothing_of_noise(folder: Path) -> None:
    assert all("nothing of noise" in line for line in confirm(folder, networks=["emo_1m"], seeds=1).verdict())


def test_the_report_says_it_and_no_longer_asks_for_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["front", str(folder)]) == 0
    assert f"nasbench confirm {folder}" in capsys.readouterr().out
    assert main(["confirm", str(folder)]) == 0
    lines = Confirmation.read(nasbench.open_study(folder)).verdict()
    assert all(line in capsys.readouterr().out.replace("\n", " ") for line in lines[:1])
    assert main(["front", str(folder)]) == 0
    assert "nasbench confirm" not in capsys.readouterr().out
    bands = study_content(nasbench.open_study(folder), "mine")["bands"]
    assert [band["reasons"][2:] for band in bands if band["name"] == BEST] == [lines]
    assert all(len(band["reasons"]) == 2 for band in bands if band["name"] != BEST)


def test_a_stored_run_tells_what_came_of_its_design() -> None:
    found = Confirmation.read(nasbench.open_study(STORED))
    lines = found.verdict()
    assert len(lines) == len(found.rows) - 1 > 1
    assert any(line.startswith(f"After 10 times the training {BEST} (") and RIVAL in line for line in lines)


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"designs": ["fastvit_t8"]}, "not among the searched designs"),
        ({"networks": ["resnet18"]}, "not among the published networks"),
        ({"seeds": 0}, "must be at least 1"),
    ],
)
def test_what_cannot_be_confirmed_is_told(asked: dict, why: str, folder: Path) -> None:
    with pytest.raises(UserError, match=why):
        confirm(folder, **asked)
    assert not (folder / FOLDER).exists()


def test_other_images_than_the_study_s_confirm_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Images, "id", "others")
    with pytest.raises(UserError, match="its images have changed"):
        confirm(folder)


def test_a_search_without_labels_has_no_accuracy_to_confirm(folder: Path) -> None:
    study = Study.open(folder)
    study.replace(objectives=("masked_error", "latency_ms")).write(folder)
    (folder / "trials.jsonl").write_text("")
    with pytest.raises(UserError, match="searched by masked_error"):
        confirm(folder)


def rows_at_the_top(study: Study, store: TrialStore, fidelity: Fidelity | None = None) -> list[TableRow]:
    """The trainings of a study's highest rung as a table's, or as if they had been made at another fidelity."""
    circumstances = Circumstances(study.data, "cpu float32", study.ladder, [])
    trials = [each for each in store.trials if each.complete and each.level == Level(study.ladder.top)]
    rows = [(each, row_of(replace(each, fidelity=fidelity or each.fidelity), circumstances)) for each in trials]
    return [row.replace(proxy_id=reduced(each.design, fidelity or each.fidelity).id) for each, row in rows]


def long_rows(study: Study, store: TrialStore, fidelity: Fidelity) -> list[TableRow]:
    """Long trainings of the same designs, in which a lead is a fifth of what it was."""
    return [row.replace(accuracy=0.68 + 0.2 * row.accuracy) for row in rows_at_the_top(study, store, fidelity)]


def test_what_the_search_s_table_expects_of_long_training_is_told_until_it_is_measured(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = Study.open(folder)
    longer = study.ladder.rungs[-1].fidelity.longer
    with TrialStore(folder) as store:
        rows = rows_at_the_top(study, store)
        note_long_training(study, Known(Table(rows, "short"), study.ladder.rungs[0].fidelity), store)
        assert not store.notes(LongNote)  # a table without long trainings has nothing to tell
        rows += long_rows(study, store, longer)
        note_long_training(study, Known(Table(rows, "toys"), study.ladder.rungs[0].fidelity), store)
    assert main(["front", str(folder)]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    found = re.search(r"After 10 times the training the table expects ([\d.]+) ± [\d.]+ % of (\w+) \(", printed)
    assert found is not None
    expected, name = float(found[1]) / 100, found[2]
    shown = {each["name"]: each for each in records(nasbench.open_study(folder).rows())}
    assert expected == pytest.approx(0.68 + 0.2 * shown[name]["accuracy_measured_mean"], abs=0.01)
    assert expected == pytest.approx(shown[name]["accuracy_long_expected_mean"], abs=1e-3)
    assert shown[name]["on_front"]
    bands = study_content(nasbench.open_study(folder), "mine")["bands"]
    assert next(band["reasons"][-1] for band in bands if band["name"] == name) in printed
    assert name in [row.name for row in confirm(folder).rows]
    assert main(["front", str(folder)]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "the table expects" not in printed
    assert f"After 10 times the training {name}" in printed or f"leads {name}" in printed


def test_long_trainings_of_several_lengths_tell_nothing(folder: Path) -> None:
    """As in a table of two ladders: none of them is the long one, and the search ends as it would without them."""
    study = Study.open(folder)
    longer = study.ladder.rungs[-1].fidelity.longer
    with TrialStore(folder) as store:
        rows = [
            *rows_at_the_top(study, store),
            *long_rows(study, store, longer),
            *(
                row.replace(rung=LONG_RUNG)
                for row in long_rows(study, store, longer.replace(samples=longer.samples * 2))
            ),
        ]
        note_long_training(study, Known(Table(rows, "toys"), study.ladder.rungs[0].fidelity), store)
        assert not store.notes(LongNote)
