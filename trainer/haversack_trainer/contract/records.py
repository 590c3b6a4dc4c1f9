"""Records of the run log: framing, checksum and hash chain.

A frame is a 16-byte header and a body::

    kind u8 | aux i8 | length u16 | peer u16 | reserved u16 | round u32 | crc32 u32 | body

all little-endian; ``crc32`` covers the 12 bytes before it and the body. The chain is
``h(0) = sha256(run name)``, ``h(n+1) = sha256(h(n) + frame n)``.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

HEADER: Final = struct.Struct("<BbHHHII")
HEADER_BYTES: Final = HEADER.size
MAX_BODY_BYTES: Final = 65_535
HUB: Final = 0xFFFF
"""Never a peer: reserved for the hub. An expired lease is a LEAVE with the lost peer's own number."""
OPERATOR: Final = 0xFFFE
"""The ``peer`` of records that the operator writes (approvals)."""
MAX_LATE_ROUNDS: Final = 8
"""A payload that missed its round counts as late for so many rounds, and then not at all."""


class Kind(IntEnum):
    """What a record says."""

    JOIN = 1
    """Body: ``Join`` as JSON. The peer asks to be a member."""
    LEAVE = 2
    """Body: a reason, UTF-8. Written by the peer, or by the hub when a lease expires."""
    START = 3
    """Body: ``Start`` as JSON. The lowest member opens the first round; the first one counts."""
    PAYLOAD = 4
    """Body: the method's own bytes for ``round``; empty means that this peer's round is INVALID."""
    CHECKPOINT = 5
    """Body: ``CheckpointRef`` as JSON: a whole checkpoint of the state after ``round`` rounds."""
    EVALUATION = 6
    """Body: ``report.Evaluation`` as JSON."""
    VERDICT = 7
    """Body: ``report.Verdict`` as JSON. The first one counts."""
    APPROVAL = 8
    """Body: who approved, UTF-8. Written by the operator."""
    PUBLISHED = 9
    """Body: ``report.Publication`` as JSON. Ends the run, as does a failed verdict."""
    DEADLINE = 10
    """No body. Written by the hub: ``round`` has waited long enough and closes with those who have published."""
    REGROUP = 11
    """Body: why, UTF-8. The group that carries ``round``'s blobs broke for this member: the next is another one."""
    ENDING = 12
    """Body: ``Ending`` as JSON. A member's method asks that the open round be the last one; the first one counts."""
    SCORES = 13
    """Body: ``report.PeerScores`` as JSON: what the peer's own model is worth after ``round`` rounds."""


class CorruptRecord(ValueError):
    """A frame that is truncated, oversized or does not match its checksum."""


@dataclass(frozen=True, slots=True)
class Record:
    """One entry of the run log."""

    kind: Kind
    peer: int
    round: int
    body: bytes = b""
    aux: int = 0
    """One signed byte for the method, e.g. SPSA's block exponent."""

    @property
    def num_bytes(self) -> int:
        """Length of the frame."""
        return HEADER_BYTES + len(self.body)

    def encode(self) -> bytes:
        """The frame. Raises ``CorruptRecord`` when the body is over 65,535 bytes."""
        if len(self.body) > MAX_BODY_BYTES:
            raise CorruptRecord(
                f"a record's body is {len(self.body)} bytes, at most {MAX_BODY_BYTES}"
            )
        head = HEADER.pack(self.kind, self.aux, len(self.body), self.peer, 0, self.round, 0)[:-4]
        crc = zlib.crc32(self.body, zlib.crc32(head))
        return head + crc.to_bytes(4, "little") + self.body


def decode(data: bytes | memoryview) -> Iterator[Record]:
    """The records of whole frames laid end to end.

    Raises ``CorruptRecord`` at the first frame that is not whole or not sound.
    """
    view, at = memoryview(data), 0
    while at < len(view):
        if at + HEADER_BYTES > len(view):
            raise CorruptRecord(f"truncated header at byte {at}")
        kind, aux, length, peer, reserved, round_, crc = HEADER.unpack_from(view, at)
        end = at + HEADER_BYTES + length
        if end > len(view):
            raise CorruptRecord(f"truncated body at byte {at}")
        body = bytes(view[at + HEADER_BYTES : end])
        if zlib.crc32(body, zlib.crc32(view[at : at + HEADER_BYTES - 4])) != crc or reserved:
            raise CorruptRecord(f"checksum mismatch at byte {at}")
        try:
            yield Record(Kind(kind), peer, round_, body, aux)
        except ValueError as error:
            raise CorruptRecord(f"unknown kind {kind} at byte {at}") from error
        at = end


def genesis(run: str) -> bytes:
    """The hash before the first record."""
    return hashlib.sha256(run.encode()).digest()


def chain(head: bytes, frame: bytes) -> bytes:
    """The hash after ``frame``."""
    return hashlib.sha256(head + frame).digest()
