"""Blobs over the hub, in threads of their own: a peer computes while its bytes are on their way.

One thread sends (the blob, then the record that refers to it), one fetches the other members' blobs as their
records come in. What is fetched ahead is kept until the next round.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from http import HTTPStatus
from typing import Final

from haversack_trainer.contract.records import Kind, Record

from .asking import LOOK_SECONDS, Asker
from .base import ExchangeError, Stop
from .feed import Feed
from .payload import DIGEST_BYTES
from .timing import Timing
from .worker import Worker

_PATIENCE_SECONDS: Final = 30.0
_FAREWELL_SECONDS: Final = 5.0


def download(asker: Asker, digest: str, what: str, stop: Stop, *, patient: bool = True) -> bytes:
    """The blob of ``digest``; ``what`` it is, for errors. ``patient``: a lost one may be brought back.

    Raises ``ExchangeError``."""
    deadline = time.monotonic() + (_PATIENCE_SECONDS if patient else 0.0)
    while (reply := asker.ask("GET", f"/blobs/{digest}", b"", stop)).status == (
        HTTPStatus.NOT_FOUND
    ):
        if time.monotonic() >= deadline:
            raise ExchangeError(f"{what} is gone")
        asker.pause(LOOK_SECONDS, stop)
    blob = reply.raise_for_status().body
    asker.received += len(blob)
    if hashlib.sha256(blob).hexdigest() != digest:
        raise ExchangeError(f"{what} is damaged")
    return blob


class Bulk:
    """What is under way for the round that was published last."""

    def __init__(
        self, make_asker: Callable[[], Asker], feed: Feed, timing: Timing, me: int
    ) -> None:
        self._feed, self._timing, self._me = feed, timing, me
        self._sender, self._fetcher = make_asker(), make_asker()
        self._sends, self._fetches = Worker("haversack-send"), Worker("haversack-fetch")
        self._sent: Future[None] | None = None
        self._wanted: int | None = None
        """The round whose blobs are fetched as they are announced."""
        self._coming: dict[str, Future[bytes]] = {}
        self._life = 0

    @property
    def bytes_sent(self) -> int:
        return self._sender.sent

    @property
    def bytes_received(self) -> int:
        return self._fetcher.received

    def rest(self) -> None:
        """Give up what is under way: it was another process's of this peer."""
        self._life += 1
        self._sent, self._wanted = None, None
        self._coming.clear()

    def begin(self, incarnation: str) -> None:
        """Speak as this process of the peer."""
        self._sender.incarnation = self._fetcher.incarnation = incarnation

    def send(self, record: Record, blob: bytes) -> None:
        """Bring the blob to the hub, then append the record that ends in its digest."""
        given_up = self._until_rest()
        self._sent = self._sends.submit(lambda: self._deliver(record, blob, given_up))

    def take_sent(self) -> Future[None] | None:
        """What was sent and not asked for yet."""
        sent, self._sent = self._sent, None
        return sent

    def want(self, round: int | None) -> None:
        """From now on fetch the blobs of ``round``, and forget those before. Hold the feed's ``changed``."""
        self._wanted = round
        self._coming.clear()

    def saw(self, record: Record) -> None:
        """A record came in. Hold the feed's ``changed``."""
        if record.kind is Kind.PAYLOAD and record.round == self._wanted:
            self.announced(record.peer, record.body)

    def announced(self, peer: int, body: bytes) -> None:
        """A member of the wanted round has published. Hold the feed's ``changed``."""
        digest = body[-DIGEST_BYTES:].hex()
        if peer == self._me or len(body) < DIGEST_BYTES or digest in self._coming:
            return
        what = f"the blob of peer {peer} for round {self._wanted}"
        self._coming[digest] = self._fetches.submit(
            partial(self._fetch, digest, what, self._until_rest())
        )

    def coming(self, digest: str) -> Future[bytes] | None:
        """The blob, if it is here or on its way."""
        with self._feed.changed:
            return self._coming.get(digest)

    def close(self) -> None:
        """End both threads, breaking what they are at."""
        self._life += 1
        for asker, worker in ((self._sender, self._sends), (self._fetcher, self._fetches)):
            asker.abort()
            worker.close(_FAREWELL_SECONDS)
            asker.close()

    def _until_rest(self) -> Stop:
        life = self._life
        return lambda: life != self._life

    def _deliver(self, record: Record, blob: bytes, stop: Stop) -> None:
        digest = hashlib.sha256(blob).hexdigest()
        self._feed.keep(digest, blob)
        self._sender.ask("PUT", f"/blobs/{digest}", blob, stop).raise_for_status()
        self._sender.sent += len(blob)
        self._sender.post(record, stop)

    def _fetch(self, digest: str, what: str, stop: Stop) -> bytes:
        blob = download(self._fetcher, digest, what, stop)
        self._timing.arrived()
        return blob
