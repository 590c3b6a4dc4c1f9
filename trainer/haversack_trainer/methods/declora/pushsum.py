"""Push-sum: each peer gives away shares of its state together with shares of its mass, and divides.

After Kempe, Dobra and Gehrke (FOCS 2003), and stochastic gradient push (Assran et al., arXiv 1811.10792). With x = w·z,
w a peer's mass (1 at the start) and z its model, a round is

    x_i <- sum_j p_ij·x_j        w_i <- sum_j p_ij·w_j        z_i <- x_i / w_i,        sum_i p_ij = 1

so the sums of x and of w stay what they were, whatever the graph, and every z_i comes to their quotient, the mean.

Lost messages (ours): who cannot read a state that was meant for it takes nothing of it and says so in its next word.
Its sender reads that in the log and takes its own share back. So nothing is lost for good but what a peer has that
goes; symmetric weights have no such way, since there both ends would have to undo what they did.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import torch

from haversack_trainer.exchange.codec import State
from haversack_trainer.exchange.topology import Topology

from .word import Word

MAX_ROUNDS: Final = 8
"""So long a peer that has not been heard of may still say that it did not get something."""


@dataclass(frozen=True, slots=True)
class Gift:
    """What a peer gave away in a round, until all whom it was meant for have been heard of again."""

    round: int
    mass: float
    """To each of them."""
    to: frozenset[int]
    state: State


class PushSum:
    """One peer's account."""

    def __init__(self, peer: int) -> None:
        self.mass = 1.0
        self._peer = peer
        self._lost: tuple[tuple[int, int], ...] = ()
        self._given: tuple[Gift, ...] = ()

    @property
    def figures(self) -> dict[str, float]:
        """For the report."""
        return {"push_mass": self.mass, "lost_states": float(len(self._lost))}

    def say(self, word: Word) -> Word:
        """The word of the next round."""
        return replace(word, mass=self.mass, lost=self._lost)

    def receive(
        self,
        round: int,
        said: Mapping[int, Word],
        graph: Topology | None,
        own: State,
        arrived: Mapping[int, State],
    ) -> tuple[dict[int, float], dict[int, State]]:
        """Shares that sum to 1, and the states that they are of. ``graph``: None if this peer is not in the round;
        ``arrived``: those of its neighbours' states that could be had."""
        me, masses = self._peer, {peer: word.mass or 1.0 for peer, word in said.items()}
        back = self._settle(round, said)
        inflow, states = {me: self.mass}, {me: own, **arrived}
        if graph is not None:
            near = graph.neighbours(me)
            inflow = {peer: graph.row(peer)[me] * masses[peer] for peer in (me, *arrived)}
            self._lost = tuple((round, peer) for peer in near if peer not in arrived)
            if near:
                mass = graph.row(me)[near[0]] * masses[me]
                self._given = (*self._given, Gift(round, mass, frozenset(near), own))
        for number, gift in enumerate(back, start=1):
            # Beside the peers' own numbers, which begin at 0.
            inflow[-number], states[-number] = gift.mass * len(gift.to), gift.state
        self.mass = sum(inflow[key] for key in sorted(inflow))
        return {key: mass / self.mass for key, mass in inflow.items()}, states

    def _settle(self, round: int, said: Mapping[int, Word]) -> list[Gift]:
        """Gifts, each to those who say now that they did not get it."""
        back, open_ = [], []
        for gift in self._given:
            heard = gift.to & said.keys()
            lost = frozenset(peer for peer in heard if (gift.round, self._peer) in said[peer].lost)
            if lost:
                back.append(replace(gift, to=lost))
            if gift.to > heard and round - gift.round < MAX_ROUNDS:
                open_.append(replace(gift, to=gift.to - heard))
        self._given = tuple(open_)
        return back

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {
            "mass": self.mass,
            "lost": [list(loss) for loss in self._lost],
            "given": [
                {
                    "round": gift.round,
                    "mass": gift.mass,
                    "to": sorted(gift.to),
                    "state": {name: torch.from_numpy(each) for name, each in gift.state.items()},
                }
                for gift in self._given
            ],
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Inverse of ``state``."""
        self.mass = state["mass"]
        self._lost = tuple((round_, peer) for round_, peer in state["lost"])
        self._given = tuple(
            Gift(
                gift["round"],
                gift["mass"],
                frozenset(gift["to"]),
                {name: tensor.numpy() for name, tensor in gift["state"].items()},
            )
            for gift in state["given"]
        )
