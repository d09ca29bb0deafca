"""Which fields matter: what is exchanged, against scores of which it is known, and how it is told."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nasbench import cli
from nasbench.errors import UserError
from nasbench.files import write_toml
from nasbench.importance import estimate
from nasbench.importance.estimate import _exchanged, importances
from nasbench.importance.levers import code_of, levers_of
from nasbench.importance.samples import Scored, drawn_designs, importances_of, macs_of, of_study, of_table
from nasbench.report.results import open_study
from nasbench.space import SearchSpace
from nasbench.space.genotype import Genotype
from nasbench.table.loading import load_table

STUDY = Path(__file__).parent.parent / "results" / "default-former"
SPACE = SearchSpace.from_dict(
    {
        "resolution": [64, 128],
        "stem": {"channels": 16},
        "stages": [
            {"channels": 32, "depth": [0, 1, 2], "kernel": [3, 5, 7]},
            {"channels": 64, "depth": [1, 2], "block": ["mbconv", "transformer"], "kernel": [3, 5], "patch": [1, 2]},
        ],
    },
    "toy",
)
DRAWN = drawn_designs(SPACE, 120)


@pytest.fixture(autouse=True)
def small_forests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "TREES", 6)
    monkeypatch.setattr(estimate, "DRAWS", 3)


def located() -> list[Genotype]:
    found = [SPACE.locate(arch) for arch in DRAWN]
    return [each for each in found if not isinstance(each, str)]


def test_a_field_is_exchanged_where_it_takes_effect_and_takes_along_what_hangs_on_it() -> None:
    genotypes = located()
    names = [column.name for column in SPACE._columns]
    levers = {lever.name: lever for lever in levers_of(SPACE, genotypes, "place")}
    assert {names[at] for at in levers["stage 2 patch"].columns} == {"stages[1].patch"}
    attends = [each[3]["block"] == "transformer" for each in genotypes]
    assert levers["stage 2 patch"].moves[0].among.tolist() == attends
    assert {names[at] for at in levers["stage 2 block"].columns} == {
        *("stages[1].block=mbconv", "stages[1].block=transformer", "stages[1].kernel", "stages[1].patch"),
    }
    assert levers["stage 1 kernel"].moves[0].among.tolist() == [each[2]["depth"] > 0 for each in genotypes]
    assert {names[at] for at in levers["stage 1 is there"].columns} == {"stages[0].depth", "stages[0].kernel"}
    assert "stage 2 is there" not in levers
    whole = {lever.name: {names[at] for at in lever.columns} for lever in levers_of(SPACE, genotypes, "stage")}
    assert set().union(*whole.values()) == set(names)
    assert sum(map(len, whole.values())) == len(names), "each column in one part"


def test_no_design_gets_a_value_of_a_field_that_it_has_not() -> None:
    genotypes = located()
    code, outside, rng = code_of(SPACE, genotypes), np.arange(len(genotypes)), np.random.default_rng(0)
    for lever in levers_of(SPACE, genotypes, "field"):
        if lever.name in ("kernel", "patch"):
            changed = _exchanged(code, lever, outside, rng)
            assert ((changed == 0) == (code == 0)).all(), "absent stays absent"
            assert sorted(changed[:, lever.columns[0]]) == sorted(code[:, lever.columns[0]])
            assert (changed != code).any()


def test_what_a_score_is_made_of_is_found_and_noise_is_told_as_such() -> None:
    rng = np.random.default_rng(1)
    kernels = np.array([each[3].get("kernel", 0) for each in located()], dtype=float)
    resolutions = np.array([arch.resolution for arch in DRAWN])
    truth = Scored("truth", tuple(DRAWN), tuple(kernels + resolutions / 1000 + 0.1 * rng.normal(size=len(DRAWN))))
    found = importances_of(SPACE, truth, "place", draws=6)
    assert found.means_something
    assert found.levers[0].name in ("stage 2 kernel", "stage 2 block"), "a transformer's kernel is its block's doing"
    told = {each.name for each in found.levers if found.tells_apart(each)}
    assert "stage 1 kernel" not in told
    noise = replace(truth, values=tuple(rng.normal(size=len(DRAWN))))
    nothing = importances_of(SPACE, noise, draws=6)
    assert not nothing.means_something
    assert "too little to say what matters" in nothing.told
    assert not any(nothing.tells_apart(each) for each in nothing.levers)


def test_too_few_designs_and_equal_scores_are_errors() -> None:
    few = Scored("score", tuple(DRAWN[:9]), tuple(range(9)))
    with pytest.raises(UserError, match="score: 9 designs of the space have it; it takes 16"):
        importances_of(SPACE, few)
    with pytest.raises(UserError, match="the same for all 120 designs"):
        importances_of(SPACE, Scored("score", tuple(DRAWN), (1.0,) * len(DRAWN)))
    outside = open_study(STUDY)
    with pytest.raises(UserError, match=r"none of \d+ designs lies in"):
        importances_of(SPACE, of_study(outside))
    assert importances(np.zeros((20, 1)), np.arange(20.0), [], "s", draws=2).levers == ()


def test_a_studys_scores_and_a_tables_are_averaged_over_seeds() -> None:
    result, table = open_study(STUDY), load_table("metablock")
    lowest = [trial for trial in result.trials if trial.complete and trial.level == (0, False)]
    scored = of_study(result)
    assert len(scored.designs) == len({trial.architecture_id for trial in lowest})
    assert of_study(result, table).values == scored.values, "trained by another recipe: not alike"
    rows = of_table(table)
    assert len(rows.designs) == len({arch.id for arch in rows.designs}) > 50


def test_the_command_prints_draws_and_writes_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_toml(tmp_path / "toy.toml", SPACE.to_dict())
    words = ["space", "importance", str(tmp_path / "toy.toml"), "--metric", "macs", "--designs", "40"]
    assert cli.main([*words, "-o", str(tmp_path / "what.svg")]) == 0
    assert "more than none" in capsys.readouterr().out
    assert {path.name for path in tmp_path.iterdir()} == {"toy.toml", "what.png", "what.svg", "what.pdf"}
    assert cli.main([*words, "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["designs"] == 40
    assert found["score"] == macs_of([]).score
    assert cli.main([*words, "-o", str(tmp_path / "none" / "what.svg")]) == 2
