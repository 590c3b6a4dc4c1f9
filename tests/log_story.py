"""Logs for tests of the state machine, told in words."""

from __future__ import annotations

from dataclasses import dataclass, field

from hub_harness import a_join, json_of

from haversack_trainer.contract.base import Frozen
from haversack_trainer.contract.membership import Start
from haversack_trainer.contract.records import HUB, Kind, Record
from haversack_trainer.exchange.log import RunState


def body(value: Frozen) -> bytes:
    return value.model_dump_json(by_alias=True).encode()


@dataclass
class Story:
    """A log told in words."""

    records: list[Record] = field(default_factory=list)

    def join(self, *peers: int, incarnation: str = "i") -> Story:
        for peer in peers:
            self._tell(Kind.JOIN, peer, 0, json_of(a_join(f"{incarnation}{peer}")))
        return self

    def start(self, peer: int = 0, round: int = 0) -> Story:
        return self._tell(Kind.START, peer, 0, body(Start(round=round)))

    def publish(self, round: int, *peers: int) -> Story:
        for peer in peers:
            self._tell(Kind.PAYLOAD, peer, round, bytes([peer]))
        return self

    def deadline(self, round: int, peer: int = HUB) -> Story:
        return self._tell(Kind.DEADLINE, peer, round, b"")

    def leave(self, peer: int) -> Story:
        return self._tell(Kind.LEAVE, peer, 0, b"lease expired")

    def say(self, kind: Kind, value: Frozen, peer: int = 0) -> Story:
        return self._tell(kind, peer, 0, body(value))

    def _tell(self, kind: Kind, peer: int, round: int, body: bytes) -> Story:
        self.records.append(Record(kind, peer, round, body))
        return self

    @property
    def state(self) -> RunState:
        state = RunState()
        for record in self.records:
            state.apply(record)
        return state
