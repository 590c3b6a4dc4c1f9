"""The seam between a method's loop and whatever carries its bytes.

``Exchange`` is implemented by ``memory`` (threads, tests) and ``http`` (the hub). Both feed every
record, in log order, to one ``log.RunState``: peers that read the same prefix are in the same state.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from haversack_trainer.contract.membership import Join
from haversack_trainer.contract.records import Kind
from haversack_trainer.contract.report import PeerReport

from .ledger import Tail
from .log import ClosedRound, RunState
from .timing import Timing

Stop = Callable[[], bool]
"""True once the process was asked to stop; every wait looks at it."""


class ExchangeError(Exception):
    """The log cannot be used any more; says why and what to change."""


class Refused(ExchangeError):
    """The hub refuses this peer for good: wrong identity, certificate or run. The job's fault."""


class Stale(ExchangeError):
    """The log has moved on: the record does not fit what is there now. Nobody's fault."""


class Evicted(ExchangeError):
    """This peer's lease expired or another process took its place; it must join again."""


class Superseded(ExchangeError):
    """A newer process is this peer's member of the run: there is nothing left to do for this one."""


class Unbacked(ExchangeError):
    """The record names a blob that the hub does not have: it has to be brought first."""


class Gone(ExchangeError):
    """A blob that a record names cannot be had: it was lost, or never was there."""


class Stopped(ExchangeError):
    """The wait ended because ``stop()`` turned true."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What a peer publishes for a round.

    ``body`` goes into the log (at most 65,535 bytes; empty means INVALID). ``blob`` is bulk that goes
    beside it: the exchange stores it by its sha256 and appends the 32-byte digest to ``body``.
    """

    body: bytes = b""
    aux: int = 0
    blob: bytes | None = None
    wants_all: bool = False
    """Every other member's blob will be asked for: they are fetched as they are announced, during work ahead."""


@dataclass(frozen=True, slots=True)
class Swap:
    """One closed round, as a method sees it."""

    closed: ClosedRound
    me: int
    fetch: Callable[[int], bytes] = field(repr=False)
    """Blob of a member's payload; checked against its digest. Raises ``Gone``, or another ``ExchangeError``."""
    exchange_seconds: Callable[[], float] = field(default=lambda: 0.0, repr=False)
    """From this peer's publishing to the arrival of what came last so far; see ``Exchange.timing``."""


class Exchange(Protocol):
    """One peer's door to the run. Safe to use from one thread."""

    me: int
    state: RunState
    """Fed by the exchange; read it under ``wait_for`` or between calls."""

    def join(self, join: Join) -> None:
        """Append JOIN and keep the lease alive until ``close``. Raises ``Refused``, ``Superseded``."""

    def append(self, kind: Kind, round: int, body: bytes, aux: int = 0) -> None:
        """Append one record. Returns once it is in the log. Raises ``Stale``, ``Evicted``."""

    def wait_for(
        self, ready: Callable[[RunState], bool], stop: Stop, timeout_seconds: float | None = None
    ) -> bool:
        """Wait until ``ready(state)``; False on time-out. Raises ``Stopped``, ``Evicted``, ``Refused``."""

    def publish(self, round: int, outgoing: Outgoing, stop: Stop, /) -> None:
        """Publish for ``round``, which stays open for the others. Bulk may still be under way afterwards; what
        becomes of it ``collect`` tells. Raises as ``append`` and ``wait_for`` do."""

    def collect(self, round: int, stop: Stop) -> Swap:
        """Wait until ``round`` closes: with what this peer has published for it, or without, if a deadline
        closed it and the peer ``missed`` it. Raises as ``wait_for`` does."""

    timing: Timing
    """Of the newest round."""

    def fetch(self, closed: ClosedRound, peer: int) -> bytes:
        """The blob that ``peer`` published in a past round. Raises ``Gone``, or another ``ExchangeError``."""

    def report(self, report: PeerReport) -> None:
        """Tell the hub about this peer; best effort, never raises."""

    def peer_reports(self) -> Mapping[int, PeerReport]:
        """Everybody's newest report, best effort."""

    def leave(self, reason: str) -> None:
        """Append LEAVE; best effort."""

    def close(self) -> None:
        """Stop polling and free all resources. Does not write LEAVE."""

    def tail(self, start: int, end: int) -> Tail:
        """Records ``start`` to ``end`` of those that ``state`` has seen, and the hash after them."""

    @property
    def head(self) -> bytes:
        """Hash of the log up to the last record that ``state`` has seen."""

    @property
    def bytes_sent(self) -> int:
        """Payload bytes that left this peer (bodies, headers and blobs)."""

    @property
    def bytes_received(self) -> int:
        """Payload bytes that reached this peer."""
