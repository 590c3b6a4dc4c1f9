"""A blob is brought again to a hub that lost it between the blob and the record that names it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from email.message import Message
from typing import Any, cast

import pytest

from haversack_trainer.contract.records import Kind, Record
from haversack_trainer.exchange.asking import Asker
from haversack_trainer.exchange.base import Unbacked
from haversack_trainer.exchange.bulk import Bulk
from haversack_trainer.exchange.feed import Feed
from haversack_trainer.exchange.timing import Timing
from haversack_trainer.exchange.wire import Line, Reply

BLOB = b"a matrix"
RECORD = Record(Kind.PAYLOAD, 0, 0, hashlib.sha256(BLOB).digest())


@dataclass
class Forgetful:
    """In place of an ``Asker``: a hub that loses the blob so many times."""

    losses: int
    incarnation: str = ""
    sent: int = 0
    received: int = 0
    did: list[str] = field(default_factory=list)

    def ask(self, method: str, _path: str, _body: bytes, _stop: Any) -> Reply:
        self.did.append(method)
        return Reply(201, cast("Any", Message()), b"")

    def post(self, _record: Record, _stop: Any) -> None:
        self.did.append("POST")
        if self.losses:
            self.losses -= 1
            raise Unbacked("not here")

    def abort(self) -> None:
        """No line."""

    def close(self) -> None:
        """No line."""


def sent_to(hub: Forgetful, blob: bytes | None = BLOB) -> list[str]:
    """What a peer did to publish; raises what it came to."""
    feed = Feed(Line("https://127.0.0.1:1", "hub", lambda: pytest.fail("dialled")), "run")
    bulk = Bulk(lambda: cast("Asker", hub), feed, Timing(), 0)
    try:
        bulk.send(RECORD, blob, None)
        under_way = bulk.take_sent()
        assert under_way is not None
        under_way.result(10)
    finally:
        bulk.close()
    return hub.did


def test_a_lost_blob_is_brought_again() -> None:
    assert sent_to(Forgetful(0)) == ["PUT", "POST"]
    assert sent_to(Forgetful(2)) == ["PUT", "POST"] * 3


def test_a_hub_that_never_has_it_is_not_asked_for_ever() -> None:
    with pytest.raises(Unbacked):
        sent_to(Forgetful(99))


def test_who_names_a_blob_and_has_none_is_refused_at_once() -> None:
    hub = Forgetful(99)
    with pytest.raises(Unbacked):
        sent_to(hub, None)
    assert hub.did == ["POST"]
