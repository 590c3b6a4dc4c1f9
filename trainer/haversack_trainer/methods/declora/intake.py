"""How a peer takes in what the others sent in a round: as of the round, late, or by push-sum. One is chosen per run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

from haversack_trainer.contract.robust import Robust
from haversack_trainer.exchange.codec import State
from haversack_trainer.exchange.log import ClosedRound
from haversack_trainer.exchange.topology import Topology
from haversack_trainer.method import Fetch
from haversack_trainer.robust.soundness import tally

from .kinds import Weights
from .lacks import Half, halves, heard, named, without
from .mixers.base import Mixed, Mixer
from .mixing import disagreement, open_shares, towards
from .pushsum import PushSum
from .settings import Settings
from .taking import arrived, combined, sound
from .wire import Taken, Wire, readable
from .word import Word


@dataclass(frozen=True, slots=True)
class Came:
    """A round that has closed, as a peer sees it."""

    closed: ClosedRound
    said: Mapping[int, Word]
    graph: Topology | None
    """None if this peer is not in the round."""
    own: State
    """Of this peer's state, what goes over the wire, as it is now."""
    mixer: Mixer
    fetch: Fetch


class TakenIn(NamedTuple):
    mixed: Mixed
    """The tensors that change."""
    seen: dict[str, float]
    """For the report."""


class Intake(Protocol):
    """One peer's way of taking in a round."""

    def say(self, word: Word) -> Word:
        """The word of the next round, with what others have to know for this."""

    def take_in(self, came: Came) -> TakenIn:
        """Raises ``ExchangeError``."""

    def start_over(self) -> None:
        """The peer goes on from the mean."""

    def state(self) -> dict[str, Any] | None:
        """For a checkpoint; None where nothing goes from round to round."""

    def load(self, state: dict[str, Any] | None) -> None:
        """Inverse of ``state``."""


class InTime:
    """What was sent in time for the round is mixed with this peer's state as it was sent. Implements ``Intake``."""

    def __init__(self, wire: Wire, me: int, robust: Robust | None, spread: float) -> None:
        self._wire, self._me, self._robust, self._spread = wire, me, robust, spread
        self._gone: dict[int, Half] = {}
        self._lacked: tuple[tuple[int, int], ...] = ()

    @property
    def gain(self) -> float | None:
        """As ``Wire.gain``."""
        return self._wire.gain

    def say(self, word: Word) -> Word:
        return replace(word, lost=self._lacked)

    def take_in(self, came: Came) -> TakenIn:
        number = came.closed.round
        back, self._gone = heard(self._gone, came.said, self._me, number)
        if not (keeps_mean := self._robust is None and came.mixer.is_linear):
            back = []
        if came.graph is None:
            # Nobody mixed with this peer, so it mixes with nobody: Q stays doubly stochastic.
            self._wire.miss(came.closed)
            mixed = without(dict(came.own), back) if back else {}
            return TakenIn(mixed, disagreement({self._me: came.own}))
        self._wire.drop(named(came.said, self._me))
        taken = self.taken(came, came.graph.neighbours(self._me))
        taken = sound(taken, self._me, self._spread)
        self._lacked = tuple((number, peer) for peer in sorted(taken.lacking))
        shares = open_shares(came.graph, self._me, taken.shut)
        if keeps_mean:
            self._gone |= halves(number, shares, taken.states, self._me, self.gain or 1.0)
        seen = disagreement(taken.states) | tally(taken.refused)
        return TakenIn(without(self._mixed(came, shares, taken), back), seen)

    def taken(self, came: Came, near: Sequence[int]) -> Taken:
        """The states that the neighbours and this peer itself have sent."""
        return self._wire.take(came.closed, self._me, came.fetch, near)

    def _mixed(self, came: Came, shares: Mapping[int, float], taken: Taken) -> Mixed:
        me, own, mixer, gain = self._me, came.own, came.mixer, self.gain
        robust = self._robust and self._robust.without(len(taken.refused))
        if mixer.is_linear and gain is not None:
            mixed = combined(robust, mixer, shares, taken.states, me)
            return towards(own, taken.states[me], mixed, gain)
        return combined(robust, mixer, shares, taken.states | {me: own}, me)

    def start_over(self) -> None:
        self._gone, self._lacked = {}, ()

    def state(self) -> None:
        return None

    def load(self, state: dict[str, Any] | None) -> None:
        """Nothing goes from round to round."""


class Late(InTime):
    """Also what comes some rounds late, by differences: a state may have moved on since it was sent."""

    gain = 1.0

    def taken(self, came: Came, near: Sequence[int]) -> Taken:
        # As published, this peer's own state, too: both ends of an edge go by the same two.
        states, refused = readable(
            (self._me, *near), lambda peer: self._wire.read(came.closed, peer, came.fetch)
        )
        if self._me not in states:
            # Without it no edge can be gone; who has got it hears of that.
            return Taken({self._me: came.own}, frozenset(near), lacking=frozenset(near))
        lacking = frozenset(near) - states.keys()
        return Taken(states, lacking - refused, refused, lacking)


class Pushed:
    """By push-sum, whose account it keeps. Implements ``Intake``."""

    def __init__(self, wire: Wire, me: int, spread: float) -> None:
        self._wire, self._me, self._spread = wire, me, spread
        self._account = PushSum(me)

    def say(self, word: Word) -> Word:
        return self._account.say(word)

    def take_in(self, came: Came) -> TakenIn:
        found, refused = arrived(
            came.graph.neighbours(self._me) if came.graph else (),
            lambda peer: self._wire.read(came.closed, peer, came.fetch),
            came.own,
            self._spread,
        )
        shares, states = self._account.receive(
            came.closed.round, came.said, came.graph, came.own, found
        )
        seen = disagreement({self._me: came.own, **found}) | tally(refused)
        mixed = came.mixer.combine(shares, states, self._me)
        return TakenIn(mixed, seen | self._account.figures)

    def start_over(self) -> None:
        self._account = PushSum(self._me)

    def state(self) -> dict[str, Any]:
        return self._account.state()

    def load(self, state: dict[str, Any] | None) -> None:
        if state is not None:
            self._account.load(state)


def intake_of(settings: Settings, wire: Wire, me: int, spread: float) -> Intake:
    """As the settings say."""
    if settings.weights is Weights.PUSH_SUM:
        return Pushed(wire, me, spread)
    kind = InTime if settings.max_staleness is None else Late
    return kind(wire, me, settings.robust, spread)
