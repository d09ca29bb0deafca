"""`nasbench table suggest`, on a made-up table of a small space: more pixels are better, or in the end fewer."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from shared_spaces import SMALL
from test_latency_profile import SmallSpace, made, record
from test_warm_start import table_of, with_long

from nasbench.cli import main
from nasbench.costs.analytic import cost
from nasbench.errors import UserError
from nasbench.latency.selection import calibration_set
from nasbench.table import suggesting
from nasbench.table.file import write_rows
from nasbench.table.suggesting import suggest

BUDGET = "300MFLOP"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache without any profile, and evolution of few designs."""
    monkeypatch.setenv("NASBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(suggesting, "GENERATIONS", 2)
    monkeypatch.setattr(suggesting, "CHILDREN", 30)
    return tmp_path


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One file, whose surrogate is fitted once."""
    file = tmp_path_factory.mktemp("table") / "toys.csv.gz"
    write_rows(file, table_of(30).content)
    return str(file)


def test_suggestions_keep_the_budget_are_of_different_blocks_and_the_best_that_was_seen(table: str) -> None:
    found = suggest(BUDGET, 4, space="small", table=table)
    assert found.when == "rung 0"
    assert found.evaluated > 30
    assert len({each.blocks for each in found.designs}) == len(found.designs) == 4
    assert [each.accuracy for each in found.designs] == sorted((each.accuracy for each in found.designs), reverse=True)
    for each in found.designs:
        assert SMALL.contains(each.arch)
        assert cost(each.arch).flops <= 300e6
        assert each.predicted is None
    within = [arch for arch in table_of(30).architectures.values() if cost(arch).flops <= 300e6]
    assert found.designs[0].arch.resolution >= max(arch.resolution for arch in within)
    assert suggest(BUDGET, 4, space="small", table=table)[0] == found.designs
    assert suggest(BUDGET, 4, space="small", table=table, seed=1).evaluated != found.evaluated


def test_long_training_counts_where_the_table_has_any(tmp_path: Path) -> None:
    write_rows(tmp_path / "long.csv.gz", with_long(table_of(30), 30).content)
    found = suggest(BUDGET, 1, space="small", table=tmp_path / "long.csv.gz")
    assert found.when == "long training"
    assert found.designs[0].arch.resolution == min(arch.resolution for arch in table_of(30).architectures.values())


def test_budgets_on_the_device_bind_on_the_upper_ends_of_predictions(
    table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    networks = calibration_set(SmallSpace(), 20, np.random.default_rng(0), num_classes=10)
    profile = made("toys", [record(arch) for arch in networks])
    monkeypatch.setattr(suggesting, "load_device", lambda name: profile)
    free = suggest(BUDGET, 3, space="small", table=table)
    slowest = max(each.predicted.latency.high for each in free.designs if each.predicted)
    limit = slowest / 2
    for each in suggest([BUDGET, f"{limit}ms"], 3, space="small", table=table).designs:
        assert each.predicted is not None
        assert each.predicted.latency.high <= limit


def test_random_designs_stand_in_where_the_table_has_too_few_within_the_budgets(tmp_path: Path) -> None:
    rows = sorted(table_of(30).content, key=lambda row: row.macs)
    limit = rows[10].macs
    write_rows(tmp_path / "big.csv.gz", rows[10:])
    found = suggest(f"{limit - 1}MAC", 2, space="small", table=tmp_path / "big.csv.gz")
    assert found.designs
    assert all(cost(each.arch).macs < limit for each in found.designs)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ({"budgets": "8ms"}, "this-machine"),
        ({"budgets": "1kMAC"}, "1kMAC"),
        ({"device": "nowhere"}, "nowhere"),
        ({"table": "nowhere"}, "nowhere"),
        ({"space": "nowhere"}, "nowhere"),
    ],
)
def test_what_cannot_be_suggested_is_told(table: str, words: dict[str, str], text: str) -> None:
    with pytest.raises(UserError, match=text):
        suggest(**{"budgets": BUDGET, "space": "small", "table": table, **words})


def test_the_command_shows_them_and_writes_their_files(
    table: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["table", "suggest", "--space", "small", "--table", table, "--budget", BUDGET, "--designs", "2"]
    assert main([*words, "-o", str(tmp_path / "new")]) == 0
    told = capsys.readouterr().out
    files = sorted((tmp_path / "new").glob("*.toml"))
    assert len(files) == 2
    assert all(file.stem[:8] in told for file in files)
    assert "Nothing was trained" in told
    assert main([*words, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert {each["id"] for each in record["designs"]} == {file.stem for file in files}
    assert record["expected_at"] == "rung 0"
    assert all(np.isfinite(each["accuracy_expected"]) for each in record["designs"])


@pytest.mark.parametrize(("content", "reason"), [(None, "nasbench latency fit"), ("{", "not a device profile")])
def test_a_profile_of_this_machine_that_cannot_be_read_is_told(
    content: str | None, reason: str, table: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        profile = home / "cache" / "devices" / "this-machine.json"
        profile.parent.mkdir(parents=True)
        profile.write_text(content)
    assert main(["table", "suggest", "--space", "small", "--table", table, "--budget", BUDGET]) == 0
    told = next(line for line in capsys.readouterr().err.splitlines() if "without latencies" in line)
    assert reason in told
