"""Thousands of damaged files of every kind that the program reads: each is refused in one line, or taken.

`make fuzz` damages 20,000 from other seeds, with a table of what came out.
"""

from __future__ import annotations

import random
import warnings
from pathlib import Path

import pytest
from damage import NUMBERS, changed, damaged
from fuzz import Tally, attack, bounded, lay, problem
from fuzz_kinds import KINDS

from nasbench.errors import UserError

FILES = 200  # of each kind
SEED = 0


@pytest.fixture(autouse=True)
def quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NASBENCH_CACHE", str(tmp_path / "cache"))
    warnings.simplefilter("ignore")


@pytest.mark.parametrize("name", KINDS)
def test_a_whole_file_is_taken(name: str, tmp_path: Path) -> None:
    kind = KINDS[name]
    for turn in range(3):
        files, target = kind.make(random.Random(turn))
        folder = tmp_path / str(turn)
        lay(folder, files)
        assert kind.mend(files[target]) is not None
        kind.read(folder, folder / target)


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", KINDS)
def test_damaged_files(name: str) -> None:
    tally = attack(name, SEED, 0, FILES)
    assert tally.faults == []
    assert tally.files == FILES


def test_what_counts_as_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def reading(action: object) -> Tally:
        def read(folder: Path, file: Path) -> None:
            action(folder)  # type: ignore[operator]

        monkeypatch.setitem(KINDS, "toy", KINDS["recipe"]._replace(read=read))
        return attack("toy", SEED, 0, 1)

    def refuse(text: str) -> object:
        def read(folder: Path) -> None:
            raise UserError(text)

        return read

    assert reading(refuse("a line")).refused == 1
    assert "one line" in reading(refuse("two\nlines")).faults[0]
    assert "one line" in reading(refuse("")).faults[0]
    assert "one line" in reading(refuse("x" * 5000)).faults[0]
    assert "KeyError" in reading(lambda folder: {}["a"]).faults[0]
    assert "MemoryError" in reading(lambda folder: bytearray(20 << 30)).faults[0]
    assert "written outside" in reading(lambda folder: (folder.parent / "x").touch()).faults[0]
    assert reading(lambda folder: (folder / "x").touch()).taken == 1


def test_a_file_that_hangs_is_a_fault(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def read(folder: Path, file: Path) -> None:
        while True:
            pass

    monkeypatch.setattr("fuzz.SECONDS", 0.05)
    with bounded():
        found = problem(KINDS["recipe"]._replace(read=read), tmp_path, tmp_path)
    assert found is not None
    assert found.startswith("Hang: ")


def test_damage_is_repeatable_and_damages() -> None:
    data = b'{"a": 1, "b": [1, 2, {"c": "d"}]}'
    for form in ("", "json"):
        drawn = [damaged(data, random.Random(seed), form) for seed in range(200)]
        assert drawn == [damaged(data, random.Random(seed), form) for seed in range(200)]
        assert sum(each != data for each in drawn) > 180
    values = {repr(changed({"a": 1}, random.Random(seed)).get("a")) for seed in range(2000)}
    assert {repr(number) for number in NUMBERS} <= values
