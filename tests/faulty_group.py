"""Members of a group to which something happens in the middle of a gather."""

from __future__ import annotations

from collections.abc import Callable

from haversack_trainer.exchange.base import Outgoing
from haversack_trainer.exchange.carrier import Keep, Meeting
from haversack_trainer.exchange.direct import Direct
from haversack_trainer.exchange.group import Ended, Group, Host

SILENCE_SECONDS = 5.0

Fault = Callable[["Faulty", int], None]
"""Given the member's group and the round."""


class Faulty(Group):
    """A group in which something happens to this member at one point of one round."""

    def __init__(self, meeting: Meeting, me: int, host: Host, faults: dict[str, Fault]) -> None:
        super().__init__(meeting, me, host)
        self.me, self._faults = me, faults

    def gather(self, round: int, blob: bytes, ended: Ended, keep: Keep) -> None:
        self._round, self._own = round, blob
        self._happen("before")
        super().gather(round, blob, ended, keep)
        self._happen("after")

    def _await(self, round: int, what: str, ended: Ended) -> None:
        super()._await(round, what, ended)
        self._happen(f"all say {what}")

    def _say(self, round: int, what: str, value: str) -> None:
        self._happen(f"says {what}")
        super()._say(round, what, value)
        self._happen(f"said {what}")

    def _happen(self, point: str) -> None:
        if (fault := self._faults.get(point)) is not None:
            fault(self, self._round)


class FaultyDirect(Direct):
    """One member's way, with its faults."""

    def __init__(self, me: int, faults: dict[str, Fault]) -> None:
        super().__init__("127.0.0.1", me, SILENCE_SECONDS)
        self._faults = faults

    def _of(self, meeting: Meeting) -> Group:
        if self._group is None or self._group.meeting != meeting:
            self.part()
            self._group = Faulty(meeting, self._me, self._host, self._faults)
        return self._group


def blob_of(number: int, peer: int) -> Outgoing:
    """Of another length for each peer."""
    return Outgoing(b"body", blob=f"round {number} of peer {peer} ".encode() * (10 + peer))
