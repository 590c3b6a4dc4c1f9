"""What a method that sends states does to be private: bound, blur, count."""

from __future__ import annotations

from typing import Any

from haversack_trainer.contract.membership import Ending
from haversack_trainer.contract.privacy import DeltaPrivacy
from haversack_trainer.exchange.codec import is_finite
from haversack_trainer.exchange.log import ClosedRound

from .account import Budget, Rounds, Use
from .deltas import Entropy, State, deviation, os_entropy, protected


class Guard:
    """Stands between a peer's local steps and what it publishes.

    A use is a round of the peer's, with all of its data; or, where samples are protected, a step that a record is in.
    """

    def __init__(
        self,
        privacy: DeltaPrivacy,
        local_steps: int,
        use: Use,
        entropy: Entropy = os_entropy,
    ) -> None:
        self._privacy, self._budget, self._entropy = privacy, Budget(privacy), entropy
        self._local_steps, self._use = local_steps, use
        self._rounds = Rounds()
        self._trains = False

    @property
    def spread(self) -> float:
        """How large a sound state's numbers may be, by noise."""
        return 1.0 if self._privacy.is_of_samples else max(1.0, deviation(self._privacy))

    @property
    def told(self) -> dict[str, float]:
        """For the report: what has been spent."""
        return {"epsilon": self._budget.epsilon(self._uses(self._rounds))}

    @property
    def ending(self) -> Ending | None:
        """What is to become of the run, if this peer cannot afford another round."""
        return self._budget.ending(self._uses(self._rounds.with_round(self._rounds.through)))

    @property
    def pledge(self) -> list[int] | None:
        """``state``, to be kept where no process can forget it before the round is published; None if it spends nothing."""
        return self.state() if self._trains else None

    def _uses(self, rounds: Rounds) -> int:
        if not self._privacy.is_of_samples:
            return rounds.spent
        # In what order the rounds in between used the records is not looked at: all count that come before the last.
        again = rounds.repeats * self._use.after(self._local_steps)
        return self._use.after(rounds.last * self._local_steps) + again

    def begins(self, round: int) -> bool:
        """Whether the peer may train in ``round``; if so, that is spent."""
        after = self._rounds.with_round(round)
        if not self._budget.affords(self._uses(after)):
            self.rests(round)
            return False
        self._rounds, self._trains = after, True
        return True

    def protected(self, before: State, after: State) -> dict[str, Any]:
        """What may be published; see ``deltas.protected``. Steps that were blurred each have nothing to hide."""
        if self._privacy.is_of_samples:
            return dict(after if is_finite(after) else before)
        return protected(before, after, self._privacy, self._entropy)

    def rests(self, round: int) -> None:
        """The peer does not train in ``round``."""
        self._trains = False
        self._rounds.note(round, spends=False)

    def recall(self, closed: ClosedRound, peer: int) -> None:
        """A round of the log, in which ``peer``, who is this one, published or not; with its budget spent it did
        so without training. What it missed counts: a process that is gone may have published it late."""
        payload = closed.payload(peer)
        affords = self._budget.affords(self._uses(self._rounds.with_round(closed.round)))
        published = peer in closed.missed or (payload is not None and bool(payload.body))
        self._rounds.recall(closed.round, spends=published and affords)

    def state(self) -> list[int]:
        return self._rounds.state()

    def load(self, state: list[int] | None) -> None:
        """Inverse of ``state``; None: nothing is known."""
        if state is not None:
            self._rounds.load(state)
