"""How a job's settings share a model out, and the model shared out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Protocol

from torch import nn

from haversack_trainer.model.held import Held, Whole, as_it_is

from .base import InParts, ShardingError, Shards
from .deepspeed import gathered, sharded_loading
from .forwards import Forwards
from .fsdp2 import Fsdp2
from .world import World
from .zero import Zero

_STAGES: Final = {"ZeRO1": 1, "ZeRO2": 2, "ZeRO3": 3}
KINDS: Final = (*_STAGES, "FSDP2")
_PRECISIONS: Final = ("FP32", "BF16")


@dataclass(frozen=True, slots=True)
class Sharding:
    """What a method's settings say of it."""

    kind: str
    precision: str = "FP32"

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ShardingError(
                f"a pod with several processes cannot do with sharding {self.kind}; write one of {', '.join(KINDS)}"
            )
        if self.precision not in _PRECISIONS:
            raise ShardingError(
                f"precision {self.precision} is not possible: with fp16 one pod may skip a step that the others "
                f"take; write one of {', '.join(_PRECISIONS)}"
            )

    @staticmethod
    def of(settings: Any) -> Sharding:
        """Of a method's ``Settings``. Raises ``ShardingError``."""
        kind = getattr(settings, "sharding", None)
        return Sharding(str(kind), str(getattr(settings, "precision", "FP32")))

    @property
    def bf16(self) -> bool:
        """What is computed with; the weights that are trained stay fp32."""
        return self.precision == "BF16"


class Shareable(Protocol):
    """A ``FineTuned`` model, as far as it is shared out."""

    @property
    def module(self) -> nn.Module:
        """What is shared out."""

    def trainables(self) -> list[tuple[str, nn.Parameter]]:
        """Canonical name and parameter."""

    def share_out(self, held: Held) -> None:
        """From now on the weights are in parts."""


def open_shards(model: Shareable, world: World, sharding: Sharding) -> Shards:
    """Share the model out over the pod's processes."""
    module, trainables = model.module, model.trainables()
    shards: Fsdp2 | Zero
    if sharding.kind in _STAGES:
        stage = _STAGES[sharding.kind]
        shards = Zero(module, trainables, world, stage=stage, bf16=sharding.bf16)
    else:
        shards = Fsdp2(module, trainables, world, bf16=sharding.bf16)
    model.share_out(shards)
    return shards


def open_forwards(model: Shareable, world: World) -> InParts:
    """Share only what is frozen out: of a model that is loaded as for ZeRO-3 and never takes a gradient."""
    forwards = Forwards(model.module, model.trainables(), world)
    model.share_out(forwards)
    return forwards


class Loading:
    """While a model is loaded: with ZeRO-3 every frozen weight is split as it comes from the file. A model that is
    trained whole is also kept whole, on the CPU, between two rounds."""

    def __init__(self, sharding: Sharding, *, whole_model: bool = False) -> None:
        in_parts = sharding.kind == "ZeRO3" and not whole_model
        # Read by ``from_pretrained`` for as long as it lives.
        self._config = sharded_loading(bf16=sharding.bf16) if in_parts else None
        self.whole: Whole = gathered if in_parts else as_it_is
        """How a parameter is read as a whole meanwhile."""
