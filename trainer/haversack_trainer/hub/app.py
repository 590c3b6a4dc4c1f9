"""The hub's HTTP rim: requests in, ``Core`` asked, sentences out. Decides nothing itself."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web
from pydantic import ValidationError

from haversack_trainer.contract.records import OPERATOR, CorruptRecord
from haversack_trainer.contract.report import PeerReport
from haversack_trainer.exchange.admission import Forged
from haversack_trainer.exchange.base import Evicted, Refused, Stale, Superseded, Unbacked
from haversack_trainer.exchange.wire import (
    HEAD_HEADER,
    INCARNATION_HEADER,
    MAX_BLOB_BYTES,
    NEXT_HEADER,
    STORE_HEADER,
)

from .blobs import Blobs, Incoming
from .core import Behind, Core, Settling
from .journal import NotStored
from .publisher import Publisher
from .tls import caller

MAX_APPEND_BYTES: Final = 2**20
MAX_REFILL_BYTES: Final = 2**26
"""A million rounds of one byte; the hub has 512 MiB for this, for the same as records, and for all else."""
_RUNS: Final = "/v1/runs/"
_CHUNK_BYTES: Final = 2**20
_BYTES: Final = "application/octet-stream"
_STATUS: Final[dict[type[Exception], int]] = {
    CorruptRecord: 400,
    Refused: 403,
    Stale: 409,
    Evicted: 410,
    Superseded: 423,
    Unbacked: 424,
    NotStored: 507,
    Settling: 503,
}
_CALLER: Final = web.RequestKey("caller", int)
"""The number that the certificate speaks for."""
_POSITION: Final = re.compile(r"[0-9]{1,12}")
_SECONDS: Final = re.compile(r"[0-9]{1,3}(\.[0-9]{1,6})?")
_COUNTED: Final = frozenset({400, 403, 409, 413, 424})

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Hub:
    """The handlers of one run."""

    def __init__(self, core: Core, blobs: Blobs, publisher: Publisher, store: str) -> None:
        self._core, self._blobs, self._publisher, self._store = core, blobs, publisher, store
        self._base = f"{_RUNS}{core.book.run}"
        self._refilling = asyncio.Lock()

    def application(self) -> web.Application:
        app = web.Application(middlewares=[self._guard], client_max_size=MAX_APPEND_BYTES)
        # The run is spelled out: fixed paths are found by one look-up, 512 times a round of 256 peers.
        base = self._base
        app.add_routes(
            [
                web.post(f"{base}/log", self._append),
                web.get(f"{base}/log", self._read),
                web.post(f"{base}/refill", self._refill),
                web.put(f"{base}/blobs/{{digest}}", self._put_blob),
                web.get(f"{base}/blobs/{{digest}}", self._get_blob),
                web.put(f"{base}/peers/{{peer}}/report", self._report),
                web.get(f"{base}/progress", self._progress),
            ]
        )
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Every request: whose is it; and every refusal: one sentence, counted."""
        try:
            if request.path.startswith(_RUNS) and not request.path.startswith(f"{self._base}/"):
                raise Forged(f"this hub serves run {self._core.book.run!r} only")
            request[_CALLER] = caller(request.get_extra_info("peercert"), self._core.book.run)
            return await handler(request)
        except web.HTTPException as error:
            return self._refusal(error.status, error.reason)
        except tuple(_STATUS) as error:
            status = next(code for kind, code in _STATUS.items() if isinstance(error, kind))
            return self._refusal(status, str(error))
        except ConnectionError:
            # Whoever asked has hung up: no fault of the hub, and nobody reads the answer.
            return self._refusal(408, "the request broke off")

    def _peers_only(self, request: web.Request) -> None:
        if request[_CALLER] == OPERATOR:
            raise Forged("only peers bring blobs and refills")

    def _refusal(self, status: int, sentence: str) -> web.Response:
        if status in _COUNTED:
            self._core.num_refused += 1
        return web.json_response({"error": sentence}, status=status)

    async def _append(self, request: web.Request) -> web.Response:
        frames = await request.read()
        if "from" in request.query:
            return await self._take_turn(request, frames)
        appended = self._core.append(request[_CALLER], frames, _incarnation(request))
        await self._publisher.confirm()
        answer = {
            "position": appended.position,
            "next": appended.next,
            "lease_seconds": self._core.lease_seconds,
        }
        return web.json_response(answer)

    async def _take_turn(self, request: web.Request, frames: bytes) -> web.Response:
        """An append and a read in one: a peer's whole round. Sent again, it appends nothing and reads again."""
        start, seconds = _position(request), self._hold_seconds(request)
        # First: who has followed another log has nothing to say in this one.
        if (refusal := self._poll(request, start)) is not None:
            return refusal
        appended = self._core.append(request[_CALLER], frames, _incarnation(request))
        await self._publisher.take_turn(appended.next - 1, start, seconds)
        return self._answer(start)

    async def _read(self, request: web.Request) -> web.Response:
        start, seconds = _position(request), self._hold_seconds(request)
        if (refusal := self._poll(request, start)) is not None:
            return refusal
        if seconds:
            await self._publisher.wait(start, seconds)
        return self._answer(start)

    def _hold_seconds(self, request: web.Request) -> float:
        """A poll is a heartbeat: it may not be held for longer than a fraction of the lease."""
        return min(_seconds(request), self._core.lease_seconds / 3)

    def _poll(self, request: web.Request, start: int) -> web.Response | None:
        try:
            self._core.poll(request[_CALLER], _incarnation(request), start, _head(request))
        except Behind as error:
            headers = {NEXT_HEADER: str(len(self._core))}
            return web.json_response({"error": str(error)}, status=409, headers=headers)
        return None

    def _answer(self, start: int) -> web.Response:
        tail = self._core.read(start, max(start, self._publisher.durable))
        headers = {
            NEXT_HEADER: str(tail.next),
            HEAD_HEADER: tail.head.hex(),
            STORE_HEADER: self._store,
        }
        return web.Response(body=tail.frames, headers=headers, content_type=_BYTES)

    async def _refill(self, request: web.Request) -> web.Response:
        self._peers_only(request)
        # One at a time: who comes next learns that there is a log before it has sent its own.
        async with self._refilling:
            self._core.check_settling()
            frames = await self._read_refill(request)
            self._core.refill(frames, _head(request))
        await self._publisher.confirm()
        return web.json_response({"next": len(self._core)})

    async def _read_refill(self, request: web.Request) -> bytes:
        frames = bytearray()
        try:
            async with asyncio.timeout(self._core.lease_seconds):
                async for chunk in request.content.iter_chunked(_CHUNK_BYTES):
                    frames += chunk
                    if len(frames) > MAX_REFILL_BYTES:
                        raise web.HTTPRequestEntityTooLarge(MAX_REFILL_BYTES, len(frames))
        except TimeoutError as error:
            raise web.HTTPRequestTimeout from error
        return bytes(frames)

    async def _put_blob(self, request: web.Request) -> web.Response:
        self._peers_only(request)
        self._core.check_alive(request[_CALLER], _incarnation(request))
        digest = request.match_info["digest"]
        if (request.content_length or 0) > MAX_BLOB_BYTES:
            raise web.HTTPRequestEntityTooLarge(MAX_BLOB_BYTES, request.content_length or 0)
        incoming = self._blobs.receive(digest)
        try:
            await _receive(request, incoming)
            await asyncio.to_thread(incoming.commit)
        finally:
            incoming.discard()
        return web.json_response({"digest": digest}, status=201)

    async def _get_blob(self, request: web.Request) -> web.StreamResponse:
        digest = request.match_info["digest"]
        if not self._blobs.has(digest):
            return self._refusal(404, f"this hub has no blob {digest}")
        return web.FileResponse(self._blobs.path(digest), headers={"Content-Type": _BYTES})

    async def _report(self, request: web.Request) -> web.Response:
        peer = request[_CALLER]
        if request.match_info["peer"] != str(peer):
            raise Forged(f"peer {peer} reported for peer {request.match_info['peer']}")
        try:
            report = PeerReport.model_validate_json(await request.read())
        except ValidationError as error:
            raise CorruptRecord(_what_is_wrong(error)) from error
        self._core.report(peer, _incarnation(request), report)
        return web.Response(status=204)

    async def _progress(self, _request: web.Request) -> web.Response:
        text = self._core.progress().model_dump_json(by_alias=True)
        return web.Response(text=text, content_type="application/json")


async def _receive(request: web.Request, incoming: Incoming) -> None:
    received = 0
    async for chunk in request.content.iter_chunked(_CHUNK_BYTES):
        received += len(chunk)
        if received > MAX_BLOB_BYTES:
            raise web.HTTPRequestEntityTooLarge(MAX_BLOB_BYTES, received)
        await asyncio.to_thread(incoming.write, chunk)


def _what_is_wrong(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    field = ".".join(map(str, first["loc"]))
    return f"the report cannot be read{f': {field}' if field else ''}: {first['msg']}"


def _incarnation(request: web.Request) -> str:
    return request.headers.get(INCARNATION_HEADER, "")


def _head(request: web.Request) -> str:
    return request.headers.get(HEAD_HEADER, "")


def _position(request: web.Request) -> int:
    text = request.query.get("from", "0")
    if not _POSITION.fullmatch(text):
        raise CorruptRecord("the query's 'from' must be a position in the log")
    return int(text)


def _seconds(request: web.Request) -> float:
    text = request.query.get("wait", "0")
    if not _SECONDS.fullmatch(text):
        raise CorruptRecord("the query's 'wait' must be a number of seconds")
    return float(text)
