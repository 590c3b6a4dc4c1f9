"""What a peer says in the log for a round, beside its blob: one byte, and now and then a checksum or what it measured."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from .probe import TOLD_BYTES

CHECKSUM_BYTES: Final = 8
_CHECKED: Final = 0x80
_TELLS: Final = 0x40


class Saying(IntEnum):
    CONTRIBUTION = 0
    """The blob is a payload."""
    NONFINITE = 1
    """No blob: the gradient was not finite. The peer is in sync."""
    HUNGRY = 2
    """No blob: the peer has no valid state and asks for one."""
    STATE = 3
    """The blob is the state before this round, for those who are hungry, instead of a payload."""
    HELD = 4
    """No blob: the momentum keeps what it has. The peer is in sync."""


@dataclass(frozen=True, slots=True)
class Word:
    """A payload's body without the blob's digest."""

    saying: Saying
    checksum: bytes | None = None
    """Of the raw fp32 weights before the round."""

    told: bytes | None = None
    """What the peer has measured, as ``probe.Probe.told`` writes it."""

    def encode(self) -> bytes:
        checked = _CHECKED if self.checksum is not None else 0
        tells = _TELLS if self.told is not None else 0
        return bytes([self.saying | checked | tells]) + (self.checksum or b"") + (self.told or b"")

    @staticmethod
    def parse(body: bytes) -> Word | None:
        """None if it is no word of this method's; what follows it, the digest, is not looked at."""
        if not body or body[0] & ~(_CHECKED | _TELLS) not in set(Saying):
            return None
        saying, at = Saying(body[0] & ~(_CHECKED | _TELLS)), 1
        parts: list[bytes | None] = []
        for flag, length in ((_CHECKED, CHECKSUM_BYTES), (_TELLS, TOLD_BYTES)):
            if not body[0] & flag:
                parts.append(None)
                continue
            parts.append(body[at : at + length])
            at += length
        return Word(saying, *parts) if at <= len(body) else None
