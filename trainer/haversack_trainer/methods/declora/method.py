"""Dec-LoRA: decentralised LoRA (Ghiasvand, Alizadeh, Pedarsani, arXiv 2501.15361, Algorithm 1).

All start from the same A and B. A round is K local steps on A and B (and the head), then A and B, each by
itself, become the average over the peer and its neighbours in a graph:

    A_i <- sum_j q_ij·A_j        B_i <- sum_j q_ij·B_j

Q is symmetric and doubly stochastic (Metropolis-Hastings on the graph over the round's members), so the mean
over the peers is preserved. That mean is the run's adapter. Optimizer states are local and never mixed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from haversack_trainer.exchange.base import Evicted, ExchangeError, Outgoing, Stopped, Swap
from haversack_trainer.exchange.codec import CodecError, Layout, State
from haversack_trainer.exchange.log import ClosedRound
from haversack_trainer.exchange.topology import topology
from haversack_trainer.method import Batches, CannotCatchUp, Fetch, StepResult, Trainee

from .mixing import among, combine, disagreement, mean
from .settings import EDGE_PERCENT, Graph, Settings
from .training import LocalTraining


class DecLora:
    """What goes over the wire is the state of all trainable tensors, fp32, to the graph's neighbours."""

    def __init__(
        self, settings: Settings, peer: int, seed: int, model: Trainee, batches: Batches
    ) -> None:
        self._settings, self._seed, self._model = settings, seed, model
        self._training = LocalTraining(settings, peer, seed, model, batches)
        self._state = self._read()
        self._layout = Layout.of(self._state)
        self._valid = True

    def local_step(self, round: int) -> StepResult:
        before = self._read()
        result = self._training.run(round)
        self._state = self._read()
        self._valid = all(np.isfinite(values).all() for values in self._state.values())
        if not self._valid:
            self._adopt(before)
            self._training.restart()
        return result

    def outgoing(self) -> Outgoing:
        blob = self._layout.encode(self._state) if self._valid else None
        return Outgoing(blob=blob, wants_all=self._settings.graph is Graph.COMPLETE)

    def ahead(self, round: int) -> None:
        """Nothing: local steps begin at the mixed state."""

    def incoming(self, swap: Swap) -> dict[str, float]:
        if swap.me not in swap.closed.members:
            # Nobody mixed with this peer, so it mixes with nobody: Q stays doubly stochastic.
            return disagreement({swap.me: self._state})
        shares = self._shares(swap.closed, swap.me)
        states = {
            peer: self._state if peer == swap.me else self._decode(swap.fetch(peer), peer)
            for peer in shares
        }
        self._adopt(combine(shares, states))
        return disagreement(states)

    def _shares(self, closed: ClosedRound, me: int) -> dict[int, float]:
        """This peer's row of Q, where it is not zero."""
        graph = topology(
            self._settings.graph,
            closed.members,
            edge_percent=self._settings.edge_percent or EDGE_PERCENT,
            seed=self._seed,
        )
        valid = np.array([bool(payload.body) for payload in closed.payloads])
        row = among(graph.weights, valid)[closed.members.index(me)]
        return {
            peer: float(share)
            for peer, share in zip(closed.members, row, strict=True)
            if share or peer == me
        }

    def catch_up(self, history: Iterable[ClosedRound], fetch: Fetch) -> None:
        """Start from the mean of the newest round: closer to all peers than any one of them is."""
        rounds = list(history)
        if rounds:
            self._adopt(self._mean_of(rounds[-1], fetch))
            self._training.restart()

    def consensus(self, closed: ClosedRound, fetch: Fetch) -> dict[str, Tensor]:
        return _tensors(self._mean_of(closed, fetch))

    def _mean_of(self, closed: ClosedRound, fetch: Fetch) -> dict[str, NDArray[np.float32]]:
        try:
            states = {
                payload.peer: self._decode(fetch(closed, payload.peer), payload.peer)
                for payload in closed.payloads
                if payload.body
            }
        except (Evicted, Stopped):
            raise
        except ExchangeError as error:
            raise CannotCatchUp(f"round {closed.round} is not whole any more: {error}") from error
        if not states:
            raise CannotCatchUp(f"no peer had a finite state in round {closed.round}")
        return mean(states)

    def _read(self) -> dict[str, NDArray[np.float32]]:
        return {name: tensor.numpy() for name, tensor in self._model.trainable_state().items()}

    def _adopt(self, state: State) -> None:
        self._state = dict(state)
        self._model.load_trainable_state(_tensors(state))

    def _decode(self, blob: bytes, peer: int) -> State:
        try:
            return self._layout.decode(blob)
        except CodecError as error:
            raise ExchangeError(
                f"the state that peer {peer} published is unusable: {error}"
            ) from error

    def state_dict(self) -> dict[str, Any]:
        return {"optimizer": self._training.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._training.optimizer.load_state_dict(state["optimizer"])


def _tensors(state: State) -> dict[str, Tensor]:
    return {name: torch.from_numpy(values) for name, values in state.items()}
