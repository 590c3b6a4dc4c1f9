"""Who may append what, next. Pure; the hub and the in-memory exchange ask the same rules.

``Book`` is a log with its rules: ``check`` says whether a record may follow, ``enter`` lets it follow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from pydantic import ValidationError

from haversack_trainer.contract.base import Frozen
from haversack_trainer.contract.membership import CheckpointRef, Ending, Identity, Join, Start
from haversack_trainer.contract.records import HUB, OPERATOR, CorruptRecord, Kind, Record
from haversack_trainer.contract.report import Evaluation, PeerScores, Publication, Verdict

from .base import Evicted, Refused, Stale, Superseded, Unbacked
from .ledger import Ledger
from .log import RunState
from .payload import named_blob

LEASE_EXPIRED: Final = "lease expired"
_BODIES: Final[Mapping[Kind, type[Frozen]]] = {
    Kind.JOIN: Join,
    Kind.START: Start,
    Kind.CHECKPOINT: CheckpointRef,
    Kind.EVALUATION: Evaluation,
    Kind.VERDICT: Verdict,
    Kind.PUBLISHED: Publication,
    Kind.ENDING: Ending,
    Kind.SCORES: PeerScores,
}
_MAX_SHOWN: Final = 200


class Forged(Refused):
    """The record says it is from somebody else, or is of a kind that its author may not write."""


@dataclass(frozen=True, slots=True)
class _Entry:
    frame: bytes
    position: int


@dataclass
class Book:
    """The log of a run, and what may be appended to it."""

    run: str
    needs_approval: bool = False
    """As in ``RunState``."""
    has_blob: Callable[[str], bool] | None = None
    """Whether a blob is there, by digest: a payload that names another is refused. None where that is not known, or
    payloads name none."""
    ledger: Ledger = field(init=False)
    state: RunState = field(init=False)
    _newest: dict[int, _Entry] = field(default_factory=dict)
    """Each peer's newest record: a peer that lost the answer sends it again."""
    _incarnations: set[tuple[int, str]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.ledger = Ledger(self.run)
        self.state = RunState(needs_approval=self.needs_approval)

    def enter(self, record: Record) -> int:
        """Append a record that was checked, or that is read back. Returns its position."""
        position, frame = len(self.ledger), record.encode()
        self.ledger.append(frame)
        self.state.apply(record)
        self._newest[record.peer] = _Entry(frame, position)
        if record.kind is Kind.JOIN and record.peer in self.state.joins:
            self._incarnations.add((record.peer, self.state.joins[record.peer].incarnation))
        return position

    def check(self, author: int, record: Record, incarnation: str) -> int | None:
        """None if ``record`` may follow; its position if it is already in the log.

        ``author`` is who the certificate says it is. Raises ``Forged``, ``Refused``, ``Stale``,
        ``Evicted``, ``Superseded``, ``Unbacked``, or ``CorruptRecord`` if the body cannot be read.
        """
        _check_author(author, record)
        _check_body(record)
        if author == OPERATOR:
            return None
        if record.kind is Kind.JOIN:
            return self._check_join(record)
        self.check_alive(author, incarnation, member=False)
        newest = self._newest.get(author)
        if newest and newest.frame == record.encode():
            return newest.position
        self.check_alive(author, incarnation)
        if record.kind is Kind.PAYLOAD:
            self._check_payload(record)
            self._check_blob(record)
        if (objection := self.state.objection(record)) is not None:
            raise Stale(objection)
        return None

    def check_alive(self, peer: int, incarnation: str, *, member: bool = True) -> None:
        """Raises ``Evicted`` unless this process speaks for ``peer`` (and, if asked, is a member)."""
        join = self.state.joins.get(peer)
        if join is None:
            raise Evicted(f"peer {peer} is not in this log: it must join first")
        if join.incarnation != incarnation:
            raise Evicted(
                f"peer {peer} was replaced by a newer process (attempt {join.attempt}, node {join.node!r})"
            )
        if member and not self.state.is_member(peer):
            raise Evicted(
                f"peer {peer} is no member any more (it left or its lease expired): it must join again"
            )

    def _check_join(self, record: Record) -> int | None:
        join, peer = Join.model_validate_json(record.body), record.peer
        if self.state.identity is not None:
            _check_identity(peer, join.identity, self.state.identity)
        current = self.state.joins.get(peer)
        if current is None:
            return None
        member, newest = self.state.is_member(peer), self._newest[peer]
        if member and newest.frame == record.encode():
            return newest.position
        if (peer, join.incarnation) in self._incarnations:
            raise Evicted(
                f"peer {peer} has joined with this incarnation before: it must join with a new one"
            )
        if member and join.attempt < current.attempt:
            raise Superseded(
                f"peer {peer} has a newer process in this run (attempt {current.attempt}, this is {join.attempt})"
            )
        return None

    def _check_payload(self, record: Record) -> None:
        state, peer = self.state, record.peer
        if state.start is None:
            raise Stale(f"peer {peer} published before the run was started")
        if state.may_come_late(record.round, peer):
            return
        if record.round != state.round:
            raise Stale(
                f"peer {peer} published for round {record.round}, but round {state.round} is open"
            )
        if peer not in state.view:
            raise Stale(f"peer {peer} published for round {state.round}, which it is not in yet")
        if state.has_published(peer):
            raise Stale(f"peer {peer} published something else for round {record.round} before")

    def _check_blob(self, record: Record) -> None:
        digest = named_blob(record.body)
        if self.has_blob is not None and digest is not None and not self.has_blob(digest):
            raise Unbacked(
                f"the payload of peer {record.peer} names blob {digest}, which is not here: put it first"
            )


def _check_author(author: int, record: Record) -> None:
    if record.peer != author:
        raise Forged(
            f"the record says it is from peer {record.peer}, but the certificate is of {_who(author)}"
        )
    by_hub = author == HUB or record.kind is Kind.DEADLINE
    if (author == OPERATOR) != (record.kind is Kind.APPROVAL) or by_hub:
        raise Forged(f"{_who(author)} may not write {record.kind.name} records")


def _check_body(record: Record) -> None:
    try:
        if model := _BODIES.get(record.kind):
            model.model_validate_json(record.body)
        elif record.kind is not Kind.PAYLOAD:
            record.body.decode()
    except (ValidationError, UnicodeDecodeError) as error:
        raise CorruptRecord(f"the body of a {record.kind.name} record cannot be read") from error


def _check_identity(peer: int, theirs: Identity, ours: Identity) -> None:
    for name in Identity.model_fields:
        mine, wanted = getattr(theirs, name), getattr(ours, name)
        if mine != wanted:
            raise Refused(
                f"peer {peer} differs from this run in {name.replace('_', ' ')}: it has {mine[:_MAX_SHOWN]}, "
                f"the run has {wanted[:_MAX_SHOWN]}; give all peers the same job file, model and data"
            )


def _who(author: int) -> str:
    return {HUB: "the hub", OPERATOR: "the operator"}.get(author, f"peer {author}")
