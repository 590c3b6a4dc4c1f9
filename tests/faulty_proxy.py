"""A TCP proxy that cuts, stalls and slows connections: what a bad line does to a peer."""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Lock, Thread
from types import TracebackType
from typing import Self


@dataclass
class FaultyProxy:
    """Forwards to ``target`` on the loopback. Set the faults at any time."""

    target: int
    cut_after_bytes: int | None = None
    """Every connection is reset after so many bytes from the peer."""
    unplugged: bool = False
    """Bytes are swallowed and connections stay open: a pulled cable."""
    delay_seconds: float = 0.0
    """Before every forwarded piece."""
    _sockets: list[socket.socket] = field(default_factory=list)
    _threads: list[Thread] = field(default_factory=list)
    _lock: Lock = field(default_factory=Lock)

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def cut(self) -> None:
        """Break all connections that there are now."""
        with self._lock:
            for broken in self._sockets:
                with suppress(OSError):
                    broken.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._acceptor = Thread(target=self._accept)
        self._acceptor.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join()
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join()
        for used in self._sockets:
            used.close()

    def _accept(self) -> None:
        while True:
            try:
                inner, _ = self._listener.accept()
            except OSError:
                return
            outer = socket.socket()
            with self._lock:
                self._sockets += [inner, outer]
            try:
                outer.connect(("127.0.0.1", self.target))
            except OSError:
                inner.close()
                continue
            for source, sink, counted in ((inner, outer, True), (outer, inner, False)):
                thread = Thread(target=self._forward, args=(source, sink, counted))
                self._threads.append(thread)
                thread.start()

    def _forward(self, source: socket.socket, sink: socket.socket, counted: bool) -> None:
        passed = 0
        with suppress(OSError):
            while data := source.recv(65_536):
                if self.unplugged:
                    continue
                time.sleep(self.delay_seconds)
                passed += len(data)
                if counted and self.cut_after_bytes is not None and passed > self.cut_after_bytes:
                    break
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
