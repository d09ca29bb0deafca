"""The table of trained designs as a file and as a value: what is stored, read back, refused and worked out from it."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from statistics import stdev

import pandas as pd
import pytest
from search_toys import study_of
from table_toys import with_toys

import nasbench
from nasbench.arch.library import load
from nasbench.auditing.agreement import kendall
from nasbench.cli import main
from nasbench.errors import UserError
from nasbench.files import data_dir
from nasbench.study.fidelity import load_recipe
from nasbench.study.trials import Trial
from nasbench.table import loading
from nasbench.table.file import read_rows, write_rows
from nasbench.table.loading import add, load_table
from nasbench.table.rows import TableRow, merged, rung_of
from nasbench.table.start import collect
from nasbench.table.summary import summary
from nasbench.table.table import Table

DEFAULT = Path(__file__).parent.parent / "results" / "default-former"
DESIGNS = 16  # of the plan: 1 of them with three seeds, 2 at the second rung with two, 1 for long


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("tables")
    with pytest.MonkeyPatch.context() as patch:
        with_toys(patch, folder)
        yield folder


@pytest.fixture(scope="module")
def table(home: Path) -> Table:
    """A whole plan on a small space, in `home / "mine"`."""
    return collect("small", "32MFLOP", DESIGNS, runner=home / "toys.toml", out=home / "mine")


def test_the_plan_is_trained(table: Table) -> None:
    assert table.rungs == (0, 1, -1)
    counts = table.rows().groupby(["rung", "architecture_id"]).size()
    assert sorted(counts[0], reverse=True) == [3] + [1] * (DESIGNS - 1)
    assert list(counts[1]) == [2, 2]
    assert list(counts[-1]) == [1]
    assert table.stale == 0


def test_the_packed_file_holds_the_rows_and_pandas_reads_it(table: Table, home: Path) -> None:
    packed = home / "mine" / "table.csv.gz"
    again = load_table(packed)
    assert sorted(again.content, key=lambda row: row.key) == sorted(table.content, key=lambda row: row.key)
    frame = pd.read_csv(packed)
    assert frame["accuracy"].tolist() == again.rows()["accuracy"].tolist()
    assert list(frame.columns) == list(TableRow.model_fields)
    before = packed.read_bytes()
    write_rows(packed, reversed(table.content))
    assert packed.read_bytes() == before


def test_a_file_is_read_once_as_long_as_it_stays_as_it_is(
    table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    monkeypatch.setattr(loading, "read_rows", lambda path: (read.append(path), read_rows(path))[1])
    path = tmp_path / "own.csv"
    for rows in (table.content, table.content[:-1]):
        write_rows(path, rows)
        assert len(load_table(path)) == len(load_table(path)) == len(rows)
    assert read == [path, path]


def test_a_row_alone_says_what_was_trained(table: Table) -> None:
    """Architecture and fidelity are rebuilt from it, whatever space and recipe."""
    for row in table.content:
        content = json.loads(row.architecture)
        assert nasbench.Architecture.from_dict(content).id == row.architecture_id
        assert table.fidelities[row.fidelity].id == row.fidelity
        assert (row.data, row.data_id, row.numerics, row.split) == (
            "fashion-on-earth", "toy", "cpu float32", "validation",
        )  # fmt: skip
        assert row.nasbench.startswith(nasbench.__version__)
    assert table.fidelity(-1) == table.fidelity(1).longer
    assert table.fidelity(-1).samples == 1280


def test_noise_is_that_of_the_replicates(table: Table) -> None:
    noise = table.noise(0)
    assert noise is not None
    assert noise.degrees_of_freedom == 2
    assert noise.std == pytest.approx(stdev([0.001, 0.002, 0.003]), rel=1e-3)
    assert table.noise(-1) is None
    two = table.noise(1)
    assert two is not None
    assert two.degrees_of_freedom == 2
    assert two.std == pytest.approx(stdev([0.001, 0.002]), rel=1e-3)


def test_scores_of_different_splits_are_no_replicates(table: Table) -> None:
    row = next(row for row in table.content if row.rung == -1)
    other = row.replace(split="test", accuracy=0.9)
    assert Table([row, other]).noise(-1) is None


def test_a_row_whose_design_is_reduced_otherwise_today_does_not_count(table: Table) -> None:
    rows = [row.replace(proxy_id="other") if row.rung == 1 else row for row in table.content]
    found = Table(rows)
    assert found.stale == 4
    assert not found.trainings(1)
    assert len(found.trainings()) == len(table) - 4
    assert len(found) == len(table), "it stays in the file"


def test_the_summary_counts(table: Table) -> None:
    found = summary(table, 0)
    first = found["rungs"][0]
    assert (first["trainings"], first["designs"], first["with several seeds"]) == (DESIGNS + 2, DESIGNS, 1)
    assert first["seed noise, points"] == 0.1
    assert found["provenance"]["origin"] == {"random": len(table)}
    best = max(table.content, key=lambda row: row.accuracy * (row.rung == 0))
    assert best.architecture_id in {record["design"] for record in found["best"]}
    json.dumps(found, allow_nan=False)


def test_rungs_agree_as_kendall_says(table: Table) -> None:
    """The second rung of four designs in another order than the first."""
    firsts = [row for row in table.content if row.rung == 0 and row.seed == 101][:4]
    seconds = [
        row.replace(rung=1, accuracy=value, fidelity="f1", samples=128)
        for row, value in zip(firsts, (0.5, 0.4, 0.6, 0.7))
    ]
    (found,) = summary(Table([*firsts, *seconds]), 0)["agreement"]
    expected = kendall([row.accuracy for row in firsts], [row.accuracy for row in seconds])
    assert found["tau"] == pytest.approx(expected, abs=1e-3)
    assert found["designs"] == 4


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda data: data[: len(data) // 2], "cannot be unpacked"),
        (lambda data: b"\x1f\x8b" + data[20:], "cannot be unpacked"),
        (lambda data: gzip.decompress(data).replace(b"seed,", b"seeds,"), "has no column 'seed'"),
        (lambda data: gzip.decompress(data).replace(b",validation,0.", b",validation,7.", 1), "line 2: accuracy = '7."),
        (lambda data: gzip.decompress(data).replace(b",validation,0.", b",,0.", 1), "line 2: key 'split' is missing"),
        (lambda data: gzip.decompress(data)[:-40], "no line of CSV"),
        (lambda data: gzip.decompress(data).replace(b",", b"\xff", 1), "not UTF-8"),
        (lambda data: b"", "has no column"),
    ],
)
def test_a_damaged_file_is_one_clear_line(
    table: Table, home: Path, tmp_path: Path, damage, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "damaged.csv.gz"
    path.write_bytes(damage((home / "mine" / "table.csv.gz").read_bytes()))
    assert main(["table", "show", str(path)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert "damaged.csv.gz" in err
    assert words in err


def test_what_json_in_a_row_cannot_be_is_told(table: Table, tmp_path: Path) -> None:
    rows = [row.replace(architecture="[]") for row in table.content]
    write_rows(tmp_path / "odd.csv", rows)
    with pytest.raises(UserError, match=r"odd.csv: architecture \w+, architecture: not a JSON object"):
        load_table(tmp_path / "odd.csv").trainings()


def test_export_and_back(table: Table, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["table", "export", str(tmp_path / "out.csv"), "--table", str(home / "mine")]) == 0
    assert f"{len(table)} trainings of {DESIGNS} designs" in capsys.readouterr().out
    assert len(read_rows(tmp_path / "out.csv")) == len(table)
    for name, words in (("out.parquet", "written as .csv or .csv.gz"), ("no/out.csv", "does not exist")):
        assert main(["table", "export", str(tmp_path / name), "--table", str(home / "mine")]) == 2
        assert words in capsys.readouterr().err


@pytest.mark.usefixtures("table")
def test_trials_of_a_study_are_taken_in_once(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The shipped default study into a table of its own, by the name of its space."""
    assert main(["table", "add", str(DEFAULT), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["new"] == found["rows"] == 48
    again = add([DEFAULT])
    assert again.new == 0
    shipped, table = load_table(data_dir("search_spaces") / "tables" / "metablock.csv.gz"), load_table(again.path)
    assert len(load_table("metablock")) == len(shipped) + len(table)
    assert len(table) == 48
    assert set(table.rows()["split"]) == {"validation", "test"}
    assert set(table.rows()["origin"]) == {"published", "searched"}
    finals = [row for row in table.content if row.split == "test"]
    assert {row.rung for row in finals} == {1}
    assert {row.seed for row in finals} == {1, 2, 3}
    noise = table.noise(1)
    assert noise is not None
    assert noise.degrees_of_freedom == 10  # five finalists with three seeds; their validation scores stand alone
    found = summary(table, 1)
    assert found["compared"] == 33, "the finals' scores are of other images than the rest"
    assert found["agreement"][0]["designs"] == 7
    assert {record["trainings"] for record in found["best"]} == {1}
    assert main(["table", "show", str(again.path)]) == 0
    assert "fastvit_t8" in capsys.readouterr().out
    assert add([DEFAULT, home / "mine"], tmp_path / "both.csv.gz").rows > 48


def test_rungs_of_another_ladder_keep_no_number_that_is_taken(table: Table) -> None:
    row = next(row for row in table.content if row.rung == 1)
    other = row.replace(fidelity="another", rung=0, seed=7)
    same = row.replace(rung=None, seed=8)
    found = {each.seed: each.rung for each in merged(table.content, [other, same]) if each.seed in (7, 8)}
    assert found == {7: None, 8: 1}


def test_which_rung_a_fidelity_is() -> None:
    ladder = study_of(ladder=({"trials": 2, "samples": 64}, {"trials": 1, "samples": 128})).ladder
    last = ladder.rungs[-1].fidelity
    assert [rung_of(each, ladder) for each in (ladder.rungs[0].fidelity, last, last.longer)] == [0, 1, -1]
    assert rung_of(load_recipe().at(7), ladder) is None


@pytest.mark.usefixtures("table")
def test_a_study_without_accuracies_is_refused(home: Path, tmp_path: Path) -> None:
    study_of(objectives=("masked_error", "latency_ms")).create(tmp_path / "masked")
    with pytest.raises(UserError, match="objective masked, whose score is no accuracy"):
        add([tmp_path / "masked"])
    study_of().create(tmp_path / "empty")
    with pytest.raises(UserError, match="no trial there is a row of a table"):
        add([tmp_path / "empty"])
    with pytest.raises(UserError, match=r"holds neither study.toml nor collection.toml"):
        add([tmp_path])
    with pytest.raises(UserError, match=r"table '\.\./x': give a name of letters"):
        add([home / "mine"], "../x")


def test_names_that_are_no_table(home: Path, table: Table, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["table", "show", "nope"]) == 2
    assert "unknown table 'nope'" in capsys.readouterr().err
    assert main(["table", "show", str(home / "mine"), "--rung", "7"]) == 2
    assert "--rung 7" in capsys.readouterr().err
    with pytest.raises(UserError, match="has no column 'colour'"):
        table.where(colour="red")
    with pytest.raises(UserError, match="rung 5: rungs with rows: 0, 1, -1"):
        table.fidelity(5)


def test_a_trial_says_nothing_of_itself_that_its_key_does_not(table: Table) -> None:
    """A row and the trial that it came from are the same training: their identities go together."""
    row = table.content[0]
    arch, fidelity = table.architectures[row.architecture_id], table.fidelities[row.fidelity]
    first, second = (Trial.new(arch, fidelity, seed, row.data_id, row.split).key for seed in (row.seed, row.seed + 1))
    assert first != second
    assert row.key != row.replace(seed=row.seed + 1).key


@pytest.mark.exhaustive
def test_the_shipped_table_counts_today_and_tells_of_designs(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nasbench.surrogate.process.TREES", 40)  # the fit's longest part, and not what this is about
    table = load_table("metablock")
    assert table.stale == 0, "the reduction or the recipe changed: collect the table anew"
    assert len(table.ids) >= 70
    told = table.predict([load("fastvit_t8"), load("mobileone_s0")], rung=0)
    assert told.mean[0] > told.mean[1] > 0.1
    assert 0 < told.std.max() < 0.2
