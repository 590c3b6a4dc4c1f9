"""How the archive of a log grows: segments that are never written twice, and one word for all leaders."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import run_harness
from checkpoint_cases import Failing
from hub_harness import IDENTITY
from hypothesis import given, settings
from hypothesis import strategies as st
from log_story import Story

from haversack_trainer.checkpoint import archive as archives
from haversack_trainer.checkpoint.archive import Archive
from haversack_trainer.checkpoint.compaction import FAN_IN
from haversack_trainer.contract.records import decode
from haversack_trainer.exchange.memory import MemoryExchange, MemoryLog
from haversack_trainer.loop.archiving import Archiving
from haversack_trainer.objects.base import Store, StoreError
from haversack_trainer.objects.file import FileStore

SEGMENT_BYTES = 700
"""More than two joins and a round take, so that the first segment is replaced."""


class Bench:
    """A log of two peers, a store, and whoever leads."""

    def __init__(self, folder: Path) -> None:
        self.log = MemoryLog(run_harness.RUN)
        self.segment_bytes = SEGMENT_BYTES
        self.store: Store = FileStore(folder, f"file://{folder}")
        self.job = run_harness.a_job(folder, folder, folder, "SPSA")
        self.tell(Story().join(0, 1).start())

    def tell(self, story: Story) -> None:
        for record in story.records:
            self.log.book.enter(record)

    def rounds(self, *numbers: int) -> None:
        for number in numbers:
            self.tell(Story().publish(number, 0, 1))

    def leader(self) -> Archiving:
        """One that has read all of the log that there is now."""
        exchange = MemoryExchange(self.log, 0)
        exchange.wait_for(lambda _: True, lambda: False)
        return Archiving(self.store, self.job, (), IDENTITY, exchange, self.segment_bytes)

    def archive(self) -> Archive:
        found = archives.newest(self.store, run_harness.RUN)
        assert found is not None
        return found.archive

    def keys(self) -> set[str]:
        return {info.key for info in self.store.list("archive/")}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def segments(archive: Archive) -> list[str]:
    return [segment.key for part in archive.logs for segment in part.segments]


def test_the_archive_is_the_log_up_to_its_last_round(bench: Bench) -> None:
    before: list[str] = []
    bench.tell(Story().publish(0, 0))
    for number in range(60):
        bench.tell(Story().publish(number, 1).publish(number + 1, 0))
        bench.leader().keep()
        archive = bench.archive()
        (part,) = archive.logs
        assert (archive.rounds, part.next) == (number + 1, len(bench.log.book.ledger) - 1)
        frames = bench.log.book.ledger.read(0, part.next).frames
        assert archives.records(bench.store, archive, part) == list(decode(frames))
        assert len(bench.keys()) == len(segments(archive)) + 1
        sealed = [s.key for s in part.segments if s.size_bytes >= SEGMENT_BYTES]
        assert sealed[: len(before)] == before
        before = sealed
    assert len(before) > 2


def test_who_leads_next_goes_on_where_the_archive_ends(bench: Bench) -> None:
    bench.rounds(0, 1)
    behind = bench.leader()
    bench.rounds(2, 3)
    ref = bench.leader().keep()
    assert ref is not None
    assert bench.leader().keep() == behind.keep() == ref
    assert len(bench.keys()) == 2


def test_before_the_first_round_there_is_nothing_to_keep(bench: Bench) -> None:
    assert bench.leader().keep() is None
    assert bench.keys() == set()


@pytest.mark.parametrize("writes", range(4))
def test_a_store_that_fails_on_the_way_leaves_a_whole_archive(bench: Bench, writes: int) -> None:
    bench.rounds(0)
    bench.leader().keep()
    whole, bench.store = bench.store, Failing(bench.store, writes)
    bench.rounds(1)
    with pytest.raises(StoreError):
        bench.leader().keep()
    bench.store = whole
    archive = bench.archive()
    assert archive.rounds == (1 if writes < 2 else 2)
    assert archives.records(whole, archive, archive.logs[0])
    bench.leader().keep()
    assert bench.archive().rounds == 2


STEPS = st.lists(st.tuples(st.integers(1, 4), st.none() | st.integers(0, 4)), max_size=40)
"""Rounds until the leader keeps the archive, and after how many writes the store fails it, if it does."""


@given(STEPS)
@settings(max_examples=15, deadline=None)
def test_segments_become_fewer_and_bigger_and_a_crash_on_the_way_loses_nothing(
    steps: list[tuple[int, int | None]],
) -> None:
    with TemporaryDirectory() as folder:
        bench, rounds = Bench(Path(folder)), 0
        bench.segment_bytes = 40
        for num_rounds, writes in [*steps, (1, None)]:
            bench.rounds(*range(rounds, rounds + num_rounds))
            rounds += num_rounds
            whole = bench.store
            if writes is not None:
                bench.store = Failing(whole, writes)
            with suppress(StoreError):
                bench.leader().keep()
            bench.store = whole
            found = archives.newest(whole, run_harness.RUN)
            for part in found.archive.logs if found else ():
                frames = bench.log.book.ledger.read(0, part.next).frames
                assert archives.records(whole, bench.archive(), part) == list(decode(frames))
        assert bench.archive().rounds == rounds
        assert set(segments(bench.archive())) <= bench.keys()
        assert len(segments(bench.archive())) <= 2 * FAN_IN


def test_a_segment_that_was_merged_is_removed_after_the_manifest(bench: Bench) -> None:
    bench.segment_bytes = 40
    for number in range(1 + 2 * FAN_IN):  # The first one holds the joins and is as big as eight.
        bench.rounds(2 * number, 2 * number + 1)
        bench.leader().keep()
    assert len(segments(bench.archive())) == 1 + 2
    assert len(bench.keys()) == 1 + 2 + 1
