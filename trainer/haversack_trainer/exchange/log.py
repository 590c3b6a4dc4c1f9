"""The replicated state machine: records in, membership and rounds out. Pure.

Rules (architecture, section 5):

* Before START, JOINs gather members. The first START by the lowest member opens ``start.round`` with the
  members at that position as its view; any other START is ignored.
* After START a JOIN waits in ``pending`` and enters the view when the current round closes.
* LEAVE takes effect at once, in view and pending. A JOIN of a peer that is in the view (a new process)
  counts as LEAVE followed by JOIN.
* A round closes at the first position where every member of the view has a PAYLOAD for it. The members at
  that position are the round's members; payloads of peers that left before are dropped.
* If the view empties, the pending peers form the view and the round starts over, without its old payloads.
  If nobody is pending, the next JOIN forms the view at once.
* A second PAYLOAD of a peer for the same round, or one for another round than the open one, is ignored.
* The first VERDICT of a round counts, the first PUBLISHED counts; APPROVAL sets ``approved_by``.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Payload:
    """What one member published for a round."""

    peer: int
    body: bytes
    aux: int = 0


@dataclass(frozen=True, slots=True)
class ClosedRound:
    """A round's final word: its members and their payloads, both in ascending order of peer."""

    round: int
    members: tuple[int, ...]
    payloads: tuple[Payload, ...]
    position: int
    """Number of records up to and including the one that closed it."""
