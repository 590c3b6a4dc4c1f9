"""The replicated state machine: records in, membership and rounds out. Pure.

Rules (architecture, section 5):

* Before START, JOINs gather members. The first START by the lowest member opens ``start.round`` with the
  members at that position as its view; any other START is ignored.
* After START a JOIN waits in ``pending`` and enters the view when the current round closes.
* LEAVE takes effect at once, in view and pending. A JOIN of a peer that is in the view (a new process)
  counts as LEAVE followed by JOIN.
* A round closes at the first position where every member of the view has a PAYLOAD for it. The members at
  that position are the round's members; payloads of peers that left before are dropped.
* DEADLINE, by the hub only, closes the open round it names if somebody has published: those who have are its
  members, the others are said to have missed it and stay in the view.
* A PAYLOAD of a peer that missed its round, at most ``MAX_LATE_ROUNDS`` ago, is attached to the open round as
  late, under its own round; once for each peer and round. It goes if its peer leaves before that round closes.
* REGROUP says that the open round's blobs could not be carried by its group (``grouping``).
* The first ENDING of a member of the view makes the open round the run's last.
* If the view empties, the pending peers form the view and the round starts over, without its old payloads.
  If nobody is pending, the next JOIN forms the view at once.
* A second PAYLOAD of a peer for the same round, or any other for another round than the open one, is ignored.
* CHECKPOINT, EVALUATION, VERDICT and PUBLISHED count only from the lowest member of the view at that position
  of a started run, and only of rounds that are closed.
* SCORES are a member's own word of a closed round. Each peer's newest count, also after it left.
* The first VERDICT of a round counts; APPROVAL sets ``approved_by``.
* The first PUBLISHED counts that follows a passed VERDICT and, where the job asks for one, an APPROVAL.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from haversack_trainer.contract.membership import CheckpointRef, Ending, Identity, Join, Start
from haversack_trainer.contract.records import HUB, MAX_LATE_ROUNDS, OPERATOR, Kind, Record
from haversack_trainer.contract.report import Evaluation, PeerScores, Publication, Verdict

from .grouping import Grouping
from .objections import Precedents, leaders_word, objection
from .rounds import ClosedRound, Late, MembershipChange, Payload

__all__ = ["ClosedRound", "Late", "MembershipChange", "Payload", "RunState"]


@dataclass
class RunState:
    """What any reader of the log knows. Two states that applied the same records are equal."""

    needs_approval: bool = False
    """Whether the job asks for one before its adapter is published; all readers have the same job file."""
    num_records: int = 0
    identity: Identity | None = None
    """The first JOIN's: what all later ones are measured against."""
    joins: dict[int, Join] = field(default_factory=dict)
    """The newest JOIN of every peer that ever joined."""
    view: tuple[int, ...] = ()
    """Members of the open round, ascending; before START, the peers gathered so far."""
    pending: tuple[int, ...] = ()
    """Joined after START; they enter the view when the open round closes. Ascending."""
    start: Start | None = None
    round: int = 0
    """The open round; meaningful once ``start`` is set."""
    closed: list[ClosedRound] = field(default_factory=list)
    """All of this log, unless they were forgotten."""
    checkpoint: CheckpointRef | None = None
    evaluation: Evaluation | None = None
    ending: Ending | None = None
    num_rounds: int | None = None
    """Of the whole run, where somebody has ended it before the job's were over."""
    scores: dict[int, PeerScores] = field(default_factory=dict)
    verdict: Verdict | None = None
    approved_by: str | None = None
    publication: Publication | None = None
    history: list[MembershipChange] = field(default_factory=list)
    num_unreadable: int = 0
    """Records whose body could not be parsed. They count as records and change nothing else."""
    grouping: Grouping = field(default_factory=Grouping)
    """Who may carry the open round's blobs among themselves."""
    is_group_broken: bool = False
    """Somebody said so in the open round."""
    _open: dict[int, Payload] = field(default_factory=dict)
    _late: list[Late] = field(default_factory=list)
    _missed: set[tuple[int, int]] = field(default_factory=set)
    """(round, peer) of payloads that may still come late."""

    @property
    def leader(self) -> int | None:
        """The lowest member of the view."""
        return self.view[0] if self.view else None

    @property
    def published_in_round(self) -> frozenset[int]:
        """Members that have published for the open round."""
        return frozenset(self._open)

    @property
    def is_under_way(self) -> bool:
        """Whether somebody has published for the open round."""
        return bool(self._open)

    def has_published(self, peer: int) -> bool:
        """Whether ``peer`` has published for the open round."""
        return peer in self._open

    @property
    def is_group_whole(self) -> bool:
        """Whether the open round's group is still all there, as far as the log tells."""
        return not self.is_group_broken and len(self.history) == self.grouping.num_changes

    def may_come_late(self, round: int, peer: int) -> bool:
        """Whether ``peer`` missed ``round`` and may still publish for it."""
        return (round, peer) in self._missed and peer in self.view

    @property
    def open_payloads(self) -> tuple[Payload, ...]:
        """Payloads of the open round so far, in order of arrival."""
        return tuple(self._open.values())

    def closed_round(self, round: int) -> ClosedRound | None:
        """A past round of this log, or None; also if it was forgotten."""
        index = round - self.closed[0].round if self.closed else -1
        return self.closed[index] if 0 <= index < len(self.closed) else None

    def forget_rounds(self, num_kept: int) -> None:
        """Keep so many of the closed rounds, the newest: for readers that need no others."""
        del self.closed[:-num_kept]

    def is_member(self, peer: int) -> bool:
        """Whether ``peer`` is in the view or waits to enter it."""
        return peer in self.view or peer in self.pending

    def objection(self, record: Record) -> str | None:
        """Why a word of the leader's does not count here; None if it does, or if it is no such word.

        Raises ``ValueError`` if its body cannot be read."""
        if (word := leaders_word(record)) is None:
            return None
        lacks = self.needs_approval and self.approved_by is None
        known = Precedents(self.start is not None, self.leader, self.round, self.verdict, lacks)
        return objection(record, word, known)

    def rounds(self, wanted: int) -> int:
        """How many rounds the run has, ``wanted`` being the job's."""
        return wanted if self.num_rounds is None else min(wanted, self.num_rounds)

    def apply(self, record: Record) -> None:
        """Take in the next record. Never raises: a record that breaks a rule changes nothing."""
        self.num_records += 1
        try:
            if self.objection(record) is None:
                self._dispatch(record)
        except ValueError:  # pydantic's ValidationError and UnicodeDecodeError are ValueErrors
            self.num_unreadable += 1

    def _dispatch(self, record: Record) -> None:
        match record.kind:
            case Kind.PAYLOAD:
                self._publish(record)
            case Kind.DEADLINE:
                self._close_early(record)
            case Kind.JOIN:
                self._join(record)
            case Kind.LEAVE:
                self._remove(record.peer, record.body.decode())
            case Kind.START:
                self._start(record)
            case Kind.APPROVAL:
                self._approve(record)
            case Kind.REGROUP:
                self._regroup(record)
            case Kind.ENDING:
                self._end(record)
            case Kind.SCORES:
                self._hear_scores(record)
            case _:
                self._hear_leader(record)

    def _hear_leader(self, record: Record) -> None:
        match leaders_word(record):
            case CheckpointRef() as ref:
                if self.checkpoint is None or ref.round >= self.checkpoint.round:
                    self.checkpoint = ref
            case Evaluation() as evaluation:
                self.evaluation = evaluation
            case Verdict() as verdict:
                if self.verdict is None or verdict.round > self.verdict.round:
                    self.verdict = verdict
            case Publication() as publication if self.publication is None:
                self.publication = publication

    def _publish(self, record: Record) -> None:
        peer, payload = record.peer, Payload(record.peer, record.body, record.aux)
        if self.start is None or peer not in self.view:
            return
        if self.may_come_late(record.round, peer):
            self._missed.remove((record.round, peer))
            self._late.append(Late(record.round, payload))
        elif record.round == self.round and peer not in self._open:
            self._open[peer] = payload
            self._close_if_complete()

    def _close_early(self, record: Record) -> None:
        if record.peer == HUB and self.start and record.round == self.round and self._open:
            self._close()

    def _close_if_complete(self) -> None:
        if self.start is not None and self.view and len(self._open) == len(self.view):
            self._close()

    def _close(self) -> None:
        members = tuple(sorted(self._open))
        missed = tuple(peer for peer in self.view if peer not in self._open)
        payloads = tuple(self._open[peer] for peer in members)
        late = tuple(sorted(self._late, key=lambda late: (late.round, late.payload.peer)))
        self.closed.append(
            ClosedRound(self.round, members, payloads, self.num_records, missed, late)
        )
        self._open, self._late = {}, []
        self._missed |= {(self.round, peer) for peer in missed}
        self.round += 1
        oldest = self.round - MAX_LATE_ROUNDS
        self._missed = {entry for entry in self._missed if entry[0] >= oldest}
        self._admit_pending()

    def _admit_pending(self) -> None:
        entering, self.pending = self.pending, ()
        for peer in entering:
            self._enter(peer)
        self._open_round()

    def _open_round(self) -> None:
        num_changes, broken = len(self.history), self.is_group_broken
        self.grouping = self.grouping.opened(self.round, self.view, num_changes, broken=broken)
        self.is_group_broken = False

    def _enter(self, peer: int) -> None:
        self.view = tuple(sorted({*self.view, peer}))
        node = self.joins[peer].node
        self.history.append(MembershipChange(self.num_records, self.round, peer, True, "", node))

    def _join(self, record: Record) -> None:
        join = Join.model_validate_json(record.body)
        if record.peer in {HUB, OPERATOR}:
            return
        if self.identity is None:
            self.identity = join.identity
        self._remove(record.peer, "replaced by a new process")
        self.joins[record.peer] = join
        if self.start is None or not self.view:
            self._enter(record.peer)
            self._open_round()
        else:
            self.pending = tuple(sorted({*self.pending, record.peer}))

    def _remove(self, peer: int, reason: str) -> None:
        self.pending = tuple(other for other in self.pending if other != peer)
        if peer not in self.view:
            return
        self.view = tuple(other for other in self.view if other != peer)
        self.history.append(MembershipChange(self.num_records, self.round, peer, False, reason))
        self._open.pop(peer, None)
        self._late = [late for late in self._late if late.payload.peer != peer]
        self._missed = {entry for entry in self._missed if entry[1] != peer}
        if self.view:
            self._close_if_complete()
        else:
            self._admit_pending()

    def _start(self, record: Record) -> None:
        start = Start.model_validate_json(record.body)
        if self.start is not None or record.peer != self.leader:
            return
        self.start, self.round, self.checkpoint = start, start.round, start.checkpoint
        self._open_round()

    def _regroup(self, record: Record) -> None:
        record.body.decode()
        if record.round == self.round and record.peer in self.view:
            self.is_group_broken = True

    def _end(self, record: Record) -> None:
        ending = Ending.model_validate_json(record.body)
        if self.start is not None and record.peer in self.view and self.ending is None:
            self.ending, self.num_rounds = ending, self.round + 1

    def _hear_scores(self, record: Record) -> None:
        said = PeerScores.model_validate_json(record.body)
        rounds = said.personal.round, said.common.round
        if (
            self.start
            and record.peer in self.view
            and min(rounds) >= 0
            and max(rounds) <= self.round
        ):
            self.scores[record.peer] = said

    def _approve(self, record: Record) -> None:
        who = record.body.decode()
        if record.peer == OPERATOR and who:
            self.approved_by = who
