"""Who starts a run, when, and from where."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import tiny_models
from hub_harness import IDENTITY

from haversack_trainer.checkpoint.manifest import Meta
from haversack_trainer.contract.jobfile import JobFile
from haversack_trainer.exchange.base import Stopped
from haversack_trainer.exchange.memory import MemoryExchange, MemoryLog
from haversack_trainer.loop.entry import Entry
from haversack_trainer.loop.saves import Saves
from haversack_trainer.objects.opening import open_store


def never() -> bool:
    return False


class Clock:
    """Goes on only when told to; ``stop`` of an entry moves it."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def entry(tmp_path: Path) -> Callable[..., Entry]:
    store = open_store(f"file://{tmp_path}/store/job")
    log = MemoryLog()
    meta = Meta(run="run", method="SPSA", base_model="", identity=IDENTITY)

    def make(peer: int, **changes: Any) -> Entry:
        sections = {"numPeers": 3, "minPeers": 2, "gangTimeoutSeconds": 1}
        job: JobFile = tiny_models.job(tmp_path, "SequenceClassification", **sections)
        fields = {"stop": never} | changes
        saves = Saves(store, meta, peer, keep=2)
        return Entry(job, MemoryExchange(log, peer), saves, IDENTITY, 0, "", **fields)

    return make


def enter_all(entries: list[Entry]) -> None:
    def enter(entry: Entry) -> None:
        entry.wait(entry.join())

    with ThreadPoolExecutor(len(entries)) as pool:
        list(pool.map(enter, entries))


def test_the_run_starts_when_all_have_joined(entry: Callable[..., Entry]) -> None:
    frozen = Clock()
    entries = [entry(peer, clock=frozen) for peer in range(3)]
    enter_all(entries)
    views = {one.exchange.state.view for one in entries}
    assert views == {(0, 1, 2)}
    start = entries[0].exchange.state.start
    assert start is not None
    assert (start.round, start.checkpoint) == (0, None)


def test_after_the_gang_timeout_the_minimum_is_enough(entry: Callable[..., Entry]) -> None:
    entries = [entry(peer) for peer in range(2)]
    enter_all(entries)
    assert entries[1].exchange.state.view == (0, 1)


def test_fewer_than_the_minimum_wait_on(entry: Callable[..., Entry]) -> None:
    clock = Clock()
    calls = iter(range(10))

    def stop() -> bool:
        clock.now += 1.0
        return next(calls) == 9

    alone = entry(0, clock=clock, stop=stop)
    incarnation = alone.join()
    with pytest.raises(Stopped):
        alone.wait(incarnation)
    assert alone.exchange.state.start is None


def test_the_run_starts_from_the_newest_checkpoint(entry: Callable[..., Entry]) -> None:
    entries = [entry(peer) for peer in range(2)]
    entries[1].saves.shared(4, {})
    ref = entries[1].saves.shared(7, {})
    enter_all(entries)
    start = entries[1].exchange.state.start
    assert start is not None
    assert (start.round, start.checkpoint) == (7, ref)
    assert entries[0].exchange.state.round == 7
