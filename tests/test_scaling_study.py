"""A scaling study from its command to laws, comparison and plan, with a stand-in for training."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import scaling_toys
from fuzz_kinds import scaling_folder
from scaling_toys import ALPHA, BETA, true_error

from nasbench.arch.library import load
from nasbench.cli import main
from nasbench.costs.budget import Budget, parse_budgets
from nasbench.errors import UserError
from nasbench.files import parse_toml, read_toml, write_toml
from nasbench.scaling import laws as scaling_laws
from nasbench.scaling import study as scaling_study
from nasbench.scaling.family_laws import FamilyLaws, fit_families
from nasbench.scaling.heldout import hold_out_largest
from nasbench.scaling.plan import make_plan, measured_rate
from nasbench.scaling.points import SIZE, by_family, data_of, loss_name, most_sampled, read_points
from nasbench.scaling.rule_search import SHARES, Tried, fit_shares, search_rule
from nasbench.scaling.study import ScalingStudy, new_study, train_options
from nasbench.scaling.training import train_family
from nasbench.study.fidelity import FORMER, STANDARD, load_recipe
from nasbench.study.runner import RunnerSpec
from nasbench.study.store import TrialStore

SIZES = ("100MFLOP", "200MFLOP", "400MFLOP", "800MFLOP")
SAMPLES = (1000, 2000, 4000)


SERIAL = {"kind": "serial"}
RESULTS = Path(__file__).parent.parent / "results"
FEW = ("--draws", "8")  # bootstrap fits: their number is not what these tests are about


class Images:
    id = "toy"


@pytest.fixture(scope="module", autouse=True)
def few_starts() -> Iterator[None]:
    """These laws have one minimum; that fits find the best of several is for test_scaling_laws.py."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nasbench.scaling.laws.STARTS", scaling_laws.STARTS[1::3])
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study of two designs, stopped once on the way."""
    made = tmp_path_factory.mktemp("studies") / "toy"
    designs = [load("emo_1m"), load("mobilevit_xxs")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nasbench.scaling.training.EVALUATE", "scaling_toys:evaluate")
        patch.setattr("nasbench.proxy.evaluate.prepare", lambda *_: Images)
        small = new_study(designs, parse_budgets(SIZES), SAMPLES[:1], 2, runner=SERIAL)
        train_family(small, made)
        begun = read_points([made])
        whole = new_study(designs, parse_budgets(SIZES), SAMPLES, 3, runner=SERIAL)
        train_family(whole, made)
    assert len(begun) == 2 * 4 * 2
    return made


def test_a_study_is_trained_whole_and_nothing_twice(folder: Path) -> None:
    points = read_points([folder])
    assert len(points) == 2 * 4 * 3 * 3
    lines = (folder / "trials.jsonl").read_text().splitlines()
    assert len(lines) == 2 * len(points)
    study = ScalingStudy.open(folder)
    assert [member.target for member in study.family()[:4]] == list(SIZES)
    assert {trial.key for trial in study.trials()} == {json.loads(line)["key"] for line in lines}


def test_designs_made_once_stay_as_they_are(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another way of rounding in a later version must not make other trials of a study."""
    before = ScalingStudy.open(folder).family()
    monkeypatch.setattr("nasbench.scaling.study.scale_to", lambda *_: pytest.fail("scaled again"))
    assert ScalingStudy.open(folder).family() == before


def test_the_records_of_a_study_are_whole(folder: Path) -> None:
    points = read_points([folder])
    assert {len(group) for group in by_family(points).values()} == {36}
    assert len(json.loads((folder / "environment.json").read_text())["runs"]) == 2


def test_other_training_does_not_mix_with_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nasbench.proxy.evaluate.prepare", lambda *_: Images)
    before = read_toml(folder / "scaling.toml")
    other = new_study([load("emo_1m")], parse_budgets(SIZES), SAMPLES, 3, runner=SERIAL, rule="depth")
    with pytest.raises(UserError, match=r"holds another study \(rule differs\); give another folder"):
        train_family(other, folder)
    assert read_toml(folder / "scaling.toml") == before
    with pytest.raises(UserError, match=r"holds no trials\.jsonl"):
        read_points([folder.parent])


def trained_by(recipe: str, folder: Path) -> Path:
    """A study of one design at two sizes, trained by this recipe."""
    study = new_study([load("emo_1m")], parse_budgets(SIZES[:2]), SAMPLES[:1], 1, runner=SERIAL, recipe=recipe)
    return train_family(study, folder)


def test_errors_by_different_recipes_are_not_mixed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("nasbench.scaling.training.EVALUATE", "scaling_toys:evaluate")
    monkeypatch.setattr("nasbench.proxy.evaluate.prepare", lambda *_: Images)
    folders = [trained_by(name, tmp_path / name) for name in (FORMER, STANDARD)]
    assert [len(read_points([folder])) for folder in folders] == [2, 2]
    words = f"trainings by different recipes, whose errors cannot be compared: {STANDARD}; {FORMER}; fit the studies"
    with pytest.raises(UserError, match=words):
        read_points(folders)
    capsys.readouterr()
    assert main(["scale", "fit", *map(str, folders)]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert [line for line in shown.err.splitlines() if words in line] == shown.err.splitlines()


def test_the_rungs_of_one_search_are_one_recipe(caplog: pytest.LogCaptureFixture) -> None:
    """They differ in how long they train and how many images they score, and in nothing else. What the search took
    from a table is left out, without a word."""
    with TrialStore(RESULTS / "default", read_only=True) as store:
        known = [trial for trial in store.trials if trial.complete and trial.split == "validation"]
    scored = [trial for trial in known if trial.trained_here]
    assert len(scored) < len(known)
    assert len({trial.fidelity for trial in scored}) == 2
    points = read_points([RESULTS / "default"])
    assert len(points) == len(scored)
    assert {point.samples for point in points} == {trial.fidelity.samples for trial in scored}
    assert not caplog.records


def test_the_stored_study_is_of_the_former_recipe_and_has_all_its_trials() -> None:
    """It was trained before recipes had names; what it plans must still be what it trained, key by key."""
    study = ScalingStudy.open(RESULTS / "scaling")
    assert "recipe" not in read_toml(RESULTS / "scaling" / "scaling.toml")
    assert study.recipe == FORMER
    assert {study.fidelity_at(samples).recipe for samples in study.samples} == {
        load_recipe(FORMER).at(1, evaluate=2500).recipe
    }
    with TrialStore(RESULTS / "scaling", read_only=True) as store:
        stored = {trial.key for trial in store.trials}
    assert len(stored) == 64
    assert stored <= {trial.key for trial in study.trials()}


def test_a_stored_study_goes_on_by_its_recipe(tmp_path: Path) -> None:
    """The command of results/scaling/README.md finds every trial that there is, and other recipes a closed door."""
    shutil.copy(RESULTS / "scaling" / "scaling.toml", tmp_path)
    before = ScalingStudy.open(tmp_path)
    designs = [load(name) for name in ("emo_1m", "fastvit_t8", "mobilevit_xxs")]
    targets = parse_budgets(("300MFLOP", "600MFLOP", "1.2GFLOP", "2.4GFLOP"))
    settings = {"data_id": before.data_id, "fidelity": {"evaluate": 2500}, "runner": SERIAL}
    other, same = (
        new_study(designs, targets, (3200, 6400, 1600), 3, recipe=recipe, **settings) for recipe in (STANDARD, FORMER)
    )
    with pytest.raises(UserError, match=r"holds another study \(recipe differs\)"):
        other.with_family(tmp_path).create(tmp_path)
    same.with_family(tmp_path).create(tmp_path)
    assert [trial.key for trial in ScalingStudy.open(tmp_path).trials()] == [trial.key for trial in before.trials()]


def test_a_new_study_names_the_standard_recipe() -> None:
    study = new_study([load("emo_1m")], parse_budgets(SIZES), SAMPLES, 1, runner=SERIAL)
    assert study.to_dict()["recipe"] == STANDARD
    assert study.fidelity_at(1000).recipe == load_recipe(STANDARD)


@pytest.fixture(scope="module")
def laws(folder: Path) -> list[FamilyLaws]:
    return fit_families(read_points([folder]), draws=25)


@pytest.mark.exhaustive
def test_laws_of_a_study_are_those_that_made_it(laws: list[FamilyLaws]) -> None:
    for entry in laws:
        assert entry.joint is not None
        assert entry.size is not None
        for name, truth in (("params", ALPHA), ("samples", BETA)):
            assert entry.joint.values(f"alpha:{name}").min() <= truth <= entry.joint.values(f"alpha:{name}").max()
        assert len(entry.held_out) == 1 + len(SAMPLES)
        assert sum(held.inside for held in entry.held_out) >= 3
        level = 0.8 if entry.name == "mobilevit_xxs" else 1.0
        for held in entry.held_out:
            if held.variables != SIZE:
                params = max(point.params for point in entry.points)
                assert held.predicted == pytest.approx(true_error(params, held.samples, level), rel=0.06)


def test_the_held_out_size_is_not_in_the_fit(folder: Path) -> None:
    points = by_family(read_points([folder]))["emo_1m"]
    held = hold_out_largest(points, draws=8)[0]
    top = max(point.flops for point in points)
    assert held.fit.data.x.max() < top
    used = most_sampled(points)
    assert {point.samples for point in used} == {4000}
    assert held.measured == pytest.approx(np.mean([point.error for point in used if point.flops == top]))
    with pytest.raises(UserError, match="unknown variable 'time'; known: flops, params, samples, compute"):
        data_of(points, ("time",))


def test_a_plan_spends_what_it_may_and_narrows_the_prediction(laws: list[FamilyLaws]) -> None:
    assert measured_rate(laws[0].points) == pytest.approx(3e11, rel=0.01)
    plan = make_plan(laws[0], devices=8, hours=24, rate=1e12)
    assert plan.compute == pytest.approx(8 * 24 * 3600 * 1e12)
    assert 0 < sum(run.hours for run in plan.runs) <= 0.25 * 8 * 24
    assert plan.then[1] - plan.then[0] < plan.now[1] - plan.now[0]
    assert plan.then[0] <= plan.target.error <= plan.then[1]
    assert sum(run.seeds for run in plan.runs) <= 24


def run_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict:
    assert main(["scale", *arguments, "--json", *FEW]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.exhaustive
def test_the_commands_answer(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    laws = run_json(capsys, "fit", str(folder), "--out", str(tmp_path))
    assert set(laws) == {"emo_1m", "mobilevit_xxs"}
    assert json.loads((tmp_path / "laws.json").read_text()) == laws
    pictures = {path.name for path in tmp_path.glob("*.png")}
    assert pictures == {"laws.png", "held-out.png", "fronts.png", "isoflop-emo_1m.png", "isoflop-mobilevit_xxs.png"}
    answer = run_json(capsys, "compare", str(folder), "--at", "4x")
    assert answer["standings"][0]["name"] == "mobilevit_xxs"  # 0.8 of the other's error above the floor
    assert answer["standings"][0]["wins"] > 0.9
    plan = run_json(capsys, "plan", str(folder), "--gpus", "8", "--hours", "1", "--rate", "1TMAC")
    assert plan["compute"] == pytest.approx(8 * 3600 * 1e12)
    for wrong in (["compare", str(folder), "--at", "5ms"], ["compare", str(folder), "--at", "zx"], ["fit"]):
        assert main(["scale", *wrong]) == 2
    published = run_json(capsys, "fit", "--published", "regnety", "--out", str(tmp_path))
    assert published["family"] == "regnety"
    assert (tmp_path / "regnety-law.svg").stat().st_size > 1000


def test_the_word_design_may_be_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scale", "emo_1m", "--to", "200MFLOP", "--no-check", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)["designs"][0]
    assert abs(made["off"]) <= 0.02
    assert main(["scale", "emo_9m", "--to", "200MFLOP"]) == 2
    assert "unknown architecture 'emo_9m'" in capsys.readouterr().err


def test_the_searched_rule_follows_what_training_shows() -> None:
    best = np.array([0.5, 0.4, 0.1])
    tried = [Tried(s, tuple(0.5 + 0.1 * ((np.array(s) - best) ** 2).sum() for _ in range(2))) for s in SHARES]
    rule = fit_shares(tried).rule
    assert (rule.depth, rule.width) == pytest.approx((0.5, 0.4), abs=0.17)
    rng = np.random.default_rng(0)
    blind = [Tried(s, tuple(0.5 * np.exp(0.1 * rng.standard_normal(2)))) for s in SHARES]
    found = fit_shares(blind)
    assert abs(found.rule.width - 0.8) < 0.2  # nothing but noise: it stays near the fast rule


def test_the_searched_rule_trains_the_design_itself() -> None:
    seen = []

    def evaluate(arch, fidelity, seed):
        seen.append(arch)
        return scaling_toys.true_error(1e6 * sum(stage.depth for stage in arch.stages), fidelity.samples)

    found = search_rule(load("emo_1m"), evaluate=evaluate)
    assert len(seen) == len(SHARES)
    assert found.rule.depth > 0.5  # the stand-in rewards depth alone


@pytest.mark.parametrize("key", ["designs", "targets", "samples", "seeds"])
def test_a_study_grows_and_never_shrinks(tmp_path: Path, key: str) -> None:
    more = {"designs": ["emo_1m", "fastvit_t8"], "targets": SIZES[:2], "samples": SAMPLES[:2], "seeds": 2}
    fewer = {**more, key: 1 if key == "seeds" else more[key][:1]}

    def made(parts: dict) -> ScalingStudy:
        designs = [load(name) for name in parts["designs"]]
        return new_study(designs, parse_budgets(parts["targets"]), parts["samples"], parts["seeds"], runner=SERIAL)

    for parts in (fewer, more):
        made(parts).with_family(tmp_path).create(tmp_path)
    before = (tmp_path / "scaling.toml").read_bytes()
    with pytest.raises(UserError, match=f"holds a study with more {key} .*; name them too, or give another folder"):
        made(fewer).with_family(tmp_path).create(tmp_path)
    assert (tmp_path / "scaling.toml").read_bytes() == before


def test_images_are_stored_so_that_the_study_is_found_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "photos").mkdir()
    monkeypatch.chdir(tmp_path)
    target = Budget.parse("300MFLOP")
    runner = RunnerSpec(kind="serial")
    stored = [
        new_study([load("emo_1m")], [target], [64], 1, data=text, runner=runner).data for text in ("photos", "./photos")
    ]
    assert stored == [str(tmp_path / "photos")] * 2
    assert new_study([load("emo_1m")], [target], [64], 1, runner=runner).data == "fashion-on-earth"
    with pytest.raises(UserError, match="data '' is empty"):
        new_study([load("emo_1m")], [target], [64], 1, data="", runner=runner)


@pytest.mark.exhaustive
def test_errors_of_balanced_accuracy_are_called_so(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In tables, on axes and in what is stored; and they are not mixed with others."""
    uneven = tmp_path / "uneven"
    shutil.copytree(folder, uneven)
    trials = (uneven / "trials.jsonl").read_text()
    (uneven / "trials.jsonl").write_text(trials.replace('"metrics":{', '"metrics":{"accuracy_is":"balanced",'))
    told, out = [], tmp_path / "laws"
    for verb in (("fit", "--trainings", "--out", str(out)), ("compare",), ("plan", "--hours", "0.01")):
        assert main(["scale", verb[0], str(uneven), *verb[1:], "--draws", "2"]) == 0
        told.append(capsys.readouterr().out)
    told += [path.read_text() for path in (*out.glob("*.svg"), out / "laws.json")]
    assert len(told) == 3 + 5 + 1
    assert all("balanced accuracy" in text for text in told)
    assert loss_name(read_points([folder])) == "error"
    with pytest.raises(UserError, match="scored by plain and by balanced accuracy cannot be compared"):
        read_points([folder, uneven])


def test_a_plan_s_commands_train_as_the_study_was_trained(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By its recipe, on its images, growing as it did; laws would refuse other trainings."""
    assert train_options([folder]) == []
    assert train_options([RESULTS / "scaling", folder]) == ["--recipe", FORMER]
    assert train_options([RESULTS / "default-former"]) == ["--recipe", "proxy"]
    changed = tmp_path / "changed"
    shutil.copytree(folder, changed)
    settings = read_toml(changed / "scaling.toml")
    write_toml(changed / "scaling.toml", {**settings, "recipe": FORMER, "rule": "depth", "data": "/my photos"})
    assert main(["scale", "plan", str(changed), "--hours", "0.01", "--draws", "2"]) == 0
    commands = [line for line in capsys.readouterr().out.splitlines() if "scale train" in line]
    assert commands
    assert all("--recipe proxy-sgd --data '/my photos' --rule depth --out DIR" in line for line in commands)


def test_of_two_families_begun_in_one_new_folder_at_once_one_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = parse_toml(scaling_folder()["scaling.toml"].decode(), "file")
    first, second = (ScalingStudy.from_dict({**content, "classes": classes}) for classes in (10, 20))
    looked = scaling_study.require_new_or_empty

    def meanwhile(folder: Path, file: str) -> None:
        looked(folder, file)
        monkeypatch.setattr(scaling_study, "require_new_or_empty", looked)
        second.create(folder)

    monkeypatch.setattr(scaling_study, "require_new_or_empty", meanwhile)
    with pytest.raises(UserError, match="classes differs"):
        first.create(tmp_path)
    assert ScalingStudy.open(tmp_path) == second
