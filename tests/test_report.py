"""The report: labelled figures, honest statements about noise, designs that read back, a legible plot."""

from __future__ import annotations

import csv
import io
import itertools
import json
import shlex
import shutil
import statistics
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from report_toys import ARCHS, row
from search_toys import study_of

from nasbench import hardware
from nasbench.arch.library import load
from nasbench.errors import UserError
from nasbench.latency.device import Settings
from nasbench.latency.profile import load_study_device
from nasbench.progress import Lines, ProgressState, Silent, duration, headline, progress_display
from nasbench.report.designs import design_files, what_next, write_designs
from nasbench.report.folder import write_report
from nasbench.report.labels import place_labels
from nasbench.report.plots import draw_front
from nasbench.report.results import StudyResult
from nasbench.report.rows import ReportRow, in_reading_order
from nasbench.report.tables import closing_text, front_table, records, write_front_csv
from nasbench.report.verdict import verdict
from nasbench.study.trials import Kind


def scatter(count: int = 30) -> list[ReportRow]:
    """A front, the fixed points and dominated trials, as a study leaves them."""
    rng = np.random.default_rng(0)
    rows = [
        row(f"a{i}", accuracies=0.75 + 0.02 * i + rng.normal(0, 0.005, 3), latency=3.0 + i, on_front=True)
        for i in range(5)
    ]
    rows += [row(name, Kind.FIXED_POINT, 0.78 + rng.normal(0, 0.005, 3), 6.0 + i) for i, name in enumerate(ARCHS)]
    faint = {"latency_measured": None, "split": "validation"}
    rows += [
        row(f"t{i}", accuracies=(rng.uniform(0.6, 0.75),), latency=rng.uniform(3, 9), **faint) for i in range(count)
    ]
    return rows


def test_front_csv_labels_every_figure(tmp_path: Path) -> None:
    rows = scatter()
    write_front_csv(tmp_path / "front.csv", rows)
    with (tmp_path / "front.csv").open(encoding="utf-8") as file:
        read = list(csv.DictReader(file))
    assert [line["name"] for line in read] == [r.name for r in in_reading_order(rows)]
    figures = set(read[0]) - {"id", "name", "kind", "on_front", "file", "split", "rung", "seeds"}
    assert all(any(word in name for word in ("measured", "predict", "analytic")) for name in figures)
    first = rows[0]
    assert float(read[0]["accuracy_measured_mean"]) == pytest.approx(first.accuracy, abs=1e-6)
    assert float(read[0]["accuracy_measured_std"]) == pytest.approx(
        statistics.stdev(first.accuracies.values()), abs=1e-6
    )
    assert float(read[0]["latency_ms_measured"]) == first.latency_measured
    assert float(read[0]["latency_ms_predicted"]) == pytest.approx(first.latency_predicted)
    assert read[0]["peak_activation_bytes_analytic"] == "", "what was not counted stays empty"


def test_a_single_seed_has_no_deviation() -> None:
    line = records([row(on_front=True)])[0]
    assert line["accuracy_measured_std"] is None
    assert line["seeds"] == 1


def test_designs_read_back_as_the_same_network(tmp_path: Path) -> None:
    rows = [row(name, on_front=True, id=arch.id) for name, arch in ARCHS.items()]
    rows.append(row("emo 1m/../x", on_front=True, id="f" * 16))
    (tmp_path / "designs").mkdir()
    (tmp_path / "designs" / "of_an_earlier_front.toml").write_text("")
    written = write_designs(tmp_path, rows)
    assert sorted(tmp_path.rglob("*.toml")) == sorted(written)
    assert all(path.parent == tmp_path / "designs" for path in written)
    for line, path in zip(rows, written):
        assert load(path).id == line.arch.id


def test_equal_names_get_files_of_their_own() -> None:
    rows = [row("same", on_front=True, id=letter * 16) for letter in "ab"]
    assert design_files(rows) == {"a" * 16: "designs/same.toml", "b" * 16: f"designs/same-{'b' * 16}.toml"}


def test_what_comes_next_is_of_the_most_accurate_searched_design(tmp_path: Path) -> None:
    study, folder = study_of(data="my photos", classes=7), tmp_path / "a study"
    published = row("emo_2m", Kind.FIXED_POINT, (0.9,), 9.0, on_front=True)
    rows = [row("a", accuracies=(0.5,), on_front=True), row("b", accuracies=(0.6,), on_front=True), published]
    train, export = (shlex.split(line.partition("nasbench ")[2]) for line in what_next(study, folder, rows))
    assert train == ["train", str(folder / "designs" / "b.toml"), "--data", "my photos"]
    assert export == ["export", str(folder / "designs" / "b.toml"), "-o", "b.onnx", "--classes", "7"]
    assert what_next(study, folder, [published]) == []


def test_a_race_that_is_not_decided_says_how_it_goes_on(tmp_path: Path) -> None:
    accuracies = (0.62, 0.58, 0.61, 0.63, 0.61)
    best = row("a", accuracies=accuracies, latency=5.0, on_front=True, raced=True)
    published = row("emo_2m", Kind.FIXED_POINT, tuple(each - 0.02 for each in accuracies), 9.0, raced=True)
    line = what_next(study_of(), tmp_path, [best, published])[0]
    more = int(line.rpartition("--finals ")[2])
    assert f"nasbench resume {tmp_path} --finals" in line
    assert 2 <= more <= 20
    level = replace(published, accuracies=best.accuracies)
    assert not any("--finals" in line for line in what_next(study_of(), tmp_path, [best, level]))
    behind = replace(published, accuracies={seed: value - 0.2 for seed, value in best.accuracies.items()})
    assert not any("--finals" in line for line in what_next(study_of(), tmp_path, [best, behind]))


def test_the_closing_table_fits_80_columns() -> None:
    from rich.console import Console

    out = io.StringIO()
    rows = scatter()
    Console(file=out, width=80).print(front_table(rows))
    text = out.getvalue()
    assert "…" not in text
    for shown in in_reading_order(rows):
        assert f"{shown.name} " in text
        assert f"{100 * shown.accuracy:.2f} ± " in text
    assert text.count("3 test") == len(in_reading_order(rows)), "how many seeds, on which images"
    assert "t0 " not in text, "dominated trials are not in the table"


def test_the_closing_text_says_how_good_the_predictions_were() -> None:
    rows = [row(str(i), latency_measured=10.0, latency_predicted=10.0 + i) for i in range(3)]
    assert closing_text(rows)[0] == (
        "Latency: measured for 3 networks; the predictions were off by 10% (median), worst 20%."
    )
    assert any(line.startswith("!:") for line in closing_text([row(on_front=True, extrapolating=True)]))


def test_the_closing_text_holds_every_other_design_of_the_front_against_a_published_network() -> None:
    fast = row("fast", accuracies=(0.50, 0.51), latency=3.0, on_front=True)
    best = row("best", accuracies=(0.60, 0.61), latency=8.0, on_front=True)
    networks = [row("slow", Kind.FIXED_POINT, (0.55, 0.56), 9.0), row("small", Kind.FIXED_POINT, (0.30, 0.31), 4.0)]
    closing = closing_text([fast, best, *networks])
    told = "fast, 3.00 ms measured: +20.0 points over small, the best published network under 8.00 ms (4.00 ms measured"
    assert closing[-1].startswith(told)
    assert not any(line.startswith("best, 8.00 ms") for line in closing), "the verdict is about it"


def test_the_closing_text_states_what_always_one_answer_would_reach() -> None:
    constant = "Always answering the most frequent class is right on 99.2% of the scored images"
    assert f"{constant}." in closing_text([row(majority_share=0.992)])
    balanced = closing_text([row(majority_share=0.992, balanced=True)])
    assert (
        f"{constant}; classes are uneven, so accuracy is balanced: the mean of the accuracies on each class."
        in balanced
    )
    assert not any("Always" in line for line in closing_text([row()]))


def test_balanced_accuracy_is_called_so_wherever_it_is_shown(tmp_path: Path) -> None:
    """In the table, the verdict, the files and the plot; and nowhere where it is plain accuracy."""
    from rich.console import Console

    for balanced in (True, False):
        rows = [replace(line, balanced=balanced) for line in scatter()]
        out = io.StringIO()
        Console(file=out, width=80).print(front_table(rows))
        head = " ".join(line[18:35].strip() for line in out.getvalue().splitlines()[:6])
        write_report(tmp_path, rows)
        svg, table = ((tmp_path / name).read_text() for name in ("front.svg", "front.csv"))
        designs = [path.read_text() for path in (tmp_path / "designs").glob("*.toml")]
        told = [head, "\n".join(verdict(rows)), svg, table, *designs]
        assert all(("balanced" in text) == balanced for text in told)
        assert all(("balanced accuracy" in text) == balanced for text in told[1:])
        assert "…" not in out.getvalue()
        assert ("accuracy_measured_as" in records(rows)[0]) == balanced


def boxes(figure) -> tuple[list, object]:
    renderer = figure.canvas.get_renderer()
    axes = figure.axes[0]
    named = {line.name for line in scatter() if line.split == "test"}
    return [text.get_window_extent(renderer) for text in axes.texts if text.get_text() in named], axes


def test_labels_neither_overlap_nor_leave_the_frame() -> None:
    figure = draw_front(scatter(), "title")
    figure.canvas.draw()
    labels, axes = boxes(figure)
    assert len(labels) == 9
    assert not any(a.overlaps(b) for a, b in itertools.combinations(labels, 2))
    frame = axes.get_window_extent()
    assert all(
        frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1 for box in labels
    )
    points = axes.transData.transform([(r.latency, 100 * r.accuracy) for r in scatter() if r.split == "test"])
    assert not any(box.contains(*point) for box in labels for point in points), "a label hides no named point"


def test_crowded_labels_still_find_room() -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4))
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(xlim=(0, 1), ylim=(0, 1))
    points = np.array([(0.5 + 0.01 * i, 0.5, 0.1) for i in range(6)])
    place_labels(axes, points, [f"network {i}" for i in range(6)], np.empty((0, 4)), fontsize=8)
    renderer = figure.canvas.get_renderer()
    extents = [text.get_window_extent(renderer) for text in axes.texts]
    assert not any(a.overlaps(b) for a, b in itertools.combinations(extents, 2))


def test_colours_differ_in_grey() -> None:
    from matplotlib.colors import to_rgb

    from nasbench.report import plots

    grey = [
        float(np.dot(to_rgb(c), (0.299, 0.587, 0.114)))
        for c in (plots.SEARCHED_COLOUR, plots.FIXED_COLOUR, plots.FAINT)
    ]
    assert min(abs(a - b) for a, b in itertools.combinations(grey, 2)) > 0.08


def test_a_trial_that_learnt_nothing_does_not_squeeze_the_plot() -> None:
    rows = [*scatter(0), row("lost", accuracies=(0.1,), latency=4.0, split="validation")]
    axes = draw_front(rows).axes[0]
    assert axes.get_ylim()[0] > 40
    labels = [text.get_text() for text in axes.figure.legends[0].get_texts()]
    assert any("1 lie below" in label for label in labels)


@pytest.mark.parametrize("rows", [[], [row(latency=None)], [row(on_front=True)], [row("emo_2m", Kind.FIXED_POINT)]])
def test_a_report_of_little_is_still_a_report(rows: list[ReportRow], tmp_path: Path) -> None:
    write_report(tmp_path, rows)
    assert {path.name for path in tmp_path.iterdir()} == {"front.csv", "front.png", "front.svg", "front.pdf", "designs"}


def test_a_report_is_the_same_twice(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_report(tmp_path / name, scatter(5), "title")
    for name in ("front.csv", "front.png", "front.svg"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_plain_lines_come_at_a_new_phase_at_the_end_and_not_in_between() -> None:
    out = io.StringIO()
    with Lines(out, every=1000) as progress:
        for done in range(5):
            progress.update(ProgressState("searching", done, 4, rung="rung 1", best=0.5 + done / 100))
        progress.note("trial 3 failed: out of memory")
        progress.update(ProgressState("measuring", 0, 2, rejected={"flops": 12, "stride": 30}, failed={"diverged": 1}))
    lines = out.getvalue().splitlines()
    assert len(lines) == 4
    assert lines[1] == "[0 s] · searching, rung 1 · 4/4 trials · best 54.00 %"
    assert lines[3].endswith("1 failed: diverged 1 · 42 candidates rejected: stride 30, flops 12")


def test_the_display_suits_the_stream() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    assert isinstance(progress_display(io.StringIO()), Lines)
    assert isinstance(progress_display(Terminal(), quiet=True), Silent)
    out = Terminal()
    with progress_display(out) as progress:
        progress.update(ProgressState("searching", 3, 8, best=0.5, best_name="emo_1m", seconds_left=65))
        progress.note("kept [as it is]")
    assert "kept [as it is]" in out.getvalue()


def test_words_of_progress() -> None:
    assert (
        headline(ProgressState("searching", 3, 8, 2, seconds_left=65))
        == "searching · 3/8 trials (2 running) · about 1 min 5 s left"
    )
    assert [duration(s) for s in (0.4, 59.6, 600, 3600, 7500)] == [
        "0 s",
        "1 min 0 s",
        "10 min",
        "1 h 0 min",
        "2 h 5 min",
    ]


@pytest.mark.parametrize(
    ("settings", "axis"),
    [
        ({"runtime": "openvino", "threads": 2}, "this machine, openvino, 2 threads"),
        ({"runtime": "onnxruntime", "threads": 1}, "this machine, onnxruntime, one thread"),
        ({"runtime": "torch", "accelerator": "cuda"}, "this machine, torch, cuda"),
    ],
    ids=str,
)
def test_the_axis_names_what_latencies_were_measured_with(
    settings: dict[str, Any], axis: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, shown = tmp_path / "study", []
    shutil.copytree(Path(__file__).parent.parent / "results" / "default", folder)
    profile = SimpleNamespace(device=SimpleNamespace(settings=Settings(**settings)))
    monkeypatch.setattr("nasbench.report.results.load_study_device", lambda *_: profile)
    monkeypatch.setattr("nasbench.report.folder.write_report", lambda *_, device, **__: shown.append(device))
    StudyResult.read(folder).report()
    assert shown == [axis]


def test_a_study_of_another_machine_is_not_said_to_be_measured_with_this_one_s_runtime(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The profile called this-machine in the cache is of this machine, whatever machine the study called so."""
    shown: list[str] = []
    profile = SimpleNamespace(device=SimpleNamespace(settings=Settings(runtime="openvino", threads=2)))
    monkeypatch.setattr("nasbench.latency.profile.load_device", lambda name: profile)
    monkeypatch.setattr("nasbench.report.folder.write_report", lambda *_, device, **__: shown.append(device))
    folder = tmp_path / "study"
    shutil.copytree(Path(__file__).parent.parent / "results" / "default", folder)
    for cpu in (hardware.cpu_model(), "Z80"):
        (folder / "environment.json").write_text(json.dumps({"runs": [{"hardware": {"cpu": cpu}}]}))
        StudyResult.read(folder).report()
    assert shown == ["this machine, openvino, 2 threads", "this machine"]
    with pytest.raises(UserError, match=r"its this-machine was another one \(Z80\)"):
        load_study_device(folder, "this-machine")
