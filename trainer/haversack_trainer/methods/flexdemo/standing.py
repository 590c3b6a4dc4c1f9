"""Who is in sync after a round, and who gives the others their state. A pure function of the closed round.

A peer that came late, or whose weights differ, is hungry: it says so and contributes nothing. In the round
after, one that is in sync (the giver) publishes the state before that round instead of a payload. Who was
hungry then takes it, applies the round's payloads like everybody else, and is in sync. If all members are
hungry, the lowest one's state becomes the run's, and it gives.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from haversack_trainer.exchange.log import ClosedRound
from haversack_trainer.exchange.payload import named_blob

from .word import Saying, Word


@dataclass(frozen=True, slots=True)
class Standing:
    """What a closed round says about its members."""

    contributors: tuple[int, ...]
    """Whose blobs are payloads, ascending."""
    source: int | None
    """Whose blob is the state before the round."""
    founder: int | None
    """The one whose own state becomes the run's, where all are hungry."""
    sound: tuple[int, ...]
    """Certain to be in sync after the round, ascending."""
    strays: tuple[int, ...]
    """In need of a state after the round."""
    told: tuple[bytes, ...] = ()
    """What its members have measured, ascending by peer."""

    @property
    def giver(self) -> int | None:
        """Who gives its state in the next round."""
        return self.sound[0] if self.strays and self.sound else None


def standing(closed: ClosedRound) -> Standing:
    """A body that cannot be read, or that promises a blob and names none, counts as a round without a contribution."""
    words = {payload.peer: _word(payload.body) for payload in closed.payloads}
    hungry = tuple(peer for peer, word in words.items() if word.saying is Saying.HUNGRY)
    if len(hungry) == len(words):
        founder = min(hungry, default=None)
        return Standing((), None, founder, hungry[:1], hungry[1:])
    differing = _differing(words)
    sound = tuple(peer for peer in words if peer not in {*hungry, *differing})
    source = next((peer for peer in sound if words[peer].saying is Saying.STATE), None)
    return Standing(
        contributors=tuple(p for p, word in words.items() if word.saying is Saying.CONTRIBUTION),
        source=source,
        founder=None,
        sound=sound,
        strays=tuple(sorted({*differing, *(hungry if source is None else ())})),
        told=tuple(word.told for word in words.values() if word.told is not None),
    )


def _word(body: bytes) -> Word:
    word = Word.parse(body) or Word(Saying.NONFINITE)
    promises = word.saying in {Saying.CONTRIBUTION, Saying.STATE}
    return replace(word, saying=Saying.NONFINITE) if promises and not named_blob(body) else word


def _differing(words: dict[int, Word]) -> frozenset[int]:
    """Whose checksum is not that of the lowest peer that gave one while in sync."""
    given = {
        peer: word.checksum
        for peer, word in words.items()
        if word.checksum is not None and word.saying is not Saying.HUNGRY
    }
    right = next(iter(given.values()), None)
    return frozenset(peer for peer, checksum in given.items() if checksum != right)
