"""A function of the user's own as a strategy: the example in the docs as it is written, and what may be wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from search_toys import NoDevice, study_of
from shared_spaces import DEFAULT, FIXED, SMALL

from nasbench import cli
from nasbench.commands.studies import _option
from nasbench.costs.analytic import cost
from nasbench.costs.budget import Budget
from nasbench.engine.predictions import Predictions
from nasbench.engine.promotion import Promotions
from nasbench.engine.schedule import Schedule
from nasbench.errors import UserError
from nasbench.space import RejectionCounter
from nasbench.space.limits import Limits
from nasbench.strategies import STRATEGIES, Candidate, Context, StrategyChoice
from nasbench.study.study import Study
from nasbench.study.trials import Outcome, State

EXAMPLE = Path(__file__).parents[1] / "docs" / "examples" / "my_strategy.py"
LIMIT = Budget.parse("60MFLOP")
REMEDY = "; correct it, then go on with `nasbench resume DIR --strategy {name}`, or search anew"


def written(folder, text):
    """The name of a strategy whose file holds `text`."""
    path = folder / "mine.py"
    path.write_text(text, encoding="utf-8")
    return f"{path}:propose"


def context_of(trials=(), space=SMALL, budgets=(LIMIT,)):
    rng = np.random.default_rng(0)
    return Context(space, tuple(trials), rng, Limits(tuple(budgets)), None, RejectionCounter())


def scored(count):
    rng, found = np.random.default_rng(1), {}
    while len(found) < count:
        arch = SMALL.sample(rng, [LIMIT])
        found[arch.id] = Candidate(arch, (1 / cost(arch).params, float(cost(arch).macs)))
    return list(found.values())


def test_the_example_of_the_docs_changes_the_most_accurate():
    trials = scored(12)
    choice = StrategyChoice.from_dict({"name": f"{EXAMPLE}:propose", "share": 0.1})
    choice.check()
    proposed = choice.propose(context_of(trials), 4)
    best = min(trials, key=lambda one: one.losses).architecture
    near = {arch.id for arch in SMALL.neighbours(best)}
    assert len({arch.id for arch in proposed} - {one.architecture.id for one in trials}) == 4
    assert all(arch.id in near and cost(arch).flops <= LIMIT.limit for arch in proposed)


def test_the_example_searches_and_goes_on_after_its_file_is_gone(tmp_path):
    name = written(tmp_path, EXAMPLE.read_text(encoding="utf-8"))
    ladder = ({"trials": 9, "samples": 64},)
    study = study_of(SMALL, ladder, strategy={"name": name, "share": 0.5}, budgets=("60MFLOP",), finalists=0)
    study.create(tmp_path / "study")
    Path(name.rpartition(":")[0]).unlink()
    stored = Study.open(tmp_path / "study")
    assert stored == study
    assert 'text = """\n' in (tmp_path / "study" / "study.toml").read_text()  # for people to read
    found, trials = Schedule(stored, SMALL, {}, Predictions(stored, NoDevice()), Promotions([], lambda note: None)), ()
    while (trial := found.next_trial(trials)) is not None:
        metrics = {"accuracy": 0.2 + cost(trial.design).macs / 1e9, "majority_share": 0.1}
        trials += (trial.with_outcome(Outcome(State.COMPLETE, metrics, None, 1.0), 1.0),)
    assert len({trial.architecture_id for trial in trials}) == 9
    assert {trial.origin.how for trial in trials} == {stored.strategy.label}
    assert stored.strategy.label.startswith("mine.py:propose@")


TEXT = 'def propose(context, n, settings):\n    \'Quotes """, \\n, tab\t, é, \\x00.\'\n    return []\n'
FORMS = [TEXT, TEXT.replace("\n", "\r\n"), "\ufeff" + TEXT, TEXT + "\n" * 3, TEXT.rstrip("\n")]


@pytest.mark.parametrize("text", FORMS)
def test_the_text_comes_back_from_study_toml_as_it_was(text, tmp_path):
    path = tmp_path / "mine.py"
    path.write_bytes(text.encode())
    study = study_of(SMALL, strategy={"name": f"{path}:propose"})
    study.create(tmp_path / "study")
    kept = Study.open(tmp_path / "study").strategy
    assert kept.to_dict()["text"] == text.removeprefix("\ufeff").replace("\r\n", "\n")
    kept.check()
    assert kept.propose(context_of(), 1) == []


def test_reading_a_study_runs_nothing_of_its_strategy(tmp_path):
    name = written(tmp_path, f"open({str(tmp_path / 'ran')!r}, 'w')\ndef propose(context, n, settings): return []\n")
    study = study_of(SMALL, strategy={"name": name})
    study.create(tmp_path / "study")
    Study.open(tmp_path / "study")
    assert not (tmp_path / "ran").exists()
    study.strategy.check()
    assert (tmp_path / "ran").exists()


DEF = "def propose(context, n, settings):\n"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("def propose(context, n, settings)\n", "strategy '{name}': SyntaxError: expected ':' "),
        ("import nothing_of_this_name\n", "strategy '{name}': ModuleNotFoundError: No module named "),
        ("import sys\nsys.exit(3)\n", "strategy '{name}': SystemExit: 3 (line 2)"),
        ("x = 1\n", "{path}: has no function 'propose'; write def propose(context, n, settings) in it"),
        ("def other(): pass\npropose = 3\n", "{path}: has no function 'propose'; it has other"),
        ("def propose(context): pass\n", "{path}: propose(context) cannot be called with three arguments; "),
    ],
)
def test_a_file_that_cannot_be_used_is_told_before_anything_is_written(text, what, tmp_path):
    name = written(tmp_path, text)
    with pytest.raises(UserError) as caught:
        StrategyChoice.from_dict({"name": name}).check()
    assert str(caught.value).startswith(what.format(name=name, path=name.rpartition(":")[0]))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(
        UserError, match=r"none\.py: cannot be read: No such file or directory; give the path of a Python"
    ):
        StrategyChoice.from_dict({"name": f"{tmp_path}/none.py:propose"})


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ("    x = {}\n    return x['a']\n", "KeyError: 'a' (line 3)"),
        ("    return context.space.mutate(settings, context.rng)\n", "{} is no architecture; load"),
        ("    return None\n", "returned None, not a list of architectures"),
        ("    return ['emo_1m']\n", "returned a list with 'emo_1m', which is no architecture"),
    ],
)
def test_a_function_that_fails_ends_the_search_in_one_line(body, what, tmp_path):
    name = written(tmp_path, DEF + body)
    with pytest.raises(UserError) as caught:
        StrategyChoice.from_dict({"name": name}).propose(context_of(), 1)
    assert str(caught.value).startswith(f"strategy {name!r}: {what}")
    assert str(caught.value).endswith(REMEDY.format(name=name))


def test_what_is_known_outside_or_too_dear_is_dropped_and_counted(tmp_path):
    """Of each call's three the first is outside, the second known; the third is over the budget in the first two."""
    text = (
        "from nasbench.arch.library import load\ncalls = []\n" + DEF + "    calls.append(n)\n"
        "    last = load('emo_1m') if len(calls) > 3 else context.space.sample(len(calls))\n"
        "    return [load('vit_ti16'), context.candidates[0].architecture, last]\n"
    )
    dear = lambda arch: cost(arch).flops > 3e8  # noqa: E731
    known = next(arch for arch in (DEFAULT.sample(seed) for seed in range(100, 200)) if not dear(arch))
    context = context_of([Candidate(known)], DEFAULT, [Budget.parse("300MFLOP")])
    proposed = StrategyChoice.from_dict({"name": written(tmp_path, text)}).propose(context, 1)
    early = [DEFAULT.sample(seed) for seed in (1, 2, 3)]
    wanted = next((arch for arch in early if not dear(arch)), FIXED["emo_1m"])
    assert [arch.id for arch in proposed] == [wanted.id]
    calls = early.index(wanted) + 1 if wanted in early else 4
    counts = {"outside the space": calls, "already tried": calls, "budget 300MFLOP": calls - 1}
    assert dict(context.rejections.rejected) == {rule: count for rule, count in counts.items() if count}


def test_a_function_that_only_repeats_itself_ends_the_search(tmp_path):
    name = written(tmp_path, DEF + "    return [one.architecture for one in context.candidates]\n")
    with pytest.raises(UserError) as caught:
        StrategyChoice.from_dict({"name": name}).propose(context_of(scored(2)), 1)
    what = "20 calls brought nothing that can be trained (already tried 40)"
    assert str(caught.value) == f"strategy {name!r}: {what}{REMEDY.format(name=name)}"


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"share": "much"}, "share = 'much': must be a number"),
        ({"shore": 0.5}, "unknown key 'shore'; known keys: share"),
    ],
)
def test_options_are_checked_by_the_files_settings(options, what):
    name = f"{EXAMPLE}:propose"
    with pytest.raises(UserError) as caught:
        StrategyChoice.from_dict({"name": name, **options}).check()
    assert str(caught.value).startswith(f"strategy {name!r}: {what}")


def test_options_of_a_file_that_names_none(tmp_path):
    name = written(tmp_path, DEF + "    return []\n")
    with pytest.raises(UserError, match="option 'share' is given, but the file has no class Settings"):
        StrategyChoice.from_dict({"name": name, "share": 0.5}).check()


def test_a_corrected_file_takes_the_formers_place_with_its_options(tmp_path):
    name = written(tmp_path, EXAMPLE.read_text(encoding="utf-8"))
    first = StrategyChoice.from_dict({"name": name, "share": 0.5})
    written(tmp_path, EXAMPLE.read_text(encoding="utf-8").replace(">= 4", ">= 5"))
    second = first.corrected(name)
    assert second.to_dict() == {**first.to_dict(), "text": second.to_dict()["text"]} != first.to_dict()
    assert second.label != first.label
    with pytest.raises(
        UserError, match="for a search by 'random': only one function in a file can take another's place"
    ):
        StrategyChoice.from_dict({"name": "random"}).corrected(name)


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        ("population=30", ("population", 30)),
        ("climb=0.5", ("climb", 0.5)),
        ("table=results/mine", ("table", "results/mine")),
        ("flag=true", ("flag", True)),
        ("a=b=c", ("a", "b=c")),
    ],
)
def test_options_of_the_command_line_are_typed(text, pair):
    key, value = _option(text)
    assert (key, value) == pair
    assert type(value) is type(pair[1])


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--strategy-option", "population"], "'population' is not KEY=VALUE"),
        (["--strategy-option", "population=1"], "strategy 'evolution': population = 1: input should be greater than"),
        (["--strategy-option", "popilation=9"], "strategy 'evolution': unknown key 'popilation'; known keys: children"),
        (["--strategy", "random", "--strategy-option", "x=1"], "strategy 'random': unknown key 'x'"),
        (["--strategy-option", "climb=1", "--strategy-option", "climb=0"], "--strategy-option climb: given twice"),
        (["--strategy-option", "name=warm"], "--strategy-option name: no setting; name the strategy by --strategy"),
        (["--strategy", "none.py:propose"], "none.py: cannot be read"),
    ],
)
def test_wrong_options_are_one_line_and_leave_nothing(words, text, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    try:
        code = cli.main(["search", "--out", "nowhere", *words])
    except SystemExit as stop:  # as argparse ends
        code = stop.code
    assert code == 2
    assert text in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_docs_show_the_example_and_every_setting_with_its_default():
    page = (EXAMPLE.parents[1] / "strategies.md").read_text(encoding="utf-8")
    assert f"```python\n{EXAMPLE.read_text(encoding='utf-8').rstrip()}\n```" in page
    rows = {name: row for row in page.splitlines() if row.startswith("|") for name in STRATEGIES if f"`{name}`" in row}
    for name, strategy in STRATEGIES.items():
        for key, each in strategy.settings.model_fields.items():
            explore = {"warm": "1/6", "model": "0"}.get(name, "0.1")
            shown = {"table": "the space's own", "explore": explore}.get(key, each.default)
            assert f"`{key}` {shown}" in rows[name], name
