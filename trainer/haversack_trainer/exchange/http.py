"""The exchange over the hub: mutual TLS, dial-out only, patient with a hub that is away."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from haversack_trainer.contract.membership import Join
from haversack_trainer.contract.records import CorruptRecord, Kind, Record
from haversack_trainer.contract.report import PeerReport, RunProgress

from .backoff import Backoff
from .base import Evicted, ExchangeError, Outgoing, Stop, Stopped, Swap
from .feed import POLL_SECONDS, Feed
from .log import ClosedRound, RunState
from .payload import blob_digest, body_of
from .wire import INCARNATION_HEADER, MAX_BLOB_BYTES, Line, LinkDown, Reply, client_context

_LOOK_SECONDS: Final = 0.2
"""How often a wait looks at ``stop``."""
_RECENT_ROUNDS: Final = 2
"""Blobs of so many rounds are promised; a hub that lost its disk gets them back from their owners."""
_BLOB_PATIENCE_SECONDS: Final = 30.0
_ANSWER_SECONDS: Final = 30.0
"""Without a byte from the hub for so long, the connection counts as broken."""
_FAREWELL_SECONDS: Final = 3.0


def _never() -> bool:
    return False


class HttpExchange:
    """One peer's door to a run's hub. Implements ``Exchange``.

    While the hub is away, calls wait and try again until ``stop()``; whether the peer still has its
    lease is the hub's word once it is back.
    """

    def __init__(
        self,
        url: str,
        *,
        hub_name: str,
        tls_dir: Path,
        run: str,
        me: int,
        stop: Stop = _never,
        poll_seconds: float = POLL_SECONDS,
        needs_approval: bool = False,
    ) -> None:
        """``needs_approval`` as in ``RunState``. Raises ``ExchangeError``."""
        client_context(tls_dir)  # Missing files are said now, not at the first request.
        context = partial(client_context, tls_dir)
        self.me = me
        self.state = RunState(needs_approval=needs_approval)
        self._base = f"/v1/runs/{run}"
        self._line = Line(url, hub_name, context)
        self._feed = Feed(Line(url, hub_name, context), run, poll_seconds)
        self._stop = stop
        self._incarnation = ""
        self._sent = 0
        self._received = 0

    def join(self, join: Join) -> None:
        self._incarnation = join.incarnation
        body = join.model_dump_json(by_alias=True).encode()
        self._feed.rest()
        self._post(Record(Kind.JOIN, self.me, 0, body), self._stop)
        self._feed.start(join.incarnation)

    def append(self, kind: Kind, round: int, body: bytes, aux: int = 0) -> None:
        self._append(Record(kind, self.me, round, body, aux), self._stop)

    def wait_for(
        self, ready: Callable[[RunState], bool], stop: Stop, timeout_seconds: float | None = None
    ) -> bool:
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        with self._feed.changed:
            while True:
                self._absorb()
                if ready(self.state):
                    return True
                self._feed.check()
                if stop():
                    raise Stopped("asked to stop")
                if deadline is not None and time.monotonic() >= deadline:
                    return False
                self._feed.changed.wait(_LOOK_SECONDS)

    def publish(self, round: int, outgoing: Outgoing, stop: Stop) -> None:
        if outgoing.blob is not None:
            if len(outgoing.blob) > MAX_BLOB_BYTES:
                raise ExchangeError(
                    f"a round's blob is {len(outgoing.blob)} bytes, at most {MAX_BLOB_BYTES}: train fewer weights"
                )
            digest = hashlib.sha256(outgoing.blob).hexdigest()
            self._feed.keep(digest, outgoing.blob)
            self._ask("PUT", f"/blobs/{digest}", outgoing.blob, stop).raise_for_status()
            self._sent += len(outgoing.blob)
        record = Record(Kind.PAYLOAD, self.me, round, body_of(outgoing), outgoing.aux)
        self._append(record, stop)

    def collect(self, round: int, stop: Stop) -> Swap:
        self.wait_for(lambda state: state.closed_round(round) is not None, stop)
        closed = self.state.closed_round(round)
        if closed is None or not closed.concerns(self.me):
            raise Evicted(f"round {round} closed without peer {self.me}: it must join again")
        return Swap(closed, self.me, lambda peer: self.fetch(closed, peer))

    def fetch(self, closed: ClosedRound, peer: int) -> bytes:
        digest = blob_digest(closed, peer)
        if (own := self._feed.kept(digest)) is not None:
            return own
        recent = closed.round >= self.state.round - _RECENT_ROUNDS
        deadline = time.monotonic() + (_BLOB_PATIENCE_SECONDS if recent else 0.0)
        while (reply := self._ask("GET", f"/blobs/{digest}", b"", self._stop)).status == (
            HTTPStatus.NOT_FOUND
        ):
            if time.monotonic() >= deadline:
                raise ExchangeError(f"the blob of peer {peer} for round {closed.round} is gone")
            self._pause(_LOOK_SECONDS, self._stop)
        blob = reply.raise_for_status().body
        self._received += len(blob)
        if hashlib.sha256(blob).hexdigest() != digest:
            raise ExchangeError(f"the blob of peer {peer} for round {closed.round} is damaged")
        return blob

    def report(self, report: PeerReport) -> None:
        body = report.model_dump_json(by_alias=True).encode()
        with suppress(ExchangeError):
            self._request("PUT", f"/peers/{self.me}/report", body, _FAREWELL_SECONDS)

    def peer_reports(self) -> Mapping[int, PeerReport]:
        try:
            reply = self._request("GET", "/progress", b"", _FAREWELL_SECONDS).raise_for_status()
            progress = RunProgress.model_validate_json(reply.body)
        except (ExchangeError, ValidationError):
            return {}
        return {report.peer: report for report in progress.peers}

    def leave(self, reason: str) -> None:
        deadline = time.monotonic() + _FAREWELL_SECONDS
        record = Record(Kind.LEAVE, self.me, self.state.round, reason.encode())
        with suppress(ExchangeError):
            self._post(record, lambda: time.monotonic() > deadline)

    def close(self) -> None:
        self._feed.close()
        self._line.close()

    @property
    def bytes_sent(self) -> int:
        return self._sent + self._feed.bytes_sent

    @property
    def head(self) -> bytes:
        return self._feed.head_at(self.state.num_records)

    @property
    def bytes_received(self) -> int:
        return self._received + self._feed.bytes_received

    def _absorb(self) -> None:
        for record in self._feed.take():
            self.state.apply(record)

    def _append(self, record: Record, stop: Stop) -> None:
        with self._feed.changed:
            self._feed.check()
        self._post(record, stop)
        with self._feed.changed:
            self._absorb()

    def _post(self, record: Record, stop: Stop) -> None:
        try:
            frame = record.encode()
        except CorruptRecord as error:
            raise ExchangeError(str(error)) from error
        self._feed.expect(record)
        try:
            self._ask("POST", "/log", frame, stop).raise_for_status()
        except ExchangeError:
            self._feed.forgo(record)
            raise
        self._sent += len(frame)

    def _ask(self, method: str, path: str, body: bytes, stop: Stop) -> Reply:
        """One request, tried until the hub answers; at least once, even when asked to stop."""
        backoff = Backoff()
        while True:
            try:
                reply = self._request(method, path, body, _ANSWER_SECONDS)
                if reply.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                    reply.raise_for_status()
            except LinkDown:
                self._pause(backoff.next_seconds(), stop)
            else:
                return reply

    def _request(self, method: str, path: str, body: bytes, timeout_seconds: float) -> Reply:
        headers = {INCARNATION_HEADER: self._incarnation}
        return self._line.request(method, self._base + path, body, headers, timeout_seconds)

    def _pause(self, seconds: float, stop: Stop) -> None:
        """Wait, looking at ``stop`` and at what the feed has to say."""
        until = time.monotonic() + seconds
        while True:
            if stop():
                raise Stopped("asked to stop while the hub could not be reached")
            with self._feed.changed:
                self._feed.check()
                left = until - time.monotonic()
                if left <= 0:
                    return
                self._feed.changed.wait(min(left, _LOOK_SECONDS))
