"""A page that is updated while it is open, served to the browsers of this machine alone."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Callable, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

from nasbench.errors import UserError

LOOPBACK = "127.0.0.1"
NAMES = (LOOPBACK, "localhost")  # accepted Host headers; others come from DNS rebinding


class PageServer:
    """Serves one page at `url`, from memory, within its `with` block.

    `/state` gives the page's version, so that an open page reloads when there is another, and lines to show at once.
    `port` 0 is any free one; UserError where the port is taken.
    """

    def __init__(self, port: int = 0) -> None:
        self._page, self._version, self._lines, self._asked = b"", "", list[str](), ""
        try:
            self._server = ThreadingHTTPServer((LOOPBACK, port), _handler(self._answer))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise UserError(f"--port {port}: cannot be served on: {reason}; leave it out for any free port") from None
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self._server.server_address[1]}/"

    @property
    def is_seen(self) -> bool:
        """Whether a browser has the latest version of the page."""
        return self._asked == self._version

    def show(self, make: Callable[[str], str]) -> None:
        """Replace the page by `make(version)`; the version is a new one."""
        version = secrets.token_hex(6)
        self._page, self._version = make(version).encode(errors="replace"), version

    def tell(self, lines: Sequence[str]) -> None:
        """Set the lines that an open page shows."""
        self._lines = list(lines)

    def _answer(self, path: str, host: str) -> tuple[HTTPStatus, str, bytes]:
        """Status, type and content for a request's path and Host header."""
        if host.rpartition(":")[0] not in NAMES:
            return HTTPStatus.FORBIDDEN, "text/plain", b"served to this machine alone\n"
        if path == "/":
            self._asked = self._version
            return HTTPStatus.OK, "text/html; charset=utf-8", self._page
        if path == "/state":
            state = {"version": self._version, "lines": self._lines}
            return HTTPStatus.OK, "application/json", json.dumps(state).encode()
        return HTTPStatus.NOT_FOUND, "text/plain", b"not here\n"

    def __enter__(self) -> PageServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


def _handler(answer: Callable[[str, str], tuple[HTTPStatus, str, bytes]]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, kind, content = answer(self.path.partition("?")[0], self.headers.get("Host", ""))
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *values: object) -> None:
            """Nothing: the terminal shows the search."""

    return Handler
