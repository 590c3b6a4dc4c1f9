"""States in few bits (ours; CHOCO after Koloskova, Stich, Jaggi, arXiv 1902.00340).

A quantised state must not be averaged as if it were the state: the mean would drift. So everybody, the sender
included, goes by what was *sent*: ``x_i <- x_i + gain · sum_j w_ij·(s_j - s_i)``, which leaves the mean where it was.

Difference: s is the state in few bits. CHOCO: s is a public copy that each message corrects by what the state has
moved away from it, so the error of rounding shrinks with the changes. A message of this kind builds on the ones
before it; every ``MAX_CHAIN`` rounds, and whenever a neighbour has no copy, the state itself is sent in 8 bits, and
the copies begin anew. The first round of a run goes in fp32: B is next to zero.

Two ends mix only if both know each other's copy. Both see in the log who sent what kind of message, so both
decide alike: an edge that is new opens once both of its ends have sent a state. If one end could not read the other's
message, it says so in its next word; from then on the edge is new.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

import numpy as np

from haversack_trainer.exchange.base import ExchangeError
from haversack_trainer.exchange.codec import MAGIC, Layout, State
from haversack_trainer.exchange.log import ClosedRound
from haversack_trainer.exchange.quantised import QuantisedLayout
from haversack_trainer.method import Fetch

from .kinds import Codec
from .settings import Settings
from .wire import Packed, Taken, Unusable, Whole, Wire, readable, usable

MAX_CHAIN: Final = 15
"""Messages that build on a state. Who starts without a copy reads as many of each peer."""
GAINS: Final = {8: 0.9, 4: 0.6}
"""Of CHOCO, by bits: the coarser, the more careful."""


class Quantised:
    """Sends in ``bits``; keeps the public copies of this peer and its neighbours."""

    def __init__(self, layout: Layout, bits: int, peer: int, seed: int, *, chained: bool) -> None:
        self.gain: float | None = GAINS[bits] if chained else 1.0
        self._layout, self._peer, self._seed = layout, peer, seed
        self._coarse = QuantisedLayout(layout, bits)
        self._fine = QuantisedLayout(layout, 8) if chained else self._coarse
        self._chained = chained
        self._sent = b""
        self._copies: dict[int, State] = {}
        self._num_before = 0
        """Length of the chain that this peer's own copy ends."""
        self._lacks_copies = False
        # The newest round and what its messages may build on.
        self._past: deque[ClosedRound] = deque(maxlen=MAX_CHAIN + 1)

    def pack(self, state: State, round: int) -> Packed:
        random = np.random.Generator(np.random.PCG64([self._seed, self._peer, round]))
        own = self._copies.get(self._peer)
        num_before = 0
        if self._chained and own and not self._lacks_copies and self._num_before < MAX_CHAIN:
            num_before = self._num_before + 1
            moved = {name: values - own[name] for name, values in state.items()}
            self._sent = self._coarse.encode(moved, random)
        elif round == 0:
            self._sent = self._layout.encode(state)
        else:
            self._sent = self._fine.encode(state, random)
        return Packed(self._sent, num_before)

    def take(self, closed: ClosedRound, me: int, fetch: Fetch, neighbours: Iterable[int]) -> Taken:
        kinds = {payload.peer: payload.aux for payload in closed.payloads}
        near = tuple(neighbours)
        known = self._copies
        open_ = [j for j in near if j in known or (kinds[j] <= 0 and kinds[me] <= 0)]
        brought, _ = readable(open_, lambda peer: fetch(closed, peer))
        blobs = {me: self._sent} | brought
        self._copies, refused = readable(
            blobs, lambda peer: self._decoded(blobs[peer], kinds[peer], known.get(peer), peer)
        )
        self._num_before = max(kinds[me], 0)
        self._lacks_copies = len(self._copies) <= len(near)
        self._remember(closed)
        lacking = frozenset(open_) - self._copies.keys()
        return Taken(dict(self._copies), frozenset(near) - blobs.keys(), refused, lacking)

    def drop(self, peers: Iterable[int]) -> None:
        for peer in peers:
            self._copies.pop(peer, None)

    def miss(self, closed: ClosedRound) -> None:
        self._copies = {}
        self._remember(closed)

    def read(self, closed: ClosedRound, peer: int, fetch: Fetch) -> State:
        payload = closed.payload(peer)
        num_before = payload.aux if payload else 0
        sent = [
            past
            for past in self._past
            if past.round < closed.round and (before := past.payload(peer)) and before.body
        ]
        if num_before > len(sent):
            raise ExchangeError(
                f"what peer {peer} published in round {closed.round} builds on {num_before} rounds before "
                f"it, of which only {len(sent)} are known here"
            )
        state: State | None = None
        for past in (*sent[len(sent) - max(num_before, 0) :], closed):
            before = past.payload(peer)
            state = self._decoded(fetch(past, peer), before.aux if before else 0, state, peer)
        return state or {}

    def forget(self) -> None:
        self._copies = {}

    def _remember(self, closed: ClosedRound) -> None:
        if not self._past or closed.round > self._past[-1].round:
            self._past.append(closed)

    def _decoded(self, blob: bytes, num_before: int, copy: State | None, peer: int) -> State:
        with usable(peer):
            if blob[: len(MAGIC)] == MAGIC:
                return self._layout.decode(blob)
            if num_before <= 0:
                return self._fine.decode(blob)
            change = self._coarse.decode(blob)
        if copy is None:
            raise Unusable(f"peer {peer} published a change of a state that nobody has seen")
        return {name: copy[name] + values for name, values in change.items()}


def wire_of(settings: Settings, peer: int, seed: int, layout: Layout) -> Wire:
    """As the settings' codec says."""
    match settings.codec:
        case Codec.FLOAT32:
            return Whole(layout)
        case Codec.INT8:
            return Quantised(layout, 8, peer, seed, chained=settings.is_chained)
        case Codec.INT4:
            return Quantised(layout, 4, peer, seed, chained=settings.is_chained)
