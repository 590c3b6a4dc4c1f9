"""Which keys a store takes: the ones that mean the same in a bucket and in a folder."""

from __future__ import annotations

from typing import Final

from .base import StoreError

MAX_KEY_BYTES: Final = 900
"""S3 allows 1,024 bytes, of which the store's own prefix needs some."""
RESERVED: Final = ".haversack"
"""First segment of what a store keeps for itself; never listed."""


def check_key(key: str) -> str:
    """``key``, or ``StoreError``: relative, no empty, ``.`` or ``..`` segment, no control character."""
    segments = key.split("/")
    if (
        any(segment in {"", ".", ".."} for segment in segments)
        or segments[0] == RESERVED
        or "\\" in key
        or not key.isprintable()
        or len(key.encode()) > MAX_KEY_BYTES
    ):
        raise StoreError(f"{key[:80]!r} is no key of an object; use plain names joined by '/'")
    return key
