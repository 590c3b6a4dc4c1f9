"""Which of the leader's words count. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from haversack_trainer.contract.membership import CheckpointRef
from haversack_trainer.contract.records import Kind, Record
from haversack_trainer.contract.report import Evaluation, Publication, Verdict

if TYPE_CHECKING:
    from .log import RunState

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


def objection(state: RunState, record: Record) -> str | None:
    """Why a word of the leader's does not count in ``state``; None if it does, or if it is no such word.

    Raises ``ValueError`` if its body cannot be read.
    """
    word, name = leaders_word(record), record.kind.name
    if word is None:
        return None
    if state.start is None:
        return f"peer {record.peer} wrote a {name} record before the run was started"
    if record.peer != state.leader:
        return f"{name} records are for the lowest member to write, peer {state.leader}, not peer {record.peer}"
    if not 0 <= word.round <= state.round:
        return f"the {name} record is of round {word.round}, but {state.round} rounds are closed"
    return _to_publishing(state) if record.kind is Kind.PUBLISHED else None


def _to_publishing(state: RunState) -> str | None:
    if state.verdict is None or not state.verdict.passed:
        return "nothing is published that has not passed its gate"
    if state.needs_approval and state.approved_by is None:
        return "nothing is published that has not been approved: this job asks for it"
    return None
