"""What a peer says in the log for a round, beside its blob: one byte, and now and then a checksum."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

CHECKSUM_BYTES: Final = 8
_CHECKED: Final = 0x80


class Saying(IntEnum):
    CONTRIBUTION = 0
    """The blob is a payload."""
    NONFINITE = 1
    """No blob: the gradient was not finite. The peer is in sync."""
    HUNGRY = 2
    """No blob: the peer has no valid state and asks for one."""
    STATE = 3
    """The blob is the state before this round, for those who are hungry, instead of a payload."""


@dataclass(frozen=True, slots=True)
class Word:
    """A payload's body without the blob's digest."""

    saying: Saying
    checksum: bytes | None = None
    """Of the raw fp32 weights before the round."""

    def encode(self) -> bytes:
        if self.checksum is None:
            return bytes([self.saying])
        return bytes([self.saying | _CHECKED]) + self.checksum

    @staticmethod
    def parse(body: bytes) -> Word | None:
        """None if it is no word of this method's; what follows it, the digest, is not looked at."""
        if not body or body[0] & ~_CHECKED not in set(Saying):
            return None
        saying = Saying(body[0] & ~_CHECKED)
        if not body[0] & _CHECKED:
            return Word(saying)
        checksum = body[1 : 1 + CHECKSUM_BYTES]
        return Word(saying, checksum) if len(checksum) == CHECKSUM_BYTES else None
