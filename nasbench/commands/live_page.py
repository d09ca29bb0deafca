"""`nasbench report --watch`: the page of a search that runs, renewed in the browser as it goes on."""

from __future__ import annotations

import argparse
import sys
import time
import webbrowser
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nasbench.commands.common import Parser
from nasbench.errors import UserError

if TYPE_CHECKING:
    from nasbench.engine.watching import Watched
    from nasbench.page.serving import PageServer

LOOK_EVERY_S = 2.0
PAGE_SHARE = 20  # times as long as it took to make, the page is left alone
LAST_LOOK_S = 6.0  # what an open page has to fetch the last version


def port(text: str) -> int:
    """An argparse type: a port's number, or 0 for any."""
    if not (text.isascii() and text.isdigit() and int(text[:6]) <= 65535):
        raise argparse.ArgumentTypeError(f"{text[:20]!r} is not a port; give a number from 0 to 65535")
    return int(text)


def add_options(report: Parser) -> None:
    report.add_argument(
        "--watch", action="store_true",
        help="serve the page of one study on this machine alone, renewed while the search runs, until it is complete",
    )  # fmt: skip
    report.add_argument("--port", type=port, default=0, metavar="N", help="of --watch (default: any that is free)")


def watch(folders: Sequence[str], on_port: int, open_it: bool, output: str | None) -> int:
    """Serve the page until the study is complete, no process runs it any more, or Ctrl-C."""
    from nasbench.engine.watching import Watched
    from nasbench.page.serving import PageServer

    if len(folders) != 1 or output is not None:
        what = "-o writes a file" if output is not None else f"{len(folders)} studies"
        raise UserError(f"--watch: {what}; it serves the page of one study, so leave the rest out")
    watched = Watched(folders[0])
    with PageServer(on_port) as server:
        print(f"The page: {server.url} (on this machine alone; Ctrl-C ends it)", flush=True)
        try:
            _follow(watched, server, open_it)
        except KeyboardInterrupt:
            print("No longer watched; the search goes on by itself.")
            return 0
    ending = "It is complete" if watched.is_finished() else "Nobody runs it"
    print(f"{ending}: `nasbench report {watched.folder}` writes the page as a file.")
    return 0


def _follow(watched: Watched, server: PageServer, open_it: bool) -> None:
    due, shown = 0.0, None
    while True:
        running = watched.is_running()
        _tell(watched, server)
        if (time.monotonic() >= due or not running) and watched.result is not shown:
            began, shown = time.monotonic(), watched.result
            _renew(watched, server)
            due = time.monotonic() + PAGE_SHARE * (time.monotonic() - began)
            if open_it and not webbrowser.open(server.url):
                print(f"no browser was found; open {server.url} in one", file=sys.stderr)
            open_it = False
        if not running:
            break
        time.sleep(LOOK_EVERY_S)
    until = time.monotonic() + LAST_LOOK_S
    while not server.is_seen and time.monotonic() < until:
        time.sleep(0.2)


def _renew(watched: Watched, server: PageServer) -> None:
    from nasbench.page.content import page_content
    from nasbench.page.render import page_text

    content = page_content([watched.result])
    server.show(lambda version: page_text(content, version))


def _tell(watched: Watched, server: PageServer) -> None:
    from nasbench.progress import details, headline

    state = watched.look()
    server.tell([headline(state), *(f"training: {each}" for each in state.training), *state.ended, *details(state)])
