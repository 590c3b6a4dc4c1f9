"""Dec-LoRA: decentralised LoRA (Ghiasvand, Alizadeh, Pedarsani, arXiv 2501.15361, Algorithm 1).

All start from the same A and B. A round is K local steps on A and B (and the head), then each peer takes in what
its neighbours in a graph have sent; in the paper A and B, each by itself, become the weighted average:

    A_i <- sum_j q_ij·A_j        B_i <- sum_j q_ij·B_j

``network`` says who mixes with whom, ``mixers`` how, ``wire`` and ``choco`` in how many bits. The mean over the
peers is the run's adapter. Optimizer states are local and never mixed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from torch import Tensor

from haversack_trainer.contract.report import MODELLED
from haversack_trainer.contract.schedule import STEADY, Schedule
from haversack_trainer.exchange.base import Outgoing, Swap
from haversack_trainer.exchange.codec import Layout, State, is_finite
from haversack_trainer.exchange.log import ClosedRound
from haversack_trainer.exchange.topology import Topology
from haversack_trainer.method import (
    SPENT,
    Batches,
    CannotCatchUp,
    Fetch,
    StepResult,
    Trainee,
    tensors_of,
)
from haversack_trainer.privacy.guard import Guard
from haversack_trainer.privacy.samples import guard_of

from .auto import Standing, choose, has_moved, in_force, moved_before
from .choco import MAX_CHAIN, wire_of
from .ground import check_factors
from .intake import Came, intake_of
from .kinds import Graph
from .mixers import Mixer, mixer_of
from .mixers.alternating import phase_rounds
from .mixers.base import Mixed
from .network import mean_shares, mixing, network
from .settings import Settings
from .survey import Clock, Stopwatch, scout_of
from .taking import lacking, mean, num_bytes, of_sound
from .training import Gradients, LocalTraining, gradients_of
from .wire import readable, whole
from .word import Word, was_only_late, words


class DecLora:
    """What goes over the wire is the state of what the mixer sends, to the graph's neighbours."""

    def __init__(
        self,
        settings: Settings,
        peer: int,
        seed: int,
        model: Trainee,
        batches: Batches,
        *,
        schedule: Schedule = STEADY,
        gradients: Gradients | None = None,
        field: str = "method.decLoRA",
        clock: Clock = time.monotonic,
    ) -> None:
        """``gradients``: of the local steps, if not the whole model's; ``field``: where ``settings`` are in the job."""
        self._settings, self._seed, self._model, self._clock = settings, seed, model, clock
        self._num_samples = batches.num_records
        self._training = LocalTraining(
            settings,
            peer,
            seed,
            model,
            gradients or gradients_of(settings, model, batches),
            schedule=schedule,
        )
        self._state = self._read()
        check_factors(settings.mixer, self._state, field)
        self._wire = wire_of(settings, peer, seed, Layout.of(self._sent()))
        self._guard = guard_of(settings.privacy, settings.local_steps, batches)
        self._spread = self._guard.spread if self._guard else 1.0
        self._valid = True
        self._round = 0
        self._standing = Standing()
        self._peer = peer
        self._intake = intake_of(settings, self._wire, peer, self._spread)
        self._scout = scout_of(settings, peer)

    def local_step(self, round: int) -> StepResult:
        self._round = round
        if self._guard is not None:
            return self._private_step(self._guard, round)
        before = self._read()
        result = self._training.run(round, self._frozen(round))
        self._state = self._read()
        self._valid = is_finite(self._state)
        if not self._valid:
            self._adopt(before)
            self._training.restart()
        return result

    def _private_step(self, guard: Guard, round: int) -> StepResult:
        """Neither losses nor whether steps were finite are told. A peer that may not train goes on mixing."""
        num_samples = num_steps = 0
        if guard.begins(round):
            num_steps = self._settings.local_steps
            state, before = self._state, self._sent()
            num_samples = self._training.run(round, self._frozen(round)).num_samples
            self._state = self._read()
            self._adopt(state | guard.protected(before, self._sent()))
        told, ending, spent = guard.told, guard.ending, guard.pledge
        return StepResult(math.nan, num_samples, 0, num_steps, told, ending=ending, spent=spent)

    def outgoing(self) -> Outgoing:
        wants_all = self._settings.graph in (Graph.COMPLETE, Graph.STAR)
        if not self._valid:
            return Outgoing(wants_all=wants_all)
        if self._scout is not None and self._scout.is_probing:
            # Neighbours change from round to round: what builds on earlier rounds is of no use to new ones.
            self._wire.forget()
        packed = self._wire.pack(self._sent(), self._round)
        return Outgoing(self._word().encode(), packed.num_before, packed.blob, wants_all)

    def _word(self) -> Word:
        word = Word(self._num_samples, self._standing.bias, self._standing.moved)
        word = self._intake.say(word)
        return word if self._scout is None else self._scout.say(word)

    def ahead(self, round: int) -> None:
        """Nothing: local steps begin at the mixed state."""

    def incoming(self, swap: Swap) -> dict[str, float]:
        return self._take_in(swap.closed, lambda _, peer: swap.fetch(peer))

    def _take_in(self, closed: ClosedRound, fetch: Fetch) -> dict[str, float]:
        said, own = self._words(closed), self._sent()
        graph = self._network(said, closed.round) if self._peer in said else None
        rho = mixing(self._settings.shape, graph) if graph else self._standing.rho
        mixer = self._mixer(rho, moved=moved_before(said))
        watch = Stopwatch(self._clock, fetch)
        mixed, seen = self._intake.take_in(Came(closed, said, graph, own, mixer, watch.fetch))
        if self._scout is not None and graph is not None:
            self._scout.links = watch.seconds
        if mixed:
            self._adopt(self._state | mixed)
            if not mixer.keeps_coordinates:
                self._training.restart()
        self._learn(said, closed.round, seen["product_bias_percent"] / 100)
        modelled = len(said) * num_bytes(own, self._settings.codec)
        return seen | in_force(self._settings, self._standing) | {MODELLED: modelled}

    def _words(self, closed: ClosedRound) -> dict[int, Word]:
        return words(closed, self._settings.max_staleness or 0)

    def _network(self, said: Mapping[int, Word], round: int) -> Topology:
        return network(self._settings.shape, self._seed, said, round)

    def _learn(self, said: Mapping[int, Word], round: int, bias: float) -> None:
        """What the next round hangs on."""
        if self._scout is not None:
            self._scout.hear(said)
        if said:
            rho = mixing(self._settings.shape, self._network(said, round))
            self._standing = Standing(rho, bias, has_moved(self._settings, said))

    def _mixer(self, rho: float, *, moved: bool) -> Mixer:
        return mixer_of(choose(self._settings, rho, moved=moved))

    def _frozen(self, round: int) -> frozenset[str]:
        """What rests in this round."""
        rho = self._standing.rho
        mixer = self._mixer(rho, moved=self._standing.moved)
        phase = round // (self._settings.phase_rounds or phase_rounds(rho))
        return frozenset(name for name in self._state if not mixer.trains(name, phase))

    def catch_up(self, history: Iterable[ClosedRound], fetch: Fetch) -> None:
        """Start from the mean of the newest round: closer to all peers than any one of them is. One who was only
        late, and not too much, goes on from its own state."""
        rounds = list(history)
        for closed in rounds:
            if self._guard is not None:
                self._guard.recall(closed, self._peer)
        if rounds and was_only_late(rounds, self._peer, self._settings.max_staleness):
            self._state = self._read()
            with whole(rounds[-1]):
                for closed in rounds:
                    self._take_in(closed, fetch)
            return
        for closed in rounds[-MAX_CHAIN - 1 :]:
            self._wire.miss(closed)
        if self._scout is not None:
            for closed in rounds:
                self._scout.hear(self._words(closed))
        if rounds:
            self._adopt(self._mean_of(rounds[-1], fetch))
            self._training.restart()
            self._intake.start_over()
            self._learn(self._words(rounds[-1]), rounds[-1].round, 0.0)

    def consensus(self, closed: ClosedRound, fetch: Fetch) -> dict[str, Tensor]:
        return tensors_of(self._mean_of(closed, fetch))

    def _mean_of(self, closed: ClosedRound, fetch: Fetch) -> Mixed:
        said = self._words(closed)
        if not said:
            raise CannotCatchUp(f"no peer had a finite state in round {closed.round}")
        with whole(closed):
            states, refused = readable(said, lambda peer: self._wire.read(closed, peer, fetch))
        graph, like = self._network(said, closed.round), self._sent()
        mixer = self._mixer(mixing(self._settings.shape, graph), moved=moved_before(said))
        shares = mean_shares(self._settings.shape, graph, said)
        counted = of_sound(states, like, self._spread)
        num_refused = len(refused) + len(states) - len(counted)
        found = mean(self._settings.robust, mixer, shares, counted, num_refused)
        if found is None:
            raise CannotCatchUp(lacking(len(counted), closed.round))
        return self._state | found

    def _read(self) -> Mixed:
        return {name: tensor.numpy() for name, tensor in self._model.trainable_state().items()}

    def _sent(self) -> Mixed:
        """Of the state, what goes over the wire."""
        mixer = self._mixer(0.0, moved=False)
        return {name: values for name, values in self._state.items() if mixer.sends(name)}

    def _adopt(self, state: State) -> None:
        self._state = dict(state)
        self._model.load_trainable_state(tensors_of(state))

    def state_dict(self) -> dict[str, Any]:
        return {
            **self._training.state_dict(),
            "standing": asdict(self._standing),
            SPENT: self._guard.state() if self._guard else None,
            "push": self._intake.state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._training.load_state_dict(state)
        self._standing = Standing(**state["standing"])
        if self._guard is not None:
            self._guard.load(state.get(SPENT))
        self._intake.load(state["push"])
        self._wire.forget()
