"""What a method that sends states does to be private: bound, blur, count."""

from __future__ import annotations

from typing import Any

from haversack_trainer.contract.membership import Ending
from haversack_trainer.contract.privacy import DeltaPrivacy
from haversack_trainer.exchange.log import ClosedRound

from .account import Budget, Rounds
from .deltas import Entropy, State, deviation, os_entropy, protected


class Guard:
    """Stands between a peer's local steps and what it publishes. One round is one use of all of its data."""

    def __init__(self, privacy: DeltaPrivacy, entropy: Entropy = os_entropy) -> None:
        self._privacy, self._budget, self._entropy = privacy, Budget(privacy), entropy
        self._rounds = Rounds()

    @property
    def deviation(self) -> float:
        """Of the noise on each number."""
        return deviation(self._privacy)

    @property
    def told(self) -> dict[str, float]:
        """For the report: what has been spent."""
        return {"epsilon": self._budget.epsilon(self._rounds.spent)}

    @property
    def ending(self) -> Ending | None:
        """What is to become of the run, if this peer cannot afford another round."""
        return self._budget.ending(self._rounds.spent + 1)

    def begins(self, round: int) -> bool:
        """Whether the peer may train in ``round``; if so, that is spent."""
        self._rounds.note(round, spends=False)
        if not self._budget.affords(self._rounds.spent + 1):
            return False
        self._rounds.note(round, spends=True)
        return True

    def protected(self, before: State, after: State) -> dict[str, Any]:
        """See ``deltas.protected``."""
        return protected(before, after, self._privacy, self._entropy)

    def rests(self, round: int) -> None:
        """The peer does not train in ``round``."""
        self._rounds.note(round, spends=False)

    def recall(self, closed: ClosedRound, peer: int) -> None:
        """A round of the log, in which ``peer``, who is this one, published or not; with its budget spent it did
        so without training."""
        payload = closed.payload(peer)
        spends = payload is not None and bool(payload.body)
        affords = self._budget.affords(self._rounds.spent + 1)
        self._rounds.recall(closed.round, spends=spends and affords)

    def state(self) -> list[int]:
        return self._rounds.state()

    def load(self, state: list[int] | None) -> None:
        """Inverse of ``state``; None: nothing is known."""
        if state is not None:
            self._rounds.load(state)
