"""A proxy that makes an S3 server fail the way networks and busy stores do.

Requests go through untouched, with their own Host header, so signatures stay valid. A rule takes the
first requests that it matches and spoils each in its way.
"""

from __future__ import annotations

import http.client
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final
from urllib.parse import urlsplit

from s3server import S3Server

Matches = Callable[[str, str], bool]
"""(method, path with query) of a request."""

_HOP_BY_HOP: Final = {"connection", "keep-alive", "transfer-encoding", "expect"}


class Fault(Enum):
    """How a request is spoilt."""

    SLOW_DOWN = "503 SlowDown instead of an answer"
    INTERNAL_ERROR = "500 InternalError instead of an answer"
    RACE = "409 ConditionalRequestConflict instead of an answer"
    WRONG_REGION = "400 AuthorizationHeaderMalformed instead of an answer"
    NOT_IMPLEMENTED = "501 NotImplemented instead of an answer"
    FULL = "507 QuotaExceeded instead of an answer"
    RESET_BEFORE = "the connection is reset before the server sees the request"
    RESET_AFTER = "the server does what is asked, but the connection is reset instead of its answer"
    TORN_BODY = "the connection ends in the middle of the answer's body"
    CORRUPT_BODY = "one byte of the answer's body is another"


_ANSWERS: Final = {
    Fault.SLOW_DOWN: (503, "SlowDown"),
    Fault.INTERNAL_ERROR: (500, "InternalError"),
    Fault.WRONG_REGION: (400, "AuthorizationHeaderMalformed"),
    Fault.NOT_IMPLEMENTED: (501, "NotImplemented"),
    Fault.FULL: (507, "QuotaExceeded"),
    Fault.RACE: (409, "ConditionalRequestConflict"),
}


@dataclass(slots=True)
class _Rule:
    fault: Fault
    matches: Matches
    left: int


class FaultProxy:
    """A thread between a client and ``server``."""

    def __init__(self, server: S3Server) -> None:
        self.requests: list[tuple[str, str, str]] = []
        """Method, path and Range header of every request so far."""
        self._upstream = urlsplit(server.endpoint)
        self._rules: list[_Rule] = []
        self._lock = threading.Lock()
        self._http = _Server(("127.0.0.1", 0), self)
        host, port = self._http.server_address[:2]
        self.server = replace(server, endpoint=f"http://{host!s}:{port}")
        """The same server, but through this proxy."""

    def spoil(self, fault: Fault, times: int = 1, *, matches: Matches | None = None) -> None:
        """Spoil the next ``times`` requests that match (default: all)."""
        with self._lock:
            self._rules.append(_Rule(fault, matches or (lambda _method, _path: True), times))

    def pick(self, method: str, path: str, byte_range: str) -> Fault | None:
        """The fault for a request, which is thereby used up."""
        with self._lock:
            self.requests.append((method, path, byte_range))
            for rule in self._rules:
                if rule.left and rule.matches(method, path):
                    rule.left -= 1
                    return rule.fault
        return None

    def forward(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        """The server's answer."""
        upstream = http.client.HTTPConnection(
            str(self._upstream.hostname), self._upstream.port or 80, timeout=30
        )
        try:
            upstream.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in headers.items():
                upstream.putheader(name, value)
            upstream.endheaders(body)
            answer = upstream.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            upstream.close()

    def start(self) -> threading.Thread:
        """Serve until ``stop``."""
        thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        return thread

    def stop(self) -> None:
        """Close the door."""
        self._http.shutdown()
        self._http.server_close()


@contextmanager
def fault_proxy(server: S3Server) -> Iterator[FaultProxy]:
    """A proxy in front of ``server``."""
    proxy = FaultProxy(server)
    thread = proxy.start()
    try:
        yield proxy
    finally:
        proxy.stop()
        thread.join(timeout=10)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], proxy: FaultProxy) -> None:
        self.proxy = proxy
        super().__init__(address, _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is the point of many a test."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: object) -> None:
        """Keep the tests' output quiet."""

    def __getattr__(self, name: str) -> Callable[[], None]:
        """``do_GET`` and so on: every method goes the same way."""
        if name.startswith("do_"):
            return self._serve
        raise AttributeError(name)

    def _serve(self) -> None:
        fault = self.server.proxy.pick(self.command, self.path, self.headers.get("Range", ""))
        if fault is Fault.RESET_BEFORE:
            return self._reset()
        if self.headers.get("Expect", "").lower() == "100-continue":
            self.send_response_only(100)
            self.end_headers()
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if fault in _ANSWERS:
            return self._refuse(*_ANSWERS[fault])
        headers = {
            name: value for name, value in self.headers.items() if name.lower() not in _HOP_BY_HOP
        }
        status, answer, content = self.server.proxy.forward(self.command, self.path, headers, body)
        if fault is Fault.RESET_AFTER:
            return self._reset()
        return self._answer(status, answer, content, fault)

    def _answer(
        self, status: int, headers: list[tuple[str, str]], body: bytes, fault: Fault | None
    ) -> None:
        if fault is Fault.CORRUPT_BODY:
            body = body[:-1] + bytes([body[-1] ^ 1])
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in _HOP_BY_HOP:
                self.send_header(name, value)
        if "content-length" not in {name.lower() for name, _ in headers}:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if fault is Fault.TORN_BODY:
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            return self._reset()
        self.wfile.write(body)
        return None

    def _refuse(self, status: int, code: str) -> None:
        body = f"<Error><Code>{code}</Code><Message>on purpose</Message></Error>".encode()
        self._answer(
            status,
            [("Content-Type", "application/xml")],
            b"" if self.command == "HEAD" else body,
            None,
        )

    def _reset(self) -> None:
        """End the connection at once, with RST rather than FIN."""
        self.close_connection = True
        with suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
