"""What an audit found of a rung, told in words, kept, and found again by searches."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from nasbench.cli import main
from nasbench.report.results import StudyResult
from nasbench.study.fidelity import Ladder, load_recipe
from nasbench.study.standing import (
    Figure,
    Standing,
    details,
    keep,
    ladder_lines,
    ladder_standings,
    sentences,
    shipped_standings,
    short,
    standing_of,
)

DEFAULT = Path(__file__).parent.parent / "results" / "default"
FIDELITY = load_recipe().at(1234)


def figure(tau: float) -> Figure:
    return Figure(tau=tau, low=tau - 0.1, high=tau + 0.1, pairs=45)


def standing(tau: float = 0.38, params: float = 0.49, macs: float = 0.3, **changes: object) -> Standing:
    content = {
        "fidelity": FIDELITY.id, "recipe": "proxy", "samples": 1234, "data": "toys", "data_id": "toy", "networks": 10,
        "families": 3, "seeds": 2, "truth": "published", "times": 10,
        "figures": {"published": figure(tau), "seed": figure(0.8)},
        "baselines": {"params": figure(params), "macs": figure(macs)},
        "advantage": {"params": figure(tau - params), "macs": figure(tau - macs)}, "in_order": (44, 57),
    }  # fmt: skip
    return Standing.from_dict({**content, **changes})


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NASBENCH_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize(
    ("value", "text"), [(0.38, ".38"), (-0.051, "-.05"), (1.0, "1.00"), (0.999, "1.00"), (0.0, ".00"), (-1, "-1.00")]
)
def test_correlations_are_written_as_papers_do(value: float, text: str) -> None:
    assert short(value) == text


def test_a_rung_worse_than_counting_is_told_so() -> None:
    assert sentences(standing()) == [
        "This rung orders published networks with tau .38 [.28, .48]; counting parameters .49, multiply-adds .30.",
        "This rung ranks the published networks worse than counting parameters does.",
    ]
    assert "worse than counting parameters or multiply-adds does" in sentences(standing(tau=0.1))[1]


def test_a_good_rung_is_not_slandered() -> None:
    assert len(sentences(standing(tau=0.7))) == 1


def test_details() -> None:
    lines = details(standing(misjudged={"emo": -1.6, "pvt": -3.0}))
    assert "it puts 44 in order (77%)" in lines[0]
    assert "Two seeds of it agree with tau .80 [.70, .90]" in lines[1]
    assert lines[2].endswith("pvt -3.0, emo -1.6.")
    assert "No family lies more" in details(standing())[-1]


def test_too_little_is_admitted() -> None:
    assert "too few networks" in sentences(standing(figures={}))[0]
    assert "--long" in sentences(standing(figures={}, truth="long"))[0]


def test_what_is_kept_is_found_by_fidelity_and_images() -> None:
    assert standing_of(FIDELITY, "toy") is None
    here, elsewhere = standing(), standing(data_id="other", data="others", tau=0.5)
    keep(elsewhere)
    assert standing_of(FIDELITY, "toy") == elsewhere  # better than nothing
    keep(here)
    assert standing_of(FIDELITY, "toy") == here
    assert standing_of(FIDELITY, "other") == elsewhere
    assert standing_of(FIDELITY.replace(samples=1235), "toy") is None


def test_an_audit_of_a_few_networks_on_other_images_says_nothing_of_these() -> None:
    vague = {"tau": 0.0, "low": -1.0, "high": 1.0, "pairs": 3}
    few = standing(data_id="other", figures={"published": vague})
    keep(few)
    assert standing_of(FIDELITY, "other") == few
    assert standing_of(FIDELITY, "toy") is None


def test_a_broken_file_in_the_cache_tells_nothing() -> None:
    path = keep(standing())
    path.write_text("{")
    assert standing_of(FIDELITY, "toy") is None


def test_an_audit_on_other_images_is_told_as_such() -> None:
    keep(standing())
    ladder = Ladder.from_tables([{"name": "first", "trials": 3, **FIDELITY.to_dict()}])
    found = ladder_standings(ladder, "mine")
    assert [name for name, _ in found] == ["The rung 'first'"]
    assert ladder_lines(found, "mine")[0].startswith("The rung 'first' (on toys, not on these images) orders published")
    assert ladder_lines(found, "toy")[0].startswith("The rung 'first' orders published")


def test_a_study_prints_and_stores_what_is_known_of_its_rungs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "study"
    folder.mkdir()
    for name in ("study.toml", "trials.jsonl"):
        shutil.copy(DEFAULT / name, folder)
    study = StudyResult.read(folder).study
    keep(standing(fidelity=study.ladder.rungs[0].fidelity.id, data_id=study.data_id))
    assert main(["front", str(folder)]) == 0
    name = study.ladder.rungs[0].name
    line = f"The rung '{name}' ranks the published networks worse than counting parameters does."
    assert line in capsys.readouterr().out
    assert main(["front", str(folder), "--json"]) == 0
    assert line in json.loads(capsys.readouterr().out)["conclusion"]
    StudyResult.read(folder).report()
    stored = json.loads((folder / "ladder.json").read_text())
    assert line in stored["verdict"]
    assert stored["audits"][0]["figures"]["published"]["tau"] == 0.38


def test_a_study_without_labels_is_told_nothing(tmp_path: Path) -> None:
    """The audit is of accuracy; what is painted ranks otherwise."""
    for name in ("study.toml", "trials.jsonl"):
        shutil.copy(DEFAULT / name, tmp_path)
    result = StudyResult.read(tmp_path)
    for rung in result.study.ladder.rungs:
        keep(standing(fidelity=rung.fidelity.id, data_id=result.study.data_id))
    assert len(result.standings) == len(result.study.ladder.rungs)
    masked = StudyResult(
        tmp_path, result.study.replace(objectives=("masked_error", "latency_ms")), result.trials, {}, {}
    )
    assert masked.standing_lines() == []


def test_every_shipped_audit_can_be_read() -> None:
    assert all(each.headline is not None for each in shipped_standings())
