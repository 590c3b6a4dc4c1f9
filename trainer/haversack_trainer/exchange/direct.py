"""Blobs from member to member where pods reach one another; the hub stands in whenever that fails.

The log alone says who is in a round and with which digest. A PAYLOAD record is written only once its blob is
safe: **it is on the hub, or every member of the view in which the round opened has said that it holds it.**
So a closed round lacks nothing: whoever lacks a member's blob knows that not all held it, hence that its owner
brought it to the hub first. A gather that reached some and not others needs no negotiation:

* Who gathered, and heard of everybody that it holds all, publishes as it is.
* Who did not (a broken connection, damaged bytes, a LEAVE or REGROUP record of a member) says REGROUP unless the
  view has changed anyway, brings its own blob to the hub, and publishes.
* A member that dies before its PAYLOAD is no member of the round; after it, its blob is safe.
* What a member lacks when the round is closed it gets from the hub, by digest.

The next round opens with the next group (``grouping``): a REGROUP record precedes its author's PAYLOAD, so all
have read it by then. A newcomer was in no gather; members that see one bring their blobs to the hub after all.
"""

from __future__ import annotations

from haversack_trainer.contract.records import Kind, Record

from .base import Stop
from .carrier import GroupError, Keep, Meeting
from .group import Ended, Group, Host, meeting_of
from .log import RunState


class Direct:
    """One peer's way to the other members. Implements ``Carrier``."""

    def __init__(
        self, host: str, me: int, timeout_seconds: float, patience_seconds: float | None = None
    ) -> None:
        """As ``Host``. Raises ``GroupError``."""
        self._host, self._me = Host(host, timeout_seconds, patience_seconds), me
        self._group: Group | None = None
        self._watched: tuple[int, tuple[int, ...]] = (0, ())
        self._ended: str | None = None
        self._sent_before = 0

    @property
    def address(self) -> str:
        return self._host.address

    @property
    def bytes_sent(self) -> int:
        return self._sent_before + (self._group.bytes_sent if self._group else 0)

    def watch(self, state: RunState, round: int) -> Meeting | None:
        grouping = state.grouping
        self._watched, self._ended = (round, grouping.members), None
        if round != state.round or not state.is_group_whole or not grouping.is_tried:
            return None
        addresses = {peer: state.joins[peer].address for peer in grouping.members}
        return meeting_of(grouping.number, grouping.members, addresses)

    def saw(self, record: Record) -> None:
        number, members = self._watched
        if record.peer not in members:
            return
        if record.kind in {Kind.LEAVE, Kind.JOIN}:
            self._ended = f"peer {record.peer} is gone"
        elif record.kind is Kind.REGROUP and record.round == number:
            self._ended = f"the group broke for peer {record.peer}"

    @property
    def has_ended(self) -> bool:
        return self._ended is not None

    def gather(self, meeting: Meeting, round: int, blob: bytes, given_up: Stop, keep: Keep) -> None:
        try:
            self._of(meeting).gather(round, blob, self._until(given_up), keep)
        except GroupError:
            self.part()
            raise

    def part(self) -> None:
        if self._group is not None:
            self._sent_before += self._group.bytes_sent
            self._group.close()
            self._group = None

    def _of(self, meeting: Meeting) -> Group:
        if self._group is None or self._group.meeting != meeting:
            self.part()
            self._group = Group(meeting, self._me, self._host)
        return self._group

    def _until(self, given_up: Stop) -> Ended:
        return lambda: "this peer has given up" if given_up() else self._ended
