"""A large blob over a narrow line takes as long as it takes: only silence breaks a connection."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from threading import Thread

from hub_certificates import HUB_NAME, Authority

from haversack_trainer.exchange.wire import Line, client_context

MIB = 1 << 20
ANSWER = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}"
SILENCE_SECONDS = 2.0


def _serve(listener: socket.socket, context: ssl.SSLContext, num_bytes: int, pause: float) -> None:
    plain, _ = listener.accept()
    with suppress(OSError), context.wrap_socket(plain, server_side=True) as line:
        head = b""
        while b"\r\n\r\n" not in head:
            head += line.recv(1024)
        left, due = num_bytes - len(head.partition(b"\r\n\r\n")[2]), MIB
        while left > 0 and (got := len(line.recv(65_536))):
            left, due = left - got, due - got
            if due <= 0:
                due = MIB
                time.sleep(pause)
        line.sendall(ANSWER)


@contextmanager
def a_slow_reader(folder: Path, num_bytes: int, pause: float) -> Iterator[Line]:
    """To one that takes a MiB after each pause, and has little room for what comes in between."""
    authority = Authority(folder)
    hub, peer = authority.folder("hub"), authority.folder("peer-0")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(hub / "tls.crt", hub / "tls.key")
    with closing(socket.socket()) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        server = Thread(target=_serve, args=(listener, context, num_bytes, pause), daemon=True)
        server.start()
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        line = Line(url, HUB_NAME, lambda: client_context(peer))
        yield line
        line.close()
        server.join(timeout=30)


def test_a_body_may_take_longer_than_the_silence_that_counts_as_broken(tmp_path: Path) -> None:
    body = bytes(16 * MIB)
    with a_slow_reader(tmp_path, len(body), pause=0.25) as line:
        reply = line.request("PUT", "/blobs/x", body, {}, SILENCE_SECONDS)
    assert (reply.status, reply.body) == (201, b"{}")
