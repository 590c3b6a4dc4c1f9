"""How states go over the wire: whole in fp32, or in few bits."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from haversack_trainer.exchange.base import (
    Evicted,
    ExchangeError,
    Gone,
    Refused,
    Stopped,
    Superseded,
)
from haversack_trainer.exchange.codec import CodecError, Layout, State
from haversack_trainer.exchange.log import ClosedRound
from haversack_trainer.method import CannotCatchUp, Fetch

_Read = TypeVar("_Read")
_logger = logging.getLogger(__name__)


class Unusable(ExchangeError):
    """What a peer published cannot be read as a state."""


@dataclass(frozen=True, slots=True)
class Packed:
    """What is published for a round."""

    blob: bytes
    num_before: int = 0
    """How many of the peer's earlier blobs it builds on; the payload's ``aux``."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What a round brought, as its senders and all others take it to be."""

    states: dict[int, State]
    """This peer's own, and that of each neighbour it can mix with."""
    shut: frozenset[int] = field(default_factory=frozenset)
    """Neighbours it cannot mix with in this round, nor they with it."""
    refused: frozenset[int] = field(default_factory=frozenset)
    """Neighbours whose bytes were unusable."""
    lacking: frozenset[int] = field(default_factory=frozenset)
    """Neighbours whose state was due and is not there: they may have mixed with this peer, which cannot with them."""


class Wire(Protocol):
    """One peer's way of sending and reading states."""

    gain: float | None
    """Share of the way to the mean of what was sent that a peer goes; None: what was sent is the state itself."""

    def pack(self, state: State, round: int) -> Packed:
        """The state as it is published."""

    def take(self, closed: ClosedRound, me: int, fetch: Fetch, neighbours: Iterable[int]) -> Taken:
        """Read what the neighbours sent in a round that ``me`` is a member of. Raises ``ExchangeError``."""

    def drop(self, peers: Iterable[int]) -> None:
        """The edges to these peers begin anew, at both ends."""

    def miss(self, closed: ClosedRound) -> None:
        """A round closed in which this peer sent nothing that counts."""

    def read(self, closed: ClosedRound, peer: int, fetch: Fetch) -> State:
        """What ``peer`` sent, for those who are no neighbours. Raises ``ExchangeError``."""

    def forget(self) -> None:
        """The peer goes on from another state."""


class Whole:
    """The state itself, fp32."""

    gain: float | None = None

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._sent: State = {}

    def pack(self, state: State, _round: int) -> Packed:
        self._sent = state
        return Packed(self._layout.encode(state))

    def take(self, closed: ClosedRound, me: int, fetch: Fetch, neighbours: Iterable[int]) -> Taken:
        near = frozenset(neighbours)
        others, refused = readable(sorted(near), lambda peer: self.read(closed, peer, fetch))
        lacking = near - others.keys()
        return Taken({me: self._sent, **others}, lacking - refused, refused, lacking)

    def drop(self, peers: Iterable[int]) -> None:
        """Nothing hangs on it."""

    def miss(self, closed: ClosedRound) -> None:
        """Nothing hangs on it."""

    def read(self, closed: ClosedRound, peer: int, fetch: Fetch) -> State:
        with usable(peer):
            return self._layout.decode(fetch(closed, peer))

    def forget(self) -> None:
        """Nothing hangs on it."""


def readable(
    peers: Iterable[int], read: Callable[[int], _Read]
) -> tuple[dict[int, _Read], frozenset[int]]:
    """What can be read, and whose cannot. What is gone is neither: it is as if its peer had not published."""
    found: dict[int, _Read] = {}
    refused = set()
    for peer in peers:
        try:
            found[peer] = read(peer)
        except Unusable as error:
            _logger.warning("%s", error)
            refused.add(peer)
        except Gone as error:
            _logger.warning("going on without it: %s", error)
    return found, frozenset(refused)


def arrivals(
    peers: Iterable[int], read: Callable[[int], State]
) -> tuple[dict[int, State], frozenset[int]]:
    """As ``readable``, without those that cannot even be had."""
    states: dict[int, State] = {}
    refused: frozenset[int] = frozenset()
    for peer in peers:
        try:
            found, bad = readable([peer], read)
        except (Evicted, Refused, Stopped, Superseded):
            raise
        except ExchangeError as error:
            _logger.warning("the state of peer %d is left to it: %s", peer, error)
        else:
            states |= found
            refused |= bad
    return states, refused


@contextmanager
def whole(closed: ClosedRound) -> Iterator[None]:
    """A blob of a past round that is gone becomes ``CannotCatchUp``."""
    try:
        yield
    except (Evicted, Stopped):
        raise
    except ExchangeError as error:
        raise CannotCatchUp(f"round {closed.round} is not whole any more: {error}") from error


@contextmanager
def usable(peer: int) -> Iterator[None]:
    """``CodecError`` becomes ``Unusable``, which names the peer."""
    try:
        yield
    except CodecError as error:
        raise Unusable(f"the state that peer {peer} published is unusable: {error}") from error
