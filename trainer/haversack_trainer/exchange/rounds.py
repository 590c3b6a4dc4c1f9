"""What the log says of a round once it is closed, and of who came and went. Values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Payload:
    """What one member published for a round."""

    peer: int
    body: bytes
    aux: int = 0


class Late(NamedTuple):
    """A payload that came after its round had been closed by the deadline. It keeps its own round."""

    round: int
    payload: Payload


@dataclass(frozen=True, slots=True)
class ClosedRound:
    """A round's final word: its members and their payloads, both in ascending order of peer."""

    round: int
    members: tuple[int, ...]
    payloads: tuple[Payload, ...]
    position: int
    """Number of records up to and including the one that closed it."""
    missed: tuple[int, ...] = ()
    """Peers of the view that had not published when the deadline closed it; they are no members of it."""
    late: tuple[Late, ...] = ()
    """Payloads of earlier rounds that came while this one was open, by (round, peer)."""

    def payload(self, peer: int) -> Payload | None:
        """What ``peer`` published, or None if it was no member."""
        return next((payload for payload in self.payloads if payload.peer == peer), None)

    @property
    def all_payloads(self) -> tuple[Payload, ...]:
        """Late ones, too."""
        return (*self.payloads, *(late.payload for late in self.late))

    def newest_late(self, peer: int) -> Late | None:
        """The newest of what ``peer`` published too late for its own round and while this one was open."""
        return next((late for late in reversed(self.late) if late.payload.peer == peer), None)

    def concerns(self, peer: int) -> bool:
        """Whether ``peer`` was in the view when it closed, in time or not."""
        return peer in self.members or peer in self.missed


@dataclass(frozen=True, slots=True)
class MembershipChange:
    """A peer entered or left the view (before START: the gathering)."""

    position: int
    """Number of records up to and including the one that caused it."""
    round: int
    peer: int
    joined: bool
    reason: str
    """Why it left, in the words of the LEAVE record; empty when it joined."""
    node: str = ""
    """Where it is, if it joined."""
