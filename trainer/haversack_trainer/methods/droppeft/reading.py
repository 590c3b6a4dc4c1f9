"""What the payloads of a closed round hold, the same for every member: unsound ones count for nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from haversack_trainer.contract.robust import Robust
from haversack_trainer.exchange.base import Evicted, ExchangeError, Gone, Stopped
from haversack_trainer.exchange.codec import CodecError, Layout, State
from haversack_trainer.exchange.log import ClosedRound, Payload
from haversack_trainer.exchange.payload import DIGEST_BYTES
from haversack_trainer.method import CannotCatchUp, Fetch
from haversack_trainer.robust.soundness import sound_among

from .federation import Contribution, Parts, renewed
from .word import Trial, Word, WordError

_Offer = Callable[[ClosedRound, int], bytes | None]
_logger: Final = logging.getLogger(__name__)


def trials(closed: ClosedRound, parts: Parts) -> dict[int, Trial]:
    """What the peers tell of their drop rates; from the log alone."""
    words = ((payload.peer, _word(payload, parts)) for payload in closed.payloads)
    return {peer: word.trial for peer, word in words if word is not None and word.trial is not None}


@dataclass(frozen=True, slots=True)
class Reader:
    """What is known of the tensors before they are read."""

    parts: Parts
    spread: float
    """How large their numbers may be, beside the others'."""
    robust: Robust | None

    def contributions(
        self, closed: ClosedRound, fetch: Fetch, like: State
    ) -> tuple[dict[int, Contribution], frozenset[int]]:
        """The tensors that were sent, of the shapes of ``like``, and whose are gone: they count as not sent. Raises
        ``ExchangeError``."""
        gone: set[int] = set()
        return self._sound(closed, _without_gone(fetch, gone), like), frozenset(gone)

    def sent(self, closed: ClosedRound) -> frozenset[str]:
        """Tensors that a round's payloads hold, by the log alone."""
        words = (_word(payload, self.parts) for payload in closed.payloads)
        return frozenset(name for word in words if word for name in self.parts.sent(word))

    def _sound(self, closed: ClosedRound, fetch: _Offer, like: State) -> dict[int, Contribution]:
        read = {
            payload.peer: self._read(closed, payload, fetch, like) for payload in closed.payloads
        }
        brought = {peer: each for peer, each in read.items() if each is not None}
        sound = sound_among({peer: each.state for peer, each in brought.items()}, self.spread)
        return {peer: each for peer, each in brought.items() if peer in sound}

    def rule(
        self,
        closed: ClosedRound,
        brought: Mapping[int, Contribution],
        gone: frozenset[int] = frozenset(),
    ) -> Robust | None:
        """For what a round has ``brought``."""
        if self.robust is None:
            return None
        return self.robust.without(len(refused(closed, brought) - gone))

    def last_sent(
        self, history: list[ClosedRound], fetch: Fetch, like: State
    ) -> list[tuple[ClosedRound, dict[int, Contribution]]]:
        """The newest rounds, ascending, as far back as each tensor was last averaged: averaging them leads to the
        same state as averaging all. Raises ``CannotCatchUp``."""
        missing, needed = (
            set(self.parts.travelling),
            list[tuple[ClosedRound, dict[int, Contribution]]](),
        )
        for closed in reversed(history):
            try:
                brought = self._sound(closed, fetch, like)
            except (Evicted, Stopped):
                raise
            except ExchangeError as error:
                raise CannotCatchUp(
                    f"round {closed.round} is not whole any more: {error}"
                ) from error
            needed.append((closed, brought))
            missing -= renewed(brought, self.parts, self.rule(closed, brought))
            if not missing:
                break
        return needed[::-1]

    def _read(
        self, closed: ClosedRound, payload: Payload, fetch: _Offer, like: State
    ) -> Contribution | None:
        word = _word(payload, self.parts)
        if word is None:
            return None
        try:
            layout = Layout.of({name: like[name] for name in self.parts.sent(word)})
            blob = fetch(closed, payload.peer)
            return None if blob is None else Contribution(word, layout.decode(blob))
        except CodecError:
            return None


def refused(closed: ClosedRound, brought: Mapping[int, Contribution]) -> set[int]:
    """Who published something that does not count."""
    return {payload.peer for payload in closed.payloads if payload.body} - brought.keys()


def _without_gone(fetch: Fetch, gone: set[int]) -> _Offer:
    """None for a blob that is gone; whose it was is added to ``gone``."""

    def offer(closed: ClosedRound, peer: int) -> bytes | None:
        try:
            return fetch(closed, peer)
        except Gone as error:
            _logger.warning("going on without it: %s", error)
            gone.add(peer)
            return None

    return offer


def _word(payload: Payload, parts: Parts) -> Word | None:
    try:
        return Word.decode(payload.body[:-DIGEST_BYTES], parts.num_layers)
    except WordError:
        return None
