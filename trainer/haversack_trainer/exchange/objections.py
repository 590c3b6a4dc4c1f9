"""Which of the leader's words count. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from haversack_trainer.contract.membership import CheckpointRef
from haversack_trainer.contract.records import Kind, Record
from haversack_trainer.contract.report import Evaluation, Publication, Verdict

LeadersWord = CheckpointRef | Evaluation | Verdict | Publication
_LEADERS_WORDS: Final[Mapping[Kind, type[LeadersWord]]] = {
    Kind.CHECKPOINT: CheckpointRef,
    Kind.EVALUATION: Evaluation,
    Kind.VERDICT: Verdict,
    Kind.PUBLISHED: Publication,
}


def leaders_word(record: Record) -> LeadersWord | None:
    """What a leader's record says; None for any other. Raises ``ValueError`` if it cannot be read."""
    model = _LEADERS_WORDS.get(record.kind)
    return None if model is None else model.model_validate_json(record.body)


@dataclass(frozen=True, slots=True)
class Precedents:
    """What a leader's word is measured against."""

    has_started: bool
    leader: int | None
    round: int
    verdict: Verdict | None
    lacks_approval: bool
    """The job asks for one, and nobody has given it."""


def objection(record: Record, word: LeadersWord, known: Precedents) -> str | None:
    """Why ``word``, which ``record`` says, does not count after what is ``known``; None if it does."""
    name = record.kind.name
    if not known.has_started:
        return f"peer {record.peer} wrote a {name} record before the run was started"
    if record.peer != known.leader:
        return f"{name} records are for the lowest member to write, peer {known.leader}, not peer {record.peer}"
    if not 0 <= word.round <= known.round:
        return f"the {name} record is of round {word.round}, but {known.round} rounds are closed"
    return _to_publishing(known) if record.kind is Kind.PUBLISHED else None


def _to_publishing(known: Precedents) -> str | None:
    if known.verdict is None or not known.verdict.passed:
        return "nothing is published that has not passed its gate"
    if known.lacks_approval:
        return "nothing is published that has not been approved: this job asks for it"
    return None
