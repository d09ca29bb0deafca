"""An audit from its command to its report, with a stand-in for training; one training is real."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy
from audit_toys import Images, accuracy, measure
from PIL import Image

import nasbench
from nasbench.auditing.collecting import Wanted
from nasbench.auditing.result import ACCURACY, Audit
from nasbench.auditing.rows import read_rows, shipped_rows
from nasbench.auditing.start import MACS_LIMIT, audit, chosen_networks
from nasbench.auditing.tables import family_table, network_table, ranking_table
from nasbench.cli import main
from nasbench.errors import UserError
from nasbench.published.accuracies import accuracies
from nasbench.study.runner import LAPTOP, runner_ladder
from nasbench.study.spool import spool_write
from nasbench.study.standing import Standing, shipped_standings, standing_of
from nasbench.study.trials import complete_or_failed

NAMES = ("mobilevit_xxs", "mobilevit_s", "emo_1m", "emo_5m", "fastvit_t8", "fastvit_sa12", "deit_ti_distilled")
RESULTS = Path(__file__).parent.parent / "results" / "audit"


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NASBENCH_CACHE", str(folder))
        yield folder


def with_toys(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("nasbench.auditing.collecting.WORK", "audit_toys:measure")
    patch.setattr("nasbench.proxy.evaluate.prepare", lambda *_: Images)
    patch.setattr("nasbench.proxy.evaluate.dataset", lambda *_: Images)


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    with_toys(monkeypatch)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("audits") / "mine"


@pytest.fixture(scope="module")
def found(folder: Path, cache: Path) -> Audit:
    """The audit that lies in `folder`."""
    with pytest.MonkeyPatch.context() as patch:
        with_toys(patch)
        return audit(NAMES, seeds=2, long=True, runner="serial", out=folder)


def test_a_rung_is_held_against_published_accuracy(found: Audit) -> None:
    """The distilled network is trained and shown, and counts for nothing that compares with published accuracy."""
    rows = found.rows()
    assert sorted(rows["network"]) == sorted(NAMES)
    plain = rows[rows["training"] == "plain"]
    assert len(plain) == len(NAMES) - 1
    expected = scipy.stats.kendalltau(plain["published"], plain[ACCURACY]).statistic
    assert found.tau["published"] == pytest.approx(expected, abs=1e-4)
    assert found.tau["macs"] == pytest.approx(
        scipy.stats.kendalltau(plain["published"], plain["macs"]).statistic, abs=1e-4
    )
    assert found.tau["loss"] == found.tau["published"]  # the toy's loss is one minus its accuracy
    assert found.standing.networks == 6


def test_long_training_and_a_second_seed_are_truths_too(found: Audit) -> None:
    """The toy's longer trainings and other seeds move all networks alike, so both agree wholly."""
    assert found.tau["long"] == 1
    assert found.tau["seed"] == 1
    assert found.standing.seeds == 2
    figure = found.agreement(truth="seed")
    assert figure is not None
    assert figure.pairs == len(NAMES) * (len(NAMES) - 1) // 2
    table = found.agreements()
    assert {"published", "long", "seed"} == set(table["truth"])
    assert np.isfinite(table["tau"]).all()


def test_the_scores_are_means_over_seeds(found: Audit) -> None:
    line = found.rows().set_index("network").loc["emo_5m"]
    assert line[ACCURACY] == pytest.approx((line["accuracy_seed_11"] + line["accuracy_seed_12"]) / 2)
    assert line["accuracy_seed_12"] - line["accuracy_seed_11"] == pytest.approx(0.1)
    assert line["macs"] == nasbench.cost(nasbench.load("emo_5m")).macs


def test_the_report_lies_in_the_folder(found: Audit, folder: Path, tmp_path: Path) -> None:
    assert {"scores.jsonl", "audit.csv", "audit.json", "audit.png", "audit.svg", "audit.pdf"} <= {
        p.name for p in folder.iterdir()
    }
    stored = json.loads((folder / "audit.json").read_text())
    assert stored["verdict"] == found.verdict()
    assert len(stored["rows"]) == len(NAMES)
    assert "emo_1m" in (folder / "audit.svg").read_text()  # misjudged, and so named
    assert standing_of(found.fidelity, "toy") == found.standing  # where a search looks for it
    assert found.plot(tmp_path / "again.png") == [tmp_path / f"again.{kind}" for kind in ("png", "svg", "pdf")]
    assert (tmp_path / "again.svg").read_bytes() == (folder / "audit.svg").read_bytes()


def test_what_rows_tell_is_not_trained_again(
    found: Audit, toys: None, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (folder / "scores.jsonl").read_text()
    monkeypatch.setattr("nasbench.auditing.collecting.run", lambda *_: pytest.fail("nothing is left to train"))
    again = audit(NAMES, runner="serial", out=folder)  # fewer seeds, no long trainings: those held count all the same
    assert again.tau == found.tau
    assert (folder / "scores.jsonl").read_text() == before


def test_an_audit_that_was_killed_goes_on(toys: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A torn last line, and an outcome that a worker left in the spool."""
    whole = audit(NAMES[:4], runner="serial", out=tmp_path / "whole")
    lines = (tmp_path / "whole" / "scores.jsonl").read_text().splitlines()
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "scores.jsonl").write_text("\n".join(lines[:3]) + "\n" + lines[3][:40])
    told: list[Wanted] = []

    def killed(source: Any, *_: object) -> None:
        """A worker finishes the first job, and the driver dies before it hears of it."""
        told.extend(source.waiting)
        job = source.ask()
        spool_write(tmp_path / "cut" / "spool", job.id, complete_or_failed(measure(job.task), 1.0, {}))
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nasbench.auditing.collecting.run", killed)
        with pytest.raises(KeyboardInterrupt):
            audit(NAMES[:4], runner="serial", out=tmp_path / "cut")
    assert len(told) == len(lines) - 3
    calls = []
    monkeypatch.setattr("audit_toys.accuracy", lambda work: calls.append(work) or accuracy(work))
    assert audit(NAMES[:4], runner="serial", out=tmp_path / "cut").tau == whole.tau
    assert read_rows(tmp_path / "cut") == read_rows(tmp_path / "whole")
    asked = [(work.task.architecture.name, work.trained) for work in calls]
    assert (told[0].name, told[0].trained) not in asked
    assert not list((tmp_path / "cut" / "spool").iterdir())


def test_a_row_of_a_network_that_is_reduced_otherwise_today_does_not_count(toys: None, tmp_path: Path) -> None:
    audit(NAMES[:3], runner="serial", out=tmp_path)
    path = tmp_path / "scores.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[0] |= {"proxy_id": "of another reduction", "accuracy": 0.99}
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert audit(NAMES[:3], runner="serial", out=tmp_path).rows()[ACCURACY].max() < 90


def test_a_training_that_fails_is_told_and_left_out(
    toys: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["mobilevit_xs", *NAMES[:3]]
    assert main(["audit", "--networks", *names, "--runner", "serial", "--out", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert "mobilevit_xs, 4,800 samples, seed 11 failed: RuntimeError: out of luck" in err
    assert "This rung orders published networks with tau" in out
    assert "counting parameters" in out


def test_images_of_ones_own_are_held_against_long_training(toys: None, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    short = audit(NAMES, data=photos, runner="serial", out=tmp_path / "mine")
    assert short.truth == "long"
    assert "--long trains 10 times as long" in short.verdict()[0]
    assert "published" in short.tau  # still shown
    long = audit(NAMES, data=photos, long=True, runner="serial", out=tmp_path / "mine")
    assert "as trainings 10 times as long do with tau 1.00 [1.00, 1.00]" in long.verdict()[0]
    assert any("other images than these" in line for line in long.verdict())
    assert long.standing.data == "photos"


def test_a_network_and_a_published_value_of_ones_own(toys: None, tmp_path: Path) -> None:
    arch = nasbench.load("emo_2m").model_copy(update={"name": "mine_2m", "resolution": 192})
    (tmp_path / "mine.toml").write_text(arch.to_toml())
    (tmp_path / "known.toml").write_text("mine_2m = 73.5\n")
    names = [*NAMES[:3], str(tmp_path / "mine.toml")]
    found = audit(names, published=tmp_path / "known.toml", runner="serial", out=tmp_path / "out")
    assert found.rows().set_index("network").loc["mine_2m", "published"] == 73.5
    assert found.standing.networks == 4


def test_networks_by_default_are_the_plain_ones_that_can_be_reduced() -> None:
    chosen, known = chosen_networks(None), accuracies()
    assert all(known[name].plain and nasbench.cost(arch).macs <= MACS_LIMIT for name, arch in chosen.items())
    assert len(chosen) >= 34
    assert "convnext_t" not in chosen  # spelled out as slots: it would be trained at full width
    assert "deit_ti_distilled" not in chosen


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--rung", "best"], "rung 'best': the ladder of laptop has 0 \\(screen\\), 1 \\(full\\)"),
        (["--networks", "emo_9m"], "unknown architecture 'emo_9m'"),
        (["--recipe", "mine"], "unknown recipe 'mine'"),
        (["--device", "phone"], "unknown device 'phone'"),
    ],
)
def test_what_cannot_be_audited_is_refused_in_one_line(
    toys: None, arguments: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["audit", *arguments, "--runner", "serial" if arguments[0] != "--rung" else LAPTOP,
                 "--out", str(tmp_path / "new")]) == 2  # fmt: skip
    assert not (tmp_path / "new").exists()
    err = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert len(err) == 1
    with pytest.raises(UserError, match=words):
        raise UserError(err[0])


def test_tables(found: Audit) -> None:
    lines = {line["network"]: line for line in network_table(found)}
    assert lines["deit_ti_distilled"]["published"] == "74.5 (d)"
    assert lines["emo_1m"]["off"].startswith("-")
    assert [line["ranking by"] for line in ranking_table(found, "long")][:2] == [
        "this rung: accuracy",
        "this rung: loss on test images",
    ]
    families = family_table(found)
    assert families[0]["family"] == "emo"
    assert families[0]["off the line of the others"].startswith("-")
    assert sum(line["networks"] for line in families) == 6  # the distilled one is not compared


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
def test_a_training_for_real(cache: Path, blobs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    options = ["--samples", "32", "--networks", "emo_1m", "--runner", "serial", "--data", str(blobs), "--json"]
    assert main(["audit", *options, "--out", str(out)]) == 0
    (trained, untrained) = sorted(read_rows(out).values(), key=lambda row: -row.samples)
    assert (trained.samples, untrained.samples, trained.seed) == (32, 0, 11)
    assert trained.accuracy is not None
    assert 0 <= trained.accuracy <= 1
    assert untrained.snip is not None
    assert trained.proxy_id == untrained.proxy_id
    printed = json.loads(capsys.readouterr().out)
    assert printed["rows"][0]["accuracy"] == pytest.approx(100 * trained.accuracy)
    assert printed["folder"] == str(out)


def test_the_shipped_audit_is_what_its_rows_give(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every figure of results/audit follows from scores.jsonl, and the package tells the same."""
    stored = json.loads((RESULTS / "audit.json").read_text())
    standing = Standing.from_dict({k: v for k, v in stored.items() if k in Standing.model_fields})
    assert standing in shipped_standings()
    assert any(row.fidelity == standing.fidelity for row in shipped_rows().values())
    monkeypatch.setattr(Images, "id", standing.data_id)
    monkeypatch.setattr("nasbench.proxy.evaluate.dataset", lambda *_: Images)
    assert runner_ladder(LAPTOP).rungs[-1].fidelity.id == standing.fidelity, "the ladder changed: audit it anew"
    found = audit(runner="serial", out=tmp_path)
    assert found.standing == standing
    assert found.verdict() == stored["verdict"]
