"""Where the digest of a round's bulk is: the last 32 bytes of the payload's body."""

from __future__ import annotations

import hashlib
from typing import Final

from .base import ExchangeError, Outgoing
from .log import ClosedRound

DIGEST_BYTES: Final = 32


def body_of(outgoing: Outgoing) -> bytes:
    """The record's body: the method's own bytes, then the blob's sha256 if there is a blob."""
    if outgoing.blob is None:
        return outgoing.body
    return outgoing.body + hashlib.sha256(outgoing.blob).digest()


def named_blob(body: bytes) -> str | None:
    """Hex sha256 of the blob that a payload's body names, where the method sends blobs; None if it names none."""
    return body[-DIGEST_BYTES:].hex() if len(body) >= DIGEST_BYTES else None


def blob_digest(closed: ClosedRound, peer: int) -> str:
    """Hex sha256 of what ``peer`` published beside the log, for this round or else late. Raises ``ExchangeError`` if it published nothing."""
    late = closed.newest_late(peer)
    payload = closed.payload(peer) or (late and late.payload)
    if payload is None:
        raise ExchangeError(f"peer {peer} was no member of round {closed.round}")
    if (digest := named_blob(payload.body)) is None:
        raise ExchangeError(f"peer {peer} published no blob in round {closed.round}")
    return digest
