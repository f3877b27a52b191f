"""An HTTP server on this machine for one file, which misbehaves as it is told and remembers what it was asked."""

from __future__ import annotations

import re
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Reply:
    """One answer that differs from the plain one; what is None stays as in the plain one.

    `send_bytes` ends the connection after so many bytes of the body, once `before_end` has returned; `length` is what
    the header claims. `headers` of None are left out.
    """

    status: int | None = None
    body: bytes | None = None
    headers: dict[str, str | None] = field(default_factory=dict)
    length: int | None = None
    send_bytes: int | None = None
    before_end: Callable[[], object] = lambda: None


@dataclass
class FileServer:
    """The file under every path, ranges and validators as they should be; `replies` come first, one a request.

    Paths that hold a text of `others` have its content instead.
    """

    content: bytes
    others: dict[str, bytes] = field(default_factory=dict)
    etag: str | None = '"first"'
    has_ranges: bool = True
    replies: deque[Reply] = field(default_factory=deque)
    requests: list[dict[str, str]] = field(default_factory=list)
    url: str = ""
    close: Callable[[], None] = lambda: None  # from then on nobody listens

    def answer(self, headers: dict[str, str], path: str = "") -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body that a good server gives."""
        content = next((other for text, other in self.others.items() if text in path), self.content)
        found = {"Content-Type": "application/octet-stream"}
        if self.etag is not None:
            found["ETag"] = self.etag
        wanted = re.fullmatch(r"bytes=(\d+)-", headers.get("Range", ""))
        if wanted and self.has_ranges and headers.get("If-Range", self.etag) == self.etag:
            start = int(wanted[1])
            if start >= len(content):
                return 416, {"Content-Range": f"bytes */{len(content)}"}, b""
            found["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            return 206, found, content[start:]
        return 200, found, content

    @property
    def ranges(self) -> list[str | None]:
        """The Range header of each request so far."""
        return [request.get("Range") for request in self.requests]


@contextmanager
def serving(content: bytes) -> Iterator[FileServer]:
    """A server of the content on a free port of this machine."""
    files = FileServer(content)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            files.requests.append({**self.headers, "path": self.path})
            reply = files.replies.popleft() if files.replies else Reply()
            status, headers, body = files.answer(dict(self.headers), self.path)
            body = body if reply.body is None else reply.body
            self.send_response(status if reply.status is None else reply.status)
            length = str(len(body) if reply.length is None else reply.length)
            for name, value in {**headers, "Content-Length": length, **reply.headers}.items():
                if value is not None:
                    self.send_header(name, value)
            self.end_headers()
            try:
                self.wfile.write(body if reply.send_bytes is None else body[: reply.send_bytes])
                self.wfile.flush()
                reply.before_end()
            except ConnectionError:
                self.close_connection = True
            if reply.send_bytes is not None or reply.length is not None or None in reply.headers.values():
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            if not isinstance(sys.exception(), ConnectionError):  # clients leave when they have what they want
                super().handle_error(request, client_address)  # type: ignore[arg-type]

    server = Server(("127.0.0.1", 0), Handler)
    files.url = f"http://127.0.0.1:{server.server_port}/weights.pyth"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()

    def close() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    files.close = close
    try:
        yield files
    finally:
        close()
