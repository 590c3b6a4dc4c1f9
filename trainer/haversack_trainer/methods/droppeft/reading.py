"""What the payloads of a closed round hold, the same for every member: unsound ones count for nothing."""

from __future__ import annotations

import numpy as np

from haversack_trainer.exchange.base import Evicted, ExchangeError, Stopped
from haversack_trainer.exchange.codec import CodecError, Layout, State
from haversack_trainer.exchange.log import ClosedRound, Payload
from haversack_trainer.exchange.payload import DIGEST_BYTES
from haversack_trainer.method import CannotCatchUp, Fetch

from .federation import Contribution, Parts
from .word import Trial, Word, WordError


def trials(closed: ClosedRound, parts: Parts) -> dict[int, Trial]:
    """What the peers tell of their drop rates; from the log alone."""
    words = ((payload.peer, _word(payload, parts)) for payload in closed.payloads)
    return {peer: word.trial for peer, word in words if word is not None and word.trial is not None}


def contributions(
    closed: ClosedRound, fetch: Fetch, parts: Parts, like: State
) -> dict[int, Contribution]:
    """The tensors that were sent, of the shapes of ``like``. Raises ``ExchangeError`` if a blob is gone."""
    read = (
        (payload.peer, _contribution(closed, payload, fetch, parts, like))
        for payload in closed.payloads
    )
    return {peer: each for peer, each in read if each is not None}


def last_sent(
    history: list[ClosedRound], fetch: Fetch, parts: Parts, like: State
) -> list[tuple[ClosedRound, dict[int, Contribution]]]:
    """The newest rounds, ascending, as far back as each tensor was last sent: averaging them leads to the
    same state as averaging all. Raises ``CannotCatchUp``."""
    missing, needed = set(parts.travelling), list[tuple[ClosedRound, dict[int, Contribution]]]()
    for closed in reversed(history):
        try:
            brought = contributions(closed, fetch, parts, like)
        except (Evicted, Stopped):
            raise
        except ExchangeError as error:
            raise CannotCatchUp(f"round {closed.round} is not whole any more: {error}") from error
        needed.append((closed, brought))
        missing -= {name for each in brought.values() for name in each.state}
        if not missing:
            break
    return needed[::-1]


def _contribution(
    closed: ClosedRound, payload: Payload, fetch: Fetch, parts: Parts, like: State
) -> Contribution | None:
    word = _word(payload, parts)
    if word is None:
        return None
    try:
        layout = Layout.of({name: like[name] for name in parts.sent(word)})
        state = layout.decode(fetch(closed, payload.peer))
    except CodecError:
        return None
    finite = all(np.isfinite(values).all() for values in state.values())
    return Contribution(word, state) if finite else None


def _word(payload: Payload, parts: Parts) -> Word | None:
    try:
        return Word.decode(payload.body[:-DIGEST_BYTES], parts.num_layers)
    except WordError:
        return None
