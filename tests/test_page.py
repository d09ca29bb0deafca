"""The report page: its figures are the study's, it needs no network, and a browser shows it without an error."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from report_toys import row

from nasbench import cli
from nasbench.page import fields
from nasbench.page.comparison import comparisons, difference, why_not
from nasbench.page.content import page_content, study_names
from nasbench.page.growth import growth
from nasbench.page.render import embedded, page_text, write_page
from nasbench.pareto import Front
from nasbench.report.noise import seed_noise
from nasbench.report.results import StudyResult, open_study
from nasbench.study.notes import RejectionNote
from nasbench.study.trials import Level, Outcome, State

ROOT = Path(__file__).parent.parent
STUDY = ROOT / "results" / "default-former"
MOST_BYTES = 5e6


@pytest.fixture(scope="module", autouse=True)
def few_bootstraps() -> Iterator[None]:
    """Which fields matter is tested elsewhere; here it is to be quick."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fields, "DRAWS", 2)
        yield


@pytest.fixture(scope="module")
def result() -> StudyResult:
    return open_study(STUDY)


@pytest.fixture(scope="module")
def content(result: StudyResult) -> dict[str, Any]:
    return page_content([result])


@pytest.fixture(scope="module")
def page(content: dict[str, Any]) -> str:
    return page_text(content)


class Structure(HTMLParser):
    """What a page is made of: ids, targets of links and labels, headings, whatever it would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.targets: set[str] = set()
        self.loads: list[str] = []
        self.headings: list[int] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = dict(attributes)
        self.tags.append((tag, found))
        self.ids += [value for value in (found.get("id"),) if value]
        self.targets |= {value[1:] for value in (found.get("href"),) if value and value.startswith("#")}
        self.targets |= {value for name in ("for", "aria-labelledby") if (value := found.get(name))}
        self.loads += [v for n in ("src", "href", "action") if (v := found.get(n)) and not v.startswith(("#", "data:"))]
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))


# --- what the page holds


def test_the_front_is_the_studys(content: dict[str, Any], result: StudyResult) -> None:
    study, front = content["studies"][0], result.front()
    assert [card["id"] for card in study["cards"]] == [member.id for member in front]
    assert [band["accuracy"] for band in study["bands"]] == [member.accuracy for member in front]
    designs = {design["id"]: design for design in study["designs"]}
    assert {key for key, design in designs.items() if design["front"]} == {member.id for member in front}
    for member in front:
        assert designs[member.id]["measured"] == pytest.approx(member.latency_measured, rel=1e-4)


def test_every_complete_trial_is_in_a_point(content: dict[str, Any], result: StudyResult) -> None:
    study = content["studies"][0]
    complete = [trial for trial in result.trials if trial.complete]
    assert sum(seeds for *_, seeds in study["points"]) == len(complete)
    levels = sorted({trial.level for trial in complete})
    for place, at, mean, _, seeds in study["points"]:
        found = [
            trial.metric("accuracy")
            for trial in complete
            if trial.level == levels[at] and trial.architecture_id == study["designs"][place]["id"]
        ]
        assert len(found) == seeds
        assert mean == pytest.approx(sum(found) / seeds, abs=1e-6)


def test_growth_ends_with_the_front_of_the_lowest_rung(content: dict[str, Any], result: StudyResult) -> None:
    grown = content["studies"][0]["growth"]
    assert grown["hours"] == sorted(grown["hours"])
    assert grown["share"] == sorted(grown["share"])
    lowest = [trial for trial in result.trials if trial.complete and trial.level == Level(0)]
    losses = [(1 - trial.metric("accuracy"), result.latency_ms(trial.architecture_id)) for trial in lowest]
    reference = [max(column) for column in zip(*losses)]
    whole = Front.of(losses, reference).hypervolume / (reference[0] * reference[1])
    assert grown["share"][-1] == pytest.approx(whole, abs=1e-5)
    assert growth([], {}, "accuracy") is None


def test_what_was_rejected_adds_up_over_runs(result: StudyResult) -> None:
    notes = (
        RejectionNote(drawn=10, accepted=4, rejected={"budget 1GFLOP": 6}),
        RejectionNote(drawn=5, accepted=5, rejected={"budget 1GFLOP": 1, "duplicate": 3}),
    )
    study = page_content([replace(result, rejections=notes)])["studies"][0]
    assert study["rejected"] == {"drawn": 15, "accepted": 9, "rules": {"budget 1GFLOP": 7, "duplicate": 3}}
    assert page_content([result])["studies"][0]["rejected"] is None, "not stored then"


def test_failures_are_counted_by_reason(result: StudyResult) -> None:
    failed = Outcome(State.FAILED, reason="out of <memory>")
    trials = tuple(trial.with_outcome(failed, 1.0) for trial in result.trials[-2:])
    study = page_content([replace(result, trials=(*result.trials[:-2], *trials))])
    assert study["studies"][0]["failed"] == [{"reason": "out of <memory>", "trials": 2}]
    assert "out of &lt;memory&gt;" in page_text(study)


def test_a_study_without_a_trial_has_a_page(result: StudyResult) -> None:
    bare = page_content([replace(result, trials=(), measured_ms={}, predictions={})])
    assert "No front yet." in page_text(bare)


def test_fields_that_matter_are_those_of_the_trials(content: dict[str, Any], page: str, result: StudyResult) -> None:
    accuracy, latency = content["studies"][0]["fields"]
    assert accuracy["score"].startswith("accuracy at rung 0")
    assert accuracy["told"].startswith("26 designs"), "all that were trained there"
    assert latency["fields"]
    section = page.partition('<section id="fields"')[2].partition("</section>")[0]
    assert all(f">{field['name']}</th>" in section for field in accuracy["fields"])
    few = replace(result, trials=result.trials[:5])
    told = page_content([few])["studies"][0]["fields"][0]
    assert "it takes 16 to say what matters" in told["told"]
    assert told["fields"] == []


# --- studies against one another


def test_differences_are_paired_by_seed() -> None:
    """What both seeds have in common falls out: the gap is the same for each."""
    first, second = row("a", accuracies=(0.50, 0.60, 0.70)), row("b", accuracies=(0.49, 0.59, 0.69))
    found = difference(first, second, seed_noise([first, second]))
    assert found.paired
    assert found.mean == pytest.approx(0.01)
    assert found.low == pytest.approx(0.01)
    other = replace(second, accuracies={7: 0.49, 8: 0.59, 9: 0.69})
    apart = difference(first, other, seed_noise([first, other]))
    assert not apart.paired
    assert apart.low is not None
    assert apart.low < 0 < (apart.high or 0)
    assert difference(row("a"), row("b"), None).low is None


def test_only_what_was_trained_alike_is_compared(result: StudyResult) -> None:
    rows = result.rows()
    assert why_not(result, result, rows, rows) == ""
    other = replace(result, study=result.study.replace(device="phone", data_id="else"))
    assert why_not(result, other, rows, rows) == "other images and another device"
    assert "no design" in why_not(result, result, rows, [])
    lines = comparisons([result, result], ["a", "b"])[0]["lines"]
    assert lines
    assert all(line["mean"] == 0 for line in lines)


def test_studies_are_named_apart(tmp_path: Path, result: StudyResult) -> None:
    folders = [tmp_path / "x" / "mine", tmp_path / "y" / "mine", tmp_path / "other"]
    names = study_names([replace(result, folder=folder) for folder in folders])
    assert len(set(names)) == 3
    assert names[0].endswith("x/mine")


# --- the page itself


def test_the_page_needs_nothing_else(page: str) -> None:
    structure = Structure(page)
    assert structure.loads == []
    assert len(page.encode()) < MOST_BYTES
    assert "@import" not in page.partition("</style>")[0]


def test_ids_are_unique_and_links_lead_somewhere(page: str) -> None:
    structure = Structure(page)
    assert len(structure.ids) == len(set(structure.ids))
    assert structure.targets <= set(structure.ids), structure.targets - set(structure.ids)


def test_a_screen_answers_what_how_sure_and_how_to_get_it(content: dict[str, Any], page: str) -> None:
    about = content["studies"][0]["about"]
    assert "within 1GFLOP on fashion-on-earth" in about
    assert "no ImageNet figure" in about
    assert about in page
    assert "Its ONNX file" in page
    assert not any(line.startswith("!") for line in content["studies"][0]["conclusion"]), "a sign that the page lacks"
    assert "fixed point" not in page.partition('id="content"')[0], "a word of the code's"


def test_headings_begin_with_the_question_and_skip_no_level(page: str) -> None:
    headings = Structure(page).headings
    assert headings[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(headings))
    assert page.index("Which design for how many milliseconds?") < page.index("The front, with every trial")


def test_every_plot_has_a_table_behind_it(page: str) -> None:
    tags = Structure(page).tags
    plots = [found for _, found in tags if "plot" in (found.get("class") or "").split()]
    tables = [found for _, found in tags if "data-table" in found]
    assert len(plots) == len(tables) == 4
    assert all(found.get("aria-label") for found in plots)


def test_a_command_is_copied_as_it_stands(page: str, content: dict[str, Any]) -> None:
    copies = [found["data-copy"] for tag, found in Structure(page).tags if tag == "button" and "data-copy" in found]
    for card in content["studies"][0]["cards"]:
        assert set(card["commands"].values()) | {card["toml"]} <= set(copies)
        for command in card["commands"].values():
            cli.parser().parse_args(command.split()[1:])


@pytest.mark.parametrize("name", ["</script><b>", "<!--", "a & b", "{{ 7 * 7 }}", "\u2028", "\ud800", "'\""])
def test_no_name_breaks_out_of_its_place(result: StudyResult, name: str) -> None:
    trials = tuple(replace(trial, architecture={**trial.architecture, "name": name}) for trial in result.trials)
    content = page_content([replace(result, trials=trials)])
    text = page_text(content)
    data = text.partition('<script type="application/json" id="content">')[2].partition("</script>")[0]
    assert json.loads(data)["studies"][0]["designs"][0]["name"] == name
    assert "<b>" not in text.partition("<script")[0]
    assert len(Structure(text).ids) == len(set(Structure(text).ids))
    text.encode(errors="backslashreplace")


def test_embedded_json_is_json() -> None:
    value = {"a": "</script>&<!--", "b": [1.5, None]}
    assert "<" not in embedded(value)
    assert json.loads(embedded(value)) == value
    with pytest.raises(ValueError, match="JSON"):
        embedded(float("nan"))


# --- the command


def test_the_command_writes_the_page_beside_the_rest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "study"
    shutil.copytree(STUDY, folder)
    assert cli.main(["report", str(folder)]) == 0
    assert capsys.readouterr().out.endswith(f"The page: {folder / 'report.html'}\n")
    assert {"front.csv", "front.png", "report.html"} <= {path.name for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([str(STUDY), str(STUDY)], "given twice; give each study once"),
        (["none"] * 13, "13 studies: one page holds at most 12"),
        ([str(STUDY), "-o", "page.pdf"], "page.pdf: the page is HTML"),
        ([str(STUDY), "-o", "none/page.html"], "the folder none does not exist"),
    ],
    ids=lambda value: str(value)[-30:],
)
def test_what_cannot_be_reported_writes_nothing(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    before = {path: path.stat().st_mtime for path in STUDY.rglob("*")}
    assert cli.main(["report", *arguments]) == 2
    assert words in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    assert {path: path.stat().st_mtime for path in STUDY.rglob("*")} == before


# --- in a browser


@pytest.fixture(scope="module")
def chromium() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("no Chromium is installed; the page's data and structure are tested without one")
    return found


def in_browser(chromium: str, page: Path, tmp_path: Path) -> str:
    """The page as the browser has it once its code has run, without a word to the console."""
    command = [
        *(chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0"),
        *(f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=20000", "--dump-dom"),
    ]
    done = subprocess.run([*command, page.as_uri()], capture_output=True, text=True, timeout=240, check=True)
    assert [line for line in done.stderr.splitlines() if "CONSOLE" in line] == []
    return done.stdout


def test_a_browser_shows_answer_plots_and_tables(chromium: str, result: StudyResult, tmp_path: Path) -> None:
    write_page(tmp_path / "page.html", [result])
    shown = in_browser(chromium, tmp_path / "page.html", tmp_path)
    assert shown.count('class="main-svg"') >= 4, "every plot is drawn"
    choice = re.search(r'id="choice".*?</h2>', shown, re.DOTALL)
    assert choice is not None
    assert result.front()[0].name in choice[0]
    assert re.search(r'id="shown"[^>]*>38 of 38 points<', shown)
    for member in result.front():
        assert f">{member.name}</text>" in shown, "named in the picture"


def test_a_crowd_of_points_is_drawn_as_one_path(chromium: str, content: dict[str, Any], tmp_path: Path) -> None:
    """A mark for each of a thousand points would take longer than a filter may."""
    study = content["studies"][0]
    points = [*study["points"], *[point for point in study["points"] if point[1] == 0] * 9]
    text = page_text({**content, "studies": [{**study, "points": points}]})
    (tmp_path / "page.html").write_text(text, encoding="utf-8")
    shown = in_browser(chromium, tmp_path / "page.html", tmp_path)
    front = shown.partition('id="front-plot"')[2].partition('id="front-key"')[0]
    marks = front.count('class="point ')
    crowds = [path.count("M") for path in re.findall(r'<path[^>]* d="([^"]*)"', front.partition("shapelayer")[2])]
    assert marks + max(crowds) == len(points), "each point is in the picture once"
