"""The seam to whatever carries blobs beside the hub. ``direct`` implements it; without torch here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from haversack_trainer.contract.records import Record

from .base import Stop
from .log import RunState

Keep = Callable[[int, bytes], None]
"""Takes a member's blob."""


class GroupError(Exception):
    """The bytes did not reach everybody; says why."""


@dataclass(frozen=True, slots=True)
class Meeting:
    """Who meets where; the same for all members."""

    number: int
    members: tuple[int, ...]
    """Ascending."""
    store: str
    """``host:port`` of the lowest member's store."""


class Carrier(Protocol):
    """One peer's way to the other members. ``watch`` and ``saw`` are for who holds the feed's ``changed``,
    everything else is for the thread that sends."""

    @property
    def address(self) -> str:
        """What others need to know to meet here."""

    @property
    def bytes_sent(self) -> int:
        """By this peer to other members."""

    @property
    def has_ended(self) -> bool:
        """Whether the log says that the watched group will not come together any more."""

    def watch(self, state: RunState, round: int) -> Meeting | None:
        """The group that carries ``round``, which from now on ends by what ``saw`` sees; None if none does."""

    def saw(self, record: Record) -> None:
        """A record came in."""

    def gather(self, meeting: Meeting, round: int, blob: bytes, given_up: Stop, keep: Keep) -> None:
        """Give ``blob`` to all members and get theirs; ``keep`` is called for each of the others'.

        Returns once every member has said that it holds everything. Raises ``GroupError`` otherwise: what was kept
        is sound and may be some, all or nothing, and the group is no more."""

    def part(self) -> None:
        """Leave the group, if there is one; others that wait for this peer learn of it."""
