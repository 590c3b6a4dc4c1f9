"""What a peer makes of its neighbours' states: which count, and how they are averaged. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from haversack_trainer.contract.robust import Robust
from haversack_trainer.exchange.codec import State
from haversack_trainer.robust.rules import average
from haversack_trainer.robust.soundness import is_sound

from .forecast import VALUE_BYTES
from .kinds import Codec
from .mixers.base import Mixed, Mixer
from .wire import Taken, arrivals


def num_bytes(state: State, codec: Codec) -> float:
    """On the wire by the formula: the numbers in the codec's bits, and a scale for each block of them."""
    return sum(values.size for values in state.values()) * VALUE_BYTES[codec]


def sound(taken: Taken, me: int, spread: float) -> Taken:
    """Without the states that cannot be right: for ``me`` they are as if they had not come."""
    like = taken.states[me]
    states = of_sound(taken.states, like, spread) | {me: like}
    refused = taken.refused | (taken.states.keys() - states.keys())
    return Taken(states, taken.shut | refused, refused, taken.lacking)


def arrived(
    peers: Iterable[int], read: Callable[[int], State], like: State, spread: float
) -> tuple[dict[int, State], frozenset[int]]:
    """The states that can be had and can be right; and whose were had and are wrong."""
    states, refused = arrivals(peers, read)
    counted = of_sound(states, like, spread)
    return counted, refused | (states.keys() - counted.keys())


def of_sound(states: Mapping[int, State], like: State, spread: float) -> dict[int, State]:
    """Those that are beside ``like`` what a state may be."""
    return {peer: state for peer, state in states.items() if is_sound(state, like, spread)}


def mean(
    robust: Robust | None,
    mixer: Mixer,
    of_all: Mapping[int, float],
    states: Mapping[int, State],
    num_refused: int,
) -> Mixed | None:
    """Over those of a round's peers that are left, the others' states being gone or refused: the run's adapter. None
    where nobody is, or too few for ``robust``: one of their states would be no average. ``of_all``: shares;
    ``num_refused``: states that are known to be wrong, which one that is gone is not."""
    if not states:
        return None
    total = sum(of_all[peer] for peer in states) if len(states) < len(of_all) else 1.0
    shares = {peer: of_all[peer] / total for peer in sorted(states)}
    if robust is None:
        return mixer.combine(shares, states, min(shares))
    rule = robust.without(num_refused)
    return average(rule, [states[peer] for peer in shares], sorted(states[min(shares)]))


def lacking(num_sound: int, round: int) -> str:
    """Why there is no mean of a round."""
    if not num_sound:
        return f"no peer had a sound state in round {round}"
    return f"round {round} has too few sound states for robust.numFaulty, {num_sound}"


def combined(
    robust: Robust | None,
    mixer: Mixer,
    shares: Mapping[int, float],
    states: Mapping[int, State],
    me: int,
) -> Mixed:
    """By the mixer, or robustly; where too few are left for that, ``me`` keeps what it has."""
    if robust is None:
        return mixer.combine(shares, states, me)
    among = [states[peer] for peer in sorted(shares)]
    return average(robust, among, sorted(states[me])) or dict(states[me])
