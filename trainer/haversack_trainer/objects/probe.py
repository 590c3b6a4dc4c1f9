"""Does a store work at all, and does it honour conditional writes?

Self-hosted stores are young here: some ignore ``If-None-Match`` and let every racing writer win, so it
is tried, not assumed.
"""

from __future__ import annotations

from typing import Final
from uuid import uuid4

from .base import Away, Conflict, Store, StoreError

_BODY: Final = b"haversack was here"


def probe(store: Store) -> bool:
    """True if both kinds of conditional write are honoured. Leaves nothing behind.

    Raises ``StoreError`` if a plain write, read or delete fails.
    """
    key = f"probe/{uuid4().hex}"
    store.put(key, _BODY)
    try:
        if store.get(key)[0] != _BODY:
            raise StoreError(f"{store.uri} does not give back what was written: check the server")
        return _refuses(store, key, if_absent=True) and _refuses(store, key, if_match=f"{uuid4()}")
    finally:
        store.delete(key)


def _refuses(
    store: Store, key: str, *, if_absent: bool = False, if_match: str | None = None
) -> bool:
    try:
        store.put(key, _BODY, if_absent=if_absent, if_match=if_match)
    except Conflict:
        return True
    except Away:
        raise
    except StoreError:
        # Plain writes work, so it is the condition that this server does not know.
        return False
    return False
