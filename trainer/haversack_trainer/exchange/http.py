"""The exchange over the hub: mutual TLS, dial-out only, patient with a hub that is away."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import suppress
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Final, TypeVar

from pydantic import ValidationError

from haversack_trainer.contract.membership import Join
from haversack_trainer.contract.records import CorruptRecord, Kind, Record
from haversack_trainer.contract.report import PeerReport, RunProgress

from .asking import LOOK_SECONDS, Asker
from .base import Evicted, ExchangeError, Outgoing, Stop, Stopped, Swap
from .bulk import Bulk, download
from .carrier import Carrier, Meeting
from .feed import POLL_SECONDS, Feed
from .ledger import Tail
from .log import ClosedRound, RunState
from .payload import blob_digest, body_of
from .timing import Timing
from .wire import MAX_BLOB_BYTES, Line, Reply, client_context

_RECENT_ROUNDS: Final = 2
"""Blobs of so many rounds are promised; a hub that lost its disk gets them back from their owners."""
_FAREWELL_SECONDS: Final = 3.0
T = TypeVar("T")


def _never() -> bool:
    return False


def _lease_seconds(reply: Reply) -> float:
    """How long the hub lets a peer be silent, as it said at JOIN."""
    try:
        return float(json.loads(reply.body)["lease_seconds"])
    except (ValueError, KeyError, TypeError):
        return 0.0


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
        carrier: Carrier | None = None,
    ) -> None:
        """``needs_approval`` as in ``RunState``; ``carrier``: what blobs go by as long as it works.

        Raises ``ExchangeError``."""
        client_context(tls_dir)  # Missing files are said now, not at the first request.
        context = partial(client_context, tls_dir)
        self.me = me
        self.state = RunState(needs_approval=needs_approval)
        self.timing = Timing()
        self._feed = Feed(Line(url, hub_name, context), run, poll_seconds, self._saw)

        def asker() -> Asker:
            return Asker(Line(url, hub_name, context), run, self._feed)

        self._asker = asker()
        self._carrier = carrier
        self._bulk = Bulk(asker, self._feed, self.timing, me, carrier)
        self._stop = stop
        self._carried: Future[None] | None = None
        """What the feed took along, until it is asked for."""

    def join(self, join: Join) -> None:
        self._asker.incarnation = join.incarnation
        if self._carrier is not None:
            join = join.model_copy(update={"address": self._carrier.address})
        body = join.model_dump_json(by_alias=True).encode()
        self._bulk.rest()
        self._feed.rest()
        reply = self._asker.post(Record(Kind.JOIN, self.me, 0, body), self._stop)
        self._carried = None
        self._bulk.begin(join.incarnation)
        self._feed.start(join.incarnation, _lease_seconds(reply))

    def append(self, kind: Kind, round: int, body: bytes, aux: int = 0) -> None:
        record = Record(kind, self.me, round, body, aux)
        with self._feed.changed:
            self._feed.check()
        self._asker.post(record, self._stop)
        with self._feed.changed:
            self._absorb()

    def wait_for(
        self, ready: Callable[[RunState], bool], stop: Stop, timeout_seconds: float | None = None
    ) -> bool:
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        with self._feed.changed, self._feed.waiting():
            while True:
                self._absorb()
                if ready(self.state):
                    return True
                self._feed.check()
                if stop():
                    raise Stopped("asked to stop")
                if deadline is not None and time.monotonic() >= deadline:
                    return False
                self._feed.changed.wait(LOOK_SECONDS)

    def publish(self, round: int, outgoing: Outgoing, stop: Stop, /) -> None:
        self.timing.begin()
        with self.timing.waiting():
            record = Record(Kind.PAYLOAD, self.me, round, body_of(outgoing), outgoing.aux)
            meeting = self._look_out(round, wants_all=outgoing.wants_all)
            if outgoing.blob is None and meeting is None:
                self._post(record, stop)
            elif len(outgoing.blob or b"") > MAX_BLOB_BYTES:
                raise ExchangeError(
                    f"a round's blob is {len(outgoing.blob or b'')} bytes, at most {MAX_BLOB_BYTES}: train fewer weights"
                )
            else:
                self._bulk.send(record, outgoing.blob, meeting)

    def _post(self, record: Record, stop: Stop) -> None:
        """With the request that waits for the others, or beside it if it is under way."""
        try:
            with self._feed.changed:
                self._carried = self._feed.carry(record)
        except CorruptRecord as error:
            raise ExchangeError(str(error)) from error
        if self._carried is None:
            self._asker.post(record, stop)

    def _look_out(self, round: int, *, wants_all: bool) -> Meeting | None:
        """Who carries this round's blobs. If nobody does and all are wanted, fetch them from the hub as they are
        announced; some of them may have been already."""
        with self._feed.changed:
            self._absorb()
            self._feed.check()
            meeting = self._carrier.watch(self.state, round) if self._carrier else None
            fetches = wants_all and meeting is None
            self._bulk.want(round if fetches else None)
            self._feed.calm(is_calm=not fetches and meeting is None)
            if fetches and round == self.state.round:
                for payload in self.state.open_payloads:
                    self._bulk.announced(payload.peer, payload.body)
        return meeting

    def collect(self, round: int, stop: Stop) -> Swap:
        with self.timing.waiting():
            carried, self._carried = self._carried, None
            for sent in (carried, self._bulk.take_sent()):
                if sent is not None:
                    self._result(sent, stop)
            self.wait_for(lambda state: state.closed_round(round) is not None, stop)
        self.timing.collected()
        closed = self.state.closed_round(round)
        if closed is None or not closed.concerns(self.me):
            raise Evicted(f"round {round} closed without peer {self.me}: it must join again")
        if self.state.pending or self._has_newcomers(closed):
            self._bulk.bring()
        return Swap(
            closed,
            self.me,
            partial(self._take_up, closed),
            lambda: self.timing.exchange_seconds,
        )

    def _has_newcomers(self, closed: ClosedRound) -> bool:
        newer = takewhile(lambda it: it.position >= closed.position, reversed(self.state.history))
        return any(change.joined for change in newer)

    def _take_up(self, closed: ClosedRound, peer: int) -> bytes:
        with self.timing.waiting():
            return self.fetch(closed, peer)

    def fetch(self, closed: ClosedRound, peer: int) -> bytes:
        digest = blob_digest(closed, peer)
        if (own := self._feed.keepsakes.kept(digest)) is not None:
            return own
        if (coming := self._bulk.coming(digest)) is not None:
            return self._result(coming, self._stop)
        # What was held back from the hub is brought there for a newcomer, older ones, too.
        recent = self._carrier is not None or closed.round >= self.state.round - _RECENT_ROUNDS
        what = f"the blob of peer {peer} for round {closed.round}"
        blob = download(self._asker, digest, what, self._stop, patient=recent)
        self.timing.arrived()
        return blob

    def report(self, report: PeerReport) -> None:
        if not self._asker.incarnation:
            # A hub without a record would take it for one of a log that it has lost, and wait for that.
            return
        body = report.model_dump_json(by_alias=True).encode()
        with suppress(ExchangeError):
            self._asker.request("PUT", f"/peers/{self.me}/report", body, _FAREWELL_SECONDS)

    def peer_reports(self) -> Mapping[int, PeerReport]:
        try:
            reply = self._asker.request("GET", "/progress", b"", _FAREWELL_SECONDS)
            progress = RunProgress.model_validate_json(reply.raise_for_status().body)
        except (ExchangeError, ValidationError):
            return {}
        return {report.peer: report for report in progress.peers}

    def leave(self, reason: str) -> None:
        deadline = time.monotonic() + _FAREWELL_SECONDS
        record = Record(Kind.LEAVE, self.me, self.state.round, reason.encode())
        self._bulk.rest()
        with suppress(ExchangeError):
            self._asker.post(record, lambda: time.monotonic() > deadline)

    def close(self) -> None:
        self._bulk.close()
        self._feed.close()
        self._asker.close()

    def tail(self, start: int, end: int) -> Tail:
        return self._feed.tail(start, end)

    @property
    def bytes_sent(self) -> int:
        return self._asker.sent + self._bulk.bytes_sent + self._feed.bytes_sent

    @property
    def head(self) -> bytes:
        return self._feed.head_at(self.state.num_records)

    @property
    def bytes_received(self) -> int:
        return self._asker.received + self._bulk.bytes_received + self._feed.bytes_received

    def _absorb(self) -> None:
        for record in self._feed.take():
            self.state.apply(record)

    def _saw(self, records: Sequence[Record]) -> None:
        """In the feed's thread, which holds ``changed``."""
        self.timing.heard()
        for record in records:
            self._bulk.saw(record)

    def _result(self, under_way: Future[T], stop: Stop) -> T:
        """Wait for another thread, looking at ``stop`` and at what the feed has to say."""
        while not wait([under_way], LOOK_SECONDS).done:
            if stop():
                raise Stopped("asked to stop")
            with self._feed.changed:
                self._feed.check()
        return under_way.result()
