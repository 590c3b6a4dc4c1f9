"""The listening port, and an orderly way of closing it."""

from __future__ import annotations

import asyncio
import ssl
from typing import Final

from aiohttp import web

from .journal import HubError

_FAREWELL_LOOKS: Final = 15
_LOOK_SECONDS: Final = 0.02
_HANDSHAKE_SECONDS: Final = 20.0


class Door:
    """Opens and closes an application's port.

    A server knows its connections only once their handshake is done, so those that are still shaking
    hands are remembered here: at the end all are hung up on, since a peer that is away would never say
    goodbye.
    """

    def __init__(self, runner: web.AppRunner) -> None:
        self._runner = runner
        self._server: asyncio.Server | None = None
        self._arriving: list[tuple[float, web.RequestHandler]] = []

    async def open(self, host: str, port: int, context: ssl.SSLContext) -> int:
        """The port it listens on; another one than ``port`` only if that is 0. Raises ``HubError``."""
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(
                self._arrive,
                host,
                port,
                ssl=context,
                ssl_handshake_timeout=_HANDSHAKE_SECONDS,
                backlog=1024,
            )
        except OSError as error:
            raise HubError(
                f"cannot listen on {host}:{port} ({error.strerror}): set LISTEN to a free address"
            ) from error
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Let what is under way be answered for a moment, then hang up."""
        await self._stop_listening()
        for _ in range(_FAREWELL_LOOKS):
            await asyncio.sleep(_LOOK_SECONDS)
            if not self._is_busy():
                break
        here = self._runner.server.connections if self._runner.server else []
        for connection in (*here, *(handler for _, handler in self._arriving)):
            if connection.transport is not None:
                connection.transport.abort()
        await self._runner.cleanup()

    async def _stop_listening(self) -> None:
        if self._server is None:
            return
        loop = asyncio.get_running_loop()
        for listening in self._server.sockets:
            loop.remove_reader(listening.fileno())
        # One turn for those accepted just now: Python 3.11 loses them if their server is closed before.
        await asyncio.sleep(0)
        self._server.close()

    def _is_busy(self) -> bool:
        self._forget()
        return bool(self._arriving or (self._runner.server and self._runner.server.connections))

    def _arrive(self) -> web.RequestHandler:
        if self._runner.server is None:
            raise ConnectionAbortedError("the hub is closing")
        self._forget()
        connection = self._runner.server()
        self._arriving.append((asyncio.get_running_loop().time(), connection))
        return connection

    def _forget(self) -> None:
        """Those who came in, and those whose handshake must have failed by now."""
        oldest = asyncio.get_running_loop().time() - _HANDSHAKE_SECONDS
        self._arriving = [
            (since, connection)
            for since, connection in self._arriving
            if connection.transport is None and since > oldest
        ]
