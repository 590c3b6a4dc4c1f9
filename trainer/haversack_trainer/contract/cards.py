"""The methods there are. A new method is one folder in ``methods/`` and one line here."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar, Final

from .base import Check, Frozen
from .forecast import Forecast
from .privacy import fault_of_scores
from .spec import Footprint
from .weights import FLOAT_BYTES, Weights

LEAST_HEAD_WIDTH: Final = 32
"""Of an attention head; wider ones have fewer scores."""
LOGIT_COPIES: Final = 4
"""Logits, their log-softmax, gradients and what cross-entropy rearranges; 3.4 were measured."""


@dataclass(frozen=True, slots=True)
class MemoryModel:
    """Peak memory of a peer, as far as placement needs to know it. All figures are estimates on the
    safe side of what ``bench/step_memory.py`` measured."""

    bytes_per_trainable: int
    """Weight, gradient, optimizer state and copies, for each trainable parameter."""
    activation_factor: int
    """Live floats per token, layer and unit of width at the peak of a step."""
    score_copies: int
    """Live copies of the attention's scores where no fused kernel does without: on CPUs."""
    runtime_bytes: int = 850 * 2**20
    """Interpreter, torch, libraries, and CUDA's context."""
    batches_in_a_pass: int = 1
    """Copies of a micro-batch that one forward pass takes."""

    def peak_bytes(
        self,
        footprint: Footprint,
        weights: Weights,
        *,
        max_length: int,
        micro_batch: int,
        on_device: bool,
        active_layers: int | None = None,
    ) -> int:
        """Bytes at the peak of a step, of which ``active_layers`` (default all) keep activations; ``on_device``: not on a CPU, whose memory then holds the copies."""
        hidden = footprint.hidden_size
        layers = footprint.num_layers if active_layers is None else active_layers
        scores = 0 if on_device else self.score_copies * max_length / LEAST_HEAD_WIDTH
        per_token = hidden * layers * (self.activation_factor + scores)
        per_token += LOGIT_COPIES * (footprint.vocabulary_size or 0)
        return (
            self.runtime_bytes
            + weights.frozen_bytes
            + weights.trainable * self.bytes_per_trainable
            + (0 if on_device else weights.kept_bytes)
            + round(micro_batch * self.batches_in_a_pass * max_length * per_token * FLOAT_BYTES)
        )


class MethodSettings(Frozen):
    """Base of every method's ``Settings``: the one source of its CRD member, docs table and checks."""

    checks: ClassVar[tuple[Check, ...]] = ()

    def active_layers(self, num_layers: int) -> int:
        """Most layers that keep activations at a time, of a model with so many."""
        return num_layers

    def memory(self, usual: MemoryModel) -> MemoryModel:
        """What these settings make of the method's ``usual`` memory."""
        return usual

    def memory_in_pod(self, memory: MemoryModel, num_processes: int) -> MemoryModel:  # noqa: ARG002  # a method's own may ask
        """What a process takes of it, of a peer that is a pod with so many: the one that takes most."""
        return memory

    def fault_of_scores(self) -> str | None:
        """As ``fault``, of a job whose peers judge themselves on samples of their own."""
        return fault_of_scores(getattr(self, "privacy", None))

    def fault_of_few(self, min_peers: int) -> str | None:  # noqa: ARG002  # a method's own may ask
        """As ``fault``, of a job that may come down to so many peers."""
        return None

    def fault_of_processes(self, num_processes: int) -> str | None:  # noqa: ARG002  # a method's own may ask
        """As ``fault``, of a peer that is a pod with so many processes."""
        return None

    def fault(self, num_peers: int) -> str | None:  # noqa: ARG002  # a method's own may ask
        """What is wrong with these settings for a job of so many peers, where no check can say it: a sentence
        that begins with the field."""
        return None


SettingsClass = type[MethodSettings]
"""Named here, since a card's own field ``type`` hides the built-in one."""


@dataclass(frozen=True, slots=True)
class MethodCard:
    """What can be known of a method without importing torch."""

    type: str
    """Value of ``spec.method.type``."""
    member: str
    """Name of the union's member in ``spec.method``."""
    summary: str
    settings: str
    """``module:class`` of its ``Settings``. That module imports no torch."""
    factory: str
    """``module:class`` of the method itself, or of a function that makes it."""
    needs_backward: bool
    memory: MemoryModel
    ring_edges: bool
    """True if peers exchange along a graph; False if everybody needs everybody's bytes."""
    sends_blobs: bool = True
    """False if all that a peer publishes goes into the log."""
    shards: bool = False
    """True if a peer may be a pod with several processes; its settings then say how they share the model out, in
    ``sharding``, where None is one process."""
    forbids_dropout: bool = False
    """True if a step must see the same function at every forward pass."""
    pieces: str | None = None
    """Name, in manifests, of the setting that says into how many pieces a step's batch is cut, each with a sample."""
    serves: str | None = None
    """Where a pod's first process alone is the method: ``module:function`` of what the others do for it, by name,
    called as ``serves(settings, model, world)``."""
    common_state: tuple[str, ...] = ()
    """Names in the method's ``state_dict`` of what is equal on all peers: it is in the run's checkpoints."""
    forecast: str | None = None
    """``module:class`` of its ``Forecast``. That module imports no torch."""
    replica: str | None = None
    """``module:class`` of the state alone, where it is a function of base model, settings and log: built as
    ``replica(settings, seed, model, schedule)``, its ``replay(rounds)`` makes the adapter again without any data."""

    def load_settings(self) -> SettingsClass:
        """The ``Settings`` class."""
        loaded: SettingsClass = _load(self.settings)
        return loaded

    def load_forecast(self) -> Forecast[Any]:
        """What its settings make of a round."""
        return Forecast() if self.forecast is None else _load(self.forecast)()

    @property
    def shares_samples(self) -> bool:
        """Whether each process of a pod has a part of the peer's samples."""
        return self.shards and self.serves is None

    @property
    def has_partners(self) -> bool:
        """Whether each process of a pod has a partner in every other pod, with which it exchanges."""
        return self.shares_samples and self.sends_blobs

    def load_serves(self) -> Any:
        """The function, where there is one. Imports torch."""
        return _load(self.serves or "")

    @property
    def log_is_adapter(self) -> bool:
        """Whether ``haversack replay`` can make the adapter again."""
        return self.replica is not None

    def load_replica(self) -> Any:
        """The class, for ``log_is_adapter`` only. Imports torch."""
        return _load(self.replica or "")

    def load_factory(self) -> Any:
        """What makes a ``method.Method``. Imports torch."""
        return _load(self.factory)


def _load(reference: str) -> Any:
    module, _, name = reference.partition(":")
    return getattr(import_module(module), name)


_HOME: Final = "haversack_trainer.methods"
_MIXING: Final = 44
"""Bytes of a trained weight: 32 as measured of a peer alone, and the states of two neighbours while they are read."""

METHODS: Final[dict[str, MethodCard]] = {
    card.type: card
    for card in (
        MethodCard(
            type="D2FT",
            member="d2FT",
            summary="Parts of each layer train, run forward only, or are skipped, by schedule; between peers, DecLoRA.",
            settings=f"{_HOME}.d2ft.settings:Settings",
            factory=f"{_HOME}.d2ft.method:d2ft",
            pieces="microBatches",
            needs_backward=True,
            memory=MemoryModel(bytes_per_trainable=_MIXING, activation_factor=40, score_copies=4),
            ring_edges=True,
            forecast=f"{_HOME}.d2ft.forecast:Forecast",
            shards=True,
            serves=f"{_HOME}.d2ft.method:served",
        ),
        MethodCard(
            type="DecLoRA",
            member="decLoRA",
            summary="Decentralised LoRA: K local steps, then the factors are mixed with the graph's neighbours.",
            settings=f"{_HOME}.declora.settings:Settings",
            forecast=f"{_HOME}.declora.forecast:Forecast",
            factory=f"{_HOME}.declora.method:DecLora",
            needs_backward=True,
            memory=MemoryModel(bytes_per_trainable=_MIXING, activation_factor=28, score_copies=4),
            ring_edges=True,
        ),
        MethodCard(
            type="DropPEFT",
            member="dropPEFT",
            summary="Whole layers are dropped at random in training; adapters are averaged layer by layer.",
            settings=f"{_HOME}.droppeft.settings:Settings",
            forecast=f"{_HOME}.droppeft.forecast:Forecast",
            factory=f"{_HOME}.droppeft.method:DropPeft",
            needs_backward=True,
            memory=MemoryModel(bytes_per_trainable=28, activation_factor=28, score_copies=4),
            common_state=("members", "pulls", "shared"),
            ring_edges=False,
        ),
        MethodCard(
            type="FlexDeMo",
            member="flexDeMo",
            summary="Training in step: peers exchange the fast-moving part of their momentum, compressed, every round.",
            settings=f"{_HOME}.flexdemo.settings:Settings",
            forecast=f"{_HOME}.flexdemo.forecast:Forecast",
            factory=f"{_HOME}.flexdemo.method:FlexDeMo",
            needs_backward=True,
            memory=MemoryModel(bytes_per_trainable=24, activation_factor=28, score_copies=4),
            ring_edges=False,
            shards=True,
        ),
        MethodCard(
            type="SPSA",
            member="spsa",
            summary="Zeroth-order fine-tuning: a peer sends one byte per direction; no backward pass.",
            settings=f"{_HOME}.spsa.settings:Settings",
            forecast=f"{_HOME}.spsa.forecast:Forecast",
            factory=f"{_HOME}.spsa.method:Spsa",
            needs_backward=False,
            memory=MemoryModel(bytes_per_trainable=12, activation_factor=5, score_copies=0),
            ring_edges=False,
            sends_blobs=False,
            shards=True,
            forbids_dropout=True,
            common_state=("velocity",),
            replica=f"{_HOME}.spsa.replica:Replica",
        ),
    )
}
