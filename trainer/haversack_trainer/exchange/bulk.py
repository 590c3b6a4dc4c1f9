"""Blobs in threads of their own: a peer computes while its bytes are on their way.

One thread sends (the blob, then the record that refers to it), one fetches the other members' blobs from the
hub as their records come in. Where a carrier brings them, the sending thread gets them in the same go, and the hub
gets nothing. What is here ahead of being asked for is kept until the next round.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from http import HTTPStatus
from typing import Final

from haversack_trainer.contract.records import Kind, Record

from .asking import LOOK_SECONDS, Asker
from .base import ExchangeError, Gone, Stop, Unbacked
from .carrier import Carrier, GroupError, Meeting
from .feed import Feed
from .payload import DIGEST_BYTES
from .timing import Timing
from .worker import Worker

_PATIENCE_SECONDS: Final = 30.0
_FAREWELL_SECONDS: Final = 5.0
_MAX_REASON_BYTES: Final = 200
_MAX_RETURNS: Final = 3
"""Of a blob to a hub that says that it does not have it."""
_logger: Final = logging.getLogger(__name__)


def download(asker: Asker, digest: str, what: str, stop: Stop, *, patient: bool = True) -> bytes:
    """The blob of ``digest``; ``what`` it is, for errors. ``patient``: a lost one may be brought back.

    Raises ``Gone``, or another ``ExchangeError``."""
    deadline = time.monotonic() + (_PATIENCE_SECONDS if patient else 0.0)
    while (reply := asker.ask("GET", f"/blobs/{digest}", b"", stop)).status == (
        HTTPStatus.NOT_FOUND
    ):
        if time.monotonic() >= deadline:
            raise Gone(f"{what} is gone")
        asker.pause(LOOK_SECONDS, stop)
    blob = reply.raise_for_status().body
    asker.received += len(blob)
    if hashlib.sha256(blob).hexdigest() != digest:
        raise ExchangeError(f"{what} is damaged")
    return blob


class Bulk:
    """What is under way for the round that was published last."""

    def __init__(
        self,
        make_asker: Callable[[], Asker],
        feed: Feed,
        timing: Timing,
        me: int,
        carrier: Carrier | None = None,
    ) -> None:
        self._feed, self._timing, self._me = feed, timing, me
        self._sender, self._fetcher = make_asker(), make_asker()
        self._sends, self._fetches = Worker("haversack-send"), Worker("haversack-fetch")
        self._sent: Future[None] | None = None
        self._wanted: int | None = None
        """The round whose blobs are fetched as they are announced."""
        self._coming: dict[str, Future[bytes]] = {}
        self._carrier = carrier
        self._held_back: list[bytes] = []
        """Own newest blob and those that it builds on, as far as all members hold them and the hub does not."""
        self._received = 0
        self._life = 0

    @property
    def bytes_sent(self) -> int:
        carried = self._carrier.bytes_sent if self._carrier else 0
        return self._sender.sent + carried

    @property
    def bytes_received(self) -> int:
        return self._fetcher.received + self._received

    def rest(self) -> None:
        """Give up what is under way: it was another process's of this peer."""
        self._life += 1
        self._sent, self._wanted = None, None
        self._coming.clear()
        if self._carrier is not None:
            self._sends.submit(self._carrier.part)

    def begin(self, incarnation: str) -> None:
        """Speak as this process of the peer."""
        self._sender.incarnation = self._fetcher.incarnation = incarnation

    def send(self, record: Record, blob: bytes | None, meeting: Meeting | None) -> None:
        """Make the blob safe, with the members of ``meeting`` or else on the hub; then append the record."""
        given_up = self._until_rest()
        self._sent = self._sends.submit(lambda: self._deliver(record, blob, meeting, given_up))

    def bring(self) -> None:
        """Somebody is here who was in no gather: bring to the hub what was held back from it."""
        blobs, self._held_back = self._held_back, []
        for blob in blobs:
            self._sends.submit(partial(self._put, blob, self._until_rest()))

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
        if self._carrier is not None:
            self._carrier.saw(record)
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
        if self._carrier is not None:
            self._carrier.part()

    def _until_rest(self) -> Stop:
        life = self._life
        return lambda: life != self._life

    def _deliver(
        self, record: Record, blob: bytes | None, meeting: Meeting | None, stop: Stop
    ) -> None:
        # What a blob's ``aux`` means is the hub's rule: it builds on so many before it.
        self._held_back = self._held_back[-record.aux :] if record.aux > 0 else []
        all_hold_it = meeting is not None and self._gather(meeting, record.round, blob or b"", stop)
        if blob is not None:
            self._feed.keepsakes.keep(hashlib.sha256(blob).hexdigest(), blob)
            if all_hold_it:
                self._held_back.append(blob)
            else:
                self._put(blob, stop)
        self._post(record, blob, stop)

    def _post(self, record: Record, blob: bytes | None, stop: Stop) -> None:
        """A hub that lost its disk meanwhile wants the blob again."""
        for _ in range(_MAX_RETURNS):
            try:
                self._sender.post(record, stop)
            except Unbacked as error:
                if blob is None:
                    raise
                _logger.warning("%s", error)
                self._put(blob, stop)
            else:
                return
        self._sender.post(record, stop)

    def _gather(self, meeting: Meeting, round: int, blob: bytes, stop: Stop) -> bool:
        """Whether every member holds everybody's blob, this peer's too."""
        carrier = self._carrier
        if carrier is None:
            return False
        try:
            carrier.gather(meeting, round, blob, stop, partial(self._keep, stop))
        except GroupError as error:
            _logger.warning("what is left of round %d goes over the hub: %s", round, error)
            if not carrier.has_ended:
                reason = str(error).encode("ascii", "replace")[:_MAX_REASON_BYTES]
                self._sender.post(Record(Kind.REGROUP, self._me, round, reason), stop)
            return False
        return True

    def _keep(self, stop: Stop, _peer: int, blob: bytes) -> None:
        here: Future[bytes] = Future()
        here.set_result(blob)
        self._received += len(blob)
        self._timing.arrived()
        with self._feed.changed:
            if not stop():
                self._coming[hashlib.sha256(blob).hexdigest()] = here

    def _put(self, blob: bytes, stop: Stop) -> None:
        digest = hashlib.sha256(blob).hexdigest()
        self._sender.ask("PUT", f"/blobs/{digest}", blob, stop).raise_for_status()
        self._sender.sent += len(blob)

    def _fetch(self, digest: str, what: str, stop: Stop) -> bytes:
        blob = download(self._fetcher, digest, what, stop)
        self._timing.arrived()
        return blob
