"""Which members carry a round's blobs among themselves, as everybody reads it from the log. Pure.

A group is the view as it stood when a round opened. It stays the same group, with its connections, for as long
as nobody enters or leaves and nobody says that it broke (a REGROUP record).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_MAX_DOUBLINGS: Final = 6


@dataclass(frozen=True, slots=True)
class Grouping:
    """The group of the open round. Readers of the same log have equal ones."""

    number: int = 0
    """Another number, another group."""
    round: int = 0
    members: tuple[int, ...] = ()
    """The view when the round opened."""
    num_changes: int = -1
    """Of the membership, when the round opened."""
    num_failures: int = 0
    """Rounds in a row in which a group was tried and broke."""
    first_round: int = 0
    """No group is tried before this round."""

    @property
    def is_tried(self) -> bool:
        """Whether the round's blobs go through a group at all."""
        return self.round >= self.first_round

    def opened(
        self, round: int, members: tuple[int, ...], num_changes: int, *, broken: bool
    ) -> Grouping:
        """The next round's. ``broken``: somebody said so of this one."""
        if broken:
            num_failures = self.num_failures + 1
            first_round = round + pause_rounds(num_failures)
        else:
            num_failures = 0 if self.is_tried else self.num_failures
            first_round = self.first_round
        is_new = broken or num_changes != self.num_changes
        return Grouping(
            self.number + is_new, round, members, num_changes, num_failures, first_round
        )


def pause_rounds(num_failures: int) -> int:
    """Rounds over the hub before a group is tried again: 0, 1, 3, 7, up to 63."""
    return (1 << min(num_failures - 1, _MAX_DOUBLINGS)) - 1
