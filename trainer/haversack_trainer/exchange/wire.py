"""One persistent mutual-TLS connection to the hub, and the one place where its errors become ours.

Standard library only: a long-poll must be breakable from another thread, which no pool offers, and the
name to verify differs from the address to dial.
"""

from __future__ import annotations

import json
import logging
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPMessage
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from .base import Evicted, ExchangeError, Refused, Stale, Superseded, Unbacked

CONNECT_SECONDS: Final = 10.0
INCARNATION_HEADER: Final = "Haversack-Incarnation"
"""Which process of a peer is speaking."""
NEXT_HEADER: Final = "Haversack-Next"
HEAD_HEADER: Final = "Haversack-Head"
STORE_HEADER: Final = "Haversack-Store"
"""Random name of the hub's disk: another one means that log and blobs were lost."""
MAX_BLOB_BYTES: Final = 2**30
"""The hub takes no larger ones."""
_PIECE_BYTES: Final = 16_384
"""Of a body, what is sent at a time: 13 seconds' worth of a line of 10 kbit/s."""

_PASSING: Final = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS})
_MEANING: Final[dict[int, type[ExchangeError]]] = {
    HTTPStatus.FORBIDDEN: Refused,
    HTTPStatus.CONFLICT: Stale,
    HTTPStatus.GONE: Evicted,
    HTTPStatus.LOCKED: Superseded,
    HTTPStatus.FAILED_DEPENDENCY: Unbacked,
}
_UNTIMELY_CODES: Final = frozenset({9, 10})
"""OpenSSL's X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED."""
_UNTIMELY_ALERTS: Final = ("ALERT_BAD_CERTIFICATE", "ALERT_CERTIFICATE_EXPIRED")
"""The same two, when it is the hub that finds fault."""
_REFUSING_ALERTS: Final = ("CERTIFICATE", "UNKNOWN_CA", "ACCESS_DENIED", "HANDSHAKE_FAILURE")
_logger: Final = logging.getLogger(__name__)


class LinkDown(ExchangeError):
    """The hub cannot be reached just now, or cannot serve; trying again may help."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A response, read whole."""

    status: int
    headers: HTTPMessage
    body: bytes = field(repr=False)

    @property
    def sentence(self) -> str:
        """The hub's word on an error."""
        try:
            return str(json.loads(self.body)["error"])
        except (ValueError, KeyError, TypeError):
            return f"the hub answered {self.status}"

    def raise_for_status(self) -> Reply:
        """Raises ``LinkDown`` (5xx, 408, 429), what ``_MEANING`` says, or ``ExchangeError``."""
        if self.status < HTTPStatus.BAD_REQUEST:
            return self
        if self.status >= HTTPStatus.INTERNAL_SERVER_ERROR or self.status in _PASSING:
            raise LinkDown(self.sentence)
        raise _MEANING.get(self.status, ExchangeError)(self.sentence)


def client_context(tls_dir: Path) -> ssl.SSLContext:
    """Trusts this job's CA only and shows the peer's own certificate. Raises ``ExchangeError``."""
    try:
        context = ssl.create_default_context(cafile=str(tls_dir / "ca.crt"))
        context.load_cert_chain(tls_dir / "tls.crt", tls_dir / "tls.key")
    except OSError as error:
        raise ExchangeError(
            f"{tls_dir} must hold a readable ca.crt, tls.crt and tls.key of this job: {error}"
        ) from error
    return context


class Line:
    """A connection that is made on demand and made again after it broke. For one thread."""

    def __init__(self, url: str, hub_name: str, context: Callable[[], ssl.SSLContext]) -> None:
        """``context`` is made for each connection: certificates are renewed while a peer runs."""
        parts = urlsplit(url)
        if parts.scheme != "https" or not parts.hostname:
            raise ExchangeError(f"the hub's address must be https://host:port, not {url!r}")
        self._host, self._port = parts.hostname, parts.port or 443
        self._hub_name, self._context = hub_name, context
        self._connection: HTTPConnection | None = None

    def request(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        timeout_seconds: float = 60.0,
    ) -> Reply:
        """One request. ``timeout_seconds``: how long the hub may take or send no byte, however long it is in all.

        Raises ``LinkDown``, or ``Refused`` if one side does not trust the other."""
        try:
            connection = self._connection or self._connect()
            if connection.sock is not None:
                connection.sock.settimeout(timeout_seconds)
            length = {"Content-Length": str(len(body))}
            # In pieces: a socket's timeout is for all that it is given at once.
            connection.request(method, path, _pieces(body), {**length, **(headers or {})})
            response = connection.getresponse()
            reply = Reply(response.status, response.headers, response.read())
        except ssl.SSLError as error:
            self.close()
            raise self._translate(error) from error
        except (OSError, HTTPException) as error:
            self.close()
            raise LinkDown(f"the hub at {self._host}:{self._port}: {error!r}") from error
        if response.will_close:
            self.close()
        return reply

    def abort(self) -> None:
        """Break the connection from another thread: a request under way raises ``LinkDown``."""
        connection = self._connection
        if connection is not None and connection.sock is not None:
            with suppress(OSError):
                socket.socket.shutdown(connection.sock, socket.SHUT_RDWR)

    def close(self) -> None:
        """Free the connection; the next request makes a new one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _connect(self) -> HTTPConnection:
        try:
            context = self._context()
        except ExchangeError as error:
            # Read while they were being replaced; they were there when the peer started.
            raise LinkDown(str(error)) from error
        raw = socket.create_connection((self._host, self._port), timeout=CONNECT_SECONDS)
        try:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            secured = context.wrap_socket(raw, server_hostname=self._hub_name)
        except BaseException:
            raw.close()
            raise
        connection = HTTPConnection(self._host, self._port)
        connection.sock = secured
        # Left on, it would dial again without TLS after the connection broke.
        connection.auto_open = 0
        self._connection = connection
        return connection

    def _translate(self, error: ssl.SSLError) -> ExchangeError:
        reason = error.reason or ""
        if getattr(error, "verify_code", 0) in _UNTIMELY_CODES or reason.endswith(_UNTIMELY_ALERTS):
            _logger.warning(
                "a certificate of this peer or of the hub %s is not valid now (%s): set the clocks of both "
                "nodes; an expired one is renewed by the operator",
                self._hub_name,
                getattr(error, "verify_message", reason),
            )
            return LinkDown(f"a certificate is not valid now: {error!r}")
        if any(alert in reason for alert in _REFUSING_ALERTS):
            return Refused(
                f"this peer and the hub {self._hub_name} do not trust one another ({reason}): "
                "both need certificates of this job's CA"
            )
        return LinkDown(f"the hub at {self._host}:{self._port}: {error!r}")


def _pieces(body: bytes) -> Iterator[memoryview]:
    view = memoryview(body)
    return (view[start : start + _PIECE_BYTES] for start in range(0, len(view), _PIECE_BYTES))
