"""DropPEFT (Wang, Liu, Xu, Yan, Gao, arXiv 2503.10217): layers are dropped at random in training.

A round: the cohort's peers train some steps on their own data, each micro-batch without the layers that were
drawn for it, and publish the tensors of the layers that were active. Every member averages them by layer;
there is no server, and the shared state is a function of the log. All layers run in evaluation and later use.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from haversack_trainer.blocks import LayerExecutor
from haversack_trainer.contract.report import MODELLED
from haversack_trainer.contract.schedule import STEADY, Schedule
from haversack_trainer.exchange.base import Outgoing, Swap
from haversack_trainer.exchange.codec import Layout, is_finite
from haversack_trainer.exchange.log import ClosedRound
from haversack_trainer.method import (
    SPENT,
    Batches,
    CannotCatchUp,
    Fetch,
    LayeredTrainee,
    NoConsensus,
    StepResult,
    Unsuited,
    tensors_of,
)
from haversack_trainer.privacy.guard import Guard
from haversack_trainer.privacy.samples import guard_of
from haversack_trainer.robust.soundness import tally

from .configurator import Configurator
from .federation import Contribution, Tensors, aggregate, cohort, num_bytes, renewed
from .ground import layers_of, parts_of, protected_of
from .rates import Infeasible, Rates, shape_weights, water_fill
from .reading import Reader, refused, trials
from .settings import Configurator as Choice
from .settings import Reward, Settings, Share
from .sharing import choose, smoothed
from .training import LocalRound, LocalTraining
from .word import KIND_BYTES, Trial, Word


class DropPeft:
    """What goes over the wire is the state of the active layers' trainable tensors and the head's, fp32."""

    def __init__(
        self,
        settings: Settings,
        peer: int,
        seed: int,
        model: LayeredTrainee,
        batches: Batches,
        *,
        schedule: Schedule = STEADY,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._settings, self._peer, self._seed = settings, peer, seed
        self._model, self._batches, self._clock = model, batches, clock
        layers = layers_of(model)
        self._parts = parts_of(settings, model, layers)
        self._protected = protected_of(settings, layers)
        self._importance: tuple[float, ...] | None = None
        self._share: frozenset[int] | None = None
        self._configurator = self._new_configurator()
        own = settings, peer, seed, model, batches
        self._training = LocalTraining(
            *own, executor=LayerExecutor(layers), parts=self._parts, schedule=schedule
        )
        self._guard = guard_of(settings.privacy, settings.local_steps, batches)
        spread = self._guard.spread if self._guard else 1.0
        self._reader = Reader(self._parts, spread, settings.robust)
        self._shared = self._read()
        self._members: tuple[int, ...] = ()
        self._mine: Contribution | None = None
        self._stale: frozenset[str] = frozenset()
        """Tensors of the shared state that others may have newer; averaging them anew mends that."""
        self._depth = 0.0

    def local_step(self, round: int) -> StepResult:
        self._mine = None
        chosen = cohort(self._seed, round, self._members, self._settings.cohort_size)
        # Who has just come is in no cohort yet, and trains.
        if self._peer in self._members and self._peer not in chosen:
            if self._guard is not None:
                self._guard.rests(round)
            return StepResult(loss=math.nan, num_samples=0)
        if self._guard is not None:
            return self._private_step(self._guard, round)
        before = self._read()
        done, trial = self._train(round)
        self._conclude(done, trial, before)
        made = [loss for loss in done.losses if math.isfinite(loss)]
        return StepResult(
            loss=sum(made) / len(made) if made else math.nan,
            num_samples=done.num_samples,
            num_nonfinite_steps=len(done.losses) - len(made),
            num_steps=done.steps,
        )

    def _private_step(self, guard: Guard, round: int) -> StepResult:
        """What is told beside the tensors hangs on masks and settings, never on the data."""
        num_samples = num_steps = 0
        if guard.begins(round):
            before = self._read()
            done, _ = self._train(round)
            self._depth, num_samples = done.mean_depth, done.num_planned_samples
            self._mine = self._private_word(guard, done, before)
            num_steps = self._settings.local_steps
        told, ending, spent = guard.told, guard.ending, guard.pledge
        return StepResult(math.nan, num_samples, 0, num_steps, told, ending=ending, spent=spent)

    def _private_word(self, guard: Guard, done: LocalRound, before: Tensors) -> Contribution:
        shared = self._choose((0.0,) * self._parts.num_layers)
        word = Word(self._settings.local_steps, done.num_planned_samples, done.planned, shared)
        after, names = self._read(), self._parts.sent(word)
        if not is_finite(after):
            self._install(before)
        state = guard.protected({n: before[n] for n in names}, {n: after[n] for n in names})
        return Contribution(word, state)

    def _choose(self, importance: Sequence[float]) -> tuple[bool, ...]:
        """Which layers travel, from now on."""
        self._share = choose(self._settings, self._parts.adapted, importance, self._share)
        return tuple(layer in self._share for layer in range(self._parts.num_layers))

    def _train(self, round: int) -> tuple[LocalRound, Trial | None]:
        """The local steps, and with a configurator what they gained."""
        if self._configurator is None:
            return self._training.run(round, self._rates(float(self._settings.drop_rate))), None
        kind = self._model.machine_class[:KIND_BYTES]
        arm = self._configurator.pick(round, kind)
        before = self._training.figure(round)
        begin = self._clock()
        done = self._training.run(round, self._rates(arm))
        seconds = self._clock() - begin
        gain = self._training.figure(round) - before
        return done, Trial(arm, gain, seconds, kind) if math.isfinite(gain) else None

    def _conclude(self, done: LocalRound, trial: Trial | None, before: Tensors) -> None:
        """Keep what is to be published, if it is worth it."""
        self._depth = done.mean_depth
        if not done.steps:
            return
        state = self._read()
        if not is_finite(state):
            self._install(before)
            return
        memory = float(self._settings.importance_memory)
        self._importance = smoothed(self._importance, done.importance, done.active, memory)
        shared = self._choose(self._importance)
        word = Word(done.steps, done.num_samples, done.active, shared, trial)
        self._mine = Contribution(word, {name: state[name] for name in self._parts.sent(word)})

    def outgoing(self) -> Outgoing:
        if self._mine is None:
            return Outgoing()
        blob = Layout.of(self._mine.state).encode(self._mine.state)
        return Outgoing(body=self._mine.word.encode(), blob=blob)

    def ahead(self, round: int) -> None:
        """Nothing: local steps begin at the averaged state."""

    def incoming(self, swap: Swap) -> dict[str, float]:
        closed = swap.closed
        brought, gone = self._reader.contributions(
            closed, lambda _, peer: swap.fetch(peer), self._shared
        )
        self._note(closed)
        self._take_in(closed, brought, gone)
        if gone:
            # Others may have read it: what it was averaged into is unsure here until it is averaged anew.
            self._stale |= self._reader.sent(closed)
        return {
            "mean_depth": self._depth,
            "shared_layers": float(len(self._shared_layers)),
            "contributors": float(len(brought)),
            MODELLED: float(sum(num_bytes(each) for each in brought.values())),
            **tally(refused(closed, brought) - gone),
        }

    def _take_in(
        self,
        closed: ClosedRound,
        brought: Mapping[int, Contribution],
        gone: frozenset[int] = frozenset(),
    ) -> None:
        weighting, robust = self._settings.weighting, self._reader.rule(closed, brought, gone)
        self._shared = aggregate(self._shared, brought, self._parts, weighting, robust)
        self._stale -= renewed(brought, self._parts, robust)
        self._members = tuple(sorted((*closed.members, *closed.missed)))
        self._install({**self._shared, **self._personal()})

    def _note(self, closed: ClosedRound) -> None:
        if self._configurator is not None:
            self._configurator.note(closed.round, trials(closed, self._parts))
        if self._guard is not None:
            self._guard.recall(closed, self._peer)

    def _personal(self) -> Tensors:
        """Tensors that stay with this peer."""
        own = self._read() if self._has_own else {}
        return {name: own[name] for name in self._parts.own(self._shared_layers) if own}

    @property
    def _shared_layers(self) -> frozenset[int]:
        return self._parts.adapted if self._share is None else self._share

    @property
    def _has_own(self) -> bool:
        """Whether anything may be personal in this run."""
        return self._settings.share is not Share.ALL or not self._parts.head_travels

    def catch_up(self, history: Iterable[ClosedRound], fetch: Fetch) -> None:
        """Average the newest rounds again."""
        missed = list(history)
        try:
            needed = self._reader.last_sent(missed, fetch, self._shared)
        except CannotCatchUp:
            self._stale = self._parts.travelling
            raise
        for closed in missed:
            self._note(closed)
        for closed, brought in needed:
            self._take_in(closed, brought)

    def consensus(self, closed: ClosedRound, _fetch: Fetch) -> dict[str, Tensor]:
        """The shared state is every member's, but for one who could not catch up."""
        if self._stale:
            raise NoConsensus(
                f"this peer waits for {len(self._stale)} tensors that it missed before round {closed.round}"
            )
        return tensors_of(self._shared)

    def _new_configurator(self) -> Configurator | None:
        """None where it is off. Raises ``Unsuited`` for a drop rate that cannot be had."""
        settings = self._settings
        if settings.configurator is Choice.OFF:
            try:
                self._rates(float(settings.drop_rate))
            except Infeasible as error:
                raise Unsuited(f"method.dropPEFT.dropRate: {error}") from error
            return None
        if settings.reward is Reward.ACCURACY_RATE and not self._has_accuracy():
            raise Unsuited(
                "method.dropPEFT.reward: AccuracyRate needs a classification task; use LossRate"
            )
        return Configurator(settings, self._peer, self._seed, self._rates, self._model.fits)

    @torch.no_grad()
    def _has_accuracy(self) -> bool:
        return self._model.losses(self._batches.micro_batches(0)[0])[1] is not None

    def _rates(self, mean_rate: float) -> Rates:
        """Raises ``Infeasible``."""
        settings = self._settings
        weights = shape_weights(settings.shape, self._parts.num_layers, self._importance)
        return water_fill(weights, self._protected, mean_rate, float(settings.max_drop_rate))

    def _read(self) -> Tensors:
        return {name: tensor.numpy() for name, tensor in self._model.trainable_state().items()}

    def _install(self, state: Mapping[str, Any]) -> None:
        self._model.load_trainable_state(tensors_of(state))

    def state_dict(self) -> dict[str, Any]:
        return {
            "members": list(self._members),
            "pulls": self._configurator.state() if self._configurator else [],
            # Where nothing is personal, the shared state is the model's own.
            "shared": tensors_of(self._shared) if self._has_own else None,
            "importance": None if self._importance is None else list(self._importance),
            "share": None if self._share is None else sorted(self._share),
            SPENT: self._guard.state() if self._guard else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._members = tuple(state.get("members", ()))
        if self._configurator is not None:
            self._configurator.load(state.get("pulls", ()))
        shared = state.get("shared")
        self._shared = self._read() if shared is None else {n: t.numpy() for n, t in shared.items()}
        importance, share = state.get("importance"), state.get("share")
        self._importance = None if importance is None else tuple(importance)
        self._share = None if share is None else frozenset(share)
        if self._guard is not None:
            self._guard.load(state.get(SPENT))
        self._mine = None
