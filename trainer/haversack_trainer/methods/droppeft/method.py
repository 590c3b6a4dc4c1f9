"""DropPEFT (Wang, Liu, Xu, Yan, Gao, arXiv 2503.10217): layers are dropped at random in training.

A round: the cohort's peers train some steps on their own data, each micro-batch without the layers that were
drawn for it, and publish the tensors of the layers that were active. Every member averages them by layer;
there is no server, and the shared state is a function of the log. All layers run in evaluation and later use.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from haversack_trainer.blocks import BlocksError, LayerExecutor, Layers, find_layers
from haversack_trainer.exchange.base import Evicted, ExchangeError, Outgoing, Stopped, Swap
from haversack_trainer.exchange.codec import CodecError, Layout
from haversack_trainer.exchange.log import ClosedRound, Payload
from haversack_trainer.exchange.payload import DIGEST_BYTES
from haversack_trainer.method import (
    Batches,
    CannotCatchUp,
    Fetch,
    LayeredTrainee,
    StepResult,
    Unsuited,
)

from .federation import Contribution, Parts, Tensors, aggregate, cohort
from .rates import Infeasible, Rates, protected_layers, shape_weights, water_fill
from .settings import Head, Settings
from .training import LocalRound, LocalTraining
from .word import Word, WordError


class DropPeft:
    """What goes over the wire is the state of the active layers' trainable tensors and the head's, fp32."""

    def __init__(
        self, settings: Settings, peer: int, seed: int, model: LayeredTrainee, batches: Batches
    ) -> None:
        self._settings, self._peer, self._seed, self._model = settings, peer, seed, model
        layers = _layers(model)
        self._parts = _parts(settings, model, layers)
        self._protected = _protected(settings, layers)
        self._importance: list[float] | None = None
        self._rates()
        executor = LayerExecutor(layers)
        self._training = LocalTraining(
            settings, peer, seed, model, batches, executor=executor, parts=self._parts
        )
        self._shared = self._read()
        self._members: tuple[int, ...] = ()
        self._mine: Contribution | None = None
        self._depth = 0.0

    def local_step(self, round: int) -> StepResult:
        self._mine = None
        chosen = cohort(self._seed, round, self._members, self._settings.cohort_size)
        # Who has just come is in no cohort yet, and trains.
        if self._peer in self._members and self._peer not in chosen:
            return StepResult(loss=math.nan, num_samples=0)
        before = self._read()
        done = self._training.run(round, self._rates())
        self._conclude(done, before)
        made = [loss for loss in done.losses if math.isfinite(loss)]
        return StepResult(
            loss=sum(made) / len(made) if made else math.nan,
            num_samples=done.num_samples,
            num_nonfinite_steps=len(done.losses) - len(made),
        )

    def _conclude(self, done: LocalRound, before: Tensors) -> None:
        """Keep what is to be published, if it is worth it."""
        self._depth = done.mean_depth
        if not done.steps:
            return
        state = self._read()
        if not all(np.isfinite(values).all() for values in state.values()):
            self._install(before)
            return
        self._importance = list(done.importance)
        word = Word(done.steps, done.num_samples, done.active, (True,) * self._parts.num_layers)
        self._mine = Contribution(word, {name: state[name] for name in self._parts.sent(word)})

    def outgoing(self) -> Outgoing:
        if self._mine is None:
            return Outgoing()
        blob = Layout.of(self._mine.state).encode(self._mine.state)
        return Outgoing(body=self._mine.word.encode(), blob=blob)

    def ahead(self, round: int) -> None:
        """Nothing: local steps begin at the averaged state."""

    def incoming(self, swap: Swap) -> dict[str, float]:
        brought = self._contributions(swap.closed, lambda _, peer: swap.fetch(peer))
        self._take_in(swap.closed, brought)
        return {
            "mean_depth": self._depth,
            "contributors": float(len(brought)),
            "refused": float(_num_published(swap.closed) - len(brought)),
        }

    def _take_in(self, closed: ClosedRound, brought: Mapping[int, Contribution]) -> None:
        weighting = self._settings.weighting
        self._shared = aggregate(self._shared, brought, self._parts, weighting)
        self._members = tuple(sorted((*closed.members, *closed.missed)))
        self._install({**self._shared, **self._personal()})

    def _personal(self) -> Tensors:
        """Tensors that stay with this peer."""
        own = {} if self._parts.head_travels else self._read()
        return {name: own[name] for name in own if self._parts.layer_of[name] is None}

    def _contributions(self, closed: ClosedRound, fetch: Fetch) -> dict[int, Contribution]:
        """What is sound of a round, the same for every member: unsound payloads count for nothing."""
        read = (
            (payload.peer, self._contribution(closed, payload, fetch))
            for payload in closed.payloads
        )
        return {peer: each for peer, each in read if each is not None}

    def _contribution(
        self, closed: ClosedRound, payload: Payload, fetch: Fetch
    ) -> Contribution | None:
        if not payload.body:
            return None
        try:
            word = Word.decode(payload.body[:-DIGEST_BYTES], self._parts.num_layers)
            layout = Layout.of({name: self._shared[name] for name in self._parts.sent(word)})
            state = layout.decode(fetch(closed, payload.peer))
        except (WordError, CodecError):
            return None
        finite = all(np.isfinite(values).all() for values in state.values())
        return Contribution(word, state) if finite else None

    def catch_up(self, history: Iterable[ClosedRound], fetch: Fetch) -> None:
        """Average the newest rounds again, as far back as some tensor was last sent."""
        missing, needed = set(self._shared), list[tuple[ClosedRound, dict[int, Contribution]]]()
        for closed in reversed(list(history)):
            brought = self._fetched(closed, fetch)
            needed.append((closed, brought))
            missing -= {name for each in brought.values() for name in each.state}
            if not missing:
                break
        for closed, brought in reversed(needed):
            self._take_in(closed, brought)

    def _fetched(self, closed: ClosedRound, fetch: Fetch) -> dict[int, Contribution]:
        try:
            return self._contributions(closed, fetch)
        except (Evicted, Stopped):
            raise
        except ExchangeError as error:
            raise CannotCatchUp(f"round {closed.round} is not whole any more: {error}") from error

    def consensus(self, _closed: ClosedRound, _fetch: Fetch) -> dict[str, Tensor]:
        """The shared state is every member's."""
        return _tensors(self._shared)

    def _rates(self) -> Rates:
        settings, count = self._settings, self._parts.num_layers
        weights = shape_weights(settings.shape, count, self._importance)
        try:
            return water_fill(
                weights, self._protected, float(settings.drop_rate), float(settings.max_drop_rate)
            )
        except Infeasible as error:
            raise Unsuited(f"method.dropPEFT.dropRate: {error}") from error

    def _read(self) -> Tensors:
        return {name: tensor.numpy() for name, tensor in self._model.trainable_state().items()}

    def _install(self, state: Mapping[str, Any]) -> None:
        self._model.load_trainable_state(_tensors(state))

    def state_dict(self) -> dict[str, Any]:
        # What differs from the model's own state; None where nothing does.
        shared = _tensors(self._shared) if self._personal() else None
        return {"members": list(self._members), "importance": self._importance, "shared": shared}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._members, self._importance = tuple(state["members"]), state["importance"]
        shared = state["shared"]
        self._shared = self._read() if shared is None else {n: t.numpy() for n, t in shared.items()}
        self._mine = None


def _layers(model: LayeredTrainee) -> Layers:
    try:
        return find_layers(model.network)
    except BlocksError as error:
        raise Unsuited(f"method.type DropPEFT: {error}") from error


def _parts(settings: Settings, model: LayeredTrainee, layers: Layers) -> Parts:
    named = list(model.trainables())
    inside = layers.of_parameters(iter(named))
    if not inside:
        raise Unsuited(
            f"method.type DropPEFT: nothing is trained in the layers at {layers.path}; set "
            "adapter.lora.targetModules to linear layers in them"
        )
    where = {name: inside.get(name) for name, _ in named}
    return Parts(where, len(layers), head_travels=settings.head is Head.SHARED)


def _protected(settings: Settings, layers: Layers) -> frozenset[int]:
    try:
        named = settings.protected_layers or ()
        return protected_layers(settings.protect, named, layers.structural, len(layers))
    except Infeasible as error:
        raise Unsuited(f"method.dropPEFT.{error}") from error


def _num_published(closed: ClosedRound) -> int:
    return sum(bool(payload.body) for payload in closed.payloads)


def _tensors(state: Mapping[str, Any]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(values) for name, values in state.items()}
