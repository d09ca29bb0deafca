"""The bench: tables as spaces, replays that repeat, curves and tests that say what they should."""

from __future__ import annotations

import gzip
import itertools
import json
import signal
import subprocess
import sys

import numpy as np
import pytest

from nasbench.bench import runs
from nasbench.bench.comparison import compare, holm
from nasbench.bench.curves import Curves, curves_of
from nasbench.bench.problem import Scale
from nasbench.bench.reading import Source
from nasbench.bench.replay import Run, Setting, replay
from nasbench.bench.runs import read_runs, run_all
from nasbench.bench.space import TableSpace
from nasbench.bench.start import bench, show
from nasbench.cli import main
from nasbench.errors import UserError
from nasbench.pareto import hypervolume
from nasbench.strategies import STRATEGIES
from nasbench.study import journal

VALUES = {"width": (8, 16, 24, 32), "kernel": (3, 5, 7), "act": ("gelu", "relu"), "se": (False, True)}
GRID = list(itertools.product(*VALUES.values()))


def space_of(rows):
    return TableSpace.of(list(VALUES), [list(column) for column in zip(*rows)], [str(i) for i in range(len(rows))])


COMPLETE, SAMPLE = space_of(GRID), space_of([GRID[i] for i in np.random.default_rng(0).permutation(len(GRID))[:17]])


def accuracy(row):
    width, kernel, act, se = row
    return 60 + width / 4 - (kernel - 5) ** 2 / 2 + 2 * (act == "gelu") + se


@pytest.fixture
def table(tmp_path):
    """A CSV of every design with three seeds one point apart, and one row without a number."""
    lines = ["width,kernel,act,se,seed,epochs,accuracy,latency"]
    for row in GRID:
        told = ",".join(map(str, row))
        lines += [f"{told},{seed},12,{accuracy(row) + seed - 1},{row[0] * row[1]}" for seed in range(3)]
        lines.append(f"{told},0,200,99,1")
    lines.append("8,3,gelu,False,3,12,,24")
    (tmp_path / "mine.csv").write_text("\n".join(lines))
    (tmp_path / "mine.toml").write_text(
        'fields = ["width", "kernel", "act", "se"]\nobjectives = ["-accuracy", "latency"]\nwhere = {epochs = 12}\n'
    )
    return str(tmp_path / "mine.csv")


# Tables as spaces


def differing(space, a, b):
    return int((space.codes[a.place] != space.codes[b.place]).sum())


def test_moves_in_a_complete_table_change_as_many_fields_as_they_say():
    rng = np.random.default_rng(0)
    for row in COMPLETE:
        assert differing(COMPLETE, row, COMPLETE.mutate(row, rng, 1)) == 1
        assert differing(COMPLETE, row, COMPLETE.mutate(row, rng, 2)) in (1, 2)  # twice the same field, or two
        near = list(COMPLETE.neighbours(row))
        assert len({one.id for one in near}) == len(near) == 3 + 2 + 1 + 1
        assert all(differing(COMPLETE, row, one) == 1 for one in near)
        other = COMPLETE.sample(rng)
        codes = COMPLETE.codes[[row.place, other.place, COMPLETE.crossover(row, other, rng).place]]
        assert ((codes[2] == codes[0]) | (codes[2] == codes[1])).all()


def test_moves_in_a_sample_land_on_other_rows_that_are_near():
    rng = np.random.default_rng(0)
    for row in SAMPLE:
        nearest = min(differing(SAMPLE, row, other) for other in SAMPLE if other != row)
        moved = SAMPLE.mutate(row, rng, 1)
        assert SAMPLE.contains(moved)
        assert moved != row
        assert differing(SAMPLE, row, moved) <= nearest + 2  # a change away from the row, and back to another
        assert next(iter(SAMPLE.neighbours(row))) != row


@pytest.mark.parametrize("space", [COMPLETE, SAMPLE], ids=["complete", "sample"])
def test_parameters_and_descriptions_tell_designs_apart(space):
    assert all(space.from_parameters(space.parameters(row)) == row for row in space)
    assert len({space.describe(row).tobytes() for row in space}) == space.size()
    assert space.described.min() == 0
    assert space.described.max() == 1


def test_a_table_of_one_design_is_told():
    with pytest.raises(UserError, match="no field has two values"):
        space_of(GRID[:1])


# Reading


def test_rows_of_equal_fields_are_seeds_of_one_design(table):
    problem = Source(table, ("2",)).load()
    assert problem.objectives == ("-accuracy", "latency")
    assert problem.space.size() == len(GRID)
    truth = problem.truth(list(problem.space))
    rows = [tuple(problem.space.parameters(row).values()) for row in problem.space]
    assert set(rows) == set(GRID)
    assert np.allclose(truth[:, 0], [-accuracy(row) for row in rows])
    assert problem.scale.best == -max(map(accuracy, GRID))
    assert "1 rows without a number in an objective are left out" in problem.facts[1]


def test_one_training_is_drawn_by_seed_and_design_alone(table):
    problem = Source(table).load()
    assert all(problem.seen(one, 3, True) == problem.seen(one, 3, True) for one in problem.space)
    off = [problem.seen(one, seed, True)[0] - problem.truth([one])[0, 0] for one in problem.space for seed in range(9)]
    counts = np.unique(np.round(off), return_counts=True)
    assert counts[0].tolist() == [-1, 0, 1]
    assert (abs(counts[1] / len(off) - 1 / 3) < 0.1).all()  # each of the three seeds as often


def test_a_json_file_of_keys_has_a_field_for_each_character(tmp_path):
    rows = {
        "".join(key): {"acc": [float(i), i + 1.0], "macs": 5}
        for i, key in enumerate(itertools.product("012", repeat=2))
    }
    (tmp_path / "keys.json").write_text(json.dumps(rows))
    problem = Source(str(tmp_path / "keys.json"), ("-acc",), ("key*",)).load()
    assert problem.space.fields == ("key0", "key1")
    assert problem.truth(list(problem.space))[:, 0].tolist() == [-(i + 0.5) for i in range(9)]


@pytest.mark.parametrize(
    ("objectives", "fields", "text"),
    [
        (("3",), (), "--objectives 3: give 1 or 2"),
        (("speed",), (), "--objectives 'speed': the table offers -accuracy, latency"),
        (("-accuracy",), ("layer*",), r"no column is named 'layer\*'"),
        (("-top1",), ("width",), "no column 'top1'; it has width, kernel"),
        (("1",), ("width",), "--fields: name the --objectives too"),
    ],
)
def test_what_a_table_has_not_is_told(table, objectives, fields, text):
    with pytest.raises(UserError, match=text):
        Source(table, objectives, fields).load()


GOOD = "a,b,acc\n0,0,0.5\n0,1,0.6\n1,0,0.7\n"
CUT = gzip.compress(GOOD.encode() * 50, mtime=0)[:-20]  # no time in it: it is in the name of the test


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("cut.csv.gz", CUT, "cut.csv.gz: cannot be unpacked: .*put back a copy"),
        ("more.csv", b"a,b,acc\n0,0,0.5,\n0,1,0.6,\n", "its rows have more cells than its first line names columns"),
        ("semicolons.csv", GOOD.replace(",", ";").encode(), "no column is named 'a', .*; separate columns by commas"),
        ("latin.csv", GOOD.replace("b", "ä").encode("latin-1"), "latin.csv: cannot be read: not UTF-8 text"),
        ("none.csv", None, "none.csv: cannot be read: No such file or directory"),
    ],
)
def test_a_table_that_cannot_be_read_is_told(tmp_path, name, content, text):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=text):
        Source(str(tmp_path / name), ("-acc",), ("a", "b")).load()


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_cells_that_are_empty_are_a_value_of_their_field(tmp_path, encoding):
    text = "a, b, acc\r\n0,,1\r\n1,0,2\r\n2,1,3\r\n,,4\r\n"
    (tmp_path / "own.csv").write_bytes(text.encode(encoding))
    problem = Source(str(tmp_path / "own.csv"), ("acc",), ("a", "b")).load()
    told = {tuple(problem.space.parameters(row).values()): problem.truth([row])[0, 0] for row in problem.space}
    assert told == {(0, ""): 1, (1, 0): 2, (2, 1): 3, ("", ""): 4}


def test_a_file_that_nobody_describes_is_told(tmp_path):
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match=r"say it with --fields and --objectives, or in other\.toml"):
        Source(str(tmp_path / "other.csv")).load()


# Replays


@pytest.mark.parametrize("name", [*(name for name in STRATEGIES if ":" not in name), "optuna:tpe"])
def test_every_strategy_searches_a_table_and_repeats(table, name):
    problem = Source(table, ("2",)).load()
    first, again = (replay(problem, name, 5, Setting(14)) for _ in range(2))
    assert first.designs == again.designs
    assert len(set(first.designs)) == 14
    assert first.seen == first.truth
    if name != "local":  # which needs few random draws
        assert replay(problem, name, 6, Setting(14)).designs != first.designs


def test_the_model_needs_fewer_evaluations_than_random_search(table):
    problem = Source(table).load()

    def needed(name):
        runs = [replay(problem, name, seed, Setting(48)) for seed in range(5)]
        return np.mean([run.truth.index([problem.scale.best]) for run in runs])

    assert needed("model,initial=6,candidates=40") + 5 < needed("random")


def test_runs_are_kept_and_made_once(table, tmp_path):
    folder = tmp_path / "out"
    arguments = (Source(table), ["random", "evolution,initial=3"], range(2), Setting(12, True), folder)
    runs = run_all(*arguments)
    assert {(run.strategy, run.seed) for run in runs} == set(
        itertools.product(["random", "evolution,initial=3"], range(2))
    )
    text = (folder / "runs.jsonl").read_text()
    run_all(*arguments)
    assert (folder / "runs.jsonl").read_text() == text
    (folder / "runs.jsonl").write_text(text[:-40])  # as a kill leaves it
    assert len(read_runs(folder)) == 3
    again = run_all(*arguments)
    assert [run.replace(seconds=0.0) for run in again] == [run.replace(seconds=0.0) for run in runs]
    (folder / "runs.jsonl.gz").write_bytes(gzip.compress((folder / "runs.jsonl").read_bytes()))
    (folder / "runs.jsonl").unlink()
    packed = run_all(*arguments[:2], range(3), *arguments[3:])
    assert packed[:4] == again
    assert len((folder / "runs.jsonl").read_text().splitlines()) == 2
    (folder / "runs.jsonl.gz").write_bytes(b"no zip")
    with pytest.raises(UserError, match="cannot be unpacked"):
        read_runs(folder)
    with pytest.raises(UserError, match="its runs have evaluations 12, not 13; give another --out"):
        run_all(*arguments[:3], Setting(13, True), folder)


def test_a_folder_that_another_bench_writes_is_left_to_it(table, tmp_path, monkeypatch):
    monkeypatch.setattr(journal, "LOCK_WAIT_S", 0.0)
    arguments = (Source(table), ["random"], range(1), Setting(3), tmp_path / "out")
    run_all(*arguments)
    with journal.locked(tmp_path / "out"), pytest.raises(UserError, match="in use by process"):
        run_all(*arguments[:2], range(2), *arguments[3:])
    assert len(read_runs(tmp_path / "out")) == 1


def test_of_two_benches_begun_in_one_new_folder_at_once_one_is_there(table, tmp_path, monkeypatch):
    folder, looked = tmp_path / "out", runs.require_new_or_empty

    def meanwhile(*arguments):
        looked(*arguments)
        monkeypatch.setattr(runs, "require_new_or_empty", looked)
        run_all(Source(table), ["random"], range(1), Setting(3), folder)

    monkeypatch.setattr(runs, "require_new_or_empty", meanwhile)
    with pytest.raises(UserError, match="its runs have evaluations 3, not 4; give another --out"):
        run_all(Source(table), ["random"], range(1), Setting(4), folder)
    assert len(read_runs(folder)) == 1
    assert runs.read_bench(folder).evaluations == 3


def test_an_interrupted_bench_keeps_its_runs_and_goes_on(table, tmp_path, monkeypatch, capsys):
    command = ["bench", "run", "random", "--on", table, "--objectives=-accuracy", "--fields", "width,kernel,act,se"]
    command += ["--seeds", "3", "--evaluations", "4", "--workers", "1", "--out", str(tmp_path / "out")]

    def until_ctrl_c(problem, strategy, seed, setting):
        if seed == 2:
            raise KeyboardInterrupt
        return replay(problem, strategy, seed, setting)

    monkeypatch.setattr(runs, "replay", until_ctrl_c)
    assert main(command) == 130
    assert capsys.readouterr().err.endswith(
        "error: interrupted; what was finished is kept: `nasbench resume DIR` goes on with a search, the same command "
        "with all else\n"
    )
    before = (tmp_path / "out" / "runs.jsonl").read_text()
    assert [run.seed for run in read_runs(tmp_path / "out")] == [0, 1]
    monkeypatch.setattr(runs, "replay", replay)
    assert main(command) == 0
    assert [run.seed for run in read_runs(tmp_path / "out")] == [0, 1, 2]
    assert (tmp_path / "out" / "runs.jsonl").read_text().startswith(before)


def test_workers_do_not_hear_ctrl_c():
    """It reaches every process of the terminal, and a worker would answer with a traceback of its own."""
    code = "import signal; print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))"
    with runs._deaf_to_interrupts():
        assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "True\n"
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_a_function_that_was_changed_is_another_strategy(table, tmp_path):
    file = tmp_path / "mine.py"
    text = "def propose(context, n, settings):\n    return [context.space.row({} + len(context.candidates))]\n"
    arguments = (Source(table), [f"{file}:propose"], range(1), Setting(3), tmp_path / "out")
    file.write_text(text.format(0))
    (former,) = run_all(*arguments)
    file.write_text(text.format(5))
    again = run_all(*arguments)
    assert again[0] == former
    assert again[1].designs != former.designs
    assert [run.strategy.partition("@")[0] for run in again] == ["mine.py:propose"] * 2
    assert len(run_all(*arguments)) == 2


@pytest.mark.exhaustive
def test_workers_give_what_one_process_gives(table, tmp_path):
    two, one = (
        run_all(Source(table), ["random"], range(3), Setting(10), tmp_path / str(workers), workers=workers)
        for workers in (2, 1)
    )
    assert sorted((run.seed, run.designs) for run in two) == sorted((run.seed, run.designs) for run in one)


# Curves and tests


def run_of(strategy, seed, truth, seen=None, picks=()):
    truth = [[float(x) for x in np.atleast_1d(losses)] for losses in truth]
    seen = truth if seen is None else [[float(x)] for x in seen]
    return Run(
        strategy=strategy,
        seed=seed,
        designs=list(map(str, range(len(truth)))),
        seen=seen,
        truth=truth,
        picks=list(picks),
    )


def test_regret_is_that_of_the_best_so_far():
    curves = curves_of([run_of("a", 0, [5, 3, 4, 1])], Scale(1.0, (9.0,), float("nan")), 6, False)
    assert curves.values["a"].tolist() == [[4, 2, 2, 0, 0, 0]]
    assert curves.reached["a"].tolist() == [4]


def test_regret_under_noise_is_the_truth_of_what_is_recommended():
    run = run_of("a", 0, [5, 3, *[4] * 8, 1], seen=[5, 6, *[7] * 8, 2], picks=[1])
    curves = curves_of([run], Scale(1.0, (9.0,), float("nan")), 11, True)
    assert curves.values["a"].tolist() == [[*[4] * 9, 2, 2]]  # the lucky first until the strategy is asked


def test_a_share_is_that_of_the_whole_volume():
    points = np.random.default_rng(0).random((12, 2))
    scale = Scale(float(points[:, 0].min()), (1.0, 1.0), hypervolume(points, [1, 1]))
    found = curves_of([run_of("a", 0, points)], scale, 12, False).values["a"][0]
    assert np.allclose(found, [hypervolume(points[: n + 1], [1, 1]) / scale.whole for n in range(12)])
    assert found[-1] == pytest.approx(1)


def test_where_nobody_knows_the_best_it_is_the_best_of_all_runs():
    runs = [run_of("a", 0, [5, 3]), run_of("b", 0, [4, 2])]
    curves = curves_of(runs, Scale(float("nan"), (9.0,), float("nan")), 2, False)
    assert curves.values["a"].tolist() == [[3, 1]]
    assert curves.reached == {}


def test_holm_is_as_in_the_textbook():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert np.isnan(holm([0.01, float("nan")])[1])


def test_only_differences_beyond_the_luck_of_seeds_are_decided():
    rng = np.random.default_rng(0)
    luck = rng.normal(size=(30, 5))
    values = {"a": luck, "b": luck + 0.5 + 0.1 * rng.normal(size=(30, 5)), "c": luck + 0.1 * rng.normal(size=(30, 5))}
    found = {
        frozenset((pair.better, pair.worse)): pair
        for pair in compare(Curves(values, dict.fromkeys(values, tuple(range(30))), {}, True))
        if pair.measure == "at the end"
    }
    assert found[frozenset("ab")].is_decided
    assert found[frozenset("ab")].better == "a"
    assert found[frozenset("ab")].difference == pytest.approx(-0.5, abs=0.1)
    assert not found[frozenset("ac")].is_decided


# The command line


def test_the_command_line_compares_and_shows_again(table, tmp_path, capsys):
    out = str(tmp_path / "out")
    order = ["bench", "run", "random", "evolution", "--on", table, "--seeds", "6", "--evaluations", "20", "--out", out]
    assert main([*order, "--workers", "1", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {line["strategy"] for line in told["summary"]} == {"random", "evolution"}
    assert [pair["seeds"] for pair in told["comparisons"]] == [6, 6]
    for name in ("curves.png", "curves.svg", "curves.csv", "summary.csv", "comparisons.csv", "environment.json"):
        assert (tmp_path / "out" / name).stat().st_size > 0
    assert main(["bench", "show", out]) == 0
    assert "median regret after so many evaluations" in capsys.readouterr().out
    assert main(["bench", "run", "luck", "--on", table, "--out", str(tmp_path / "none")]) == 2
    assert not (tmp_path / "none").exists()
    assert "unknown strategy 'luck'" in capsys.readouterr().err


@pytest.mark.exhaustive
def test_runs_made_elsewhere_are_compared_by_what_the_table_says(table, tmp_path, capsys):
    out = tmp_path / "out"
    bench(["random"], Source(table), range(2), Setting(20, True), out=out, workers=1)
    problem = Source(table).load()
    ids = [one.id for one in problem.space][:24]
    file = tmp_path / "peer.jsonl"

    def bring(**changed):
        file.write_text(json.dumps({"strategy": "peer", "seed": 1, "designs": ids, **changed}))
        return main(["bench", "add", str(out), str(file)])

    for wrong in ({"designs": ["00", *ids]}, {"designs": ids[:1] * 2}, {"strategy": "random"}, {"picks": [0]},
                  {"picks": [0, 20]}, {"seed": "x"}):  # fmt: skip
        before = (out / "runs.jsonl").read_text()
        assert bring(**wrong) == 2
        assert (out / "runs.jsonl").read_text() == before
    assert bring() == 0
    (run,) = [run for run in read_runs(out) if run.strategy == "peer"]
    rows = [problem.space.row(place) for place in range(20)]
    assert run.designs == ids[:20]  # no more than the others
    assert run.seen == [list(problem.seen(row, 1, True)) for row in rows]
    assert run.truth == problem.truth(rows).tolist()
    assert run.picks == [int(np.argmin(run.seen[:10])), int(np.argmin(run.seen))]
    assert bring() == 0
    assert "0 runs are new" in capsys.readouterr().out


def test_another_table_is_not_taken_for_the_one_of_the_runs(table, tmp_path):
    bench(["random"], Source(table), range(1), Setting(5), out=tmp_path / "out", workers=1)
    with open(table, "a") as file:
        file.write("\n8,3,gelu,False,4,12,70,24")
    with pytest.raises(UserError, match="is another table than its runs were made on"):
        show(tmp_path / "out")


@pytest.mark.exhaustive
def test_our_own_table_is_searched_through_its_surrogate(monkeypatch):
    monkeypatch.setattr("nasbench.surrogate.process.TREES", 20)
    problem = Source("metablock", ("2",)).load()
    assert problem.objectives == ("error", "macs")
    rng = np.random.default_rng(0)
    designs = [problem.space.sample(rng, (), 1000, None, None) for _ in range(2)]
    errors, macs = problem.truth(designs).T
    assert ((errors > 0.2) & (errors < 1)).all()
    assert macs.tolist() == [problem.speed(design) for design in designs]
    told = np.array([problem.seen(designs[0], seed, True)[0] for seed in range(200)])
    assert abs(told.mean() - errors[0]) < 4 * told.std() / np.sqrt(200)
    assert told.std() > 0.005
