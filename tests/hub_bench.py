"""The hub's core with storage in memory and a clock that the test winds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from hub_harness import a_join, json_of

from haversack_trainer.contract.membership import Start
from haversack_trainer.contract.records import Kind, Record
from haversack_trainer.hub.core import Core
from haversack_trainer.hub.journal import NotStored


@dataclass
class Shelf:
    """Storage in memory; ``room`` frames fit, in segments of so many each."""

    frames: list[bytes] = field(default_factory=list)
    room: int = 10**6
    segment_records: int = 10**6

    @property
    def starts(self) -> Sequence[int]:
        return range(0, max(1, len(self.frames)), self.segment_records)

    def segment(self, start: int) -> bytes:
        return b"".join(self.frames[start : start + self.segment_records])

    def append(self, frame: bytes) -> None:
        if len(self.frames) >= self.room:
            raise NotStored("full")
        self.frames.append(frame)


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


class Bench:
    """A core with two members, 0 and 1, and a lease of 10 s."""

    def __init__(
        self,
        *,
        incomplete: bool = False,
        needs_approval: bool = False,
        deadline_seconds: float | None = None,
        recovered: list[Record] | None = None,
    ) -> None:
        self.clock, self.shelf = Clock(), Shelf()
        self.core = Core(
            "run",
            self.shelf,
            rounds=5,
            lease_seconds=10.0,
            clock=self.clock,
            incomplete=incomplete,
            needs_approval=needs_approval,
            deadline_seconds=deadline_seconds,
            recovered=recovered or (),
        )

    @property
    def view(self) -> tuple[int, ...]:
        return self.core.book.state.view

    def started(self) -> Bench:
        for peer in (0, 1):
            self.append(Record(Kind.JOIN, peer, 0, json_of(a_join(f"i{peer}"))))
        self.append(Record(Kind.START, 0, 0, json_of(Start())))
        return self

    def append(self, record: Record) -> int:
        return self.core.append(record.peer, record.encode(), f"i{record.peer}").position

    def poll(self, peer: int) -> None:
        core = self.core
        core.poll(peer, f"i{peer}", len(core), core.book.ledger.head.hex())

    def pass_seconds(self, seconds: float, *polling: int) -> None:
        """Time goes by in ticks of a second while ``polling`` look for records."""
        for _ in range(int(seconds)):
            self.clock.now += 1
            for peer in polling:
                self.poll(peer)
            self.core.tick()
