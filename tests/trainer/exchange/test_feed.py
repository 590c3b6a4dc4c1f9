"""A hub that loses its disk gets back what one peer had read, and what nobody had."""

from __future__ import annotations

import pytest
from checkpoint_cases import a_verdict
from core_line import CoreLine
from hub_harness import a_join, json_of

from haversack_trainer.contract.base import Frozen
from haversack_trainer.contract.membership import CheckpointRef, Start
from haversack_trainer.contract.records import Kind, Record
from haversack_trainer.contract.report import Publication
from haversack_trainer.exchange.feed import Feed

VERDICT = a_verdict(1)
FIGURES = VERDICT.after
STORY: list[tuple[Kind, Frozen | None]] = [
    (Kind.JOIN, a_join("i0")),
    (Kind.START, Start()),
    (Kind.PAYLOAD, None),
    (Kind.CHECKPOINT, CheckpointRef(round=1, key="k", digest="d")),
    (Kind.EVALUATION, FIGURES),
    (Kind.VERDICT, VERDICT),
    (Kind.PUBLISHED, Publication(uri="file:///a", digest="d", size_bytes=1, round=1)),
]


def follow(feed: Feed, num_records: int) -> None:
    with feed.changed:
        assert feed.changed.wait_for(lambda: len(feed._ledger) >= num_records, 10)


@pytest.mark.parametrize("lost", range(1, len(STORY)), ids=lambda at: STORY[at][0].name)
def test_a_record_that_was_confirmed_and_lost_unread_is_posted_again(lost: int) -> None:
    line = CoreLine()
    feed = Feed(line, "run")

    def tell(at: int) -> Record:
        kind, word = STORY[at]
        record = Record(kind, 0, 0, word.model_dump_json(by_alias=True).encode() if word else b"x")
        feed.keepsakes.expect(record)
        return line.append(kind, 0, record.body)

    for at in range(lost):
        tell(at)
    feed.start("i0")
    follow(feed, lost)
    line.muted = True
    record = tell(lost)
    line.lose_disk()
    follow(feed, lost + 1)
    feed.close()
    with feed.changed:
        assert feed.take()[-1] == record
    assert line.core.book.state.num_records == lost + 1


def test_what_the_log_has_moved_past_is_not_insisted_on() -> None:
    line = CoreLine()
    feed = Feed(line, "run")
    line.append(Kind.JOIN, 0, json_of(a_join("i0")))
    line.append(Kind.START, 0, json_of(Start()))
    feed.start("i0")
    follow(feed, 2)
    feed.keepsakes.expect(Record(Kind.PAYLOAD, 0, 7, b"of another round"))
    line.lose_disk()
    follow(feed, 2)
    with feed.changed:
        assert feed.changed.wait_for(lambda: not feed._gives_back and len(line.core) == 2, 10)
        feed.check()
    feed.close()
