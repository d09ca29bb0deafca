"""The page of a running search: served to this machine alone, renewed, with its state, until the search is complete."""

from __future__ import annotations

import json
import shutil
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from report_toys import row
from search_toys import Notes

from nasbench import cli
from nasbench.commands import live_page
from nasbench.engine.run import _write_page
from nasbench.engine.watching import Watched
from nasbench.page import content, render
from nasbench.page.serving import PageServer
from nasbench.report.bands import good_enough
from nasbench.report.results import open_study
from nasbench.study.store import TrialStore
from nasbench.study.trials import Kind

STUDY = Path(__file__).parent.parent / "results" / "default"


@pytest.fixture
def server() -> Iterator[PageServer]:
    with PageServer() as found:
        yield found


def fetched(url: str, host: str | None = None) -> tuple[int, str]:
    request = urllib.request.Request(url, headers={"Host": host} if host else {})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_a_page_is_served_with_its_version_and_told_when_it_changes(server: PageServer) -> None:
    server.show(lambda version: f"first {version}")
    server.tell(["search · 3/9 trials"])
    _, page = fetched(server.url)
    _, state = fetched(server.url + "state")
    told = json.loads(state)
    assert page == f"first {told['version']}"
    assert told["lines"] == ["search · 3/9 trials"]
    assert server.is_seen
    server.show(lambda version: f"second {version}")
    assert not server.is_seen
    assert json.loads(fetched(server.url + "state")[1])["version"] != told["version"]


def test_it_is_served_to_this_machine_alone(server: PageServer) -> None:
    server.show(lambda version: "page")
    assert server.url.startswith("http://127.0.0.1:")
    assert fetched(server.url, "evil.example:80")[0] == 403, "a name that was led here"
    assert fetched(server.url + "../etc/passwd")[0] == 404
    assert fetched(server.url, f"localhost:{server.url.split(':')[2].strip('/')}") == (200, "page")


def test_a_port_that_is_taken_is_the_users_to_change(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        assert cli.main(["report", "--watch", str(STUDY), "--port", str(number)]) == 2
    assert f"--port {number}: cannot be served on" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [([str(STUDY), "none"], "2 studies; it serves"), ([str(STUDY), "-o", "x.html"], "-o writes a file; it serves")],
    ids=["two", "file"],
)
def test_one_study_is_watched_and_nothing_written(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["report", "--watch", *words]) == 2
    assert told in capsys.readouterr().err


def test_the_page_follows_a_search_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(content, "fields_that_matter", lambda result: [])  # takes longest, and is tested elsewhere
    monkeypatch.setattr(live_page, "LOOK_EVERY_S", 0.1)
    monkeypatch.setattr(live_page, "PAGE_SHARE", 0)
    shutil.copytree(STUDY, folder := tmp_path / "study")
    lines = (folder / "trials.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "trials.jsonl").write_bytes(b"".join(lines[:30]))
    before = {path.name for path in folder.iterdir()}
    seen: list[str] = []

    def look(watched: Watched, server: PageServer) -> None:
        """In the place of `_renew`: also what a browser would see."""
        renew(watched, server)
        seen.append(fetched(server.url)[1])

    renew = live_page._renew
    monkeypatch.setattr(live_page, "_renew", look)
    with TrialStore(folder):  # as a search has it open
        thread = threading.Thread(target=live_page.watch, args=([str(folder)], 0, False, None))
        thread.start()
        while not seen:
            thread.join(0.05)
        (folder / "trials.jsonl").write_bytes(b"".join(lines))
    thread.join(60)
    assert not thread.is_alive()
    assert len(seen) >= 2
    assert seen[0] != seen[-1]
    assert 'id="live"' in seen[-1]
    assert "location.reload()" in seen[-1]
    assert "It is complete" in capsys.readouterr().out
    assert {path.name for path in folder.iterdir()} == before | {path.name for path in folder.glob("*lock*")}


def test_a_page_that_fails_costs_a_search_one_line_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no\nroom")

    monkeypatch.setattr(render, "write_page", fail)
    progress = Notes()
    _write_page(open_study(STUDY), progress)
    assert progress.notes == [
        f"warning: report.html was not written (RuntimeError: no room); `nasbench report {STUDY}` tries again"
    ]


def test_good_enough_is_said_once_the_lead_is_more_than_noise() -> None:
    published = row("emo_1m", Kind.FIXED_POINT, accuracies=(0.70, 0.71, 0.72), latency=6.0)
    ahead = row("found", accuracies=(0.80, 0.81, 0.82), latency=5.0)
    assert good_enough([published, ahead]).startswith("good enough now: found leads emo_1m by 10.0 points")
    level = row("found", accuracies=(0.71, 0.70, 0.73), latency=5.0)
    slower = row("found", accuracies=(0.80, 0.81, 0.82), latency=9.0)
    one_seed = [row("emo_1m", Kind.FIXED_POINT, accuracies=(0.7,)), row("found", accuracies=(0.9,))]
    for undecided in ([published, level], [published, slower], one_seed, [ahead], []):
        assert good_enough(undecided) == ""
