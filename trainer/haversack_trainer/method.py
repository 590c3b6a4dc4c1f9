"""What a method is: local work, what goes out, what comes in. Never a socket, a file or a variable."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import torch
from torch import Tensor, nn

from haversack_trainer.contract.adapter import AdapterSpec
from haversack_trainer.contract.cards import MethodCard
from haversack_trainer.contract.membership import Ending
from haversack_trainer.data.batches import Piece
from haversack_trainer.exchange.base import Outgoing, Swap
from haversack_trainer.exchange.codec import State
from haversack_trainer.exchange.log import ClosedRound
from haversack_trainer.model.held import Held

Fetch = Callable[[ClosedRound, int], bytes]
"""Blob of a member in a past round."""

SPENT: Final = "spent"
"""Name, in a method's ``state_dict``, of numbers that only grow: what its privacy has spent, or None."""


class Trainee(Protocol):
    """What a method may ask of the model: ``model.FineTuned``, or a toy in tests."""

    def trainables(self) -> Sequence[tuple[str, nn.Parameter]]:
        """The trainable tensors in canonical order, the same on every peer."""

    def trainable_state(self) -> dict[str, Tensor]:
        """Copies of them on the CPU, fp32."""

    def load_trainable_state(self, state: Mapping[str, Tensor]) -> None:
        """Inverse of ``trainable_state``."""

    def loss(self, batch: Any) -> Tensor:
        """Mean loss over the batch's samples, a scalar in fp32."""

    def sample_losses(self, batch: Any) -> Tensor:
        """Loss of each sample ``[n]`` in fp32."""

    def losses_at(self, points: Tensor, batch: Any) -> Tensor:
        """``sample_losses`` with each row of ``points [p, d]`` in place of the trainables, ``[p, n]``, in one
        forward pass."""

    def train(self, mode: bool) -> None:
        """Dropout on or off."""


class LayeredTrainee(Trainee, Protocol):
    """A model of which a method runs some layers otherwise than others: ``blocks`` finds them."""

    @property
    def network(self) -> nn.Module:
        """The model itself, with its trainable parameters in it."""

    @property
    def machine_class(self) -> str:
        """Kind of device and its memory, rounded: machines of a class do a step in about the same time."""

    def fits(self, active_layers: int, /) -> bool:
        """Whether a step through so many layers has room on this machine; True where that is not known."""

    def share_out(self, held: Held, /) -> None:
        """From now on what is trained is there: a pod's processes have the weights in parts."""

    def losses(self, batch: Any) -> tuple[Tensor, Tensor | None]:
        """``sample_losses``, and for classification whether each sample was right ``[n]``."""


class Batches(Protocol):
    """A peer's own data: ``data.Batches``, or a toy in tests."""

    @property
    def num_records(self) -> int:
        """Samples in the peer's part of the data: a pass over it is so long."""

    def micro_batches(self, step: int) -> Sequence[Any]:
        """The batch of a step, counted from the run's start, cut into pieces that fit in memory. Each
        has ``num_samples``, and ``samples()``, which are batches of one. A pure function of (seed, peer, step)."""


class PiecewiseBatches(Batches, Protocol):
    """Data of which a method decides itself into how many pieces a step is cut."""

    def pieces(self, step: int, count: int) -> Sequence[Piece]:
        """The batch of a step in ``count`` pieces, equal up to a sample. A pure function of (seed, peer, step)."""


@dataclass(frozen=True, slots=True)
class StepResult:
    """What one round's local work came to."""

    loss: float
    """Mean training loss of the round's local steps; NaN when every step was non-finite."""
    num_samples: int
    num_nonfinite_steps: int = 0
    num_steps: int = 0
    """Optimizer steps that were made."""
    metrics: dict[str, float] = field(default_factory=dict)
    remark: str = ""
    """A sentence for the report, where the method has decided something."""
    ending: Ending | None = None
    """Asks that this round be the run's last, and says why."""
    spent: Sequence[int] | None = None
    """Where publishing this spends privacy: ``SPENT`` of ``state_dict``, which is to be in the store before."""


class Unsuited(ValueError):
    """The job asks for something that the method cannot do; says what to change."""


def check_suited(card: MethodCard, adapter: AdapterSpec) -> None:
    """Raises ``Unsuited`` where the adapter asks for what the method cannot give."""
    dropout = adapter.lora_or_default.dropout
    if not card.needs_backward and float(dropout) > 0:
        raise Unsuited(
            f"adapter.lora.dropout is {dropout}; set it to 0 for {card.type}, which compares "
            "losses of two forward passes: dropout would drown the difference"
        )


def dropout_seed(seed: int, peer: int, step: int) -> int:
    """So that a step repeats after a resume, and no two peers drop the same units."""
    digest = hashlib.sha256(f"dropout/{seed}/{peer}/{step}".encode()).digest()
    return int.from_bytes(digest[:8], "little")


class CannotCatchUp(Exception):
    """The history at hand is not enough to join; the loop falls back to the newest checkpoint."""


class NoConsensus(Exception):
    """This peer is not in step and cannot say what the run's adapter is; another one can, or this one later."""


class Method(Protocol):
    """One of the ways to train together. Built as ``factory(settings, peer, seed, model, batches, schedule=...)``;
    without a schedule the learning rate stays as it is set."""

    def local_step(self, round: int) -> StepResult:
        """Do this round's local work on the peer's own data. Deterministic in (seed, peer, round)."""

    def outgoing(self) -> Outgoing:
        """What this peer publishes after its local step."""

    def ahead(self, round: int) -> None:
        """Work for ``round`` that needs nothing of the open one; called while that is under way. It is part
        of ``round``'s local work and of its ``StepResult``. Not called for a round that is not to come; a
        round that is cut short is followed by ``load_state_dict``, which drops what was done ahead."""

    def incoming(self, swap: Swap) -> dict[str, float]:
        """Take in the closed round; afterwards the state is that of ``round + 1``. Returns figures
        for the report (e.g. consensus distance).

        ``incoming`` may get a round that closed without this peer: a deadline closed it, ``me`` is not among its
        members, and what ``outgoing`` gave has not been counted. It may come ``late`` with a later round."""

    def catch_up(self, history: Iterable[ClosedRound], fetch: Fetch, /) -> None:
        """Come from the state before ``history[0]`` to the state after its last round, without having
        taken part. Raises ``CannotCatchUp``."""

    def consensus(self, closed: ClosedRound, fetch: Fetch, /) -> dict[str, Tensor]:
        """The run's adapter after ``closed``: what is evaluated and published. Same keys as
        ``model.trainable_state()``. Raises ``CannotCatchUp``, ``NoConsensus``."""

    def state_dict(self) -> dict[str, Any]:
        """Everything beyond the adapter's tensors that resuming needs (optimizer, momentum)."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of ``state_dict``."""


def tensors_of(state: State) -> dict[str, Tensor]:
    """As a model takes them."""
    return {name: torch.from_numpy(values) for name, values in state.items()}
